"""The dock widget while its layers, its viewer or its window change or go away."""

import threading

import numpy as np
import pytest
from mdn_viewer.session import VotingSession
from napari.layers import Layer
from qtpy.QtCore import QPoint, Qt
from viewer_support import (
    BLOCK,
    add_fields,
    assert_shows,
    dock,
    maps,
    names,
    peaks,
    two_parts,
    wrong,
)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=False)


@pytest.fixture
def two(viewer):
    """The widget of a viewer with the field set `two_parts`."""
    add_fields(viewer, two_parts())
    return dock(viewer)


def test_layers_are_renamed(viewer, two):
    viewer.layers["two confidence"].name = "c"
    viewer.layers["noisy-or"].name = "m"
    assert two.confidence.current_choice == "c"
    two.sigma.value = 3
    two.wait()
    expected = VotingSession(two_parts(), "left", 3.0).vote()["noisy-or"].values
    np.testing.assert_allclose(viewer.layers["m"].data, expected, atol=1e-6)
    assert len(viewer.layers) == 7


def test_maps_are_deleted(viewer, two):
    for sigma, name in enumerate(BLOCK, start=3):
        viewer.layers.remove(name)
        two.sigma.value = sigma
        two.wait()
        assert names(viewer)[:4] == BLOCK
        assert_shows(viewer, two_parts(), "left", sigma)


def test_fields_are_deleted(viewer, two):
    for name in ("two confidence", "two offsets"):
        viewer.layers.remove(name)
        two.wait()
        assert "choose layers" in two.message.value
        assert set(peaks(two).values()) == {"–"}
        two.sigma.value = 3
        two.part.value = 1
        two.same_scale.value = True
        two.wait()
        viewer.layers.clear()
        add_fields(viewer, two_parts())
        two.wait()
        assert_shows(viewer, two_parts(), "left", 2.0)


def test_the_image_is_deleted(viewer, two):
    viewer.layers.remove("two image")
    two.wait()
    assert names(viewer) == ["noisy-or", "additive", "two confidence", "two offsets"]
    assert_shows(viewer, two_parts(image=None), "left", 2.0)


def test_everything_is_deleted_at_once(viewer, two):
    viewer.layers.clear()
    two.wait()
    assert names(viewer) == []
    assert "File > Open Sample" in two.message.value


def test_a_copy_of_a_map_stays_what_it_is(viewer, two):
    layer = viewer.layers["noisy-or"]
    data, looks, kind = layer.as_layer_data_tuple()  # what napari's "Duplicate Layer" does
    copy = Layer.create(data.copy(), {**looks, "name": "copy"}, kind)
    viewer.layers.insert(viewer.layers.index(layer) + 1, copy)
    two.sigma.value = 3
    two.wait()
    assert names(viewer)[:4] == BLOCK
    assert_shows(viewer, two_parts(), "left", 3.0)
    expected = VotingSession(two_parts(), "left", 2.0).vote()["noisy-or"].values
    np.testing.assert_allclose(copy.data, expected, atol=1e-6)


def test_the_data_of_a_field_are_replaced(viewer, two):
    two.part.value = 1
    two.sigma.value = 3
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
    two.sigma.value = 3
    two.wait()
    assert_shows(viewer, two_parts(), "left", 3.0)


def test_two_viewers_at_once(make_napari_viewer):
    viewers = [make_napari_viewer(show=False) for _ in range(2)]
    for viewer in viewers:
        add_fields(viewer, two_parts())
    one, other = (dock(viewer) for viewer in viewers)
    one.part.value, one.sigma.value = 1, 3
    other.sigma.value = 1
    one.wait()
    other.wait()
    assert_shows(viewers[0], two_parts(), "right", 3.0)
    assert_shows(viewers[1], two_parts(), "left", 1.0)
    viewers[0].close()
    other.sigma.value = 2
    other.wait()
    assert_shows(viewers[1], two_parts(), "left", 2.0)


def test_the_widget_is_closed_and_opened_again(viewer, two):
    viewer.window.remove_dock_widget(two.native)
    add_fields(viewer, two_parts(), "later")  # nobody is there to vote
    assert names(viewer)[-1] == "later offsets"
    again = dock(viewer)
    assert again is not two
    assert again.confidence.current_choice == "later confidence"
    assert names(viewer)[:4] == BLOCK  # the maps that were there
    assert len(viewer.layers) == 4 + 3 + 3


class Slow:
    """Makes votes wait until they may go on, all but those of one sigma."""

    def __init__(self, monkeypatch):
        self.begun, self.go_on, self.sigmas = threading.Event(), threading.Event(), []
        vote = VotingSession.vote

        def slow(session):
            self.sigmas.append(session.sigma)
            self.begun.set()
            assert self.go_on.wait(30)
            return vote(session)

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
    two.sigma.value = 3
    assert slow.begun.wait(30)
    for sigma in (4, 5, 6):
        two.sigma.value = sigma
    clicks = []
    two.same_scale.changed.connect(clicks.append)
    qtbot.mouseClick(two.same_scale.native, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert clicks == [True]
    np.testing.assert_array_equal(maps(viewer)["noisy-or"], shown["noisy-or"])
    slow.go_on.set()
    two.wait()
    assert slow.sigmas == [3.0, 6.0]  # the latest wins
    assert_shows(viewer, two_parts(), "left", 6.0)


def test_fields_are_exchanged_while_votes_are_counted(viewer, two, slow):
    two.sigma.value = 3
    assert slow.begun.wait(30)
    other = two_parts(confidence=two_parts().confidence / 2, image=None, sigma=1.5)
    add_fields(viewer, other, "other")
    slow.go_on.set()
    two.wait()
    assert two.confidence.current_choice == "other confidence"
    assert_shows(viewer, other, "left", 1.5)


def test_fields_are_deleted_while_votes_are_counted(viewer, two, slow):
    two.sigma.value = 3
    assert slow.begun.wait(30)
    viewer.layers.clear()
    slow.go_on.set()
    two.wait()
    assert names(viewer) == []


def test_the_window_closes_while_votes_are_counted(viewer, two, slow, qtbot):
    two.sigma.value = 3
    assert slow.begun.wait(30)
    two.sigma.value = 4
    thread = next(t for t in threading.enumerate() if t.name.startswith("mdn-viewer"))
    viewer.close()
    slow.go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    assert slow.sigmas == [3.0]


def test_an_error_in_the_votes_is_shown(viewer, two, monkeypatch):
    def fail(session):
        raise MemoryError("1 TiB is not to be had")

    monkeypatch.setattr(VotingSession, "vote", fail)
    two.sigma.value = 3
    two.wait()
    assert "1 TiB is not to be had" in wrong(two)
