"""The canvas of the maps, in a real window, with a real mouse and real keys."""

import numpy as np
import pytest
from mdn_viewer.canvas.camera import Camera
from mdn_viewer.canvas.cell import Picture
from mdn_viewer.canvas.comparison import ComparisonCanvas
from mdn_viewer.canvas.overlays import Marks, Patch
from mdn_viewer.core.session import title
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QApplication
from viewer_support import SHOWN, cell_pixel, click, drop, mouse, move_to, names, wrong
from vispy import scene


@pytest.fixture
def widget(shared_two):
    """The module's widget, as it was at first."""
    shared_two.window().resize(1400, 850)
    for kind, box in shared_two.compare.shown.items():
        box.setChecked(kind in SHOWN)
    shared_two.controls.sigma.value, shared_two.controls.part.value = 2, 0
    shared_two.wait()
    shared_two.model.ask_pixel(None)
    shared_two.canvas.set_tool(None)
    QApplication.processEvents()
    shared_two.canvas.reset_view()
    return shared_two


@pytest.fixture
def canvas(widget):
    return widget.canvas


def assert_whole(canvas):
    """Check that everything is seen, and as large as it can be."""
    seen, extent = canvas.seen, canvas.extent
    assert seen.top <= extent.top + 1e-6
    assert seen.bottom >= extent.bottom - 1e-6
    assert seen.left <= extent.left + 1e-6
    assert seen.right >= extent.right - 1e-6
    spare = (seen.bottom - seen.top) / (extent.bottom - extent.top)
    assert min(spare, (seen.right - seen.left) / (extent.right - extent.left)) < 1.001


def boxes(canvas):
    return [cell.rectangle for cell in canvas.cells.values()]


@pytest.mark.parametrize("size", [(1400, 850), (1400, 500), (700, 500)])
def test_cells_share_the_canvas(widget, canvas, qtbot, size):
    widget.window().resize(*size)
    qtbot.wait(100)
    assert [*canvas.cells] == [title(kind) for kind in SHOWN]
    assert len({box[2:] for box in boxes(canvas)}) == 1  # of one size
    for n, (left, top, width, height) in enumerate(boxes(canvas)):
        assert left >= 0
        assert top >= 18  # below its header
        assert left + width <= canvas.native.width()
        assert top + height <= canvas.native.height()
        for other in boxes(canvas)[:n]:
            assert left >= other[0] + width or top >= other[1] + height or left < other[0]
    assert_whole(canvas)


def test_a_cell_that_comes_or_goes_refits_the_pictures(widget, canvas):
    zoom = canvas.camera.zoom
    widget.compare.shown["evidence"].setChecked(True)
    widget.wait()
    assert list(canvas.cells)[-1] == "confidence"
    assert len(canvas.cells) == 5
    assert canvas.camera.zoom < zoom
    assert_whole(canvas)
    camera = canvas.camera._replace(zoom=7.0)
    canvas.look_at(camera)  # as the user likes it
    widget.compare.shown["evidence"].setChecked(False)
    widget.wait()
    assert canvas.camera == camera


def test_a_drag_moves_all_cells_and_asks_nothing(widget, canvas, qtbot):
    before = canvas.camera
    move_to(qtbot, widget, "additive", 12, 12)
    x, y = cell_pixel(widget, "additive", 12, 12)
    mouse("mousedown", 1)
    for step in (5, 20, 40):
        mouse("mousemove", x + step, y + step // 2)
        qtbot.wait(30)
    mouse("mouseup", 1)
    qtbot.waitUntil(lambda: canvas.camera != before)
    qtbot.waitUntil(
        lambda: canvas.camera[:2] == pytest.approx(before.moved(40, 20)[:2], abs=1 / before.zoom)
    )
    assert canvas.camera.zoom == before.zoom
    assert widget.model.pixel is None
    for cell in canvas.cells.values():
        rect = cell.view.camera.rect
        assert (rect.left, rect.bottom) == pytest.approx((canvas.seen.left, canvas.seen.top))


def test_the_wheel_zooms_around_the_cursor_and_home_shows_everything(widget, canvas, qtbot):
    before = canvas.camera
    move_to(qtbot, widget, "noisy-or", 6, 9)
    place = cell_pixel(widget, "noisy-or", 6, 9)
    mouse("click", 4)
    qtbot.waitUntil(lambda: canvas.camera.zoom > before.zoom)
    assert canvas.camera.zoom == pytest.approx(before.zoom * 1.23, rel=1e-3)
    assert cell_pixel(widget, "noisy-or", 6, 9) == pytest.approx(place, abs=2)
    mouse("click", 5)
    qtbot.waitUntil(lambda: canvas.camera.zoom == pytest.approx(before.zoom))
    mouse("click", 4)
    qtbot.waitUntil(lambda: canvas.camera.zoom > before.zoom * 1.1)
    click(qtbot, widget, "noisy-or", 6, 9)  # which has the keys
    mouse("key", "Home")
    qtbot.waitUntil(lambda: canvas.camera.zoom == pytest.approx(before.zoom))
    assert_whole(canvas)


def test_clicks_ask_and_snap_to_the_peak(widget, canvas, qtbot):
    heard, away = [], 3 / canvas.camera.zoom
    canvas.clicked.connect(heard.append)
    click(qtbot, widget, "additive", 10 + away, 5)
    qtbot.waitUntil(lambda: widget.model.pixel == (10, 5))
    assert widget.model.asked_rule == "additive"
    click(qtbot, widget, "noisy-or", 17, 21, "alt")
    qtbot.waitUntil(lambda: widget.model.pixel == (17, 21))
    assert widget.model.asked_rule == "noisy_or"
    click(qtbot, widget, "confidence", 2 + 4 * 3, 2 + 4 * 6, "shift")
    qtbot.waitUntil(lambda: widget.model.source == (0, 3, 6))
    assert [each.cell for each in heard] == ["additive", "noisy-or", "confidence"]
    assert [set(each.keys) for each in heard] == [set(), {"Alt"}, {"Shift"}]
    canvas.clicked.disconnect(heard.append)


def test_clicks_and_the_wheel_draw_nothing_to_find_what_was_hit(canvas, widget, qtbot, monkeypatch):
    drawn = []  # by vispy, which would draw all nodes once more, in false colours
    monkeypatch.setattr(scene.SceneCanvas, "visual_at", lambda _, place: drawn.append(place))
    click(qtbot, widget, "noisy-or", 6, 9)
    qtbot.waitUntil(lambda: widget.model.pixel is not None)
    zoom = canvas.camera.zoom
    mouse("click", 4)
    qtbot.waitUntil(lambda: canvas.camera.zoom > zoom)
    assert not drawn


def test_a_tool_has_the_clicks(widget, canvas, qtbot):
    heard = []
    canvas.set_tool(heard.append)
    click(qtbot, widget, "additive", 7, 12)
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert (heard[0].row, heard[0].column) == pytest.approx((7, 12), abs=1 / canvas.camera.zoom)
    assert widget.model.pixel is None
    canvas.set_tool(None)
    click(qtbot, widget, "additive", 10, 5)
    qtbot.waitUntil(lambda: widget.model.pixel == (10, 5))
    assert len(heard) == 1


def test_the_right_button_asks_for_a_menu(widget, canvas, qtbot):
    heard = []
    widget.canvas.menu_requested.disconnect()  # a menu would wait for the mouse
    canvas.menu_requested.connect(lambda cell, at: heard.append((cell, at.x(), at.y())))
    move_to(qtbot, widget, "additive", 7, 12)
    mouse("click", 3)
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][0] == "additive"
    assert heard[0][1:] == pytest.approx(cell_pixel(widget, "additive", 7, 12), abs=2)
    assert widget.model.pixel is None


def test_the_place_under_the_cursor_is_told_and_outside_is_none(widget, canvas, qtbot):
    heard = []
    canvas.hovered.connect(heard.append)
    move_to(qtbot, widget, "noisy-or", 20, 30)
    qtbot.waitUntil(lambda: bool(heard) and heard[-1] == pytest.approx((20, 30), abs=0.1))
    corner = canvas.native.mapToGlobal(QPoint(5, 5))  # a header
    mouse("mousemove", corner.x(), corner.y())
    qtbot.waitUntil(lambda: heard[-1] is None)
    canvas.hovered.disconnect(heard.append)


def test_a_screenshot_has_every_cell(widget, canvas):
    widget.compare.shown["evidence"].setChecked(True)  # a cell that comes last
    widget.wait()
    picture = canvas.screenshot()
    assert picture.shape == (canvas.native.height(), canvas.native.width(), 4)
    for name, (left, top, width, height) in zip(canvas.cells, boxes(canvas), strict=True):
        cell = picture[top : top + height, left : left + width, :3].astype(int)
        assert cell.std() > 10, name
        assert (cell.max(axis=2) > 40).mean() > 0.2  # the image lies under each map
        header = picture[top - 18 : top, left : left + width, :3]
        assert len(np.unique(header.reshape(-1, 3), axis=0)) > 5, name


LARGE = 1040  # rows, as many columns: more than are written at once


@pytest.fixture
def written(monkeypatch):
    """A canvas of its own, and for each of its frames the large pictures that came into it."""
    frames, write = [[]], scene.visuals.Image.set_data

    def watched(self, values, *arguments, **keywords):
        if values.shape[0] == LARGE:
            frames[-1].append(values)
        return write(self, values, *arguments, **keywords)

    monkeypatch.setattr(scene.visuals.Image, "set_data", watched)
    canvas = ComparisonCanvas()
    canvas.resize(600, 400)
    canvas.set_extent((LARGE, LARGE))
    canvas.drawn.connect(lambda: frames.append([]))
    canvas.show()
    yield canvas, frames
    canvas.end()


def pictures(brightness, size=LARGE):
    return {
        name: Picture(np.full((size, size), brightness, np.float32), (0.0, 1.0), "gray")
        for name in ("a", "b", "c")
    }


def test_a_frame_has_one_large_picture_more(written, qtbot):
    canvas, frames = written
    labels = np.zeros((LARGE, LARGE, 4), np.float32)
    canvas.set_backdrop(np.zeros((LARGE, LARGE), np.float32))
    canvas.show_pictures(pictures(0.2))
    canvas.set_overlay("labels:mine", Patch(labels))
    qtbot.waitUntil(lambda: canvas.complete and not frames[-1])
    assert [len(frame) for frame in frames if frame] == 9 * [1]  # of three cells
    newest = pictures(0.9)
    canvas.show_pictures(pictures(0.5))
    canvas.show_pictures(newest)  # the others are never written
    canvas.set_backdrop(np.ones((LARGE, LARGE), np.float32))
    frames.clear()
    frames.append([])
    qtbot.waitUntil(lambda: canvas.complete and not frames[-1])
    assert [len(frame) for frame in frames if frame] == 6 * [1]
    maps = {id(each.values) for each in newest.values()}
    assert {id(values) for (values,) in filter(None, frames) if values[0, 0] < 1} == maps
    canvas.set_backdrop(None)
    assert canvas.complete
    assert abs(canvas.screenshot()[60:, 20:580, :3].astype(float).max() - 0.9 * 255) < 2


def test_no_cell_waits_while_large_pictures_come_faster_than_frames(written, qtbot):
    canvas, frames = written
    canvas.show_pictures(pictures(0.0))
    qtbot.waitUntil(lambda: canvas.complete)
    shown = []

    def show_others():
        shown.append(pictures(len(shown) / 20))
        canvas.show_pictures(shown[-1])

    canvas.drawn.connect(show_others)
    show_others()
    frames.clear()
    frames.append([])
    qtbot.waitUntil(lambda: sum(map(len, frames)) >= 12)
    canvas.drawn.disconnect(show_others)
    known = {id(each.values): name for some in shown for name, each in some.items()}
    order = [known[id(values)] for frame in frames for values in frame]
    assert all({*order[n : n + 3]} == {"a", "b", "c"} for n in range(9))
    qtbot.waitUntil(lambda: canvas.complete)


def test_small_pictures_are_in_the_next_frame_even_before_large_ones(written, qtbot):
    canvas, frames = written
    canvas.show_pictures(pictures(0.0))
    qtbot.waitUntil(lambda: canvas.complete and not frames[-1])
    frames.clear()
    frames.append([])
    canvas.show_pictures(pictures(0.5))
    canvas.show_pictures(pictures(0.9, size=20))  # the hand has moved on
    assert canvas.complete
    qtbot.waitUntil(lambda: len(frames) > 1)
    assert not any(frames)


def test_marks_are_small_where_many_are_seen(written):
    canvas, _ = written
    places = np.stack(np.mgrid[8:1040:26, 8:1040:26], axis=-1).reshape(-1, 2)
    assert len(places) == 1600
    canvas.show_pictures(pictures(0.0, size=20))
    canvas.set_overlay("points:many", Marks(places, np.ones((1600, 4)), "disc", 9.0, 1.5, "red"))

    def brightness(zoom):
        """Return how many pixels of a mark are drawn, and how many marks."""
        canvas.look_at(Camera(520.0, 520.0, zoom))
        rows, columns = canvas.cell_size
        top, left = 520 - rows / 2 / zoom, 520 - columns / 2 / zoom
        within = (abs(places - 520) <= (520 - top, 520 - left)).all(axis=1).sum()
        drawn = canvas.screenshot()[..., 0] > 60
        x, y, width, height = canvas.cells["a"].rectangle
        return drawn[y : y + height, x : x + width].sum() / within, within

    def assert_large(zoom):
        pixels, marks = brightness(zoom)
        assert marks < 1000
        assert pixels > 50

    assert_large(2.0)
    pixels, marks = brightness(0.15)
    assert marks == 1600
    assert 1 <= pixels < 10
    assert_large(1.0)


def test_annotations_are_dropped(widget, canvas, tmp_path):
    from mdn_viewer.widgets.truth import TruthPanel

    (panel,) = (panel for panel in widget.panels if isinstance(panel, TruthPanel))
    before = names(widget._viewer)
    (tmp_path / "truth.csv").write_text("part,x,y\nleft,5,13\n")
    drop(widget, tmp_path / "truth.csv")
    panel.wait()
    assert panel.errors.error.tolist() == [3.0]
    (tmp_path / "late.csv").write_text("frame,part,x,y\n7,left,5,13\n")
    drop(widget, tmp_path / "late.csv")
    panel.wait()
    assert panel.summary.text() == "Annotated frames: 7; none is frame 0."
    (tmp_path / "results.json").write_text("[]")
    drop(widget, tmp_path / "results.json")
    assert "not of results" in wrong(widget)
    assert names(widget._viewer) == before
