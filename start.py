#!/usr/bin/env python3
"""Set everything up on a fresh machine, then open the viewer or run the tests.

    python3 start.py viewer            # the pose sample in napari
    python3 start.py viewer my.mdn --sigma 3
    python3 start.py tests             # the whole suite
    python3 start.py tests -k voting
    python3 start.py packages          # only print the system packages that both need

Makes a virtual environment (.venv, or what MDN_ENV names) and installs this checkout into it, with
uv if that is there, else with pip. On Debian and Ubuntu it also installs the libraries that Qt and
OpenGL need, if any is missing: at once as root, else by sudo, after it has asked. What is there
already is left as it is.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("MDN_ENV", HERE / ".venv"))
EXTRAS = {"viewer": "viewer", "tests": "test"}
# Worker processes each begin with a part of the list, and take over tests from slower ones.
SIDE_BY_SIDE = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]
# OpenMP's threads sleep while they have no work; spinning, they cost the other workers 30 %.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
DEBIAN = [
    "libgl1",
    "libgl1-mesa-dri",
    "libegl1",
    "libfontconfig1",
    "libglib2.0-0",
    "libdbus-1-3",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xkb1",
]
DEBIAN_TESTS = ["xvfb", "xauth", "xdotool", "g++"]
# Debian's own Python cannot make an environment with pip before it has this package.
VENV = [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]


def main(arguments):
    """Install what is missing for the wanted thing, and run it."""
    if arguments == ["packages"]:
        print(*DEBIAN, *DEBIAN_TESTS, *VENV)
        return 0
    if not arguments or arguments[0] not in EXTRAS:
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    wanted, *rest = arguments
    install_debian_packages(VENV + DEBIAN + (DEBIAN_TESTS if wanted == "tests" else []))
    bin_folder = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
    if not bin_folder.exists():
        print(f"creating {ENVIRONMENT}", flush=True)
        try:
            venv.create(ENVIRONMENT, with_pip=True)
        except BaseException:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)  # the next run would take it for whole
            raise
    python = bin_folder / "python"
    print(f"installing this checkout with the extra [{EXTRAS[wanted]}]", flush=True)
    install(python, "--editable", f"{HERE}[{EXTRAS[wanted]}]")
    if wanted == "viewer":
        return subprocess.run([python, "-m", "mdn_viewer", *(rest or ["pose"])]).returncode
    command = [python, "-m", "pytest", *SIDE_BY_SIDE, *rest]
    return subprocess.run(command, cwd=HERE, env=PASSIVE | os.environ).returncode


def install(python, *what):
    """Install packages for this Python: by uv if it is there, else, or if it fails, by pip."""
    if uv := shutil.which("uv"):  # a quarter of pip's time for the tests' packages
        by_uv = [uv, "pip", "install", "--quiet", "--python", python, *what]
        if subprocess.run(by_uv).returncode == 0:
            return
        print("uv failed; trying pip, which has settings of its own", flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True)


def install_debian_packages(packages):
    """Install the Debian packages that are missing, if we may; other systems have what Qt needs."""
    if not shutil.which("apt-get"):
        return
    missing = [package for package in packages if not installed(package)]
    if not missing:
        return
    print("these Debian packages are missing:", *missing, flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    by_hand = " ".join(["sudo", "apt-get", "install", *missing])
    if as_root and not (shutil.which("sudo") and agreed("install them with sudo? [y/N] ")):
        print(f"going on without them; to install them yourself: {by_hand}", flush=True)
        return
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "check": True}
    subprocess.run([*as_root, "apt-get", "update", "-qq"], **quiet)
    subprocess.run([*as_root, "apt-get", "install", "-y", "-qq", *missing], **quiet)


def agreed(question):
    """Ask a yes-or-no question; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def installed(package):
    """Return whether dpkg has the package, or its renamed successor (libglib2.0-0t64)."""
    for name in (package, f"{package}t64"):
        found = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True
        )
        if found.stdout.endswith("install ok installed"):
            return True
    return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"start.py: this command failed: {' '.join(map(str, error.cmd))}")
    except KeyboardInterrupt:
        sys.exit(130)
