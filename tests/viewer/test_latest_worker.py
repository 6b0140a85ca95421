"""The worker: the newest job wins, and the window's thread never waits."""

import threading
import time

import numpy as np
import pytest
from mdn_viewer import latest_worker
from mdn_viewer.core.jobs import Stopped
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.window import Window
from mdn_viewer.latest_worker import LatestOnlyWorker
from napari.utils.progress import progress

import mdn_cupy as mdn


class Heard:
    """What a worker delivers, and in which thread."""

    def __init__(self):
        self.results, self.errors, self.threads = [], [], set()
        self.worker = LatestOnlyWorker(self._result, self._error)

    def _result(self, result):
        self.results.append(result)
        self.threads.add(threading.current_thread())

    def _error(self, error):
        self.errors.append(error)
        self.threads.add(threading.current_thread())


@pytest.fixture
def heard(qtbot):
    heard = Heard()
    yield heard
    heard.worker.close()


class Blocked:
    """A job that ends when it is told to."""

    def __init__(self, result):
        self.result, self.begun, self.end = result, threading.Event(), threading.Event()

    def __call__(self):
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.end.wait(30)
        return self.result


def test_a_job_whose_time_is_unknown_does_not_hold_up_the_window(heard):
    job = Blocked("slow")
    heard.worker.submit(job, 1)  # returns while the job runs
    assert job.begun.wait(30)
    assert heard.results == []
    job.end.set()
    heard.worker.wait()
    assert heard.results == ["slow"]
    assert heard.threads == {threading.main_thread()}


def test_the_latest_wins(heard):
    first = Blocked(0)
    heard.worker.submit(first, 1)
    assert first.begun.wait(30)
    for n in range(1, 50):
        heard.worker.submit(lambda n=n: n, 1)
    first.end.set()
    heard.worker.wait()
    assert heard.results == [0, 49]


def test_all_jobs_run_in_one_other_thread(heard):
    threads = set()
    for work in (1, 1e9, 1e18):  # each far more than the one before
        heard.worker.submit(lambda: threads.add(threading.current_thread()), work)
        heard.worker.wait()
    assert len(threads) == 1
    assert threads != {threading.main_thread()}


def test_a_quick_job_is_done_at_once(heard):
    heard.worker.submit(lambda: "how quick?", 1)
    heard.worker.wait()
    heard.worker.submit(threading.current_thread, 1)
    assert heard.results[-1] is threading.main_thread()


def test_a_job_that_will_take_longer_is_not(heard):
    heard.worker.submit(lambda: time.sleep(0.001), 1)
    heard.worker.wait()
    heard.worker.submit(threading.current_thread, 1000)
    heard.worker.wait()
    assert heard.results[-1] is not threading.main_thread()


def test_a_job_that_took_unexpectedly_long_tells_the_pace_of_the_next(heard):
    """As where a GPU has failed and the CPU does its work."""
    for _ in range(3):
        heard.worker.submit(lambda: "quick", 1)
        heard.worker.wait()
    heard.worker.submit(lambda: time.sleep(0.2), 1)
    heard.worker.wait()
    heard.worker.submit(threading.current_thread, 1)
    heard.worker.wait()
    assert heard.results[-1] is not threading.main_thread()


def test_a_quick_job_does_not_overtake_a_slow_one(heard):
    heard.worker.submit(lambda: "quick", 1)
    heard.worker.wait()
    slow = Blocked("slow")
    heard.worker.submit(slow, 1e9)
    assert slow.begun.wait(30)
    heard.worker.submit(lambda: "quick again", 1)
    slow.end.set()
    heard.worker.wait()
    assert heard.results == ["quick", "slow", "quick again"]


def test_a_job_beside_others_takes_so_many_times_as_long(heard, monkeypatch):
    """As votes of a drag, beside a search for peaks; what is cancelled ends soon."""

    def thread_of(jobs):
        alone = min(heard.worker._paces["Working", None])
        monkeypatch.setattr(latest_worker, "_AT_ONCE", (jobs + 0.5) * alone)
        heard.worker.submit(threading.current_thread, 1)
        heard.worker.wait()
        return heard.results[-1]

    heard.worker.submit(lambda: "its pace", 1)
    heard.worker.wait()
    assert thread_of(1) is threading.main_thread()
    cancelled, another, other = Blocked(""), Blocked(""), Heard()
    heard.worker.submit(cancelled, 1e9)
    other.worker.submit(another, 1)
    assert cancelled.begun.wait(30)
    assert another.begun.wait(30)
    heard.worker.cancel()
    assert thread_of(1) is not threading.main_thread()
    assert thread_of(2) is threading.main_thread()
    cancelled.end.set()
    another.end.set()
    other.worker.close()
    cancelled.thread.join(30)  # `close` and `cancel` have given up the threads: they end
    another.thread.join(30)
    assert thread_of(1) is threading.main_thread()


@pytest.mark.parametrize("work", [1e9, 1e-9], ids=["elsewhere", "at once"])
def test_errors_are_delivered_and_the_worker_goes_on(heard, work):
    heard.worker.submit(lambda: "first", 1)
    heard.worker.wait()
    heard.worker.submit(lambda: 1 / 0, work)
    heard.worker.wait()
    assert [type(error) for error in heard.errors] == [ZeroDivisionError]
    heard.worker.submit(lambda: "again", work)
    heard.worker.wait()
    assert heard.results == ["first", "again"]


def test_what_is_cancelled_is_not_delivered_and_holds_up_nothing(heard):
    running = Blocked("running")
    heard.worker.submit(running, 1)
    assert running.begun.wait(30)
    heard.worker.cancel()
    heard.worker.submit(lambda: "next", 1)
    heard.worker.wait()  # though the first still runs
    assert heard.results == ["next"]
    running.end.set()
    heard.worker.submit(lambda: "last", 1e9)
    heard.worker.wait()
    assert heard.results == ["next", "last"]


def test_what_takes_long_is_announced_and_may_be_stopped(heard, qtbot, monkeypatch):
    monkeypatch.setattr(latest_worker, "_LONG_MS", 1)
    job = Blocked("never heard of")
    heard.worker.submit(job, 1, "Counting votes")
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    (announced,) = progress._all_instances
    assert announced.desc.startswith("Counting votes")
    announced.cancel()  # as napari's button does
    qtbot.waitUntil(lambda: bool(heard.errors))
    assert [type(error) for error in heard.errors] == [Stopped]
    assert not progress._all_instances
    job.end.set()
    heard.worker.submit(lambda: "next", 1)
    heard.worker.wait()
    assert heard.results == ["next"]


def test_a_job_that_ends_while_it_is_being_announced(heard, qtbot, monkeypatch):
    monkeypatch.setattr(latest_worker, "_LONG_MS", 1)
    job = Blocked("done")

    def draw(event):
        """Handle events, as napari's dock does while it draws."""
        job.end.set()
        qtbot.waitUntil(lambda: heard.results == ["done"])

    progress._all_instances.events.changed.connect(draw)
    try:
        heard.worker.submit(job, 1)
        qtbot.waitUntil(lambda: heard.results == ["done"])
    finally:
        progress._all_instances.events.changed.disconnect(draw)
    assert not progress._all_instances


def test_what_is_cancelled_while_it_is_delivered_is_not_heard(heard, qtbot, monkeypatch):
    monkeypatch.setattr(latest_worker, "_LONG_MS", 1)
    job = Blocked("done")
    heard.worker.submit(job, 1)
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    progress._all_instances.events.changed.connect(heard.worker.cancel)  # its announcement closes
    try:
        job.end.set()
        heard.worker.wait()
    finally:
        progress._all_instances.events.changed.disconnect(heard.worker.cancel)
    assert heard.results == []


def test_nothing_is_delivered_once_it_is_closed(heard, qtbot):
    running, waiting = Blocked("running"), Blocked("waiting")
    heard.worker.submit(running, 1)
    assert running.begun.wait(30)
    heard.worker.submit(waiting, 1)
    heard.worker.close()
    heard.worker.submit(lambda: "too late", 1)
    running.end.set()
    running.thread.join(30)
    assert not running.thread.is_alive()
    heard.worker.wait()
    qtbot.wait(1)  # whatever was queued for the window is handed over
    assert not waiting.begun.is_set()
    assert heard.results == heard.errors == []


def test_votes_for_all_pixels_end_once_the_slider_goes_on(qtbot, monkeypatch):
    shape = (1024, 1024)  # sources with windows of 161²: 27 G votes
    fields = mdn.Fields(np.full((1, *shape), 0.5, "f4"), np.zeros((1, 2, *shape), "f4"))
    vote, begun, ended = VotingSession.vote, threading.Event(), []

    def watched(self, kinds, window=None):
        if window is None:
            begun.set()
        try:
            return vote(self, kinds, window)
        except Stopped:
            ended.append(self.sigma)
            raise

    monkeypatch.setattr(VotingSession, "vote", watched)
    model = VotingModel(LatestOnlyWorker)
    model.window = Window(0, 0, 16, 16)
    model.show(VotingSession(fields, 0, 20.0))
    model._voting.wait()
    model.settle()
    assert begun.wait(30)
    model.change(sigma=1.0)
    qtbot.waitUntil(lambda: ended == [20.0], timeout=30_000)
    model.wait()
    assert model.exact
    assert model.voted.sigma == 1.0
    model.close()
