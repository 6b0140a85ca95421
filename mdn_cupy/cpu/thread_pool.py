"""Run tasks on threads: serial kernels that free the GIL, on one pool for the whole process.

Any number of Python threads may call it at once (a viewer's worker and autograd's, say), which
Numba's own thread layers do not allow, and a forked child makes a new pool.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

from mdn_cupy.threads import get_num_threads, interruption

__all__ = ["run"]

T = TypeVar("T")


class _Working:
    """The number of threads that run tasks in this process, those of callers and of the pool."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0

    def enter(self, most: float) -> bool:
        """Count one more, unless there are as many already."""
        with self._lock:
            room = self._threads < most
            self._threads += room
        return room

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._threads -= 1


_working = _Working()


def run(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Run independent tasks, on this thread and others of the pool; return their results in order.

    This thread works too, so that a call makes progress however busy the pool is. Others join only
    while fewer than `get_num_threads` are at work: with as many callers (Dask's threads), none.
    What `interrupted_by` has it call before every task may end it.
    """
    tasks = list(tasks)
    results: dict[int, T] = {}
    waiting = iter(enumerate(tasks))  # shared: the GIL gives each task to one thread
    working, threads, check = _working, get_num_threads(), interruption()

    def work(most: float = float("inf")) -> None:
        if working.enter(most):
            try:
                for n, task in waiting:
                    check()
                    results[n] = task()
            finally:
                working.leave()

    helpers = min(threads, len(tasks)) - 1
    pool, helping = _pool(threads), []
    try:
        for _ in range(helpers):
            helping.append(pool.submit(work, threads))  # noqa: PERF401 (kept if the next is not)
        work()
    except BaseException as error:
        tuple(waiting)  # so that the helpers find none left
        if isinstance(error, KeyboardInterrupt):
            # A thread that was just starting is not registered: Python would wait for it at exit.
            _pool.cache_clear()
            pool.shutdown(wait=False)
        raise
    finally:
        if helping:
            wait(helping)
    for helper in helping:
        helper.result()
    return [results[n] for n in range(len(tasks))]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mdn-cupy")


def _start_again() -> None:
    """Make a new pool in a forked child, which does not have the threads of the old one."""
    global _working
    _working = _Working()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)
