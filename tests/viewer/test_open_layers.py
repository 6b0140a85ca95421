"""Plain layers: those that fit in one way are chosen, and how they are read can be corrected."""

import numpy as np
import pytest
from viewer_support import assert_shows, two_parts, wrong


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
    inputs.axes.value, inputs.order.value = "HW(PC)", True
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
