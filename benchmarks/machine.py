"""Names of the processor and versions of the libraries of a measurement."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mdn_cupy import __version__
from mdn_cupy.threads import get_num_threads

__all__ = ["processor", "versions"]

_LIBRARIES = ("numpy", "numba", "llvmlite", "torch")


def processor() -> str:
    """Name the processor and how many of its cores are used."""
    return f"{_model()}, {get_num_threads()} threads, {platform.system()} {platform.machine()}"


def versions(*libraries: str) -> str:
    """Name the versions of this library, of Python and of what is installed of its libraries."""
    found = [f"mdn-cupy {__version__}", f"Python {'.'.join(map(str, sys.version_info[:3]))}"]
    for name in (*_LIBRARIES, *libraries):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
