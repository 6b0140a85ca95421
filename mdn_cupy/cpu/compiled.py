"""How every kernel here is compiled, and when it is compiled again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.options import DefaultOptions

__all__ = ["inlined", "jit", "part"]

_OPTIONS: dict[str, Any] = {"error_model": "numpy"}
if hasattr(DefaultOptions, "_nrt"):
    # Counting the references to arrays takes an atomic instruction whenever a loop looks at one: a
    # fifth of the time.
    _OPTIONS["_nrt"] = False


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that frees the GIL, cached on disk where there is a place for it.

    It must not make arrays: those that it needs are passed in.
    """
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no writable cache directory: compiled once a process instead
        compiled = numba.njit(nogil=True, **_OPTIONS)(function)
        return compiled
    _depend_on_package(compiled)
    return compiled


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what only kernels call: to call it from Python would crash, since a way in would take
    as long to compile as its work."""
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}
    made: Callable[..., Any] = numba.njit(**options)(function)
    return made


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function part of every kernel that calls it: the arrays in its arguments would cost
    as much to pass as its work, where that is short."""
    made: Callable[..., Any] = numba.njit(inline="always", **_OPTIONS)(function)
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
