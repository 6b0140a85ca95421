"""The dock widget while its layers, its viewer or its window change or go away."""

import threading

import numpy as np
import pytest
from mdn_viewer.core.session import RULES, VotingSession, title
from qtpy.QtCore import QPoint, Qt
from viewer_support import (
    add_fields,
    assert_shows,
    dock,
    names,
    peaks,
    pictures,
    press,
    two_parts,
    wrong,
)


def test_layers_are_renamed(viewer, two):
    viewer.layers["two confidence"].name = "c"
    assert two.inputs.confidence.current_choice == "c"
    two.controls.sigma.value = 3
    two.wait()
    assert_shows(two, two_parts(), "left", 3.0)


@pytest.mark.slow
def test_fields_are_deleted(viewer, two):
    for name in ("two confidence", "two offsets"):
        viewer.layers.remove(name)
        two.wait()
        assert "choose layers" in two.controls.message.said
        assert set(peaks(two).values()) == {"– at –"}
        two.controls.sigma.value = 3
        two.controls.part.value = 1
        two.compare.same_scale.setChecked(True)
        two.wait()
        viewer.layers.clear()
        add_fields(viewer, two_parts())
        two.wait()
        assert_shows(two, two_parts(), "left", 2.0)


@pytest.mark.slow
def test_the_image_is_deleted(viewer, two):
    viewer.layers.remove("two image")
    two.wait()
    assert {*map(title, RULES)} < {*two.canvas.cells}
    assert_shows(two, two_parts(image=None), "left", 2.0)


@pytest.mark.slow
def test_everything_is_deleted_at_once(viewer, two):
    viewer.layers.clear()
    two.wait()
    assert names(viewer) == []
    assert "File > Open Sample" in two.controls.message.said


def test_the_data_of_a_field_are_replaced(viewer, two):
    two.controls.part.value = 1
    two.controls.sigma.value = 3
    two.wait()
    layer = viewer.layers["two confidence"]
    layer.data = layer.data / 2
    two.wait()
    halved = two_parts(confidence=two_parts().confidence / 2)
    assert_shows(two, halved, "right", 3.0)  # part and sigma stay
    layer.data = layer.data[:1]  # a part less than there are offsets for
    two.wait()
    assert "got confidence (1, 6, 8), offsets (2, 2, 6, 8)" in wrong(two)
    layer.data = two_parts().confidence
    two.wait()
    assert not wrong(two)


def test_a_second_field_set_keeps_the_cells_and_one_that_fails_shows_none(viewer, two, monkeypatch):
    before = {**two.canvas.cells}
    add_fields(viewer, two_parts(sigma=1.5), "other")
    two.wait()
    assert two.canvas.cells == before
    assert_shows(two, two_parts(), "left", 1.5)

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(VotingSession, "vote", fail)
    add_fields(viewer, two_parts(sigma=3.0), "third")
    two.wait()
    assert two.canvas.cells == {}
    assert "no room" in wrong(two)


def test_a_closed_widget_leaves_the_maps_of_the_next_alone(viewer, two):
    viewer.layers.remove("two confidence")  # the first would take its maps away, soon
    viewer.window.remove_dock_widget(two)
    viewer.layers.clear()
    add_fields(viewer, two_parts())
    again = dock(viewer)
    again.wait()
    assert_shows(again, two_parts(), "left", 2.0)


class Slow:
    """Makes votes wait until they may go on."""

    def __init__(self, monkeypatch):
        self.begun, self.go_on, self.sigmas = threading.Event(), threading.Event(), []
        vote = VotingSession.vote

        def slow(session, kinds=RULES, window=None):
            self.sigmas.append(session.sigma)
            self.thread = threading.current_thread()
            self.begun.set()
            assert self.go_on.wait(30)
            return vote(session, kinds, window)

        monkeypatch.setattr(VotingSession, "vote", slow)
        monkeypatch.setattr(VotingSession, "work_in", lambda session, window: 1e30)


@pytest.fixture
def slow(two, monkeypatch):
    slow = Slow(monkeypatch)
    yield slow
    slow.go_on.set()


def test_the_window_lives_while_votes_are_counted(viewer, two, slow, qtbot):
    shown = pictures(two)
    viewer.window._qt_window.show()
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    for sigma in (4, 5, 6):
        two.controls.sigma.value = sigma
    clicks = []
    two.compare.same_scale.toggled.connect(clicks.append)
    qtbot.mouseClick(two.compare.same_scale, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert clicks == [True]
    np.testing.assert_array_equal(pictures(two)["noisy-or"], shown["noisy-or"])
    slow.go_on.set()
    two.wait()
    assert slow.sigmas == [3.0, 6.0]  # the latest wins
    assert_shows(two, two_parts(), "left", 6.0)


def test_fields_are_exchanged_while_votes_are_counted(viewer, two, slow):
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    other = two_parts(confidence=two_parts().confidence / 2, image=None, sigma=1.5)
    add_fields(viewer, other, "other")
    slow.go_on.set()
    two.wait()
    assert two.inputs.confidence.current_choice == "other confidence"
    assert_shows(two, other, "left", 1.5)


def test_fields_are_deleted_while_votes_are_counted(viewer, two, slow):
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    viewer.layers.clear()
    slow.go_on.set()
    two.wait()
    assert names(viewer) == []


def test_the_window_closes_while_votes_are_counted(viewer, two, slow, qtbot):
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    two.controls.sigma.value = 4
    viewer.close()
    slow.go_on.set()
    slow.thread.join(30)
    assert not slow.thread.is_alive()
    assert slow.sigmas == [3.0]


def test_votes_that_take_long_are_stopped_by_a_click(viewer, two, slow, qtbot):
    viewer.window._qt_window.show()
    qtbot.wait(100)
    shown, tabs = pictures(two), two.tabs.geometry()
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    qtbot.waitUntil(lambda: two.controls.stop.visible, timeout=30000)
    qtbot.wait(100)
    now = two.tabs.geometry()  # nothing moves away from under the mouse
    assert now.topLeft() == tabs.topLeft()
    assert now.bottom() == pytest.approx(tabs.bottom(), abs=2)  # napari's spinner may take a pixel
    assert two.controls.stop.text == "Counting votes … Stop"
    press(qtbot, two.controls.stop.native)
    qtbot.waitUntil(lambda: "stopped: Counting votes" in wrong(two))
    assert not two.controls.stop.visible
    assert two.controls.sigma.value == 2  # that of the maps that are there
    for name, values in pictures(two).items():
        np.testing.assert_array_equal(values, shown[name])


def test_an_error_in_the_votes_is_shown(viewer, two, monkeypatch):
    def fail(session, kinds, window):
        raise MemoryError("1 TiB is not to be had")

    monkeypatch.setattr(VotingSession, "vote", fail)
    two.controls.sigma.value = 3
    two.wait()
    assert "1 TiB is not to be had" in wrong(two)
