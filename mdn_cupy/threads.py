"""The threads of a vote on the CPU: how many, and what ends it; imports neither Numba nor torch."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from mdn_cupy.validation import check_count

__all__ = ["get_num_threads", "interrupted_by", "interruption", "set_num_threads"]

Check = Callable[[], object]

_check: ContextVar[Check] = ContextVar("check", default=lambda: None)
_set: tuple[int, int] | None = None  # the number, and the process that set it


def set_num_threads(n: int | None) -> None:
    """Set the number of threads that share a vote on the CPU in this process.

    The bits of a result do not depend on it.

    Parameters
    ----------
    n : int or None
        From 1 on; None for the default again, see `get_num_threads`.

    Raises
    ------
    TypeError, ValueError
        If `n` is no whole number, or less than 1.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> mdn.set_num_threads(1)
    >>> mdn.get_num_threads()
    1
    >>> mdn.set_num_threads(None)
    """
    global _set
    wanted = None if n is None else check_count("n", n, remedy="None restores the default")
    _set = None if wanted is None else (wanted, os.getpid())


def get_num_threads() -> int:
    """Return the number of threads that share a vote on the CPU.

    The first of these that is given counts:

    1. the number that this process gave to `set_num_threads`;
    2. the environment variable ``MDN_NUM_THREADS``;
    3. the least of ``NUMBA_NUM_THREADS``, ``OMP_NUM_THREADS``, the CPUs that this process may use,
       torch's own number where torch is imported and that number was lowered, and in a task of Dask
       (distributed) the threads of its worker, whose other tasks share them.

    So a worker of torch's DataLoader, of joblib (loky) or of Dask uses what these grant it, one
    thread as a rule. A forked process uses at most what its parent set.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If ``MDN_NUM_THREADS`` is no whole number from 1 on.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> mdn.get_num_threads() >= 1
    True
    """
    inherited: float = math.inf
    if _set is not None:
        inherited, owner = _set
        if owner == os.getpid():
            return inherited
    wanted = _wanted() or min(_granted(), _torch_threads(), _dask_threads())
    return int(min(wanted, inherited))


@contextmanager
def interrupted_by(check: Callable[[], object]) -> Iterator[None]:
    """Call a function several times a second while this thread votes on the CPU.

    What it raises ends the vote, and is raised where the vote was asked for. So a vote of seconds
    can end when its result is no longer wanted.

    Parameters
    ----------
    check : callable
        Takes no argument; what it returns is ignored. It is called by every thread that shares the
        vote, gradient or search for peaks, as a rule every few milliseconds; not between votes,
        and not while a GPU computes. Within another such block both functions are called.

    Examples
    --------
    >>> import threading
    >>> import mdn_cupy as mdn
    >>> stopped = threading.Event()  # to be set by another thread
    >>> def check():
    ...     if stopped.is_set():
    ...         raise InterruptedError("no longer wanted")
    >>> with mdn.interrupted_by(check):
    ...     mdn.samples.load("delta").votes().noisy_or().shape
    (64, 64)
    """
    outer = _check.get()

    def both() -> None:
        outer()
        check()

    token = _check.set(both)
    try:
        yield
    finally:
        _check.reset(token)


def interruption() -> Check:
    """Return the function that a vote of this thread is to call; see `interrupted_by`."""
    return _check.get()


@cache
def _wanted() -> int | None:
    """Return the number in MDN_NUM_THREADS."""
    text = os.environ.get("MDN_NUM_THREADS", "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"the environment variable MDN_NUM_THREADS must be a whole number from 1 on, got "
            f"{text!r}; unset it for the default"
        )
    return int(text)


@cache
def _granted() -> int:
    """Return the least that the environment and the operating system name."""
    numbers = [len(_cpus())]
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP: one for each level
        if text.isdecimal() and int(text) >= 1:
            numbers.append(int(text))
    return min(numbers)


def _torch_threads() -> float:
    """Torch's number of threads where it was lowered, as its DataLoader does in its workers."""
    ask = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if ask is None:
        return math.inf
    threads: int = ask()
    # Torch starts with the physical cores (MKL), or with the CPUs (OpenMP without MKL).
    return threads if threads < _cores(_cpus()) or _in_data_loader() else math.inf


def _dask_threads() -> float:
    """Return the threads of the worker of Dask whose task this thread runs."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return math.inf
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:  # this thread runs none
        return math.inf


def _in_data_loader() -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None


@cache
def _cpus() -> frozenset[int]:
    """Return the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@cache
def _cores(cpus: Iterable[int]) -> int:
    """Return the physical cores of these CPUs, two of which may be one core."""
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(topology.format(cpu)).read_text() for cpu in cpus})
    except OSError:  # not Linux
        return (len(frozenset(cpus)) + 1) // 2
