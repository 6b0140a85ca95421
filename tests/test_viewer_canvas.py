"""The short ways through napari's canvas end where napari's own do."""

import numpy as np
import pytest
from mdn_viewer import canvas as shortcuts
from mdn_viewer.canvas import insert, quicken, reveal
from napari._vispy.canvas import VispyCanvas
from napari.components import ViewerModel
from napari.layers import Image
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


def test_napari_built_otherwise_stays_as_it_is(viewer, monkeypatch):
    monkeypatch.setattr(shortcuts, "_NEEDED", (*shortcuts._NEEDED, "_something_of_the_past"))
    assert not quicken(viewer)
    assert type(viewer.window._qt_viewer.canvas) is VispyCanvas
    insert(viewer, 0, Image(np.zeros((4, 4)), name="new"))
    assert names(viewer)[0] == "new"
    assert not quicken(ViewerModel())
