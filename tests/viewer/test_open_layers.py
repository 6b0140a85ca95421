"""Plain layers: those that fit in one way are chosen, and how they are read can be corrected."""

import numpy as np
import pytest
from mdn_viewer.core.reading import PRESETS
from mdn_viewer.widgets.parts import PartsPanel
from qtpy.QtWidgets import QSlider
from viewer_support import add_fields, assert_shows, drag, mouse, press, two_parts, wrong

import mdn_cupy as mdn


@pytest.fixture
def widget(shared):
    """The dock widget of a window with nothing open."""
    shared._viewer.layers.clear()
    shared.inputs.forget()
    shared.wait()
    return shared


def add(widget, *arrays):
    for number, array in enumerate(arrays):
        widget._viewer.add_image(array, rgb=False, name=f"layer {number}")
    widget.wait()


def test_two_layers_and_a_picture_are_chosen_with_stride_and_origin(widget):
    fields = two_parts(stride=4.0, origin=1.5)
    widget._viewer.add_image(fields.image)
    add(widget, fields.confidence, fields.offsets)
    assert not wrong(widget)
    got = widget.model.session.fields
    assert (got.stride, got.origin) == (4.0, 1.5)  # of 24 × 32 pixels and 6 × 8 sources
    np.testing.assert_array_equal(got.image, fields.image)
    assert_shows(widget, fields, 0, widget.controls.sigma.value)
    assert "read as PCHW, x before y; stride 24 / 6 = 4" in widget.inputs.understood.said


def test_channels_last_are_read_and_corrected(widget):
    fields = two_parts(image=None, stride=1.0, origin=0.0)
    o = np.moveaxis(fields.offsets[:, ::-1].reshape(4, 6, 8), 0, -1)  # y, x of each part in turn
    add(widget, np.moveaxis(fields.confidence, 0, -1), o)
    inputs = widget.inputs
    assert list(inputs.axes.choices) == ["HW(PC)", "HW(CP)"]
    assert "could be" in inputs.understood.said
    inputs.axes.value, inputs.order.value = "HW(PC)", "yx"
    widget.wait()
    np.testing.assert_array_equal(widget.model.session.fields.offsets, fields.offsets)
    inputs.axes.value = "HW(CP)"
    widget.wait()
    assert not np.array_equal(widget.model.session.fields.offsets, fields.offsets)
    assert not wrong(widget)


def test_a_number_is_the_unit_and_logits_are_confidences(widget):
    fields = two_parts(image=None, stride=1.0, origin=0.0)
    logits = np.log(fields.confidence / (1 - fields.confidence))
    add(widget, logits, fields.offsets / np.float32(7.2801))
    widget.inputs.scale.value, widget.inputs.sigmoid.value = 7.2801, True
    widget.wait()
    got = widget.model.session.fields
    np.testing.assert_allclose(got.offsets, fields.offsets, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got.confidence, fields.confidence, rtol=1e-5)
    assert not wrong(widget)


def test_layers_that_fit_in_several_pairs_are_left_to_the_user(widget):
    fields = two_parts()
    add(widget, fields.confidence, fields.confidence, fields.offsets)
    layers = widget._selection.layers
    # The first two that came fitted no pair, and the third made two of them.
    assert layers.confidence is None
    assert widget.model.session is None


def test_what_is_chosen_stays_when_another_layer_comes(widget):
    fields = two_parts()
    add(widget, fields.confidence, fields.offsets)
    chosen = widget._selection.layers
    assert chosen.offsets is not None
    add(widget, fields.confidence)
    assert widget._selection.layers == chosen


def test_exchanged_channels_are_offered_and_not_imposed(widget, qtbot):
    fields, inputs = two_parts(), widget.inputs
    widget._viewer.add_image(fields.image)
    add(widget, fields.confidence, fields.offsets[:, ::-1])
    assert inputs.reading.order == "xy"
    assert "Read y before x: evidence" in inputs.other_order.text
    widget.open_tab("Fields")
    press(qtbot, inputs.other_order.native)
    qtbot.waitUntil(lambda: not inputs.other_order.visible)
    widget.wait()
    np.testing.assert_array_equal(widget.model.session.fields.offsets, fields.offsets)
    assert "y before x" in inputs.understood.said


def logits(p):
    return np.log(p / (1 - p))


def written_by(family, rng):
    """Two arrays as a family writes them, and what its adapter makes of them, of stride 4."""

    def probabilities(*shape):
        return rng.uniform(0.05, 0.9, shape).astype(np.float32)

    def offsets(*shape):
        return rng.normal(size=shape).astype(np.float32)

    c, o, settings = {
        "centernet": lambda: (logits(probabilities(3, 6, 8)), offsets(2, 6, 8), {"stride": 4.0}),
        "deeplabcut": lambda: (
            logits(probabilities(3, 6, 8)),
            offsets(6, 6, 8),
            {"stride": 4.0, "apply_sigmoid": True},
        ),
        "movenet": lambda: (logits(probabilities(3, 6, 8)), offsets(6, 6, 8), {"stride": 4.0}),
        "posenet": lambda: (logits(probabilities(6, 8, 3)), offsets(6, 8, 6), {"stride": 4.0}),
        "sleap_nn": lambda: (probabilities(1, 6, 8), offsets(2, 6, 8), {"stride": 4.0}),
        "spotiflow": lambda: (probabilities(6, 8), offsets(6, 8, 2), {}),
    }[family]()
    return c, o, getattr(mdn.adapters, family)(c, o, **settings)


@pytest.mark.parametrize("family", PRESETS)
def test_a_preset_reads_as_the_adapter_does(widget, family):
    c, o, expected = written_by(family, np.random.default_rng(0))
    add(widget, c, o)
    widget.inputs.stride.pair = (float(expected.stride),) * 2
    widget.inputs.network.value = family
    widget.wait()
    assert not wrong(widget)
    got = widget.model.session.fields
    np.testing.assert_allclose(got.confidence, expected.confidence, rtol=1e-5)
    np.testing.assert_allclose(got.offsets, expected.offsets, rtol=1e-5, atol=1e-5)
    assert (got.stride, got.origin) == (expected.stride, expected.origin)


def test_a_part_of_133_is_found_by_some_letters(widget, qtbot):
    rng = np.random.default_rng(0)
    parts = [
        f"{side} {name} {n}"
        for n in range(22)
        for side in ("left", "right")
        for name in ("finger", "toe", "cheek")
    ] + ["nose"]
    c = rng.uniform(0, 0.5, (133, 5, 5)).astype(np.float32)
    fields = mdn.Fields(c, rng.normal(size=(133, 2, 5, 5)).astype(np.float32), names=parts)
    add_fields(widget._viewer, fields)
    widget.wait()
    box = widget.controls.part.native
    for letters, found in (("cheek 17", "left cheek 17"), ("NOSE", "nose"), ("toe", "left toe 0")):
        press(qtbot, box.lineEdit())
        qtbot.waitUntil(box.lineEdit().hasFocus)
        mouse("key", "ctrl+a")
        mouse("type", letters)
        qtbot.waitUntil(lambda letters=letters: box.lineEdit().text() == letters)
        mouse("key", "Return")
        qtbot.waitUntil(
            lambda found=found: parts[widget.model.session.part] == found, timeout=30000
        )
        qtbot.waitUntil(lambda found=found: box.currentText() == found)
    press(qtbot, box.lineEdit())
    mouse("key", "ctrl+a")
    mouse("type", "cheek 17")
    qtbot.waitUntil(box.completer().popup().isVisible)
    for key in ("Down", "Down", "Return"):  # the second of what is listed
        mouse("key", key)
        qtbot.wait(50)
    qtbot.waitUntil(lambda: parts[widget.model.session.part] == "right cheek 17", timeout=30000)
    press(qtbot, box.lineEdit())
    mouse("key", "ctrl+a")
    mouse("type", "no such part")
    mouse("key", "Return")
    qtbot.waitUntil(lambda: box.currentText() == "right cheek 17")
    widget.open_tab("Parts")  # a sheet of all maps
    panel = widget.panel(PartsPanel)
    qtbot.waitUntil(panel.isVisible)
    panel.wait()
    assert panel.list.count() == 133
    panel.filter.setText("cheek 1")
    assert panel.count.text() == "22 of 133 parts"


def several(parts):
    """Return confidences and offsets of three frames, and the image of each."""
    made = [
        two_parts(confidence=np.full((2, 6, 8), 0.2 * n, np.float32), stride=4.0, origin=1.5)
        for n in (1, 2, 3)
    ]
    c, o = (np.stack([getattr(f, name)[parts] for f in made]) for name in ("confidence", "offsets"))
    image = np.stack([np.full((24, 32), 50 * n, np.uint8) for n in (1, 2, 3)])
    return c, o, image


@pytest.mark.parametrize("parts", [slice(None), 0], ids=["of two parts", "of one part"])
def test_plain_layers_of_frames_follow_the_sliders(widget, qtbot, parts):
    c, o, image = several(parts)
    add(widget, c, o, image)
    assert not wrong(widget)
    model, dims = widget.model, widget._viewer.dims
    axis = dims.ndim - c.ndim  # the frames come first
    assert len(model.frames) == 3
    assert len(model.session.fields.names) == (2 if parts == slice(None) else 1)
    for frame in (2, 1):
        dims.set_current_step(axis, frame)  # napari's own slider
        widget.wait()
        assert model.frame == widget.controls.frame.value == frame
        np.testing.assert_array_equal(model.session.fields.confidence.reshape(c[0].shape), c[frame])
        np.testing.assert_array_equal(model.session.fields.offsets.reshape(o[0].shape), o[frame])
        np.testing.assert_array_equal(model.session.fields.image, image[frame])
        assert model.maps["noisy_or"].peak.value == pytest.approx(
            model.session.vote()["noisy_or"].peak.value
        )
    slider = widget.controls.frame.native.findChild(QSlider)
    qtbot.waitUntil(slider.isVisible)
    drag(qtbot, slider, 0, 2)
    widget.wait()
    assert model.frame == dims.current_step[axis] == 2
