"""The gradient in the window: a target, what it wants of the votes, steps, and the way back."""

import numpy as np
import pytest
from mdn_viewer.canvas.comparison import ComparisonCanvas
from mdn_viewer.canvas.gradient import show_gradient
from mdn_viewer.canvas.maps import MapView
from mdn_viewer.core.losses import Loss, loss_gradient
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.optimizer import Descent, arrows
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.targets import target_of_points
from mdn_viewer.widgets.gradient import GradientPanel
from viewer_support import add_fields, click, mouse, names, pictures, press, two_parts

import mdn_cupy as mdn

PICTURE = "∂loss/∂c"


def settle(qtbot, widget):
    """Wait until the gradient and the maps are those of the chosen fields and parameters."""
    model, panel = widget.model, widget.panel(GradientPanel)

    def at_rest():
        panel.wait()
        widget.wait()
        return model.voted is model.session

    qtbot.waitUntil(at_rest, timeout=60000)
    panel.wait()


@pytest.mark.slow
def test_pick_a_target_step_play_and_reset_on_the_pose_sample(shown, qtbot):
    """All of it as a person does, with the mouse alone."""
    widget = shown("pose")
    viewer = widget._viewer
    widget.open_tab("Gradient")
    panel = widget.panel(GradientPanel)
    loaded = [mdn.samples.load("pose").confidence, mdn.samples.load("pose").offsets]
    before = pictures(widget)
    assert PICTURE not in widget.canvas.cells

    press(qtbot, panel.controls.add)
    widget.wait()
    assert panel.controls.target.value == viewer.layers["target"]  # napari hands out proxies
    assert not panel.controls.step.isEnabled()
    click(qtbot, widget, "noisy-or", 130, 200)
    press(qtbot, panel.controls.add)
    settle(qtbot, widget)
    (point,) = viewer.layers["target"].data
    assert point == pytest.approx((130, 200), abs=2)
    start = panel.descending.descent
    expected = loss_gradient(
        widget.model.session, target_of_points([point], 8.0, (385, 385)), Loss.CROSS_ENTROPY
    )
    np.testing.assert_array_equal(widget.canvas.cells[PICTURE].picture.values, expected.confidence)
    assert widget.canvas.cells[PICTURE].picture.stride == (16, 16)
    drawn = widget.canvas.overlay("gradient")
    np.testing.assert_array_equal(np.stack([drawn.start, drawn.vector], axis=1), arrows(start))
    assert f"{expected.loss:.5g}" in panel.controls.loss_now.said
    assert "∂loss/∂σ" in panel.controls.sigma_now.said

    press(qtbot, panel.controls.step)
    settle(qtbot, widget)
    assert panel.descending.descent.pull.loss < start.pull.loss
    assert "after 1 step," in panel.controls.loss_now.said
    assert not np.array_equal(pictures(widget)["noisy-or"], before["noisy-or"])

    press(qtbot, panel.controls.play)
    assert panel.playing
    enough = 0.2 * start.pull.loss
    qtbot.waitUntil(lambda: panel.descending.descent.pull.loss < enough, timeout=120000)
    press(qtbot, panel.controls.play)
    assert not panel.playing
    settle(qtbot, widget)
    peak = widget.model.maps["noisy_or"].peak
    assert (peak.row, peak.column) == pytest.approx(point, abs=4)
    values = pictures(widget)["noisy-or"]
    rows, columns = np.mgrid[:385, :385]
    there = np.hypot(rows - point[0], columns - point[1]) < 30
    assert values[there].sum() / values.sum() > 2 * before["noisy-or"][there].sum() / values.sum()
    curve = panel.curve.line.get_ydata()
    assert list(curve) == list(panel.descending.descent.losses)
    assert (np.diff(curve) < 0).all()

    press(qtbot, panel.controls.reset)
    settle(qtbot, widget)
    fields = widget.model.session.fields
    assert fields is widget.model.loaded
    np.testing.assert_array_equal(fields.confidence, loaded[0])
    np.testing.assert_array_equal(fields.offsets, loaded[1])
    for rule, values in before.items():
        np.testing.assert_array_equal(pictures(widget)[rule], values)
    assert panel.descending.descent.losses == (start.pull.loss,)


def test_points_of_ones_own_or_an_image_may_be_the_target(shown):
    widget = shown(two_parts())
    viewer = widget._viewer
    panel = widget.panel(GradientPanel)

    def choose(layer):
        panel.controls.target.value = layer
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
    offered = [panel.controls.target.itemText(n) for n in range(panel.controls.target.count())]
    assert offered == ["(none)", "two image", "two confidence", "mine", "of parts", "wanted"]
    panel.controls.losses.setCurrentIndex(2)
    panel.wait()
    assert panel.descending.descent.loss is Loss.ADDITIVE


def test_what_is_no_target_is_refused_beside_it(shown):
    widget = shown(two_parts())
    viewer = widget._viewer
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
        panel.controls.target.value = layer
        panel.wait()
        assert reason in panel.controls.message.said
        todo = layer.name in ("none", "right")  # what one has still to do is not wrong
        assert panel.controls.message.wrong == (bool(reason) and not todo)
        assert (PICTURE in widget.canvas.cells) == (not reason)
    assert "noisy-or" in widget.canvas.cells


def test_a_gradient_of_several_parts_is_one_picture(qtbot):
    fields = two_parts(
        confidence=np.full((40, 40, 3), 0.3, np.float32),
        offsets=np.zeros((40, 2, 40, 3), np.float32),
        names=tuple(map(str, range(40))),
        image=None,
    )
    model, canvas = VotingModel(), ComparisonCanvas()
    qtbot.addWidget(canvas)
    maps = MapView(model, canvas)
    session = VotingSession(fields, ALL, 2.0)
    model.show(session)
    target = target_of_points([[30, 5]], 3.0, session.votes.shape)
    show_gradient(canvas, maps, Descent.begin(session, target, Loss.CROSS_ENTROPY), None)
    assert canvas.cells[PICTURE].picture.values.shape == (40, 3)
    assert canvas.overlay("gradient") is None
    show_gradient(canvas, maps, None, None)
    assert PICTURE not in canvas.cells


@pytest.mark.slow
def test_points_are_added_while_the_button_is_down(shown, qtbot):
    """And taken back with Ctrl+Z; Esc, another tab and a second press end it."""
    widget = shown(two_parts())
    panel, model = widget.panel(GradientPanel), widget.model

    def add(row, column):
        click(qtbot, widget, "noisy-or", row, column)
        return [tuple(np.rint(point)) for point in widget._viewer.layers["target"].data]

    widget.open_tab("Gradient")
    press(qtbot, panel.controls.add)
    assert panel.controls.add.isChecked()
    assert add(14, 8) == [(14, 8)]
    assert add(10, 20) == [(14, 8), (10, 20)]
    assert model.pixel is None  # a click adds, and asks nothing
    widget.canvas.native.setFocus()
    mouse("key", "ctrl+z")
    qtbot.waitUntil(lambda: len(widget._viewer.layers["target"].data) == 1)
    for end in (
        lambda: mouse("key", "Escape"),
        lambda: widget.open_tab("Voters"),
        lambda: press(qtbot, panel.controls.add),
    ):
        widget.open_tab("Gradient")
        panel.controls.add.setChecked(True)
        widget.canvas.native.setFocus()
        end()
        qtbot.waitUntil(lambda: not panel.controls.add.isChecked())
        model.ask_pixel(None)
        assert add(10, 5) == [(14, 8)]
        qtbot.waitUntil(lambda: model.pixel == (10, 5))
    assert names(widget._viewer).count("target") == 1
    panel.controls.add.setChecked(True)
    widget._viewer.layers.remove("target")
    click(qtbot, widget, "noisy-or", 10, 5)
    qtbot.waitUntil(lambda: not panel.controls.add.isChecked())
    assert "target" not in names(widget._viewer)


@pytest.mark.slow
def test_layers_change_under_it(shown, qtbot):
    widget = shown(two_parts())
    viewer = widget._viewer
    panel = widget.panel(GradientPanel)
    points = viewer.add_points([[14, 8]], name="points")
    panel.controls.target.value = points
    panel.wait()
    first = panel.descending.descent.pull.loss
    points.data = [[10, 6]]  # moved
    panel.wait()
    assert panel.descending.descent.pull.loss != first
    points.name = "renamed"
    assert panel.controls.target.currentText() == "renamed"
    panel.wait()
    widget.controls.sigma.value = 3
    settle(qtbot, widget)
    assert panel.descending.descent.session.sigma == 3
    widget.controls.part.value = 1
    settle(qtbot, widget)
    assert panel.descending.descent.session.part == 1
    viewer.layers.remove("renamed")
    panel.wait()
    assert panel.descending.descent is None
    assert PICTURE not in widget.canvas.cells
    assert widget.canvas.overlay("gradient") is None


def test_fields_go_away_while_it_plays(shown, qtbot):
    widget = shown(two_parts())
    viewer = widget._viewer
    panel = widget.panel(GradientPanel)
    panel.controls.target.value = viewer.add_points([[14, 8]], name="points")
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


def test_what_was_moved_can_be_reset_without_a_target(shown):
    """And a curve that has gone takes its numbers with it."""
    widget = shown(two_parts())
    viewer, panel = widget._viewer, widget.panel(GradientPanel)
    widget.open_tab("Gradient")
    reset, scale = panel.controls.reset, panel.curve.line.axes.yaxis
    points = viewer.add_points([[14, 8]], name="points")
    panel.controls.target.value = points
    panel.wait()
    assert not reset.isEnabled()  # nothing has been moved
    assert scale.get_visible()
    panel.controls.step.click()
    panel.wait()
    viewer.layers.remove(points)
    panel.wait()
    assert not panel.controls.step.isEnabled()
    assert not scale.get_visible()
    reset.click()
    assert widget.model.session.fields is widget.model.loaded
    assert not reset.isEnabled()


def test_points_are_added_to_the_target_only(shown):
    widget = shown(two_parts())
    viewer, panel = widget._viewer, widget.panel(GradientPanel)
    widget.open_tab("Gradient")
    add = panel.controls.add
    add.click()
    panel.wait()
    panel.controls.target.value = viewer.layers["two image"]
    assert not add.isChecked()
    add.click()
    assert panel.controls.target.value == viewer.layers["target"]
    viewer.layers.remove("target")
    assert not add.isChecked()
    panel.wait()
    assert "Choose a target" in panel.controls.message.said
    add.click()
    viewer.layers.clear()
    widget.wait()
    assert not add.isChecked()
    assert not add.isEnabled()  # there is no map to click on


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
