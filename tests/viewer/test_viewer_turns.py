"""Turns of the event loop: what is taken in steps leaves room for what comes meanwhile."""

from time import sleep

import pytest
from mdn_viewer.scene.turns import Breath, EventTurns
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer


class Ear(QObject):
    """Hears what is posted to it, as a window hears its user."""

    def __init__(self, heard):
        super().__init__()
        self.heard = heard

    def event(self, event):
        if event.type() == QEvent.Type.User:
            self.heard.append("user")
            return True
        return super().event(event)


def test_between_two_steps_the_user_is_heard(qtbot):
    heard, turns = [], EventTurns()
    ear = Ear(heard)

    def step():
        heard.append("step")
        QCoreApplication.postEvent(ear, QEvent(QEvent.Type.User))
        QTimer.singleShot(0, lambda: heard.append("timer"))
        return heard.count("step") < 3

    turns.take(step)
    assert heard == []
    qtbot.waitUntil(lambda: heard.count("timer") == 3)
    assert [heard[i] for i in (0, 3, 6)] == ["step"] * 3
    assert [{*heard[i : i + 2]} for i in (1, 4, 7)] == [{"user", "timer"}] * 3


def test_after_long_work_of_others_the_user_is_heard_first(qtbot):
    heard = []
    breath = Breath(lambda: heard.append("act"))

    def work():
        sleep(0.1)
        QTimer.singleShot(0, lambda: heard.append("user"))

    for _ in range(3):
        breath.start()
        QTimer.singleShot(1, work)
        qtbot.waitUntil(lambda: "act" in heard)
        assert heard == ["user", "act"]
        heard.clear()


def test_where_others_work_all_the_time_nobody_waits_for_ever(qtbot):
    acts, works = [], QTimer()
    breath = Breath(lambda: acts.append(1))
    works.timeout.connect(lambda: sleep(0.06))
    works.start()
    breath.start()
    qtbot.waitUntil(lambda: bool(acts))
    works.stop()


def test_what_is_left_is_done_at_once_or_never(qtbot):
    done, turns = [], EventTurns()

    def step():
        done.append(len(done))
        return len(done) < 1000

    turns.take(step)
    qtbot.waitUntil(lambda: len(done) > 1)
    assert len(done) < 1000
    turns.finish()
    assert len(done) == 1000
    done.clear()
    turns.take(step)
    turns.close()
    qtbot.wait(20)
    assert done == []


def test_a_step_that_fails_may_be_followed_by_others(qtbot):
    done, turns = [], EventTurns()

    def step():
        done.append("tried")
        if len(done) == 1:
            raise ValueError("once")
        return False

    with qtbot.captureExceptions() as raised:
        turns.take(step)
        qtbot.waitUntil(lambda: len(done) == 2)
    assert [kind for kind, _, _ in raised] == [ValueError]


def test_however_often_it_is_asked_for_it_comes_once(qtbot):
    done, parent = [], QObject()
    breath = Breath(lambda: done.append("done"), parent)
    for _ in range(3):
        breath.start()
    qtbot.waitUntil(lambda: bool(done))
    qtbot.wait(20)
    assert done == ["done"]
    breath.start()
    breath.stop()
    qtbot.wait(20)
    assert done == ["done"]


@pytest.mark.filterwarnings("error")
def test_it_ends_with_its_parent(qtbot):
    done, parent = [], QObject()
    breath = Breath(lambda: done.append("done"), parent)
    breath.start()
    parent.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.wait(20)
    breath.start()  # of no use, and no harm
    breath.stop()
    assert done == []
