"""The tabs of parts, peaks and annotations, in a real window, with a real mouse."""

import numpy as np
import pytest
from mdn_viewer.widgets.parts import PartsPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.truth import TruthPanel
from qtpy.QtCore import Qt
from viewer_support import add_fields, click, dock, mouse, press, remember_defaults, two_parts

import mdn_cupy as mdn


@pytest.fixture
def shown(make_napari_viewer):
    remember_defaults(("noisy_or", "additive"))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 750)
    add_fields(viewer, two_parts())
    return dock(viewer)


def open_tab(widget, kind, qtbot):
    widget.open_tab(kind.title)
    panel = widget.panel(kind)
    qtbot.waitUntil(panel.isVisible)
    panel.wait()
    return panel


def click_row(qtbot, table, row):
    """Click on a row of a table with the X server's own mouse, when the layout has come to rest."""

    def place():
        rectangle = table.visualRect(table.model().index(row, 0))
        return table.viewport().mapToGlobal(rectangle.center())

    table.window().activateWindow()
    at = None
    while at != place():
        at = place()
        mouse("mousemove", at.x(), at.y())
        qtbot.wait(100)
    mouse("mousedown", 1)
    qtbot.wait(30)
    mouse("mouseup", 1)


@pytest.mark.slow
def test_peaks_follow_what_is_looked_for_and_a_click_asks(shown, qtbot):
    panel = open_tab(shown, PeaksPanel, qtbot)
    assert panel.count.text() == "1 peak"
    assert {"points:peaks", "shapes:spread"} <= {
        name for name in ("points:peaks", "shapes:spread") if shown.canvas.overlay(name)
    }
    press(qtbot, panel.every_part)
    panel.wait()
    assert panel.count.text() == "2 peaks"
    panel.filter.setText("righ")
    assert panel.count.text() == "1 of 2 peaks"
    click_row(qtbot, panel.table, 0)
    qtbot.waitUntil(lambda: shown.model.pixel == (12, 20))
    assert shown.model.session.part == 1
    panel.filter.clear()
    press(qtbot, panel.sources)
    panel.wait()
    assert shown.canvas.overlay("labels:instances") is not None
    panel.score.setValue(0.999999)
    panel.wait()
    assert panel.count.text() == "2 peaks"  # fields that agree saturate
    shown.open_tab("Compare")
    assert shown.canvas.overlay("points:peaks") is None


@pytest.mark.slow
def test_layers_of_peaks_and_sources_follow(shown, qtbot):
    viewer = shown._viewer
    panel = open_tab(shown, PeaksPanel, qtbot)
    for button in (panel.buttons["points"], panel.buttons["labels"]):
        press(qtbot, button)
    panel.wait()
    points, labels = viewer.layers["detections"], viewer.layers["instances"]
    np.testing.assert_allclose(points.data, [[10, 5]], atol=0.1)
    assert points.features["part"].tolist() == ["left"]
    assert (np.asarray(labels.data) == 1).all()
    panel.every_part.setChecked(True)
    panel.wait()
    assert len(points.data) == 2
    assert shown.inputs.confidence.value not in (points, labels)
    press(qtbot, panel.sources)  # of all parts: each has its own peak
    panel.wait()
    assert {*np.unique(labels.data)} <= {0, 1, 2}
    assert shown.canvas.overlay("labels:instances") is not None
    press(qtbot, panel.sources)
    panel.wait()
    assert shown.canvas.overlay("labels:instances") is None
    panel.rule.setCurrentIndex(1)
    panel.score.setValue(0.9)  # the sum reaches 0.6
    panel.wait()
    assert not np.asarray(labels.data).any()
    panel.rule.setCurrentIndex(0)
    panel.score.setValue(0.5)
    panel.wait()
    assert np.asarray(labels.data).any()
    panel.every_part.setChecked(False)
    shown.open_tab("Compare")  # they follow behind other tabs, too, and marks are not drawn there
    shown.controls.part.value = 1
    shown.wait()
    panel.wait()
    np.testing.assert_allclose(points.data, [[12, 20]], atol=0.1)
    assert shown.canvas.overlay("points:peaks") is None
    for layer in (points, labels):
        viewer.layers.remove(layer)
    shown.controls.part.value = 0
    shown.wait()
    panel.wait()
    assert panel.found.session.part == 1  # nobody asks for them


def test_long_names_leave_room_for_numbers(shown, qtbot):
    """In the list of parts and in tables; their ends, which differ, stay to be seen."""
    names = tuple(f"a name that is longer than any column may ever be, number {n}" for n in (1, 2))
    shown._viewer.layers.clear()
    add_fields(shown._viewer, two_parts(names=names))
    shown.wait()
    panel = open_tab(shown, PartsPanel, qtbot)
    item = panel.list.item(1)
    name, peak = item.text().split("\n")
    assert name.startswith("a name")
    assert name.endswith("2")
    assert panel.list.fontMetrics().horizontalAdvance(name) <= panel.list.iconSize().width()
    assert float(peak) == pytest.approx(1, abs=0.1)
    assert item.toolTip() == names[1]
    table = open_tab(shown, PeaksPanel, qtbot).table
    model = table.model()
    titles = [model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())]
    assert table.columnViewportPosition(titles.index("score")) < table.viewport().width()
    assert model.data(model.index(0, 0), Qt.ItemDataRole.ToolTipRole) == names[0]
    assert model.data(model.index(0, 1), Qt.ItemDataRole.ToolTipRole) is None


def test_small_maps_have_the_colours_of_the_large_ones(shown, qtbot):
    def colourful():
        panel = open_tab(shown, PartsPanel, qtbot)
        picture = panel.list.item(0).icon().pixmap(panel.list.iconSize()).toImage()
        every = (picture.pixelColor(x, y) for x in range(104) for y in range(picture.height()))
        return max(colour.saturation() for colour in every) > 100

    assert colourful()
    shown.open_tab("Compare")
    shown.compare.colormap.setCurrentText("gray")
    assert not colourful()
    shown.compare.colormap.setCurrentText("inferno")


@pytest.mark.slow
def test_133_parts_can_be_searched(make_napari_viewer, qtbot):
    one = two_parts()
    parts = 133
    fields = mdn.Fields(
        np.repeat(one.confidence[:1], parts, 0),
        np.repeat(one.offsets[:1], parts, 0),
        image=one.image,
        stride=4.0,
        origin=2.0,
        names=[f"landmark {n}" for n in range(parts)],
    )
    viewer = make_napari_viewer(show=True)
    add_fields(viewer, fields)
    widget = dock(viewer)
    panel = open_tab(widget, PartsPanel, qtbot)
    assert panel.list.count() == parts
    panel.filter.setText("landmark 13")
    assert panel.count.text() == "4 of 133 parts"  # 13, 130, 131, 132
    panel.filter.setText("0.9")  # the peaks
    assert panel.count.text() == "0 of 133 parts"
    panel.filter.setText("landmark 13")
    item = panel.list.item(131)
    panel.list.scrollToItem(item)
    qtbot.wait(50)
    at = panel.list.viewport().mapToGlobal(panel.list.visualItemRect(item).center())
    panel.window().activateWindow()
    mouse("mousemove", at.x(), at.y())
    mouse("mousedown", 1)
    mouse("mouseup", 1)
    qtbot.waitUntil(lambda: widget.model.session.part == 131)


@pytest.mark.slow
def test_annotations_are_compared_and_a_source_is_shown(shown, qtbot, tmp_path):
    panel = open_tab(shown, TruthPanel, qtbot)
    path = tmp_path / "truth.csv"
    path.write_text("part,x,y\nleft,8,10\nright,20,12\n")
    panel.open(str(path))
    panel.wait()
    np.testing.assert_allclose(panel.errors.error, [3, 0])
    assert panel.summary.text().startswith("2 parts: mean error 1.50 px, ")
    assert shown.canvas.overlay("points:truth") is not None
    click_row(qtbot, panel.parts, 1)
    qtbot.waitUntil(lambda: shown.model.session.part == 1)
    qtbot.waitUntil(lambda: panel.influence.session.part == 1)
    click_row(qtbot, panel.sources, 0)
    qtbot.waitUntil(lambda: shown.model.source is not None)
    assert shown.model.source[0] == 1
    panel.open(str(tmp_path / "none.csv"))
    assert shown.controls.message.said == f"{tmp_path / 'none.csv'}: No such file or directory"
    assert shown.controls.message.wrong
    np.testing.assert_allclose(panel.errors.error, [3, 0])  # what was open stays
    path.write_text("part,x,y\ntail,8,10\n")
    panel.open(str(path))
    panel.wait()
    assert panel.summary.text() == (
        "Annotated parts: tail; none is one of the fields' parts: left, right."
    )


@pytest.mark.slow
def test_a_part_without_votes_leaves_the_errors_of_the_others(shown, qtbot, tmp_path):
    confidence = two_parts().confidence.copy()
    confidence[0] = 0
    shown._viewer.layers.clear()
    add_fields(shown._viewer, two_parts(confidence=confidence))
    shown.wait()
    path = tmp_path / "truth.csv"
    path.write_text("part,x,y\nleft,8,10\nright,20,13\n")
    panel = open_tab(shown, TruthPanel, qtbot)
    panel.open(str(path))
    panel.wait()
    np.testing.assert_allclose(panel.errors.error, [np.nan, 1])
    assert panel.summary.text().startswith("2 parts, 1 with a peak: mean error 1.00 px, ")
    path.write_text("part,x,y\nleft,8,10\n")
    panel.open(str(path))
    panel.wait()
    assert panel.summary.text() == "1 part, 0 with a peak: no OKS without an area"
    assert not shown.controls.message.wrong


@pytest.mark.slow
def test_points_that_are_dragged_are_the_truth(shown, qtbot):
    viewer = shown._viewer
    layer = viewer.add_points([[10.0, 9.0]], name="truth")
    panel = open_tab(shown, TruthPanel, qtbot)
    panel.layers.setCurrentIndex(1)
    panel.wait()
    np.testing.assert_allclose(panel.errors.error, [4])
    layer.data = [[10.0, 5.0]]
    panel.wait()
    np.testing.assert_allclose(panel.errors.error, [0])
    viewer.layers.remove(layer)
    panel.wait()
    assert panel.errors is None


@pytest.mark.slow
def test_a_peak_s_place_can_be_clicked_on(shown, qtbot):
    click(qtbot, shown, "noisy-or", 3, 3)
    place = shown.compare.figures["noisy_or"][1]
    press(qtbot, place)
    qtbot.waitUntil(lambda: shown.model.pixel == (10, 5))
