"""The dock widget while its layers, its viewer or its window change or go away."""

import threading

import numpy as np
import pytest
from mdn_viewer.core.session import RULES, VotingSession, title
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.layers import Layer, Points
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, Qt
from qtpy.QtWidgets import QToolButton
from viewer_support import (
    BLOCK,
    PLUGIN,
    WIDGET,
    add_fields,
    assert_shows,
    dock,
    maps,
    names,
    peaks,
    press,
    two_parts,
    wrong,
)


@pytest.mark.slow
def test_layers_are_renamed(viewer, two):
    viewer.layers["two confidence"].name = "c"
    viewer.layers["noisy-or"].name = "m"
    assert two.inputs.confidence.current_choice == "c"
    two.controls.sigma.value = 3
    two.wait()
    expected = VotingSession(two_parts(), "left", 3.0).vote()["noisy_or"].values
    np.testing.assert_allclose(viewer.layers["m"].data, expected, atol=1e-6)
    assert len(viewer.layers) == len(BLOCK) + 3


@pytest.mark.slow
def test_maps_are_deleted(viewer, two):
    for sigma, name in enumerate(BLOCK, start=3):
        viewer.layers.remove(name)
        two.controls.sigma.value = sigma
        two.wait()
        assert names(viewer)[: len(BLOCK)] == BLOCK
        assert_shows(viewer, two_parts(), "left", sigma)


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
        assert_shows(viewer, two_parts(), "left", 2.0)


@pytest.mark.slow
def test_the_image_is_deleted(viewer, two):
    viewer.layers.remove("two image")
    two.wait()
    assert names(viewer) == [*map(title, RULES), "two confidence", "two offsets"]
    assert_shows(viewer, two_parts(image=None), "left", 2.0)


@pytest.mark.slow
def test_everything_is_deleted_at_once(viewer, two):
    viewer.layers.clear()
    two.wait()
    assert names(viewer) == []
    assert "File > Open Sample" in two.controls.message.said


def test_a_copy_of_a_map_stays_what_it_is(viewer, two):
    layer = viewer.layers["noisy-or"]
    data, looks, kind = layer.as_layer_data_tuple()  # what napari's "Duplicate Layer" does
    copy = Layer.create(data.copy(), {**looks, "name": "copy"}, kind)
    viewer.layers.insert(viewer.layers.index(layer) + 1, copy)
    two.controls.sigma.value = 3
    two.wait()
    assert names(viewer)[: len(BLOCK)] == BLOCK
    assert_shows(viewer, two_parts(), "left", 3.0)
    expected = VotingSession(two_parts(), "left", 2.0).vote()["noisy_or"].values
    np.testing.assert_allclose(copy.data, expected, atol=1e-6)


def test_the_data_of_a_field_are_replaced(viewer, two):
    two.controls.part.value = 1
    two.controls.sigma.value = 3
    two.wait()
    layer = viewer.layers["two confidence"]
    layer.data = layer.data / 2
    two.wait()
    halved = two_parts(confidence=two_parts().confidence / 2)
    assert_shows(viewer, halved, "right", 3.0)  # part and sigma stay
    layer.data = layer.data[:1]  # a part less than there are offsets for
    two.wait()
    assert "offsets must have the shape (1, 2, 6, 8)" in wrong(two)
    layer.data = two_parts().confidence
    two.wait()
    assert not wrong(two)


def test_a_map_is_replaced(viewer, two):
    viewer.layers["noisy-or"].data = np.zeros((3, 3), np.uint8)
    two.controls.sigma.value = 3
    two.wait()
    assert_shows(viewer, two_parts(), "left", 3.0)


def test_two_viewers_at_once(make_napari_viewer):
    viewers = [make_napari_viewer(show=False) for _ in range(2)]
    for viewer in viewers:
        add_fields(viewer, two_parts())
    one, other = (dock(viewer) for viewer in viewers)
    one.controls.part.value, one.controls.sigma.value = 1, 3
    other.controls.sigma.value = 1
    one.wait()
    other.wait()
    assert_shows(viewers[0], two_parts(), "right", 3.0)
    assert_shows(viewers[1], two_parts(), "left", 1.0)
    viewers[0].close()
    other.controls.sigma.value = 2
    other.wait()
    assert_shows(viewers[1], two_parts(), "left", 2.0)


def test_the_widget_is_closed_and_opened_again(viewer, two):
    viewer.window.remove_dock_widget(two)
    add_fields(viewer, two_parts(), "later")  # nobody is there to vote
    assert names(viewer)[-1] == "later offsets"
    again = dock(viewer)
    assert again is not two
    assert again.inputs.confidence.current_choice == "later confidence"
    assert names(viewer)[: len(BLOCK)] == BLOCK  # the maps that were there
    assert len(viewer.layers) == len(BLOCK) + 3 + 3


def test_a_closed_widget_leaves_the_maps_of_the_next_alone(viewer, two):
    viewer.layers.remove("two confidence")  # the first would take its maps away, soon
    viewer.window.remove_dock_widget(two)
    viewer.layers.clear()
    add_fields(viewer, two_parts())
    again = dock(viewer)
    again.wait()
    assert names(viewer)[: len(BLOCK)] == BLOCK
    assert_shows(viewer, two_parts(), "left", 2.0)


def test_qt_deletes_the_widget_and_its_timers_in_any_order(viewer, two, qtbot):
    def say_so(*_):
        raise AssertionError("there is nobody left to be told")

    stage = two.stage
    stage.overlay("marks", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    stage.lay_over("marks")
    assert stage.busy
    stage.busy_changed.connect(say_so)
    two._garbage.deleteLater()
    two.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not stage.busy
    before = names(viewer)
    stage.arrange()
    qtbot.wait(20)
    assert names(viewer) == before


@pytest.fixture
def opening(make_napari_viewer, qtbot):
    """A shown viewer and its widget, half way through laying out the maps."""
    viewer = make_napari_viewer(show=True)
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    add_fields(viewer, two_parts())
    qtbot.waitUntil(lambda: "noisy-or" in names(viewer), timeout=30000)
    assert widget.stage.busy
    return viewer, widget


@pytest.mark.slow
def test_it_says_that_the_maps_are_being_laid_out(opening, qtbot):
    _, widget = opening
    assert "Laying out the maps" in widget.controls.message.said
    qtbot.waitUntil(lambda: not widget.stage.busy, timeout=30000)
    assert widget.controls.message.said == ""


def test_the_window_closes_while_the_maps_are_being_laid_out(opening, qtbot):
    viewer, widget = opening
    stage = widget.stage
    viewer.close()
    qtbot.wait(100)
    assert not stage.busy


@pytest.mark.slow
def test_the_widget_is_closed_while_the_maps_are_being_laid_out(opening, qtbot):
    viewer, widget = opening
    viewer.window.remove_dock_widget(widget)
    qtbot.wait(100)
    before = names(viewer)
    again = dock(viewer)
    assert set(before) < set(names(viewer))
    assert_shows(viewer, two_parts(), "left", 2.0)
    assert not again.stage.busy


def test_fields_are_exchanged_and_deleted_while_the_maps_are_being_laid_out(opening, qtbot):
    viewer, widget = opening
    other = two_parts(image=None, sigma=1.5)
    add_fields(viewer, other, "other")
    widget.wait()
    assert_shows(viewer, other, "left", 1.5)
    add_fields(viewer, two_parts(), "third")
    qtbot.wait(1)
    viewer.layers.clear()
    widget.wait()
    assert names(viewer) == []


class Slow:
    """Makes votes wait until they may go on."""

    def __init__(self, monkeypatch):
        self.begun, self.go_on, self.sigmas = threading.Event(), threading.Event(), []
        vote = VotingSession.vote

        def slow(session, kinds=RULES):
            self.sigmas.append(session.sigma)
            self.thread = threading.current_thread()
            self.begun.set()
            assert self.go_on.wait(30)
            return vote(session, kinds)

        monkeypatch.setattr(VotingSession, "vote", slow)
        monkeypatch.setattr(VotingSession, "work", property(lambda session: 1e30))


@pytest.fixture
def slow(two, monkeypatch):
    slow = Slow(monkeypatch)
    yield slow
    slow.go_on.set()


def test_the_window_lives_while_votes_are_counted(viewer, two, slow, qtbot):
    shown = maps(viewer)
    viewer.window._qt_window.show()
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    for sigma in (4, 5, 6):
        two.controls.sigma.value = sigma
    clicks = []
    two.compare.same_scale.toggled.connect(clicks.append)
    qtbot.mouseClick(two.compare.same_scale, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert clicks == [True]
    np.testing.assert_array_equal(maps(viewer)["noisy_or"], shown["noisy_or"])
    slow.go_on.set()
    two.wait()
    assert slow.sigmas == [3.0, 6.0]  # the latest wins
    assert_shows(viewer, two_parts(), "left", 6.0)


def test_fields_are_exchanged_while_votes_are_counted(viewer, two, slow):
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    other = two_parts(confidence=two_parts().confidence / 2, image=None, sigma=1.5)
    add_fields(viewer, other, "other")
    slow.go_on.set()
    two.wait()
    assert two.inputs.confidence.current_choice == "other confidence"
    assert_shows(viewer, other, "left", 1.5)


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
    window = viewer.window._qt_window
    window.show()
    shown = maps(viewer)
    two.controls.sigma.value = 3
    assert slow.begun.wait(30)
    activity = window._activity_dialog
    qtbot.waitUntil(lambda: activity.findChildren(QtLabeledProgressBar) != [], timeout=30000)
    press(qtbot, window.findChild(QToolButton, "QtActivityButton"))
    (bar,) = activity.findChildren(QtLabeledProgressBar)
    press(qtbot, bar.cancel_button)
    qtbot.waitUntil(lambda: "stopped: Counting votes" in wrong(two))
    assert two.controls.sigma.value == 2  # that of the maps that are there
    for rule, values in maps(viewer).items():
        np.testing.assert_array_equal(values, shown[rule])


def test_an_error_in_the_votes_is_shown(viewer, two, monkeypatch):
    def fail(session, kinds):
        raise MemoryError("1 TiB is not to be had")

    monkeypatch.setattr(VotingSession, "vote", fail)
    two.controls.sigma.value = 3
    two.wait()
    assert "1 TiB is not to be had" in wrong(two)
