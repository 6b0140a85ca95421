"""Who voted for a pixel, and where a vote lands: the panel, its table, clicks in a window."""

import csv

import numpy as np
import pytest
from mdn_viewer.canvas.comparison import ComparisonCanvas
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.widgets.voters import VotersPanel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QPushButton
from viewer_support import click, name_file, two_parts

# The panel on a model, without a display of maps.


@pytest.fixture
def both():
    return VotingSession(two_parts(), ALL, 2.0)


@pytest.fixture
def model():
    return VotingModel()


@pytest.fixture
def panel(qtbot, model, both):
    canvas = ComparisonCanvas()
    panel = VotersPanel(model, canvas)
    qtbot.addWidget(canvas)
    qtbot.addWidget(panel)
    model.show(both)
    return panel


def cells(panel):
    """The texts of the table, row by row."""
    table = panel.table.model()
    return [
        [table.data(table.index(i, j)) for j in range(table.columnCount())]
        for i in range(table.rowCount())
    ]


def test_it_says_how_to_ask(panel):
    assert "Click on a map" in panel.headline.text()
    assert "Shift-click" in panel.where.text()
    assert cells(panel) == []


def test_a_headers_click_sorts(panel, model, qtbot):
    model.ask_pixel((11, 12))
    strongest_first = cells(panel)
    header = panel.table.horizontalHeader()
    titles = [panel.table.model().headerData(n, Qt.Orientation.Horizontal) for n in range(9)]
    assert titles == ["part", "row", "col", "c", "o_x", "o_y", "w", "share", "evidence"]
    assert float(strongest_first[0][-1]) >= float(strongest_first[-1][-1])
    panel.resize(800, 600)
    panel.show()
    row = titles.index("row")
    at = QPoint(header.sectionViewportPosition(row) + 5, header.height() // 2)
    for order in (sorted, lambda values: sorted(values, reverse=True)):
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=at)
        found = [int(line[row]) for line in cells(panel)]
        assert found == order(found)
    model.ask_pixel((10, 5))  # stays sorted so
    found = [int(line[row]) for line in cells(panel)]
    assert found == sorted(found, reverse=True)


def test_a_row_of_the_table_is_a_source(panel, model, qtbot):
    model.ask_pixel((11, 12))
    panel.table.selectRow(3)
    asked = panel.asked
    expected = (int(asked.parts[3]), *asked.voters.source[3, -2:].tolist())
    assert model.source == expected == panel.landing.source
    assert panel.where.text() == str(panel.landing)
    assert panel.asked is asked
    panel.show()
    qtbot.keyClick(panel.table, Qt.Key.Key_Down)
    assert panel.table.currentIndex().row() == 4
    assert model.source[1:] == tuple(asked.voters.source[4, -2:])


def test_the_answers_follow_sigma_at_rest_and_the_part_and_end_with_the_fields(panel, model, both):
    model.ask_pixel((11, 12))
    model.ask_source((0, 2, 3))
    before = panel.asked.value
    model.change(sigma=4.0)
    assert panel.asked.value == before
    model.settle()
    assert panel.asked.value == pytest.approx(model.maps["noisy_or"].values[11, 12], rel=1e-5)
    model.change(part=1)
    model.settle()
    assert panel.asked.session.part == 1
    assert panel.landing is None  # of the other part
    model.show(None)
    assert panel.asked is None
    assert "Click on a map" in panel.headline.text()
    model.show(both)
    assert panel.asked is None


def test_clear_asks_no_more(panel, model, qtbot):
    model.ask_pixel((11, 12))
    model.ask_source((0, 2, 3))
    (button,) = (b for b in panel.findChildren(QPushButton) if b.text() == "Clear")
    panel.show()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert (panel.asked, panel.landing) == (None, None)
    assert not button.isEnabled()


def test_a_file_that_cannot_be_written_is_said(panel, model, tmp_path):
    said = []
    model.refused.connect(said.append)
    model.ask_pixel((11, 12))
    panel.export_csv.write(str(tmp_path / "nowhere" / "voters.csv"))
    assert "nowhere" in said[0]
    panel.export_csv.write(str(tmp_path / "voters.xlsx"))
    assert said[1].endswith("voters.xlsx: a table is saved as .csv")
    assert not [*tmp_path.iterdir()]


# In a real window, with a real mouse.


@pytest.fixture
def widget(shown):
    return shown("pose")


@pytest.mark.slow
def test_a_click_on_a_map_tells_who_voted(widget, qtbot, tmp_path):
    model, panel = widget.model, widget.panel(VotersPanel)
    widget.open_tab("Voters")
    click(qtbot, widget, "noisy-or", 95, 166)
    qtbot.waitUntil(lambda: panel.asked is not None)
    panel.wait()
    row, column = panel.asked.pixel
    assert np.hypot(row - 95, column - 166) < 2  # a pixel of the screen is more than one of these
    evidence = model.session.votes.evidence()
    shares = [float(line[-1]) for line in cells(panel)]
    assert sum(shares) == pytest.approx(evidence[row, column], rel=1e-3)
    assert panel.headline.text() == str(panel.asked)
    voters = len(panel.asked.voters)
    assert len(widget.canvas.overlay("votes").start) == voters > 20
    assert len(widget.canvas.overlay("voters").at) == voters + 1
    votes = widget.canvas.overlay("votes")
    landing = votes.start + votes.vector
    assert (np.abs(landing - (row, column)) <= 4 * model.session.sigma).all()

    button = next(b for b in panel.findChildren(QPushButton) if "CSV" in b.text())
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    name_file(qtbot, panel, tmp_path / "voters")
    with open(tmp_path / "voters.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == voters

    click(qtbot, widget, "additive", 95, 166)
    qtbot.waitUntil(lambda: panel.asked.rule == "additive")
    s = model.maps["additive"].values[panel.asked.pixel]
    assert sum(float(line[-1]) for line in cells(panel)) == pytest.approx(s, rel=1e-3)


@pytest.mark.slow
def test_a_shift_click_on_the_confidence_tells_where_that_vote_lands(widget, qtbot):
    panel = widget.panel(VotersPanel)
    widget.open_tab("Voters")
    click(qtbot, widget, "confidence", 16 * 6, 16 * 10, "shift")
    qtbot.waitUntil(lambda: panel.landing is not None)
    panel.wait()
    assert panel.landing.source == (0, 6, 10)
    assert panel.asked is None
    vote = widget.model.session.votes.footprint((6, 10))
    np.testing.assert_allclose(
        widget.canvas.overlay("footprint")[0], vote.weight * vote.confidence, rtol=1e-6
    )
    x, y = vote.landing
    np.testing.assert_allclose(widget.canvas.overlay("voters").at, [[y, x], [96, 160]])
    assert "nose, source row 6, column 10" in panel.where.text()
    before = widget.canvas.screenshot()
    widget.model.ask_source(None)
    assert widget.canvas.overlay("footprint") is None
    after = widget.canvas.screenshot()
    less_red = after[..., 0].astype(int) - before[..., 0] > 20
    assert less_red.sum() > 300  # where the maps are bright, the footprint was green


@pytest.mark.slow
def test_the_voters_stay_with_sigma_and_go_with_the_fields(widget, qtbot):
    panel = widget.panel(VotersPanel)
    click(qtbot, widget, "noisy-or", 95, 166)
    qtbot.waitUntil(lambda: panel.asked is not None)
    widget.controls.sigma.value = 3.0
    widget.wait()
    qtbot.waitUntil(lambda: panel.asked.session.sigma == 3.0)
    panel.wait()
    click(qtbot, widget, "noisy-or", 95, 150)
    qtbot.waitUntil(lambda: panel.asked.pixel[1] < 160)
    widget._viewer.layers.clear()
    widget.wait()
    qtbot.waitUntil(lambda: panel.asked is None)
