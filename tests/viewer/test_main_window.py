"""The main job, in a real napari window on a real display, with a real mouse."""

import re
from itertools import pairwise

import numpy as np
import pytest
from mdn_viewer.core.provenance import provenance_of
from mdn_viewer.core.session import RULES, VotingSession, title
from mdn_viewer.widget import MassDisplacement
from mdn_viewer.widgets.controls import Figure
from mdn_viewer.widgets.voters import VotersPanel
from napari._app_model import get_app_model
from qtpy.QtWidgets import QApplication, QSlider
from viewer_support import (
    PLUGIN,
    assert_shows,
    click,
    dock,
    drag,
    drop,
    mouse,
    move_to,
    peaks,
    pictures,
    press,
)

import mdn_cupy as mdn


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 850)
    return viewer


def test_sigma_is_dragged_on_the_pose_sample(viewer, qtbot):
    viewer.open_sample(PLUGIN, "pose")
    widget = dock(viewer)
    assert (widget.controls.part.current_choice, widget.controls.sigma.value) == ("nose", 8)
    frames, said = [pictures(widget)], [peaks(widget)]
    slider = widget.controls.sigma.native.findChild(QSlider)
    for value in (slider.maximum() // 2, slider.maximum()):
        drag(qtbot, slider, value)
        widget.wait()
        frames.append(pictures(widget))
        said.append(peaks(widget))
    assert widget.controls.sigma.value > 20
    for rule in RULES:
        for before, after in pairwise(frames):
            assert not np.array_equal(before[title(rule)], after[title(rule)])
    assert len({frame["additive"] for frame in said}) == 3
    assert (np.diff([frame["noisy-or"].sum() for frame in frames]) > 0).all()
    assert (np.diff([frame["additive"].max() for frame in frames]) < 0).all()
    last = VotingSession(mdn.samples.load("pose"), "nose", widget.controls.sigma.value).vote()
    figures = {rule: vars(last[rule].peak).values() for rule in RULES}
    assert said[-1] == {rule: "{:#.4g} at {}, {}".format(*peak) for rule, peak in figures.items()}


@pytest.mark.slow
def test_a_file_is_dropped_and_looked_at_with_mouse_and_keyboard(viewer, qtbot, tmp_path):
    widget, pose = dock(viewer), mdn.samples.load("pose")
    mdn.save_fields(tmp_path / "person.mdn", pose)
    drop(widget, tmp_path / "person.mdn")
    assert_shows(widget, pose, "nose", pose.sigma)

    evidence, difference = (widget.compare.shown[kind] for kind in ("evidence", "difference"))
    press(qtbot, evidence)
    qtbot.waitUntil(evidence.isChecked)  # a busy machine hears of the mouse late
    press(qtbot, difference)
    qtbot.waitUntil(lambda: not difference.isChecked())
    widget.wait()
    assert {"evidence", "additive"} <= {*widget.canvas.cells}
    assert "difference" not in widget.canvas.cells
    move_to(qtbot, widget, "evidence", 95, 166)
    status = viewer.window._qt_window.statusBar().findChild(Figure).text()
    row, column = map(int, re.match(r"row (\d+), col (\d+)   noisy-or ", status).groups())
    assert (row, column) == pytest.approx((95, 166), abs=2)
    for kind, vote_map in widget.model.maps.items():
        assert f"{title(kind)} {vote_map.values[row, column]:#.4g}" in status

    for key, part in (("Next", "left eye"), ("Next", "right eye"), ("Prior", "left eye")):
        mouse("key", f"alt+{key}")
        qtbot.waitUntil(lambda part=part: widget.controls.part.current_choice == part)
        widget.wait()
    choose(qtbot, widget.controls.cross.native, "Down")
    qtbot.waitUntil(lambda: widget.model.session.cross)
    widget.wait()
    eye = VotingSession(pose, "left eye", pose.sigma, cross=True)
    expected = eye.vote()["noisy_or"].values
    np.testing.assert_allclose(pictures(widget)["noisy-or"], expected, atol=1e-6)
    click(qtbot, widget, "noisy-or", *np.unravel_index(expected.argmax(), expected.shape))
    panel = widget.panel(VotersPanel)
    qtbot.waitUntil(lambda: panel.support.text() != "")
    panel.wait()
    supporters = provenance_of(eye, panel.asked.pixel, "noisy_or").support
    assert len(supporters) > 1
    for name, count, share in supporters[:3]:
        assert f"{name} {share:.1%} ({count})" in panel.support.text()
    widget.model.ask_pixel(None)

    widget.open_tab("Fields")
    viewer.add_image(np.zeros((3, 3), np.float32), name="small")
    choose(qtbot, widget.inputs.offsets.native, "End")
    qtbot.waitUntil(lambda: widget.controls.message.wrong)
    widget.wait()  # the maps go, and what the panel says of them moves the box
    assert "they fit in no common layout" in widget.controls.message.said
    choose(qtbot, widget.inputs.offsets.native, "Up")
    widget.wait()
    assert not widget.controls.message.wrong
    np.testing.assert_allclose(pictures(widget)["noisy-or"], expected, atol=1e-6)


def choose(qtbot, box, key):
    """Open a box with the mouse, go on in it by a key, and take what is there."""
    # A button let go of later than this after the list has opened closes it: Qt takes it for a
    # choice by dragging, and the window may be slow to hear of it.
    QApplication.setDoubleClickInterval(10_000)
    press(qtbot, box)
    qtbot.waitUntil(box.view().isVisible)
    for each in (key, "Return"):
        mouse("key", each)
        qtbot.wait(50)
    qtbot.waitUntil(lambda: not box.view().isVisible())


def test_all_radii_vote_for_coins(viewer):
    viewer.open_sample(PLUGIN, "coins")
    widget = dock(viewer)
    assert widget.controls.part.current_choice == "all parts together"
    assert pictures(widget)["noisy-or"].shape == (303, 384)
    expected = mdn.samples.load("coins").votes().noisy_or()
    np.testing.assert_allclose(pictures(widget)["noisy-or"], expected, atol=1e-6)


def test_the_menus_open_it(viewer):
    """As a person does: a sample by its menu item, then the widget by either of its own."""
    commands, menus = get_app_model().commands, get_app_model().menus
    samples = [item.command.id for item in menus.get_menu(f"napari/file/samples/{PLUGIN}")]
    assert samples == [
        f"{PLUGIN}.{name}" for name in ("pose", "faces", "trained", "coins", "nuclei", "delta")
    ]
    commands.execute_command(samples[0]).result()
    command = "mdn-cupy.mass_displacement"
    for menu in ("napari/layers/visualize", "napari/plugins"):
        assert command in {getattr(item, "command", item).id for item in menus.get_menu(menu)}
    commands.execute_command(command).result()
    widgets = [w for w in viewer.window.dock_widgets.values() if isinstance(w, MassDisplacement)]
    assert len(widgets) == 1
    assert dock(viewer) is widgets[0]
    assert peaks(widgets[0])["additive"].startswith("0.02")
