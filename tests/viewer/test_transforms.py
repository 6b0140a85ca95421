"""Stride and origin are in pixels of the image, wherever its layer is."""

import numpy as np
import pytest
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.reading import Reading
from mdn_viewer.core.session import VotingSession
from mdn_viewer.layers.conversion import frames_of
from mdn_viewer.layers.targets import target_of
from mdn_viewer.layers.transforms import Frame, grid_of
from mdn_viewer.widgets.controls import Figure, PixelPair
from napari.layers import Image, Points, Vectors
from viewer_support import add_fields, assert_shows, click, dock, move_to, press, two_parts, wrong

TURNED = [[0.8, 0.6, 7], [-0.6, 0.8, -3], [0, 0, 1]]
PLACES = {
    "pixels": {},
    "half a micrometre": {"scale": (0.5, 0.5), "units": ("um", "um")},
    "metres": {"scale": (3.25e-7, 3.25e-7), "translate": (0.01, 0.02), "units": ("m", "m")},
    "oblong pixels": {"scale": (2.0, 0.5)},
    "a crop": {"translate": (100.0, 73.0)},
    "rotated": {"scale": (0.65, 0.65), "rotate": 30, "translate": (5, -8)},
    "sheared": {"scale": (0.65, 0.65), "shear": [0.3]},
    "affine": {"scale": (3, 3), "affine": TURNED},
    "flipped": {"scale": (-1, 1), "translate": (23, 0)},
}


def on(place, fields, image_looks=None):
    """The image, and confidence and offsets of a part, whose sources lie over their pixels."""
    image = Image(fields.image, rgb=True, name="image", **place)
    known = {"scale": (1, 1), "translate": (0, 0), **place}
    physical = Image(fields.image[..., 0], **{k: v for k, v in known.items() if k != "affine"})
    grid = {
        **known,
        "scale": fields.stride * np.array(known["scale"]),
        "translate": physical.data_to_world(np.broadcast_to(fields.origin, 2)),
    }
    confidence = Image(fields.confidence[0], name="confidence", **grid)
    return image, confidence, Image(fields.offsets[0], name="offsets")


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_grid_is_read_in_pixels_of_the_image(place):
    stride, origin = (4.25, 2.5), (1.625, 3.0)
    image, confidence, _ = on(place, two_parts(stride=stride, origin=origin))
    assert grid_of(confidence, Frame.of(image)) == (stride, origin)
    pixel = np.array(origin) + stride * np.array([3, 5])  # of a source, as napari has it
    places = (confidence.data_to_world((3, 5)), image.data_to_world(pixel))
    np.testing.assert_allclose(*places, rtol=1e-12)
    at = Frame.of(image).pixel_at(image.data_to_world((7, 2)), image.units)
    np.testing.assert_allclose(at, (7, 2), rtol=1e-9)


def test_one_length_in_two_units():
    fields = two_parts()
    image, confidence, _ = on(PLACES["half a micrometre"], fields)
    confidence.scale, confidence.translate = confidence.scale * 1000, confidence.translate * 1000
    confidence.units = ("nm", "nm")
    assert grid_of(confidence, Frame.of(image)) == ((4, 4), (2, 2))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_grid_is_put_in_pixels_of_the_image(place):
    image, _, _ = on(place, two_parts())
    frame, layer = Frame.of(image), Image(np.zeros((3, 6, 8)), rotate=10, shear=[0, 0, 0.3])
    grid = Grid((4.0, 2.0), (1.5, 7.0))
    frame.put_grid(layer, grid)
    assert grid_of(layer, frame) == grid
    seen = layer.data_to_world((0, 2, 3))[-2:]
    np.testing.assert_allclose(seen, image.data_to_world((9.5, 13)), rtol=1e-12)


@pytest.mark.parametrize(
    ("place", "looks", "reason"),
    [
        ("pixels", {"rotate": 30}, "the layer is rotated, but .*rotate = 0"),
        ("half a micrometre", {"shear": [0.2]}, r"the layer is sheared, but .*shear = \[0\]"),
        ("rotated", {"rotate": 29}, "rotated, sheared or flipped as seen from image"),
        ("affine", {"affine": np.eye(3)}, "as seen from image"),
        ("flipped", {"scale": (4, 4)}, "scales of one sign"),
    ],
)
def test_what_has_no_stride_is_refused(place, looks, reason):
    image, confidence, _ = on(PLACES[place], two_parts())
    for name, value in looks.items():
        setattr(confidence, name, value)
    with pytest.raises(ValueError, match=f"^confidence: .*{reason}"):
        grid_of(confidence, Frame.of(image))


def test_parts_that_move_their_sources_are_refused():
    leaning = Image(np.zeros((2, 6, 8)), shear=[0.5, 0, 0], name="c")
    with pytest.raises(ValueError, match="c: the layer is sheared"):
        grid_of(leaning)


def test_an_image_on_a_line_is_refused():
    flat = Image(np.zeros((4, 5)), affine=[[1, 1, 0], [1, 1, 0], [0, 0, 1]], name="flat")
    with pytest.raises(ValueError, match="flat: the layer's transform puts all pixels on a line"):
        Frame.of(flat)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_vectors_and_targets_are_read_where_they_are_seen(place):
    fields = two_parts()
    image, confidence, _ = on(place, fields)
    stride, origin = grid_of(confidence, Frame.of(image))
    reading = Reading(stride=stride, origin=origin)
    rows, columns = np.mgrid[:6, :8].reshape(2, -1)
    starts = 2 + 4 * np.stack([rows, columns], -1)
    steps = fields.offsets[0, ::-1].reshape(2, -1).T
    seen = [[image.data_to_world(p) for p in points] for points in (starts, starts + steps)]
    arrows = np.stack([seen[0], np.subtract(seen[1], seen[0])], 1)  # in the world
    vectors = Vectors(arrows, name="vectors", units=image.units)
    read = frames_of(confidence, vectors, image, reading)[0]
    np.testing.assert_allclose(read.offsets, fields.offsets[:1], atol=1e-4)

    session = VotingSession(fields, 0, 2.0)
    points = Points([image.data_to_world((14, 8))], units=image.units)
    blob = target_of(points, 3.0, Frame.of(image))(session)
    assert np.unravel_index(blob.argmax(), blob.shape) == (14, 8)
    wanted = Image(blob, name="wanted", **place)  # exactly over the image
    np.testing.assert_allclose(target_of(wanted, 3.0, Frame.of(image))(session), blob, atol=1e-6)


# In a window.


def open_on(viewer, widget, place, fields):
    image, confidence, offsets = on(place, fields)
    for layer in (image, confidence, offsets):
        viewer.add_layer(layer)
    widget.wait()
    widget.inputs.confidence.value, widget.inputs.offsets.value = confidence, offsets
    widget.inputs.image.value = image
    widget.wait()
    return image, confidence


def numbers(widget):
    return widget.inputs.stride.pair, widget.inputs.origin.pair


@pytest.mark.slow
def test_maps_of_layers_that_are_somewhere_else(viewer):
    widget, fields = dock(viewer), two_parts(stride=(4.123456789012, 3.5), origin=(2.2, 1.0))
    for place in PLACES.values():
        viewer.layers.clear()
        widget.wait()
        open_on(viewer, widget, place, fields)
        assert not wrong(widget)
        stride, origin = numbers(widget)
        assert stride == pytest.approx(fields.stride, abs=1e-11)
        assert origin == pytest.approx(fields.origin)
        assert_shows(widget, fields, "left", widget.controls.sigma.value)


def test_numbers_that_are_typed_hold_whatever_image_is_chosen(viewer):
    widget, fields = dock(viewer), two_parts()
    image, confidence, offsets = on(PLACES["rotated"], fields)
    for layer in (image, confidence, offsets):
        viewer.add_layer(layer)
    confidence = viewer.add_image(fields.confidence[0], name="plain")
    widget.inputs.confidence.value, widget.inputs.offsets.value = confidence, offsets
    widget.inputs.stride.pair, widget.inputs.origin.pair = (4, 4), (2, 2)
    widget.inputs.image.value = image
    widget.wait()
    assert numbers(widget) == ((4, 4), (2, 2))
    assert grid_of(confidence, Frame.of(image)) == numbers(
        widget
    )  # it is the layer that goes there
    assert_shows(widget, fields, "left", widget.controls.sigma.value)
    widget.inputs.image.value = None
    widget.wait()
    assert numbers(widget) == ((4, 4), (2, 2))


def test_layers_that_are_moved_are_read_anew(viewer):
    widget, fields = dock(viewer), two_parts()
    image, confidence = open_on(viewer, widget, {}, fields)
    confidence.scale, confidence.translate = (2, 2), (1, 1)  # as one calibrates them
    widget.wait()
    image.scale = (0.5, 0.5)
    widget.wait()
    assert numbers(widget) == ((4, 4), (2, 2))
    assert tuple(confidence.scale) == (2, 2)
    assert_shows(widget, fields, "left", widget.controls.sigma.value)
    confidence.rotate = 30
    widget.wait()
    assert "confidence: the layer is rotated" in wrong(widget)
    confidence.rotate = 0
    widget.wait()
    assert not wrong(widget)
    assert_shows(widget, fields, "left", widget.controls.sigma.value)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["half a micrometre", "a crop", "rotated"])
def test_a_pixel_is_asked_where_it_is_seen(make_napari_viewer, qtbot, place):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 850)
    widget, fields = dock(viewer), two_parts()
    open_on(viewer, widget, PLACES[place], fields)
    readout = viewer.window._qt_window.statusBar().findChild(Figure)
    move_to(qtbot, widget, "noisy-or", 10, 5)
    qtbot.waitUntil(lambda: readout.text().startswith("row 10, col 5 "))
    click(qtbot, widget, "additive", 10, 5)
    qtbot.waitUntil(lambda: widget.model.pixel == (10, 5))
    click(qtbot, widget, "confidence", 2 + 4 * 3, 2 + 4 * 6, "shift")
    qtbot.waitUntil(lambda: widget.model.source == (0, 3, 6))


def test_a_stride_of_many_digits_is_typed_and_kept(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 850)
    widget, fields = dock(viewer), two_parts(image=None)
    open_on_plain = [viewer.add_image(x[0]) for x in (fields.confidence, fields.offsets)]
    widget.inputs.confidence.value, widget.inputs.offsets.value = open_on_plain
    widget.wait()
    widget.open_tab("Fields")
    box = widget.inputs.stride.native
    press(qtbot, box)
    box.selectAll()
    qtbot.keyClicks(box, "16.041667\r")
    qtbot.waitUntil(lambda: widget.model.session.fields.stride == 16.041667, timeout=30_000)
    assert float(open_on_plain[0].scale[-1]) == 16.041667


def test_fields_of_two_strides_vote(viewer):
    fields = two_parts(stride=(4.0, 3.0), origin=(1.0, 2.5))
    add_fields(viewer, fields)
    widget = dock(viewer)
    assert grid_of(viewer.layers["two confidence"]) == numbers(widget) == ((4, 3), (1, 2.5))
    assert widget.inputs.stride.native.text() == "4 × 3"
    assert_shows(widget, fields, "left", widget.controls.sigma.value)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("4", (4, 4)),
        ("4 × 3", (4, 3)),
        ("4x3", (4, 3)),
        ("16.5, 2", (16.5, 2)),
        ("1e-6", (1e-6, 1e-6)),
        *((text, (7.123456789, 2)) for text in ("", "4 ×", "4 3 2", "0", "nan", "2e9", "four")),
    ],
)
def test_pixels_along_rows_and_columns_are_typed(qapp, typed, read):
    pair = PixelPair(1e-6, (7.123456789, 2))
    assert pair.native.text() == "7.123457 × 2"
    pair.native.setText(typed)
    assert pair.pair == read
    pair.native.editingFinished.emit()
    assert pair.pair == read
