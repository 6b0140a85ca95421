"""The sum is named after its rule, additive or plain, wherever its map or its votes are named."""

from dataclasses import replace

import pytest
from mdn_viewer.core.detections import Search
from mdn_viewer.core.frame_curve import FrameCurves, Question
from mdn_viewer.core.provenance import landing_of, provenance_of
from mdn_viewer.core.second import Own, compare, second_session, voters_in_both
from mdn_viewer.core.session import KINDS, VotingSession
from mdn_viewer.core.sigma_sweep import sweep
from mdn_viewer.widgets.controls import Figure
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.plot import FramePlot, SweepPlot
from mdn_viewer.widgets.save import SavePanel
from mdn_viewer.widgets.second import SecondPanel
from viewer_support import add_fields, move_to, names, two_parts

AT = (10, 5)


@pytest.fixture
def plain():
    return VotingSession(two_parts(), "left", 2.0, sum_rule="plain_sum")


def texts(box):
    return [box.itemText(n) for n in range(box.count())]


def labels(plot, found):
    plot.draw_curves(found)
    return plot.axes.get_legend_handles_labels()[1]


def test_what_is_said_of_votes(plain):
    assert [*map(plain.title, KINDS)] == ["noisy-or", "plain sum", "difference", "evidence"]
    assert ", plain sum: s = 14.4, from" in str(provenance_of(plain, AT, "additive"))
    assert ", plain sum 0.3 of 14.4 (2.1%)" in str(landing_of(plain, (0, 0, 0)))
    scaled = replace(plain, sum_rule="additive")
    assert ", additive: s = 0.573, from" in str(provenance_of(scaled, AT, "additive"))


def test_what_is_said_of_two_networks(plain):
    search = Search(rule="additive")
    same = compare(plain, second_session(plain, plain.fields), search)
    assert str(same).startswith("plain sum: A and B differ by 0 ")
    assert " B: s = 14.4, from" in str(voters_in_both(same, AT, "additive"))
    other = second_session(plain, plain.fields, Own(sum_rule="additive"))
    different = compare(plain, other, search)
    assert str(different).startswith("plain sum (A), additive (B): A and B differ by ")
    assert " B: additive: s = 0.573, from" in str(voters_in_both(different, AT, "additive"))
    assert " B: m = 1, " in str(voters_in_both(different, AT, "noisy_or"))


def test_curves_and_their_table(plain, qtbot):
    found = sweep(plain).at(AT)
    columns = [*found.table]
    assert columns[2] == "plain_sum peak"  # the library's name, as that of the noisy-or
    assert columns[4] == "plain_sum at row 10, column 5"
    plot = SweepPlot()
    qtbot.addWidget(plot)
    assert labels(plot, found)[1::2] == ["plain sum: peak", "plain sum: at row 10, column 5"]
    frames = FrameCurves([plain.fields]).measure(plain, Question(AT))
    assert [*frames.curves][1::2] == ["plain_sum peak", "plain_sum at row 10, column 5"]
    plot = FramePlot()
    qtbot.addWidget(plot)
    assert labels(plot, frames)[1] == "plain sum peak: 1 is 14.4"
    colours = [line.get_color() for line in plot.axes.lines]
    assert colours[0] == colours[2] != colours[1] == colours[3]


@pytest.mark.slow
def test_the_whole_window_follows_the_rule(shared_two, qtbot):
    widget, viewer = shared_two, shared_two._viewer
    add_fields(viewer, two_parts(), "again")
    second, layers = widget.panel(SecondPanel), viewer.layers
    widget.open_tab("Second")
    second.choice.setCurrentIndex(texts(second.choice).index("again confidence"))
    second.form.rule.setCurrentIndex(1)
    second.wait()
    widget.results.add_map("additive")
    widget.results.add_peaks()
    move_to(qtbot, widget, "noisy-or", *AT)
    cells = dict(widget.canvas.cells)
    layer = layers["additive"]

    for rule, name in (
        ("plain_sum", "plain sum"),
        ("additive", "additive"),
        ("plain_sum", "plain sum"),
    ):
        box = widget.compare.sum_rule
        box.setCurrentIndex(box.findData(rule))
        widget.wait()
        second.wait()
        assert box.currentText() == widget.compare.shown["additive"].text() == name
        assert widget.canvas.cells == cells  # those of before
        headers = {key: cell.header.name for key, cell in cells.items()}
        assert (headers["additive"], headers["additive (B)"]) == (name, f"{name} (B)")
        assert headers["noisy-or"] == "noisy-or"
        menu = [action.text() for action in widget.results.menu("additive").actions()]
        assert f"Detach the {name} map" in menu
        assert texts(widget.panel(SavePanel).kind)[:2] == ["noisy-or", name]
        for panel in (widget.panel(PeaksPanel), second):
            assert texts(panel.form.rule) == ["noisy-or", name]
        assert f"   {name} " in viewer.window._qt_window.statusBar().findChild(Figure).text()
        assert layer.name == name
        assert [*layers["peaks"].features["map"]][1] == name
        assert second.summary.text().startswith(f"{name}: A and B")
    assert texts(second.sum_rule)[1:] == texts(widget.compare.sum_rule) == ["additive", "plain sum"]

    layer.name = "mine"  # a name of the user's stays
    widget.compare.sum_rule.setCurrentIndex(0)
    widget.wait()
    assert "mine" in names(viewer)
