"""Runs the newest job and drops those that it overtook, so that the window never waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event
from typing import Any, NamedTuple

from napari.utils.progress import cancelable_progress
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QObject, Signal  # type: ignore[attr-defined]

import mdn_cupy as mdn
from mdn_viewer.core import compilation
from mdn_viewer.core.jobs import Stopped
from mdn_viewer.timers import single_shot_timer

__all__ = ["LatestOnlyWorker"]

_AT_ONCE = 0.12  # seconds, of jobs that share the machine with the drawing: half of that alone
_REMEMBERED = 3  # jobs, whose fastest tells the pace: the others had to share the machine
_BROKEN = 8  # so many times slower, and no sharing explains it: the GPU's work is now the CPU's
_LONG_MS = 1000  # what takes longer is announced

_threads: set[Future[Any]] = set()  # jobs of all workers in threads, but for cancelled ones


class LatestOnlyWorker(QObject):
    """One thread for as long as the window lives, and never more than one job waiting for it.

    A job that will be done before the window seems to stand still runs at once, in the window's
    thread. Another thread, each time it comes back from native code, would have to wait for the
    interpreter until the window has drawn; and without a GPU the window draws on the same cores.
    Beside n jobs in other threads, which use the same cores, it takes n + 1 times as long.
    Jobs that are cancelled end soon and are not counted.

    A job that takes longer than a second is announced in napari's activity dock, where it can be
    stopped.

    Parameters
    ----------
    on_result, on_error : callable
        Called in the window's thread with what a job returned or raised; with `Stopped` if the user
        stopped it.
    on_long : callable
        Called with the title of a job that takes longer than a second and a function that stops it;
        with "" and None when it is over.
    """

    _finished = Signal(object)

    def __init__(
        self,
        on_result: Callable[[Any], None],
        on_error: Callable[[BaseException], None],
        on_long: Callable[[str, Callable[[], None] | None], None] = lambda title, stop: None,
    ) -> None:
        super().__init__()
        self._on_result, self._on_error, self._on_long = on_result, on_error, on_long
        self._pool = _pool()
        self._running: Future[Any] | None = None  # None once it is delivered
        self._unwanted = Event()  # set: the votes of the running job end
        self._waiting: _Job | None = None
        self._era = 0  # what was submitted in an earlier one is not delivered
        self._paces: dict[Hashable, deque[float]] = {}  # of each kind, seconds per unit of work
        self._closed = False
        self._title = ""
        self._announced: _Announcement | None = None
        self._patience = single_shot_timer(self._announce, self)
        self._stop = single_shot_timer(self._on_stop, self)
        self._finished.connect(self._deliver)  # queued where it comes from the other thread

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._running is not None

    def submit(
        self, job: Callable[[], Any], work: float, title: str = "Working", kind: Hashable = None
    ) -> None:
        """Run a job, unless a newer one is submitted before it has begun.

        Parameters
        ----------
        job : callable
            Takes no argument and touches no widget. It should spend its time in native code without
            the GIL, or the window would wait for it after all.
        work : float
            What the job's time grows with, in any unit.
        title : str
            What to call it if it takes long.
        kind : hashable
            Jobs of one kind take equally long for a unit of work. The first of a kind never runs in
            the window's thread: Numba may have to compile for it.
        """
        if self._closed:
            return
        paces = self._paces.setdefault((title, kind), deque(maxlen=_REMEMBERED))
        new = _Job(partial(_timed, job, work, paces), work, paces, title)
        if self._running is None and self._waiting is None:
            self._begin(new)
        else:
            self._waiting = new

    def wait(self) -> None:
        """Wait until nothing is left to do and everything is delivered."""
        while self._running is not None:
            wait([self._running])
            QCoreApplication.processEvents()

    def cancel(self) -> None:
        """Drop the submitted jobs: running votes end soon, other results are discarded."""
        self._era += 1
        self._waiting = None
        if self._running is None:
            return
        self._unwanted.set()
        _threads.discard(self._running)
        if not self._running.cancel():  # it runs: the next job gets another thread
            self._pool.shutdown(wait=False)
            self._pool = _pool()
        self._rest()

    def close(self) -> None:
        """Accept no more jobs; a running one ends as in `cancel`."""
        self._closed, self._waiting = True, None
        self._unwanted.set()
        if self._running is not None:
            _threads.discard(self._running)
        if isalive(self._patience):  # type: ignore[no-untyped-call]
            self._rest()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, job: _Job) -> None:
        if job.quick:
            self._deliver((self._era, _done(job.run)))
            return
        self._title = job.title
        self._patience.start(_LONG_MS)
        self._unwanted = Event()
        self._running = self._pool.submit(_while_wanted, job.run, self._unwanted)
        _threads.add(self._running)
        self._running.add_done_callback(_threads.discard)
        era = self._era
        self._running.add_done_callback(lambda future: self._finished.emit((era, future)))

    def _begin_next(self) -> None:
        job, self._waiting = self._waiting, None
        if job is not None:
            self._begin(job)

    def _deliver(self, finished: tuple[int, Future[Any]]) -> None:
        era, future = finished
        if future is self._running:
            self._rest()
            if self._waiting is not None and not self._waiting.quick:
                self._begin_next()  # while this result is drawn
        if not self._closed and era == self._era and not future.cancelled():
            error = future.exception()
            if error is None:
                self._on_result(future.result())
            else:
                self._on_error(error)
        if self._running is None:
            self._begin_next()

    def _rest(self) -> None:
        self._running = None
        self._patience.stop()
        announced, self._announced = self._announced, None
        if announced is not None:
            announced.close()
            self._on_long("", None)

    def _announce(self) -> None:
        title = compilation.TITLE if compilation.under_way() else self._title
        announced = _Announcement(title, self._stop.start)
        if self._running is None:  # napari draws it at once, and handles what comes meanwhile
            announced.close()
        else:
            self._announced = announced
            self._on_long(title, self._stop.start)

    def _on_stop(self) -> None:
        if self._running is not None:
            self.cancel()
            self._on_error(Stopped(f"stopped: {self._title}"))


class _Job(NamedTuple):
    run: Callable[[], Any]
    work: float
    paces: deque[float]
    title: str

    @property
    def quick(self) -> bool:
        """Whether it will be done before the window seems to stand still."""
        beside = 1 + len(_threads)
        return bool(self.paces) and beside * self.work * min(self.paces) < _AT_ONCE


class _Announcement(cancelable_progress):  # type: ignore[misc]
    """A line in napari's activity dock, with a button that acts at once.

    napari's own acts between the iterations of a loop; a native call has none.
    """

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        super().__init__(total=0, desc=title)
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Cancel the progress bar and call `on_cancel`."""
        super().cancel()
        self._on_cancel()


def _while_wanted(job: Callable[[], Any], unwanted: Event) -> Any:
    def check() -> None:
        if unwanted.is_set():
            raise Stopped("the result is no longer wanted")

    with mdn.interrupted_by(check):
        check()
        return job()


def _timed(job: Callable[[], Any], work: float, paces: deque[float]) -> Any:
    begun = time.perf_counter()
    result = job()
    pace = (time.perf_counter() - begun) / work
    if paces and pace > _BROKEN * min(paces):
        paces.clear()
    paces.append(pace)
    return result


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="mdn-viewer")


def _done(job: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(job())
    except Exception as error:  # as the pool does: the caller gets it from the future
        future.set_exception(error)
    return future
