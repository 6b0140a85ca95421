"""Runs the newest job and drops those that it overtook, so that the window never waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Signal  # type: ignore[attr-defined]

__all__ = ["LatestWins"]

_AT_ONCE = 0.05  # seconds, which a hand on a slider hardly feels


class LatestWins(QObject):
    """One thread for as long as the window lives, and never more than one job waiting for it.

    A job that will be done before a hand on a slider feels it runs at once, in the window's thread:
    another thread, each time it comes back from native code, would have to wait for the interpreter
    until the window has drawn.

    Parameters
    ----------
    on_result, on_error : callable
        Called in the window's thread with what a job returned or raised.
    """

    _finished = Signal(object)

    def __init__(
        self, on_result: Callable[[Any], None], on_error: Callable[[BaseException], None]
    ) -> None:
        super().__init__()
        self._on_result, self._on_error = on_result, on_error
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mdn-viewer")
        self._newest: Future[Any] | None = None  # None once it is delivered
        self._pace = float("inf")  # seconds per unit of work, of the last job
        self._closed = False
        self._finished.connect(self._deliver)  # queued where it comes from the other thread

    def submit(self, job: Callable[[], Any], work: float) -> None:
        """Run a job, unless a newer one is submitted before it has begun.

        Parameters
        ----------
        job : callable
            Takes no argument and touches no widget. It should spend its time in native code without
            the GIL, or the window would wait for it after all.
        work : float
            What the job's time grows with, in any unit.
        """
        if self._closed:
            return
        job = partial(self._timed, job, work)
        if self._newest is None and work * self._pace < _AT_ONCE:
            self._deliver(_done(job))
            return
        if self._newest is not None:
            self._newest.cancel()
        self._newest = self._pool.submit(job)
        self._newest.add_done_callback(self._finished.emit)

    def wait(self) -> None:
        """Wait until nothing is left to do and everything is delivered."""
        while self._newest is not None:
            wait([self._newest])
            QCoreApplication.processEvents()

    def close(self) -> None:
        """Deliver nothing more; what has begun ends unheard."""
        self._closed = True
        self._newest = None
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, job: Callable[[], Any], work: float) -> Any:
        begun = time.perf_counter()
        result = job()
        self._pace = (time.perf_counter() - begun) / work
        return result

    def _deliver(self, future: Future[Any]) -> None:
        if future is self._newest:
            self._newest = None
        if self._closed or future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._on_result(future.result())
        else:
            self._on_error(error)


def _done(job: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(job())
    except Exception as error:  # as the pool does: the caller hears of it in the future
        future.set_exception(error)
    return future
