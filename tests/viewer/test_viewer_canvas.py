"""The short ways through napari's canvas end where napari's own do."""

import numpy as np
import pytest
from mdn_viewer.scene.canvas import conceal, frames_held, insert, quicken, reveal, reveal_upon
from mdn_viewer.scene.quick import canvas as quick_canvas
from napari._vispy.canvas import VispyCanvas
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QCoreApplication
from viewer_support import names


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    for name in "abcdef":
        viewer.add_image(np.zeros((4, 4)), name=name)
    return viewer


def cells(viewer):
    """The names of the layers in every viewbox of the canvas, row by row."""
    canvas = viewer.window._qt_viewer.canvas
    nodes = {layer.name: canvas.layer_to_visual[layer].node for layer in viewer.layers}
    shown = [layer.name for layer in viewer.layers if layer.visible]
    rows, columns = canvas.grid.grid_size
    views = [canvas.grid[i, j] for i in range(rows) for j in range(columns)]
    assert views == canvas.grid_views
    assert len(canvas.grid_cameras) == len(views)
    return ["".join(n for n in shown if nodes[n].parent is view.scene) for view in views]


@pytest.mark.slow
def test_layers_are_where_napari_puts_them(viewer, qtbot):
    assert quicken(viewer)
    assert quicken(viewer)  # again
    grid, canvas = viewer.canvas.grid, viewer.window._qt_viewer.canvas
    grid.enabled = True
    assert cells(viewer) == ["a", "b", "c", "d", "e", "f"]
    views = list(canvas.grid_views)
    grid.stride = 2
    assert cells(viewer) == ["ab", "cd", "ef", ""]
    assert set(canvas.grid_views) < set(views)
    views = list(canvas.grid_views)
    viewer.layers["a"].visible = viewer.layers["b"].visible = False
    assert cells(viewer) == ["cd", "ef"]
    assert canvas.grid_views == views[1:3]  # which go with what they show
    grid.shape = (2, 3)
    qtbot.wait(50)
    assert cells(viewer) == ["cd", "ef", "", "", "", ""]
    viewer.layers.remove("a")  # whose viewbox has gone
    viewer.layers.clear()
    viewer.add_image(np.zeros((4, 4)))
    qtbot.wait(50)
    grid.enabled = False
    qtbot.wait(50)


def test_a_grid_finds_the_same_cells(viewer):
    layers, grid = viewer.layers, viewer.canvas.grid
    grid.enabled, grid.stride = True, -2
    layers["c"].visible = layers["d"].visible = False

    def found():
        places = [grid.position(i, layers) for i in range(len(layers))]
        return places, grid.contents_at((0, 1), layers), list(grid.iter_viewboxes(layers))

    before = found()
    assert quicken(viewer)
    assert found() == before


@pytest.mark.slow
def test_a_layer_is_drawn_when_it_is_revealed(viewer):
    quicken(viewer)
    layer, before = Image(np.zeros((4, 4)), name="new"), viewer.layers.selection.active
    insert(viewer, 1, layer)
    assert names(viewer)[:3] == ["a", "new", "b"]
    assert viewer.layers.selection.active is before
    node = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node
    assert not node.visible
    reveal(viewer, layer)
    assert node.visible
    viewer.layers.remove(layer)
    reveal(viewer, layer)  # of no use, and no harm


def test_a_layer_is_drawn_above_another_before_the_grid_is_built(viewer):
    quicken(viewer)
    viewer.canvas.grid.enabled = True
    canvas, below = viewer.window._qt_viewer.canvas, viewer.layers["c"]
    layer = Image(np.zeros((4, 4)), name="new")
    with viewer.layers.batched_update():
        insert(viewer, 3, layer)
        nodes = [canvas.layer_to_visual[x].node for x in (below, layer)]
        conceal(viewer, below)
        assert not reveal_upon(viewer, layer, below)
        reveal(viewer, below)
        assert reveal_upon(viewer, layer, below)
        assert nodes[0].parent is nodes[1].parent
        assert canvas._scene_canvas._draw_order == {}
        assert nodes[0].parent.children.index(nodes[0]) < nodes[0].parent.children.index(nodes[1])
    viewer.canvas.grid.stride = 7
    assert cells(viewer) == ["abc" + "newdef"]


@pytest.fixture
def frames(viewer, qtbot):
    """The frames that a quick canvas has drawn since all was there."""
    quicken(viewer)
    qtbot.wait(100)
    drawn = []
    viewer.window._qt_viewer.canvas.events.draw.connect(lambda event: drawn.append(event))
    return drawn


def test_a_frame_comes_in_a_turn_of_its_own(viewer, frames, qtbot):
    for opacity in (0.2, 0.4, 0.6):
        viewer.layers["a"].opacity = opacity
    QCoreApplication.processEvents()
    assert frames == []
    qtbot.waitUntil(lambda: len(frames) == 1)


def test_frames_are_held_back_until_all_is_done(viewer, frames, qtbot):
    with frames_held(viewer):
        viewer.layers["a"].opacity = 0.5
        qtbot.wait(50)
        assert frames == []
    qtbot.waitUntil(lambda: len(frames) > 0)


@pytest.mark.slow
def test_layers_that_come_in_one_turn_are_given_their_cells_at_once(viewer, frames, qtbot):
    viewer.canvas.grid.enabled = True
    qtbot.wait(50)
    before, shown = cells(viewer), viewer.screenshot()
    for name in "gh":
        viewer.add_image(np.ones((4, 4)), name=name)
    canvas = viewer.window._qt_viewer.canvas
    assert [canvas.layer_to_visual[viewer.layers[x]].node.parent for x in "gh"] == [None, None]
    assert (viewer.screenshot() != shown).any()
    assert cells(viewer) == [*before, "g", "h", ""]
    viewer.add_image(np.ones((4, 4)), name="i")
    viewer.layers.remove("i")  # before it had one
    with viewer.layers.batched_update():
        viewer.add_image(np.ones((4, 4)), name="j")
        qtbot.wait(20)
    assert cells(viewer) == [*before, "g", "h", "j"]


@pytest.mark.slow
def test_napari_built_otherwise_stays_as_it_is(viewer, monkeypatch):
    needed = (*quick_canvas._NEEDED, "_something_of_the_past")
    monkeypatch.setattr(quick_canvas, "_NEEDED", needed)
    assert not quicken(viewer)
    assert type(viewer.window._qt_viewer.canvas) is VispyCanvas
    insert(viewer, 0, Image(np.zeros((4, 4)), name="new"))
    assert names(viewer)[0] == "new"
    assert not quicken(ViewerModel())
