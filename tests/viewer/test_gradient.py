"""The gradient in the window: a target, what it wants of the votes, steps, and the way back."""

import numpy as np
import pytest
from mdn_viewer.canvas.gradient import PullLayers
from mdn_viewer.core.losses import Loss, loss_gradient
from mdn_viewer.core.optimizer import Descent, arrows
from mdn_viewer.core.session import ALL, RULES, VotingSession
from mdn_viewer.core.targets import target_of_points
from mdn_viewer.widgets.gradient import GradientPanel
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox
from viewer_support import (
    PLUGIN,
    add_fields,
    click,
    dock,
    empty_stage,
    maps,
    names,
    press,
    remember_defaults,
    two_parts,
)

import mdn_cupy as mdn

PICTURE = "∂loss/∂c"
ARROWS = "−∂loss/∂o (noisy-or)"


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 900)
    return viewer


@pytest.fixture
def hidden(make_napari_viewer):
    """A viewer whose window is not shown, with the field set `two_parts` and its widget."""
    remember_defaults(shown=RULES)  # every cell takes napari long
    viewer = make_napari_viewer(show=False)
    add_fields(viewer, two_parts())
    yield viewer, dock(viewer)
    remember_defaults()


def settle(qtbot, widget):
    """Wait until gradient and maps are those of what is chosen, and nobody moves any more."""
    model, panel = widget.model, widget.panel(GradientPanel)

    def at_rest():
        panel.wait()
        return model.voted is model.session and not widget.in_motion

    widget.wait()
    qtbot.waitUntil(at_rest, timeout=60000)
    panel.wait()


@pytest.mark.slow
def test_pick_a_target_step_play_and_reset_on_the_pose_sample(viewer, qtbot):
    """All of it as a person does, with the mouse alone."""
    viewer.open_sample(PLUGIN, "pose")
    widget = dock(viewer)
    widget.open_tab("Gradient")
    panel = widget.panel(GradientPanel)
    loaded = [mdn.samples.load("pose").confidence, mdn.samples.load("pose").offsets]
    before = maps(viewer)
    assert PICTURE not in names(viewer)

    press(qtbot, panel.controls.add)
    widget.wait()
    assert panel.controls.target is viewer.layers["target"]
    assert not panel.controls.step.isEnabled()
    click(qtbot, viewer, "noisy-or", 130, 200)
    settle(qtbot, widget)
    (point,) = viewer.layers["target"].data
    assert point == pytest.approx((130, 200), abs=2)
    start = panel.descending.descent
    expected = loss_gradient(
        widget.model.session, target_of_points([point], 8.0, (385, 385)), Loss.CROSS_ENTROPY
    )
    np.testing.assert_array_equal(viewer.layers[PICTURE].data, expected.confidence)
    assert viewer.layers[PICTURE].scale == pytest.approx([16, 16])
    np.testing.assert_array_equal(viewer.layers[ARROWS].data, arrows(start))
    assert f"{expected.loss:.5g}" in panel.controls.loss_now.said
    assert "∂loss/∂σ" in panel.controls.sigma_now.said

    press(qtbot, panel.controls.step)
    settle(qtbot, widget)
    assert panel.descending.descent.pull.loss < start.pull.loss
    assert "after 1 step," in panel.controls.loss_now.said
    assert not np.array_equal(maps(viewer)["noisy_or"], before["noisy_or"])

    press(qtbot, panel.controls.play)
    assert panel.playing
    enough = 0.2 * start.pull.loss
    qtbot.waitUntil(lambda: panel.descending.descent.pull.loss < enough, timeout=120000)
    press(qtbot, panel.controls.play)
    assert not panel.playing
    settle(qtbot, widget)
    peak = widget.model.maps["noisy_or"].peak
    assert (peak.row, peak.column) == pytest.approx(point, abs=4)
    values = maps(viewer)["noisy_or"]
    rows, columns = np.mgrid[:385, :385]
    there = np.hypot(rows - point[0], columns - point[1]) < 30
    assert values[there].sum() / values.sum() > 2 * before["noisy_or"][there].sum() / values.sum()
    curve = panel.curve._line.get_ydata()
    assert list(curve) == list(panel.descending.descent.losses)
    assert (np.diff(curve) < 0).all()

    press(qtbot, panel.controls.reset)
    settle(qtbot, widget)
    fields = widget.model.session.fields
    assert fields is widget.model.loaded
    np.testing.assert_array_equal(fields.confidence, loaded[0])
    np.testing.assert_array_equal(fields.offsets, loaded[1])
    for rule, values in before.items():
        np.testing.assert_array_equal(maps(viewer)[rule], values)
    assert panel.descending.descent.losses == (start.pull.loss,)


def test_every_control_explains_itself_and_takes_the_keyboard(hidden):
    _, widget = hidden
    panel = widget.panel(GradientPanel)
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox)
    found = [child for kind in kinds for child in panel.findChildren(kind)]
    assert len(found) >= 9
    for child in found:
        assert child.toolTip(), child
        assert child.focusPolicy().value & 1, child  # Tab


def test_points_of_ones_own_or_an_image_may_be_the_target(hidden):
    viewer, widget = hidden
    panel = widget.panel(GradientPanel)

    def choose(layer):
        panel.controls.target = layer
        panel.wait()
        return panel.descending.descent

    panel.controls.width.setValue(3)
    scaled = viewer.add_points([[7, 4]], scale=(2, 2), name="mine")
    expected = target_of_points([[14, 8]], 3.0, (24, 32))
    np.testing.assert_array_equal(choose(scaled).target, expected)
    of_parts = viewer.add_points([[0, 14, 8], [1, 3, 3]], name="of parts")
    np.testing.assert_array_equal(choose(of_parts).target, expected)
    image = viewer.add_image((255 * expected).astype(np.uint8), name="wanted")
    np.testing.assert_allclose(choose(image).target, expected, atol=0.005)
    assert choose(viewer.layers["two image"]).target.shape == (24, 32)
    coarse = choose(viewer.layers["two confidence"]).target
    np.testing.assert_allclose(coarse[2::4, 2::4], 0.3, atol=1e-6)
    offered = [panel.controls.targets.itemText(n) for n in range(panel.controls.targets.count())]
    assert not {"noisy-or", "two offsets", PICTURE} & set(offered)
    panel.controls.losses.setCurrentIndex(2)
    panel.wait()
    assert panel.descending.descent.loss is Loss.ADDITIVE


def test_what_is_no_target_is_refused_beside_it(hidden):
    viewer, widget = hidden
    panel = widget.panel(GradientPanel)
    for layer, reason in (
        (viewer.add_points(np.zeros((0, 2)), name="none"), "no points yet"),
        (viewer.add_points([[99, 99]], name="far"), "lies on the map of 24 × 32"),
        (viewer.add_points([[1, 9, 9], [1, 3, 3]], name="right"), "other parts than left (part 0)"),
        (
            viewer.add_image(np.ones((24, 32)), name="turned", rotate=9),
            "turned: the layer is rotated",
        ),
        (
            viewer.add_image(np.ones((24, 32)), name="sheared", shear=[0.1]),
            "['sheared'].shear = [0]",
        ),
        (viewer.add_image(np.ones((9, 9)), name="square"), "proportions"),
        (viewer.add_image(np.ones((7, 24, 32)), name="seven"), "one for each part"),
        (viewer.add_image(np.ones((2, 24, 32)), name="two"), ""),
    ):
        panel.controls.target = layer
        panel.wait()
        assert reason in panel.controls.message.said
        todo = layer.name in ("none", "right")  # what one has still to do is not wrong
        assert panel.controls.message.wrong == (bool(reason) and not todo)
        assert (PICTURE in names(viewer)) == (not reason)
    assert "noisy-or" in names(viewer)


def test_a_narrow_grid_is_no_picture_in_colors():
    fields = two_parts(
        confidence=np.full((40, 40, 3), 0.3, np.float32),
        offsets=np.zeros((40, 2, 40, 3), np.float32),
        names=tuple(map(str, range(40))),
        image=None,
    )
    stage, session = empty_stage(), VotingSession(fields, ALL, 2.0)
    target = target_of_points([[30, 5]], 3.0, session.votes.shape)
    PullLayers(stage).show(Descent.begin(session, target, Loss.CROSS_ENTROPY), None)
    shown = stage.viewer.layers[PICTURE]
    assert (shown.rgb, shown.ndim) == (False, shown.data.ndim)


@pytest.mark.slow
def test_the_widget_is_closed_and_opened_again_while_it_plays(hidden, qtbot):
    viewer, widget = hidden
    panel = widget.panel(GradientPanel)
    panel.controls.add.click()
    widget.wait()
    viewer.layers["target"].add([[14, 8]])
    settle(qtbot, widget)
    panel.controls.play.click()
    viewer.window.remove_dock_widget(widget)
    assert not panel.playing
    again = dock(viewer)
    assert again is not widget
    viewer.layers["noisy-or"].name = "renamed"  # at which the first arranged its own again
    assert not panel._soon.isActive()
    qtbot.wait(50)
    again.wait()
    assert not {PICTURE, ARROWS} & {*names(viewer)}
    assert viewer.layers["target"].data.tolist() == [[14, 8]]
    again.panel(GradientPanel).controls.target = viewer.layers["target"]
    settle(qtbot, again)
    assert PICTURE in names(viewer)
    viewer.layers["target"].data = [[9, 9]]
    assert not panel._soon.isActive()


@pytest.mark.slow
def test_layers_change_under_it(hidden, qtbot):
    viewer, widget = hidden
    panel = widget.panel(GradientPanel)
    points = viewer.add_points([[14, 8]], name="points")
    panel.controls.target = points
    panel.wait()
    first = panel.descending.descent.pull.loss
    points.data = [[10, 6]]  # moved
    panel.wait()
    assert panel.descending.descent.pull.loss != first
    points.name = "renamed"
    assert panel.controls.targets.currentText() == "renamed"
    panel.wait()
    for name in (PICTURE, ARROWS):
        viewer.layers.remove(name)
        panel.controls.step.click()
        settle(qtbot, widget)
        assert PICTURE in names(viewer)
    assert ARROWS in names(viewer)
    widget.controls.sigma.value = 3
    settle(qtbot, widget)
    assert panel.descending.descent.session.sigma == 3
    widget.controls.part.value = 1
    settle(qtbot, widget)
    assert panel.descending.descent.session.part == 1
    viewer.layers.remove("renamed")
    panel.wait()
    assert panel.descending.descent is None
    assert PICTURE not in names(viewer)
    assert not len(viewer.layers[ARROWS].data)


def test_fields_go_away_while_it_plays(hidden, qtbot):
    viewer, widget = hidden
    panel = widget.panel(GradientPanel)
    panel.controls.target = viewer.add_points([[14, 8]], name="points")
    panel.wait()
    panel.controls.play.click()
    qtbot.waitUntil(lambda: len(panel.descending.descent.losses) > 2, timeout=30000)
    add_fields(viewer, two_parts(sigma=3.0), "other")
    widget.wait()
    assert not panel.playing
    settle(qtbot, widget)
    assert panel.descending.descent.session is widget.model.session
    assert widget.model.session.fields is widget.model.loaded
    panel.controls.play.click()
    viewer.layers.clear()
    widget.wait()
    qtbot.wait(50)
    assert not panel.playing
    assert panel.descending.descent is None
    assert names(viewer) == []


def test_arrows_show_where_a_step_moves_the_votes():
    session = VotingSession(two_parts(), "left", 2.0)
    start = Descent.begin(session, target_of_points([[14, 9]], 3.0, (24, 32)), Loss.CROSS_ENTROPY)
    drawn = arrows(start)
    assert drawn.shape == (48, 2, 2)
    np.testing.assert_allclose(drawn[:, 0], np.broadcast_to([10, 5], (48, 2)), atol=1e-5)
    moved = start.step().session.fields.offsets - session.fields.offsets
    direction = moved[0].reshape(2, -1).T[:, ::-1].mean(axis=0)
    for vector in drawn[:, 1]:
        cosine = vector @ direction / np.linalg.norm(vector) / np.linalg.norm(direction)
        assert cosine == pytest.approx(1, abs=0.05)
    assert len(arrows(start, most=7)) == 7
