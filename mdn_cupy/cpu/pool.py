"""Tasks on threads: serial kernels that free the GIL, on one pool for the whole process.

Any number of Python threads may enter at once (a viewer's worker and autograd's, say), which
Numba's own thread layers do not allow, and a forked child makes itself a new pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numba

__all__ = ["run", "thread_count"]

T = TypeVar("T")


def thread_count() -> int:
    """Threads that share the work: `NUMBA_NUM_THREADS`, or the cores this process may use."""
    return int(vars(numba.config)["NUMBA_NUM_THREADS"])


def run(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Results of independent tasks, run on the pool, or here where there is one thread or task."""
    tasks, threads = list(tasks), thread_count()
    if threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    return [done.result() for done in [_pool(threads).submit(task) for task in tasks]]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mdn-cupy")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
