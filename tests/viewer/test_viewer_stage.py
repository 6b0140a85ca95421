"""The stage: cells of napari's grid, and what lies over each of them."""

import gc

import numpy as np
import pytest
from mdn_viewer.scene import garbage
from mdn_viewer.scene.cells import own
from mdn_viewer.scene.stage import Stage
from mdn_viewer.scene.turns import EventTurns
from napari.components import ViewerModel
from napari.layers import Image, Points
from viewer_support import names


def picture(name):
    return own(Image(np.zeros((6, 8), np.float32), name=name))


@pytest.fixture
def stage():
    stage = Stage(ViewerModel())
    stage.overlay("marks", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    stage.lay_over("marks")
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
    assert not stage.overlays("more")
    stage.lay_over("more")
    assert len(stage.overlays("more")) == 3
    assert stage.viewer.layers.selection.active is mine
    assert names(stage.viewer)[-1] == "mine"


def test_overlays_are_laid_over_the_next_cells_when_they_are_needed(stage):
    stage.clear()
    assert names(stage.viewer) == []
    stage.set_cells({"m": (picture("m"), None)}, None)
    assert names(stage.viewer) == ["m"]
    stage.lay_over("marks")
    assert names(stage.viewer) == ["m", "marks (m)"]


def test_a_cell_that_comes_later_has_its_overlays(stage):
    stage.add_cell("g", Image(np.zeros((6, 8)), name="g"))
    assert names(stage.viewer) == [*CELLS, "image (g)", "g", "marks (g)"]
    stage.remove_cell("s")
    assert names(stage.viewer) == [*CELLS[:3], "image (g)", "g", "marks (g)"]


def test_every_picture_shows_its_name_until_somebody_hides_it(stage):
    shown = stage.pictures["m"]
    assert shown.name_overlay.visible
    assert shown.colorbar.visible
    shown.colorbar.visible = False
    stage.set_cells({"m": (shown, None)}, None)
    assert not shown.colorbar.visible


class ByHand:
    """Turns that a test takes."""

    def take(self, step):
        self.step = step

    def finish(self):
        while self.step():
            pass

    def close(self):
        pass


@pytest.fixture
def slow():
    """A stage whose layers come in turns, half way through."""
    stage = Stage(ViewerModel(), ByHand())
    stage.batches, stage.heard = [], []
    stage.viewer.layers.events.end_batch.connect(stage.batches.append)
    stage.busy_changed.connect(stage.heard.append)
    stage.set_cells({n: (picture(n), None) for n in ("m", "s")}, np.zeros((6, 8)))
    stage._turns.step()
    stage._turns.step()
    yield stage
    stage.close()


def test_layers_come_one_after_another_and_napari_builds_its_cells_once(slow):
    assert names(slow.viewer) == CELLS[:2]
    assert (slow.busy, slow.in_order, slow.heard, slow.batches) == (True, True, [True], [])
    slow.wait()
    assert names(slow.viewer) == ["image (m)", "m", "image (s)", "s"]
    assert (slow.busy, slow.in_order, slow.heard) == (False, True, [True, False])
    assert len(slow.batches) == 1
    slow.arrange()
    assert len(slow.batches) == 1


def test_what_changes_in_the_meantime_is_made_good_for(slow):
    done = []
    slow.then(lambda: done.append(names(slow.viewer)))
    slow.viewer.layers.remove("m")
    slow.add_cell("g", Image(np.zeros((6, 8)), name="g"))
    slow.remove_cell("s")
    assert done == []
    slow.wait()
    assert done == [["image (m)", "m", "image (g)", "g"]] == [names(slow.viewer)]
    slow.then(lambda: done.append("at once"))
    assert done[1:] == ["at once"]


def test_garbage_is_looked_for_again_when_all_is_there_or_nobody_waits_any_more(slow):
    assert gc.collect is garbage._collect_young
    slow.close()
    assert not slow.busy
    assert gc.collect is garbage._collect_all
    assert len(slow.batches) == 1


def test_what_is_held_back_is_to_be_seen_when_all_is_there_or_nobody_waits_any_more(slow):
    new = [slow.viewer.add_image(np.zeros((6, 8)), name=name) for name in "xy"]
    slow.hold_back(new[0])
    assert not new[0].visible
    slow.wait()
    assert new[0].visible
    slow.hold_back(new[1])
    assert not slow.in_order
    slow.close()
    assert new[1].visible


def test_an_error_ends_it(slow):
    slow.overlay("wrong", lambda cell: 1 / 0)
    slow.lay_over("wrong")
    with pytest.raises(ZeroDivisionError):
        slow.wait()
    assert not slow.busy
    assert gc.collect is garbage._collect_all


def test_a_click_means_the_cell_that_is_still_to_be_seen(stage):
    stage._turns = ByHand()
    assert stage.cell_at((0, 1)) == "s"
    stage.add_cell("g", Image(np.zeros((6, 8)), name="g"))
    stage.remove_cell("m")
    stage._turns.step()
    assert (stage.cell_at((0, 0)), stage.cell_at((0, 1))) == (None, "s")
    stage.wait()
    assert (stage.cell_at((0, 0)), stage.cell_at((0, 1))) == ("s", "g")


def test_a_closed_stage_leaves_the_viewer_to_the_next(stage):
    viewer, done = stage.viewer, []
    stage.close()
    viewer.layers.remove("m")
    after = names(viewer)
    (marks,) = stage.overlays("marks")[1:]
    mine = viewer.add_points(name="mine")
    stage.arrange()
    stage.add_cell("g", mine)
    stage.remove_cell("s")
    stage.lay_over("marks")
    stage.set_cells({"t": (picture("t"), None)}, None)
    stage.hold_back(mine)
    stage.draw(marks, [[1, 2]])
    stage.then(lambda: done.append("then"))
    stage.wait()
    stage.clear()
    assert names(viewer) == [*after, "mine"]
    assert (stage.busy, done, len(marks.data), mine.visible) == (False, [], 0, True)
    Stage(viewer).arrange()
    assert names(viewer) == ["mine"]  # not a closed stage's own


def test_the_grid_stays_off_where_the_user_has_turned_it_off_until_cells_change(stage):
    grid = stage.viewer.canvas.grid
    grid.enabled = False
    assert stage.in_order
    stage.arrange()
    stage.overlay("more", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    stage.lay_over("more")
    assert (grid.enabled, grid.stride) == (False, 4)
    stage.add_cell("g", Image(np.zeros((6, 8)), name="g"))
    assert grid.enabled
    grid.enabled = False
    stage.clear()
    stage.set_cells({"m": (picture("m"), None)}, None)
    assert grid.enabled


def test_what_is_held_back_may_be_hidden_for_good(slow):
    new = slow.viewer.add_image(np.zeros((6, 8)), name="x")
    slow.hold_back(new)
    slow.hide(new)
    slow.wait()
    assert not new.visible
    slow.hide(slow.pictures["m"])
    assert not slow.pictures["m"].visible


def test_what_others_do_to_the_cells_is_made_good_at_once(qtbot):
    stage = Stage(ViewerModel(), EventTurns())
    stage.overlay("marks", lambda cell: Points(np.zeros((0, 2)), ndim=2))
    stage.lay_over("marks")
    stage.set_cells({"m": (picture("m"), None), "s": (picture("s"), None)}, np.zeros((6, 8)))
    stage.wait()
    layers = stage.viewer.layers
    layers.remove("marks (m)")
    layers.move(0, 4)
    qtbot.waitUntil(lambda: names(stage.viewer) == CELLS)
    layers.insert(2, Image(np.zeros((6, 8)), name="a copy"))
    qtbot.waitUntil(lambda: names(stage.viewer) == [*CELLS, "a copy"])
    stage.wait()
    stage.close()
    layers.remove("s")
    qtbot.wait(50)
    assert "s" not in names(stage.viewer)


def test_it_says_when_the_grid_has_another_shape(stage):
    shapes = []
    stage.reshaped.connect(
        lambda: shapes.append(stage.viewer.canvas.grid.actual_shape(stage.viewer.layers))
    )
    stage.add_cell("g", picture("g"))
    stage.add_cell("h", picture("h"))
    stage.remove_cell("h")
    stage.add_cell("h", picture("h"))
    stage.add_cell("i", picture("i"))
    assert shapes == [(2, 2), (2, 3)]
