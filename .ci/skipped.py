"""Print the skipped tests of a JUnit report; fail if one needs no GPU, or if a test failed."""

import subprocess
import sys
from xml.etree import ElementTree

cases = list(ElementTree.parse(sys.argv[1]).iter("testcase"))
skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
marked = subprocess.run(
    [sys.executable, "-m", "pytest", "-m", "gpu", "--collect-only", "-q"],
    capture_output=True,
    text=True,
).stdout
gpu = {line.rpartition("::")[2] for line in marked.splitlines() if "::" in line}
for name in skipped:
    print(name)
failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
passed = len(cases) - len(skipped) - failed
print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
needless = sorted(set(skipped) - gpu)
sys.exit(f"skipped without need: {needless}" if needless else int(failed > 0))
