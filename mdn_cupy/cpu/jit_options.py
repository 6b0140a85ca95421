"""Compiler options of the CPU kernels, and the cache of compiled code on disk."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.ma  # which Numba loads in a first call, where a fork does not wait for it
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

from mdn_cupy.backend import FORK_LOCKS

__all__ = ["interpreted", "jit"]

F = TypeVar("F", bound=Callable[..., Any])

FORK_LOCKS.append(global_compiler_lock)  # a forked child must be able to compile

_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
    # Counting the references to arrays takes an atomic instruction whenever a loop looks at one: a
    # fifth of the time.
    "_nrt": False,
}

interpreted = bool(vars(numba.config)["DISABLE_JIT"])
"""Whether NUMBA_DISABLE_JIT is set: kernels then run in Python, on NumPy, for debuggers."""


def jit(function: F) -> F:
    """Compile a kernel that frees the GIL, cached on disk where a folder can be written.

    It must not make arrays: those that it needs are passed in.
    """
    if interpreted:
        return np.errstate(all="ignore")(function)
    compiled: Any = numba.njit(nogil=True, **_OPTIONS)(function)
    try:
        compiled._cache = _KernelCache(function)
    except (RuntimeError, OSError):
        _warn_uncached("no folder can be written to")
    return compiled  # type: ignore[no-any-return]


class _Checked(CompileResultCacheImpl):
    """Compiled code with a checksum: damaged machine code would end the process.

    So might code for another version of Numba or another processor, from a process that writes to
    the same folder: Numba notes both in the index of the files, and not in the files.
    """

    def reduce(self, compiled: Any) -> tuple[bytes, bytes]:
        data = dumps(super().reduce(compiled))
        return _digest(data, compiled.library.codegen), data

    def rebuild(self, target_context: Any, payload: tuple[bytes, bytes]) -> Any:
        digest, data = payload
        if _digest(data, target_context.codegen()) != digest:
            raise ValueError("damaged compiled code, or code of another version")
        return super().rebuild(target_context, pickle.loads(data))


def _digest(data: bytes, codegen: Any) -> bytes:
    place = numba.__version__, np.__version__, codegen.magic_tuple()
    return sha256(repr(place).encode() + data).digest()


class _KernelCache(FunctionCache):
    """Numba's cache of a kernel, without which the kernel is compiled: no error of it is raised.

    What cannot be read is written again. A kernel is forgotten when any file of this package
    changes: Numba looks at the file of the kernel only, not at what the kernel calls.
    """

    _impl_class = _Checked

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _SOURCES

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            # Not `super().load_overload`, which first imports all that Numba needs to compile,
            # and SciPy: 0.3 s, of which compiled code without reference counts needs nothing.
            found = self._load_overload(signature, target_context)
            if found is not None and found.signature.args != tuple(signature):
                raise ValueError("the file of another signature, written at the same time")
            return found
        except Exception:  # whatever unpickling a damaged file raises
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            super().save_overload(signature, compiled)
        except Exception as error:
            _warn_uncached(getattr(error, "strerror", None) or str(error))


@cache
def _warn_uncached(reason: str) -> None:
    """Warn once a process: all kernels have one reason."""
    warnings.warn(
        f"the CPU's compiled kernels cannot be kept ({reason}), so that every process compiles "
        "them again; name a writable folder in the environment variable NUMBA_CACHE_DIR",
        RuntimeWarning,
        stacklevel=2,
    )


_SOURCES = tuple(
    (path.name, path.stat().st_mtime_ns, path.stat().st_size)
    for path in sorted(Path(__file__).parent.glob("*.py"))
)
