"""Arrows, boxes and layer controls cost what they must, and look as napari's own."""

import numpy as np
import pytest
from mdn_viewer.scene.canvas import quicken, show_controls_now, spell
from mdn_viewer.scene.marks import Points, Vectors
from mdn_viewer.scene.quick import controls as quick_controls
from mdn_viewer.scene.quick.controls import QuickControls
from napari.layers import Image, Layer
from napari.settings import get_settings
from vispy.visuals.shaders.program import ModularProgram

ARROWS = np.array([[[1.0, 1.0], [5.0, 5.0]], [[2.0, 8.0], [5.0, -5.0]]])


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros((10, 10)), name="map")
    return viewer


@pytest.fixture
def compiled(monkeypatch):
    """The programs that have been compiled since the list was cleared."""
    programs, build = [], ModularProgram._build
    monkeypatch.setattr(
        ModularProgram, "_build", lambda self: (programs.append(self), build(self))[1]
    )
    return programs


def pixels(viewer):
    return viewer.screenshot(canvas_only=True, flash=False).astype(int)


def test_other_arrows_are_drawn_by_the_same_program(viewer, compiled):
    quicken(viewer)
    layer = Vectors(ARROWS, edge_width=1, edge_color="red", vector_style="arrow")
    viewer.add_layer(layer)
    before = pixels(viewer)
    assert compiled
    compiled.clear()
    for data in (ARROWS[:1], 0.5 * ARROWS, np.concatenate([ARROWS, ARROWS + 1])):
        layer.data = data
        shown = pixels(viewer)
        assert (shown != before).any()
        before = shown
    assert compiled == []


def test_arrows_may_have_other_colours(viewer):
    quicken(viewer)
    layer = viewer.add_vectors(ARROWS, edge_width=1, edge_color="red", opacity=1)
    seen = {tuple(pixel) for pixel in pixels(viewer)[..., :3].reshape(-1, 3)}
    assert (255, 0, 0) in seen
    layer.edge_color = ["cyan", "yellow"]
    layer.data = 0.5 * ARROWS
    seen = {tuple(pixel) for pixel in pixels(viewer)[..., :3].reshape(-1, 3)}
    assert seen >= {(0, 255, 255), (255, 255, 0)}
    assert (255, 0, 0) not in seen


@pytest.mark.slow
def test_a_box_behind_a_name_may_grow_without_another_program(viewer, compiled):
    quicken(viewer)
    name = viewer.layers["map"].name_overlay
    name.visible = name.box = True
    pixels(viewer)
    assert compiled
    compiled.clear()
    before = pixels(viewer)
    viewer.layers["map"].name = "map of maps"
    assert (pixels(viewer) != before).any()
    assert compiled == []


def test_characters_are_prepared_once(viewer):
    quicken(viewer)
    canvas = viewer.window._qt_viewer.canvas
    font = canvas._font_info.font_manager.get_font(canvas._font_info.face)
    assert len([*spell(viewer, "noisy-or")]) > 0
    assert {*"noisy-or"} <= font._glyphs.keys()
    assert [*spell(viewer, "noisy-or")] == []
    glyphs = {*font._glyphs}
    overlay = viewer.layers["map"].name_overlay
    viewer.layers["map"].name, overlay.visible = "noisy-or", True
    pixels(viewer)
    assert font._glyphs.keys() == glyphs


@pytest.mark.slow
def test_controls_are_made_for_the_layer_that_is_selected(viewer, qtbot):
    quicken(viewer)
    controls = viewer.window._qt_viewer.controls
    assert isinstance(controls.widgets, QuickControls)
    assert [*controls.widgets] == [viewer.layers["map"]]
    a, b = (viewer.add_image(np.zeros((4, 4)), name=name) for name in "ab")
    assert [*controls.widgets] == [viewer.layers["map"]]
    qtbot.waitUntil(lambda: b in controls.widgets)
    assert a not in controls.widgets
    assert controls.currentWidget() is controls.widgets[b]
    viewer.layers.selection.active = a
    qtbot.waitUntil(lambda: controls.currentWidget() is controls.widgets.get(a))
    viewer.layers.remove(a)
    viewer.layers.selection = {viewer.layers["map"], b}
    qtbot.waitUntil(lambda: controls.panel is not None)
    viewer.add_image(np.zeros((4, 4)), name="never seen")
    viewer.layers.clear()
    qtbot.waitUntil(lambda: controls.currentWidget() is controls.empty_widget)
    assert controls.widgets == {}
    viewer.dims.ndisplay = 3
    layer = viewer.add_image(np.zeros((4, 4, 4)))
    assert controls.widgets[layer].ndisplay == 3


def test_controls_are_shown_at_once_where_a_picture_is_taken(viewer):
    quicken(viewer)
    controls = viewer.window._qt_viewer.controls
    layer = viewer.add_image(np.zeros((4, 4)))
    assert layer not in controls.widgets
    show_controls_now(viewer)
    assert controls.currentWidget() is controls.widgets.get(layer)
    assert not controls.widgets._shown.stop()


def test_controls_built_otherwise_stay_as_they_are(viewer, monkeypatch):
    monkeypatch.setattr(quick_controls, "_NEEDED", ("_something_of_the_past",))
    quicken(viewer)
    controls = viewer.window._qt_viewer.controls
    assert type(controls.widgets) is dict
    layer = viewer.add_image(np.zeros((4, 4)))
    assert layer in [*controls.widgets]
    show_controls_now(viewer)  # as they are


def test_marks_take_no_room(viewer):
    world, points = viewer.layers.extent.world, viewer.dims.point
    viewer.add_layer(Vectors(10 * ARROWS))
    viewer.add_layer(Points(np.array([[-50.0, 70.0]]), size=5))
    viewer.add_layer(Vectors(np.zeros((0, 2, 2)), ndim=2))
    np.testing.assert_array_equal(viewer.layers.extent.world, world)
    assert viewer.dims.point == points
    viewer.reset_view()
    assert viewer.camera.center[-2:] == (4.5, 4.5)


def test_marks_are_saved_as_what_they_are():
    for mark, kind in ((Vectors(ARROWS), "vectors"), (Points(ARROWS[0]), "points")):
        data, looks, saved = mark.as_layer_data_tuple()
        assert saved == kind
        np.testing.assert_array_equal(Layer.create(data, looks, saved).data, mark.data)


def test_a_point_is_highlighted_when_it_is_selected(viewer):
    layer = viewer.add_layer(Points(np.array([[1.0, 2.0], [3.0, 4.0]])))
    told = []
    layer.events.highlight.connect(told.append)
    viewer.layers.selection.active = viewer.layers["map"]
    viewer.add_layer(Image(np.zeros((4, 4))))
    assert told == []
    viewer.layers.selection.active = layer
    layer.mode = "select"
    layer.selected_data = {1}
    assert told
    assert layer._highlight_index == [1]
    layer.selected_data, layer.mode = set(), "pan_zoom"
    assert layer._highlight_index == []


def test_dynamic_controls_are_left_to_napari(viewer, monkeypatch):
    quicken(viewer)
    monkeypatch.setattr(get_settings().experimental, "dynamic_layer_controls", True)
    layer = viewer.add_image(np.zeros((4, 4)))
    with pytest.raises(KeyError):
        viewer.window._qt_viewer.controls.widgets[layer]
    viewer.layers.remove(layer)
