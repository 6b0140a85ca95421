"""Layers that come to a window in turns: what is seen of them, and what becomes of them."""

import numpy as np
import pytest
from mdn_viewer.__main__ import opening
from mdn_viewer.core.session import RULES, title
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.widgets.voters import VotersPanel
from viewer_support import (
    PLUGIN,
    WIDGET,
    add_fields,
    assert_shows,
    dock,
    names,
    remember_defaults,
    two_parts,
    wrong,
)

VOTES = ["votes (noisy-or)", "votes (additive)"]


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 700)
    add_fields(viewer, two_parts())
    return viewer


@pytest.fixture
def two(viewer, qtbot):
    """A widget on the two parts, with the two maps on display."""
    remember_defaults(("noisy_or", "additive"))
    widget = dock(viewer)
    qtbot.wait(50)
    return widget


@pytest.fixture
def other():
    """Fields on the same grid that vote otherwise."""
    return two_parts(confidence=np.full((2, 6, 8), 0.2, np.float32), sigma=1.5)


def drawn(viewer):
    """The names of the layers that the canvas draws."""
    canvas = viewer.window._qt_viewer.canvas
    nodes = {x.name: canvas.layer_to_visual[x].node for x in viewer.layers}
    return [name for name, node in nodes.items() if node.visible and node.parent is not None]


def wait_for(qtbot, viewer, *expected):
    qtbot.waitUntil(lambda: {*expected} <= {*drawn(viewer)}, timeout=30000)


@pytest.mark.slow
def test_the_first_arrows_are_seen_while_others_come(viewer, two, qtbot):
    two.model.ask_pixel((10, 5))
    wait_for(qtbot, viewer, VOTES[0])
    assert two.stage.busy
    assert VOTES[1] not in names(viewer)
    wait_for(qtbot, viewer, *VOTES)


@pytest.mark.slow
def test_arrows_are_drawn_only_where_there_are_any(viewer, two, qtbot):
    panel = two.panel(VotersPanel)
    two.model.ask_pixel((10, 5))
    panel.wait()
    assert {*VOTES} < {*drawn(viewer)}
    two.model.ask_pixel(None)
    panel.wait()
    assert {*VOTES} < {*names(viewer)}
    assert not {*VOTES} & {*drawn(viewer)}
    two.model.ask_source((0, 2, 3))  # which brings no arrows
    panel.wait()
    assert "footprint (additive)" in drawn(viewer)
    assert not {*VOTES} & {*drawn(viewer)}
    two.model.ask_pixel((10, 5))
    panel.wait()
    assert {*VOTES} < {*drawn(viewer)}


@pytest.mark.slow
def test_a_layer_is_deleted_while_others_come(viewer, two, qtbot):
    two.model.ask_pixel((10, 5))
    wait_for(qtbot, viewer, VOTES[0])
    viewer.layers.remove(VOTES[0])
    two.wait()
    assert {*VOTES} < {*drawn(viewer)}
    assert_shows(viewer, two_parts(), "left", 2.0)


@pytest.mark.slow
def test_the_window_closes_while_arrows_come(viewer, two, qtbot):
    two.model.ask_pixel((10, 5))
    wait_for(qtbot, viewer, VOTES[0])
    stage = two.stage
    assert stage.busy
    viewer.close()
    qtbot.wait(100)
    assert not stage.busy


@pytest.mark.slow
def test_other_fields_vote_into_the_layers_that_there_are(viewer, two, other, qtbot):
    layers = [viewer.layers[title(rule)] for rule in RULES]
    add_fields(viewer, other, "other")
    assert not viewer.layers["other confidence"].visible  # it would have a cell of its own
    two.wait()
    assert [viewer.layers[title(rule)] for rule in RULES] == layers
    assert_shows(viewer, other, "left", 1.5)


@pytest.mark.slow
def test_the_widget_is_closed_before_other_fields_vote(viewer, two, other, qtbot):
    add_fields(viewer, other, "other")
    viewer.window.remove_dock_widget(two)
    qtbot.wait(50)
    assert {"other image", "other confidence"} < {*drawn(viewer)}


@pytest.mark.slow
def test_fields_that_do_not_fit_are_to_be_seen_all_the_same(viewer, two, other, qtbot):
    add_fields(viewer, other, "other", part=7)
    two.wait()
    assert "7" in wrong(two)
    wait_for(qtbot, viewer, "other image", "other confidence")


def test_mdn_viewer_opens_the_widget_that_the_menu_shows_and_hides(make_napari_viewer):
    viewer, widgets = make_napari_viewer(), []
    step, steps = opening(viewer, layer_data(two_parts(), "two"), widgets), 1
    while step():
        steps += 1
    assert steps > 5
    (widget,) = widgets
    widget.wait()
    assert_shows(viewer, two_parts(), "left", 2.0)
    assert viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1] is widget


@pytest.mark.slow
def test_the_maps_fill_their_cells_whatever_comes_beside_them(viewer):
    remember_defaults(("noisy_or", "additive", "difference", "confidence"))
    widget, camera = dock(viewer), viewer.scene.camera
    widget.wait()
    before = camera.zoom
    widget.compare.shown["evidence"].setChecked(True)
    widget.wait()
    assert viewer.canvas.grid.actual_shape(viewer.layers) == (2, 3)
    assert camera.zoom < 0.8 * before
    camera.zoom = 7  # as the user likes it
    widget.compare.shown["evidence"].setChecked(False)
    widget.wait()
    assert camera.zoom == 7
    remember_defaults()
