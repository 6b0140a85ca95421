"""Clicks on the maps: which pixel or source is asked about."""

import numpy as np
import pytest
from mdn_viewer.canvas.comparison import Click, ComparisonCanvas
from mdn_viewer.canvas.questions import Questions
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import ALL, KINDS, VotingSession
from mdn_viewer.widgets.voters import VotersPanel
from viewer_support import click, mouse, move_to, two_parts

PLAIN, ALT, SHIFT = frozenset(), frozenset({"Alt"}), frozenset({"Shift"})


@pytest.fixture
def asking(qtbot):
    """A model, and a function that tells it of a click on a cell."""
    model, canvas = VotingModel(), ComparisonCanvas()
    qtbot.addWidget(canvas)
    model.questions = Questions(model, canvas)
    model.show(VotingSession(two_parts(), 0, 1.0))
    model.show_kinds(KINDS)

    def ask(row, column, cell="noisy-or", keys=PLAIN, pixel=1.0):
        canvas.clicked.emit(Click(cell, row, column, keys, pixel))
        return model.pixel

    return model, ask


def test_a_click_snaps_to_the_highest_pixel_within_five_of_the_screen(asking):
    model, ask = asking  # all votes are for row 10, column 5
    assert ask(14.6, 9.4) == (10, 5)
    assert ask(14.6, 9.4, pixel=3.0) != (10, 5)  # the screen's pixels are smaller: one of these
    assert ask(14.6, 9.4, pixel=6.0) == (15, 9)
    assert ask(14.6, 9.4, keys=ALT) == (15, 9)
    assert ask(22, 30) == (22, 30)  # nothing is there
    assert ask(0, 0) is not None
    values = np.abs(model.maps["difference"].values)[8:15, 3:10]
    highest = np.add(np.unravel_index(values.argmax(), values.shape), (8, 3))
    assert ask(11, 6, "difference", pixel=5 / 3) == tuple(highest)


@pytest.mark.parametrize(
    ("cell", "rule"),
    [("noisy-or", "noisy_or"), ("additive", "additive"), ("evidence", "noisy_or")],
)
def test_the_cell_tells_the_rule(asking, cell, rule):
    model, ask = asking
    ask(20, 20, "noisy-or" if cell == "additive" else "additive", ALT)
    assert ask(10, 5, cell, ALT) == (10, 5)
    assert model.asked_rule == rule


def test_other_keys_outside_and_nothing_ask_nothing(asking):
    model, ask = asking
    for keys in ({"Control"}, {"Shift"}, {"Alt", "Shift"}):
        assert ask(10, 5, keys=frozenset(keys)) is None
    assert ask(-9, 5, keys=ALT) is None
    ask(400, 10, "confidence", SHIFT)
    assert model.source is None
    model.show(None)
    assert ask(10, 5) is None
    ask(10, 10, "confidence", SHIFT)
    assert model.source is None


def test_shift_on_the_confidence_asks_a_source_of_all_parts_the_surest(asking):
    model, ask = asking
    ask(2 + 4 * 3 + 1.9, 2 + 4 * 5 - 1.9, "confidence", SHIFT)
    assert (model.source, model.pixel) == ((0, 3, 5), None)
    fields = two_parts()
    fields.confidence[1, 2, 6] = 0.4
    model.show(VotingSession(fields, ALL, 1.0))
    for source in ((1, 2, 6), (0, 2, 5)):
        ask(2 + 4 * source[1], 2 + 4 * source[2], "confidence", SHIFT)
        assert model.source == source
    ask(400, 10, "confidence", SHIFT)
    assert model.source == source


# In a real window, with a real mouse.


@pytest.mark.slow
def test_the_mouse_and_the_key_a(shown, qtbot):
    widget = shown(two_parts())
    model, panel = widget.model, widget.panel(VotersPanel)
    row, column = 10 + 3 / widget.canvas.camera.zoom, 5.0
    click(qtbot, widget, "noisy-or", row, column)
    qtbot.waitUntil(lambda: model.pixel == (10, 5))
    far = 18, 20
    for key in ("alt", "shift"):
        click(qtbot, widget, "additive", *far, key)
        qtbot.waitUntil(lambda: model.pixel == far)  # Shift asks no pixel
    assert model.asked_rule == "additive"
    click(qtbot, widget, "confidence", 2 + 4 * 3, 2 + 4 * 5, "shift")
    qtbot.waitUntil(lambda: model.source == (0, 3, 5))
    panel.wait()
    assert panel.landing.source == (0, 3, 5)
    move_to(qtbot, widget, "noisy-or", 12, 9)
    widget.canvas.native.setFocus()
    mouse("key", "a")
    qtbot.waitUntil(lambda: model.pixel == (12, 9))
    panel.wait()
    assert panel.asked.pixel == (12, 9)


def test_what_an_error_said_is_withdrawn_with_the_next_result():
    model = VotingModel()
    withdrawn, results = [], []
    model.withdrawn.connect(withdrawn.append)
    worker = model.worker(results.append, model.refuse)
    worker.submit(lambda: 1, 0)
    worker.submit(lambda: 1 // 0, 0)
    assert withdrawn == []
    worker.submit(lambda: 2, 0)
    worker.submit(lambda: 3, 0)
    assert withdrawn == ["integer division or modulo by zero"]
    assert results == [1, 2, 3]
