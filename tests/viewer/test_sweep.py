"""The sweep over sigma: its curves, its plot, its files."""

import sys
import traceback
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import ALL, RULES, VotingSession
from mdn_viewer.core.sigma_sweep import same_sweep, sweep, work_of
from mdn_viewer.latest_worker import LatestOnlyWorker
from mdn_viewer.widgets.plot import SweepPlot
from mdn_viewer.widgets.sweep import SweepPanel
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QPushButton
from viewer_support import mouse, name_file, onto_the_screen, two_parts

import mdn_cupy as mdn


@pytest.fixture
def delta():
    """One perfect source (the paper's Eq. 5)."""
    return VotingSession(mdn.samples.load("delta"), "delta", 3.0)


@pytest.fixture
def both():
    return VotingSession(two_parts(), ALL, 2.0)


# The curves, without a window.


def test_the_papers_section_2(delta):
    found = sweep(delta)
    np.testing.assert_allclose(found.peaks["noisy_or"], 1, rtol=1e-6)
    np.testing.assert_allclose(found.peaks["additive"], found.bound, rtol=1e-5)  # Eq. 6
    agreement = sweep(replace(delta, part="agreement"))
    np.testing.assert_allclose(agreement.peaks["additive"], 81 * found.bound, rtol=1e-5)
    assert agreement.peaks["noisy_or"].max() <= 1
    plain = sweep(replace(delta, part="agreement", sum_rule="plain_sum"))
    np.testing.assert_allclose(plain.peaks["additive"], 81, rtol=1e-5)  # Eq. 4
    np.testing.assert_array_equal(plain.bound, 1)


@pytest.mark.parametrize("rule", ["additive", "plain_sum"])
def test_the_curves_are_the_maps_at_every_sigma(both, rule):
    session = replace(both, sum_rule=rule, truncate=2.0)
    found = sweep(session).at((11, 12))
    assert (found.sigmas[0], found.sigmas[-1]) == session.sigma_limits
    assert (np.diff(np.log(found.sigmas)) > 0).all()
    for n in range(0, len(found.sigmas), 5):
        maps = replace(session, sigma=found.sigmas[n]).vote()
        for kind in RULES:
            assert found.peaks[kind][n] == maps[kind].peak.value
            assert found.values[kind][n] == pytest.approx(maps[kind].values[11, 12], abs=1e-6)


def test_where_nothing_votes():
    fields = two_parts(confidence=np.zeros((2, 6, 8), np.float32))
    found = sweep(VotingSession(fields, 0, 2.0)).at((3, 3))
    assert not any(curve.any() for curve in (*found.peaks.values(), *found.values.values()))


def test_it_serves_every_sigma_of_the_same_votes(both):
    found = sweep(both)
    assert found.serves(both)
    assert found.serves(replace(both, sigma=5.0))
    for other in (
        {"part": 0},
        {"sum_rule": "plain_sum"},
        {"truncate": 2.0},
        {"fields": two_parts()},
    ):
        assert not found.serves(replace(both, **other)), other
    assert not found.serves(replace(both, sigma=100.0))  # beyond its last sigma
    assert same_sweep(replace(both, sigma=100.0), both)


def test_it_can_be_broken_off(both):
    told = []
    assert sweep(both, go_on=lambda: len(told) < 3, progress=lambda *at: told.append(at)) is None
    assert told == [(0, 48), (1, 48), (2, 48)]


def test_work_is_that_of_all_its_votes(both):
    assert work_of(both) > 48 * replace(both, sigma=0.3).work


def test_the_curves_as_a_table(both):
    found = sweep(both).at((11, 12))
    assert [*found.table] == [
        "sigma",
        "noisy_or peak",
        "additive peak",
        "noisy_or at row 11, column 12",
        "additive at row 11, column 12",
        "most that one source can add",
    ]
    assert {len(curve) for curve in found.table.values()} == {len(found.sigmas)}


# The panel on a model, without a display of maps.


@pytest.fixture
def model():
    return VotingModel()


@pytest.fixture
def panel(qtbot, model):
    panel = SweepPanel(model)
    panel.resize(360, 520)
    qtbot.addWidget(panel)
    return panel


def test_hidden_it_does_nothing_and_shown_it_catches_up(panel, model, both):
    model.show(both)
    model.settle()
    model.ask_pixel((11, 12))
    assert panel.found is None
    panel.show()
    assert panel.found.serves(both)
    assert panel.found.pixel == (11, 12)
    panel.hide()
    model.change(part=0)
    model.settle()
    assert panel.found.session.part == ALL
    panel.show()
    assert panel.found.session.part == 0


def test_it_follows_the_asked_pixel_without_another_sweep(panel, model, both):
    panel.show()
    model.show(both)
    model.settle()
    peaks = panel.found.peaks
    model.ask_pixel((11, 12))
    assert panel.found.pixel == (11, 12)
    model.change(sigma=5.0)
    model.settle()
    model.ask_pixel(None)
    assert panel.found.values == {}
    assert panel.found.peaks is peaks


def test_it_ends_with_the_fields(panel, model, both):
    panel.show()
    model.show(both)
    model.settle()
    model.show(None)
    assert panel.found is None
    assert not any(button.isEnabled() for button in panel.findChildren(QPushButton))


def test_other_votes_are_swept_anew(panel, model, both):
    panel.show()
    model.show(both)
    for change in ({"sum_rule": "plain_sum"}, {"truncate": 2.0}, {"part": 1}):
        model.change(**change)
        model.settle()
        assert panel.found.serves(model.session)


def test_files(panel, model, both, tmp_path):
    said, refused = [], []
    model.said.connect(said.append)
    model.refused.connect(refused.append)
    panel.show()
    model.show(both)
    model.settle()
    panel.export_csv.write(str(tmp_path / "sweep.csv"))
    panel.save_png.write(str(tmp_path / "sweep.png"))
    assert [text.endswith("written") for text in said] == [True, True]
    with open(tmp_path / "sweep.csv", encoding="utf-8") as file:
        assert len(file.readlines()) == 1 + len(panel.found.sigmas)
    picture = imread(tmp_path / "sweep.png")[..., :3]
    for colour in ("#ff9f1c", "#4cc2ff"):
        rgb = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        assert (np.abs(picture - rgb).max(axis=-1) < 0.05).sum() > 200, colour
    panel.save_png.write(str(tmp_path / "nowhere" / "sweep.png"))
    assert "nowhere" in refused[0]


@pytest.fixture
def under_way(qtbot):
    """A panel whose sweep, of all radii of the coins, is under way in a thread."""
    model = VotingModel(LatestOnlyWorker)
    panel = SweepPanel(model)
    qtbot.addWidget(panel)
    panel.show()
    model.show(VotingSession(mdn.samples.load("coins"), ALL, 2.0))
    model.settle()
    qtbot.waitUntil(panel.progress.isVisible)
    assert panel.found is None
    yield panel, model
    model.close()


def test_a_newer_request_ends_a_sweep(under_way, qtbot):
    panel, model = under_way
    model.change(sigma=3.0)  # is no other sweep
    model.settle()
    assert panel.progress.isVisible()
    model.change(part=2)
    model.settle()
    qtbot.waitUntil(lambda: panel.found is not None, timeout=60_000)
    assert panel.found.serves(model.session)
    assert not panel.progress.isVisible()


@pytest.mark.parametrize("end", ["hide", "close", "show nothing"])
def test_a_sweep_ends_with_what_it_was_for(under_way, qtbot, end):
    panel, model = under_way
    if end == "show nothing":
        model.show(None)
    else:
        getattr(panel, end)()
    panel.wait()
    qtbot.waitUntil(lambda: not threads())
    assert panel.found is None


def threads():
    """The threads in which a sweep is under way."""
    stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]
    return [s for s in stacks if any(call.filename == sweep.__code__.co_filename for call in s)]


# In a real window, with a real mouse.


def test_a_plot_is_drawn_only_while_it_is_to_be_seen(qtbot, delta):
    plot, drawn = SweepPlot(), []
    qtbot.addWidget(plot)
    plot.canvas.mpl_connect("draw_event", drawn.append)
    plot.resize(400, 300)
    plot.plot(sweep(delta))
    qtbot.wait(50)
    assert drawn == []
    plot.show()
    qtbot.waitUntil(lambda: bool(drawn))


@pytest.mark.slow
def test_a_click_in_the_plot_sets_sigma(shown, qtbot, tmp_path):
    widget = shown("delta")
    panel = widget.panel(SweepPanel)
    assert panel.found is None
    widget.open_tab("Sweep")
    qtbot.waitUntil(lambda: panel.found is not None)
    assert not panel.found.values
    for sigma in (1.0, 6.0):
        press(qtbot, panel.plot, sigma)
        qtbot.waitUntil(lambda sigma=sigma: abs(np.log(widget.model.session.sigma / sigma)) < 0.05)
        assert widget.controls.sigma.value == pytest.approx(widget.model.session.sigma, abs=0.01)
        widget.wait()
        assert cursor_of(panel.plot) == pytest.approx(widget.model.session.sigma, rel=0.03)
    widget.model.ask_pixel((28, 40))
    qtbot.waitUntil(lambda: panel.found.pixel == (28, 40))
    next(b for b in panel.findChildren(QPushButton) if "PNG" in b.text()).click()
    name_file(qtbot, panel, tmp_path / "sweep.png")
    assert imread(tmp_path / "sweep.png").shape[0] > 300


def press(qtbot, plot, sigma):
    """Click into the plot, with the X server's own mouse."""
    canvas, middle = plot.canvas, np.sqrt(np.prod(plot.axes.get_ylim()))
    x, y = plot.axes.transData.transform((sigma, middle)) / canvas.device_pixel_ratio
    onto_the_screen(canvas)
    qtbot.wait(50)
    point = canvas.mapToGlobal(QPoint(round(x), round(canvas.height() - y)))
    for command in (("mousemove", point.x(), point.y()), ("mousedown", 1), ("mouseup", 1)):
        mouse(*command)
        qtbot.wait(50)


def cursor_of(plot):
    """Where the cursor is on the screen: the sigma of the column that is brightest throughout."""
    pixels = np.asarray(plot.canvas.buffer_rgba())[..., :3].min(axis=-1)
    left, bottom, width, height = (round(n) for n in plot.axes.bbox.bounds)
    inside = pixels[-bottom - height + 4 : -bottom - 4, left + 3 : left + width - 3]
    column = left + 3 + int(inside.min(axis=0).argmax())
    return plot.axes.transData.inverted().transform((column + 0.5, bottom))[0]
