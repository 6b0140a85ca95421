"""How every kernel here is compiled, and when it is compiled again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

__all__ = ["inlined", "jit"]


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that frees the GIL, cached on disk where there is a place for it."""
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no writable cache directory: compiled once a process instead
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
        return compiled
    _depend_on_package(compiled)
    return compiled


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function part of every kernel that calls it.

    A call would count the references of all arrays in its arguments, at some nanoseconds each.
    """
    made: Callable[..., Any] = numba.njit(inline="always", error_model="numpy")(function)
    return made


def _depend_on_package(compiled: Any) -> None:
    """Have Numba's cache forget a kernel when any file here changes.

    It looks at the file of the kernel only, which does not show what the kernel calls.
    """
    index = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if index is not None:
        index._source_stamp = _SOURCES


_SOURCES = tuple(
    (path.name, path.stat().st_mtime_ns, path.stat().st_size)
    for path in sorted(Path(__file__).parent.glob("*.py"))
)
