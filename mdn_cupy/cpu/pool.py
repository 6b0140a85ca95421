"""Tasks on threads: serial kernels that free the GIL, on one pool for the whole process.

Any number of Python threads may enter at once (a viewer's worker and autograd's, say), which
Numba's own thread layers do not allow, and a forked child makes itself a new pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import numba

__all__ = ["run", "thread_count"]

T = TypeVar("T")


def thread_count() -> int:
    """Threads that share the work: `NUMBA_NUM_THREADS`, or the cores this process may use."""
    return int(vars(numba.config)["NUMBA_NUM_THREADS"])


def run(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Run independent tasks, on this thread and others of the pool; return their results in order.

    This thread works too, so that a call makes progress however busy the pool is.
    """
    tasks = list(tasks)
    results: dict[int, T] = {}
    waiting = iter(enumerate(tasks))  # shared: the GIL gives each task to one thread

    def work() -> None:
        for n, task in waiting:
            results[n] = task()

    helpers = min(thread_count(), len(tasks)) - 1
    helping = [_pool(thread_count()).submit(work) for _ in range(helpers)]
    try:
        work()
    except BaseException:
        tuple(waiting)  # so that the helpers find none left
        raise
    finally:
        if helping:
            wait(helping)
    for helper in helping:
        helper.result()
    return [results[n] for n in range(len(tasks))]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mdn-cupy")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
