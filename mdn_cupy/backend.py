"""Which backends there are, and whether each works here."""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal, NamedTuple

__all__ = ["FORK_LOCKS", "Backend", "Status", "backends", "module"]

Backend = Literal["cpu", "cuda"]

FORK_LOCKS: list[Any] = [threading.RLock()]
"""Locks that a fork acquires first: a child would deadlock on one that another thread held.

The first is held while a backend loads, which may append its own.
"""

_held_by_fork: list[Any] = []


class Status(NamedTuple):
    """Whether something works here, and in which version, or why it does not."""

    works: bool
    detail: str

    def __str__(self) -> str:
        """'works: …' or 'not here: …'."""
        return f"{'works' if self.works else 'not here'}: {self.detail}"


def backends() -> dict[str, Status]:
    """Say which backends work on this machine, and why the others do not.

    Returns
    -------
    dict of str to Status
        "cpu", "cuda" and "torch".

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> mdn.backends()["cpu"].works
    True
    """
    return {"cpu": module("cpu").status(), "cuda": module("cuda").status(), "torch": _torch()}


@cache
def module(backend: Backend) -> ModuleType:
    """Load a backend: `problem`, `accumulate`, `noisy_or`, `compare` and `gather` on its arrays."""
    with FORK_LOCKS[0]:
        _wait_first()
        return import_module(f"mdn_cupy.{backend}")


def _torch() -> Status:
    if find_spec("torch") is None:
        return Status(False, 'torch is not installed; pip install "mdn-cupy[torch]"')
    from importlib.metadata import version  # 40 ms that most programs need not spend

    return Status(True, f"torch {version('torch')}")


@cache
def _wait_first() -> None:
    """Make a fork wait for the locks before any other hook of a module that Numba imports.

    The latest hook is called first. Were it that of `logging`, a fork would hold the lock of
    `logging` and wait for a thread that loads Numba, which would wait for `logging`.
    """
    for name in ("logging", "concurrent.futures.thread"):
        import_module(name)
        _wait_in_forks()


def _wait_in_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)


def _acquire() -> None:
    for lock in FORK_LOCKS:
        lock.acquire()
        _held_by_fork.append(lock)


def _release() -> None:
    while _held_by_fork:
        _held_by_fork.pop().release()


_wait_in_forks()
