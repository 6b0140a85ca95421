"""The stage: cells of napari's grid, and what lies over each of them."""

import numpy as np
import pytest
from mdn_viewer.stage import Stage, own
from napari.components import ViewerModel
from napari.layers import Image, Points
from viewer_support import names


def picture(name):
    return own(Image(np.zeros((6, 8), np.float32), name=name))


@pytest.fixture
def stage():
    stage = Stage(ViewerModel())
    stage.overlay("marks", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    stage.set_cells({"m": (picture("m"), None), "s": (picture("s"), None)}, np.zeros((6, 8)))
    return stage


CELLS = ["image (m)", "m", "marks (m)", "image (s)", "s", "marks (s)"]


def test_every_cell_has_its_layers_in_their_order(stage):
    assert names(stage.viewer) == CELLS
    assert (stage.viewer.canvas.grid.enabled, stage.viewer.canvas.grid.stride) == (True, 3)
    stage.viewer.layers.move(0, 6)
    stage.viewer.layers.remove("marks (s)")
    assert not stage.in_order
    stage.arrange()
    assert names(stage.viewer) == CELLS


def test_the_layer_that_is_selected_stays_so(stage):
    mine = stage.viewer.add_points(name="mine")
    assert stage.viewer.layers.selection.active is mine
    stage.add_cell("g", Image(np.zeros((6, 8)), name="g"))
    stage.overlay("more", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    assert stage.viewer.layers.selection.active is mine
    assert names(stage.viewer)[-1] == "mine"


def test_overlays_come_back_with_the_next_cells(stage):
    stage.clear()
    assert names(stage.viewer) == []
    stage.set_cells({"m": (picture("m"), None)}, None)
    assert names(stage.viewer) == ["m", "marks (m)"]


def test_napari_builds_its_cells_once_for_all_that_changes(stage):
    batches = []
    stage.viewer.layers.events.end_batch.connect(batches.append)
    with stage.at_once():
        stage.add_cell("g", Image(np.zeros((6, 8)), name="g"))
        stage.remove_cell("s")
    assert len(batches) == 1
    stage.arrange()  # all is in its place
    assert len(batches) == 1
    assert [name for name in names(stage.viewer) if len(name) == 1] == ["m", "g"]
