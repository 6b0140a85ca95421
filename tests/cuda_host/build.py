"""Compiles C++ to shared libraries that stay on disk until their text changes."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "PLAIN",
    "SANITIZED",
    "compiler",
    "has_sanitizers",
    "library",
    "sanitizer_environment",
]

HEADERS = sorted(Path(__file__).parent.glob("*.hpp"))

# Hidden: two libraries in one process must not share their variables.
_ALWAYS = ("-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-w")
PLAIN = (*_ALWAYS, "-O2", "-ftrivial-auto-var-init=pattern")
SANITIZED = (
    *_ALWAYS,
    *("-Og", "-g", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
)


@cache
def compiler() -> tuple[str, ...]:
    """Find the system's C++ compiler, or else that of the ziglang package.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return (path,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    raise RuntimeError("no C++ compiler: install g++, or ziglang (in the `test` extra)")


def library(unit: str, options: Sequence[str]) -> Path:
    """Compile a translation unit, which may include cuda_host.hpp, to a shared library."""
    command = (*compiler(), *options, "-I", str(Path(__file__).parent))
    headers = (header.read_text("utf-8") for header in HEADERS)
    content = "\0".join((unit, *headers, *command))
    built = _folder() / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            text, unfinished = Path(scratch, "unit.cpp"), Path(scratch, "unit.so")
            text.write_text(unit, "utf-8")
            done = subprocess.run(
                [*command, str(text), "-o", str(unfinished)], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"the kernels do not compile as C++:\n{done.stderr[:8000]}")
            unfinished.rename(built)
    return built


def has_sanitizers() -> bool:
    """Whether this is g++, whose sanitizers can be loaded into Python, and they are installed."""
    said = subprocess.run([*compiler(), "--version"], capture_output=True, text=True).stdout
    return "Free Software Foundation" in said and all(
        path.is_absolute() for path in _sanitizer_runtimes()
    )


def sanitizer_environment() -> dict[str, str]:
    """Return the environment in which Python can load a sanitized library."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(str, _sanitizer_runtimes())),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


@cache
def _sanitizer_runtimes() -> tuple[Path, ...]:
    """The runtime, and the C++ library whose symbols it looks for when it starts."""
    found = []
    for name in ("libasan.so", "libstdc++.so"):
        command = [*compiler(), f"-print-file-name={name}"]
        done = subprocess.run(command, capture_output=True, text=True)
        found.append(Path(done.stdout.strip()))  # the bare name where there is no such file
    return tuple(found)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"mdn-cupy-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
