"""Field sets as layers and back, and the reader: no window."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer import reader
from mdn_viewer.core.contrast import backdrop
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.reading import Reading
from mdn_viewer.core.session import ALL
from mdn_viewer.layers.conversion import (
    frames_of,
    layer_data,
    opened_of,
    read_as,
    role_of,
    values_of,
)
from mdn_viewer.layers.transforms import grid_of
from napari.layers import Image, Vectors
from viewer_support import two_parts

import mdn_cupy as mdn

FULL, OFFSETS = np.ones((4, 5)), np.zeros((2, 4, 5))  # of one part


def layers_of(fields, **keywords):
    return {
        looks["metadata"]["mdn_role"]: Image(data, **looks)
        for data, looks, _ in layer_data(Opened([fields], **keywords), "two")
    }


def back(layers):
    stride, origin = grid_of(layers["confidence"])
    reading = Reading(stride=stride, origin=origin)
    (found,) = frames_of(layers["confidence"], layers["offsets"], layers.get("image"), reading)
    return found


@pytest.mark.parametrize("name", [*mdn.samples.names(), "two"])
def test_a_field_set_comes_back_from_its_layers(name):
    fields = two_parts() if name == "two" else mdn.samples.load(name)
    again = back(layers_of(fields))
    for array in ("confidence", "offsets", "image", "cross_offsets"):
        np.testing.assert_array_equal(getattr(again, array), getattr(fields, array))
    if fields.cross_offsets is not None:
        assert np.shares_memory(again.cross_offsets, fields.cross_offsets)
    for scalar in ("stride", "origin", "sigma", "names", "source"):
        assert getattr(again, scalar) == getattr(fields, scalar)


def test_layers_share_the_field_sets_memory():
    fields = two_parts()
    assert np.shares_memory(back(layers_of(fields)).offsets, fields.offsets)


def test_layers_know_where_they_belong():
    fields = two_parts()
    layers = layers_of(fields, part=ALL)
    assert list(layers) == ["image", "confidence", "offsets"]
    for role, layer in layers.items():
        assert opened_of(layer).first is fields
        assert role_of(layer) == role
        assert opened_of(layer).part == ALL
        assert layer.name == f"two {role}"
    assert not layers["offsets"].visible  # it would hide all others


def test_every_source_lies_over_its_pixel():
    layers = layers_of(two_parts())
    np.testing.assert_allclose(layers["confidence"].data_to_world((1, 3, 5)), (1, 2 + 12, 2 + 20))
    np.testing.assert_allclose(layers["offsets"].data_to_world((0, 1, 3, 5)), (0, 1, 14, 22))
    assert (layers["image"].scale == 1).all()
    assert (layers["image"].translate == 0).all()


def test_a_field_set_without_an_image():
    fields = two_parts(image=None)
    layers = layers_of(fields)
    assert list(layers) == ["confidence", "offsets"]
    assert back(layers).image is None


@pytest.mark.parametrize("shape", [(40, 40, 3), (33, 33, 4)])
def test_a_narrow_grid_is_no_colour_image(shape):
    parts, *grid = shape
    fields = mdn.Fields(np.full(shape, 0.5), np.ones((parts, 2, *grid)))
    layers = layers_of(fields)
    assert [(layer.ndim, layer.rgb) for layer in layers.values()] == [(3, False), (4, False)]
    np.testing.assert_array_equal(back(layers).offsets, fields.offsets)


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3), (400, 300, 4)])
def test_an_image_has_rows_and_columns(shape):
    layer = layers_of(two_parts(image=np.zeros(shape, np.uint8)))["image"]
    assert (layer.ndim, layer.rgb) == (2, len(shape) == 3)


def test_a_field_set_without_sources():
    empty = mdn.Fields(np.zeros((1, 0, 5), np.float32), np.zeros((1, 2, 0, 5), np.float32))
    with pytest.raises(ValueError, match=r"no sources: its shape is \(1, 0, 5\)"):
        layer_data(Opened([empty]), "empty")


def test_plain_layers():
    fields = two_parts()
    stack = frames_of(
        Image(fields.confidence), Image(fields.offsets), None, Reading(stride=4.0, origin=2.0)
    )[0]
    np.testing.assert_array_equal(stack.offsets, fields.offsets)
    assert stack.names == ("part 0", "part 1")
    single = frames_of(
        Image(fields.confidence[0]), Image(fields.offsets[0]), None, Reading(stride=4.0, origin=2.0)
    )[0]
    np.testing.assert_array_equal(single.confidence, fields.confidence[:1])
    np.testing.assert_array_equal(single.offsets, fields.offsets[:1])


def test_offsets_may_be_rows_first_and_in_units_of_the_grid():
    fields = two_parts()
    swapped = Image(fields.offsets[:, ::-1] / 4)
    reading = Reading(stride=4.0, origin=2.0, order="yx", coarse=True)
    read = frames_of(Image(fields.confidence), swapped, None, reading)[0]
    np.testing.assert_allclose(read.offsets, fields.offsets)


def test_cross_offsets_are_read_as_the_offsets_are():
    fields = two_parts()
    crossed = replace(fields, cross_offsets=np.stack([fields.offsets, -fields.offsets]))
    read = read_as(crossed, Reading(order="yx", scale=2.0, stride=4.0, origin=2.0))
    np.testing.assert_array_equal(read.offsets, 2 * fields.offsets[:, ::-1])
    np.testing.assert_array_equal(read.cross_offsets, np.stack([read.offsets, -read.offsets]))
    assert (read.names, read.sigma, read.source) == (fields.names, fields.sigma, fields.source)
    np.testing.assert_array_equal(read.image, fields.image)


def arrows(fields, scale=1.0, origin=0.0):
    """Vectors (row, column), which start at the sources of the first part."""
    rows, columns = np.mgrid[:6, :8].reshape(2, -1)
    starts = np.stack([rows, columns], -1) * scale + origin
    steps = fields.offsets[0, ::-1].reshape(2, -1).T
    return np.stack([starts, steps], axis=1)


@pytest.mark.parametrize("place", [{}, {"scale": 4.0, "origin": 2.0}], ids=["grid", "output"])
def test_offsets_may_be_vectors(place):
    fields = two_parts()
    confidence, reading = Image(fields.confidence[0]), Reading(stride=4.0, origin=2.0)
    vectors = arrows(fields, **place)
    read = frames_of(confidence, Vectors(vectors), None, reading)[0]
    np.testing.assert_allclose(read.offsets, fields.offsets[:1])
    fewer = frames_of(confidence, Vectors(vectors[1:]), None, reading)[0]
    assert np.isnan(fewer.offsets[0, :, 0, 0]).all()  # casts no vote
    assert np.isfinite(fewer.offsets).sum() == fields.offsets[0].size - 2


def test_vectors_may_tell_the_part():
    fields = two_parts()
    flat = arrows(fields)
    of_part_1 = np.zeros((len(flat), 2, 3))
    of_part_1[:, :, 1:], of_part_1[:, 0, 0] = flat, 1
    read = frames_of(Image(fields.confidence), Vectors(of_part_1), None, Reading())[0]
    np.testing.assert_allclose(read.offsets[1], fields.offsets[0])
    assert np.isnan(read.offsets[0]).all()


def test_vectors_that_start_nowhere():
    fields = two_parts()
    with pytest.raises(ValueError, match="far: vectors must each start at another source"):
        frames_of(
            Image(fields.confidence[0]),
            Vectors(arrows(fields, origin=100), name="far"),
            None,
            Reading(),
        )[0]


def test_layers_are_the_truth_where_their_data_were_replaced():
    layers = layers_of(two_parts())
    layers["confidence"].data = layers["confidence"].data / 2
    again = back(layers)
    assert again.confidence.max() == pytest.approx(0.15)
    assert again.names == ("left", "right")
    layers["confidence"].data = layers["confidence"].data[:1]
    layers["offsets"].data = layers["offsets"].data[:, :1]
    assert back(layers).names == ("part 0",)


@pytest.mark.parametrize(
    ("confidence", "offsets", "message"),
    [
        (np.zeros((4, 5)), np.zeros((2, 5, 4)), r"offsets \(2, 5, 4\): give layout='HW CWH'"),
        (
            np.zeros((4, 5)),
            np.zeros((4, 5)),
            r"got confidence \(4, 5\), offsets \(4, 5\): they fit",
        ),
        (np.zeros((3, 4, 5)), np.zeros((2, 3, 4, 5)), r"wants .* \(P, 2, H, W\).* layout='CPHW'"),
    ],
)
def test_layers_that_do_not_fit(confidence, offsets, message):
    with pytest.raises((TypeError, ValueError), match=message):
        frames_of(Image(confidence), Image(offsets), None, Reading())[0]


def test_lazy_data_that_cannot_be_computed():
    class Vanished:
        dtype, there = np.dtype(np.float32), True

        def __init__(self, *shape):
            self.shape, self.ndim = shape, len(shape)

        def __getitem__(self, index):
            return np.zeros(self.shape, self.dtype)[index]

        def __array__(self, dtype=None, copy=None):
            if not self.there:
                raise OSError("no such file")
            return np.zeros(self.shape, self.dtype)

    c, o = (
        Image(Vanished(*shape), name="lazy", contrast_limits=(0, 1))
        for shape in ((4, 5), (2, 4, 5))
    )
    assert values_of(c).shape == (4, 5)
    c.data.there = o.data.there = False
    message = r"lazy: its values cannot be computed \(OSError: no such file\)"
    for confidence, offsets in ((c, Image(OFFSETS)), (Image(FULL), o)):
        with pytest.raises(ValueError, match=message):
            frames_of(confidence, offsets, None, Reading())[0]


def test_arrays_of_a_layer_are_plain_and_masks_are_not_passed_over():
    layer = Image(np.ones((4, 5), ">f4"))
    assert values_of(layer).dtype == np.float32
    assert values_of(layer).dtype.isnative
    masked = Image(np.ma.masked_array(np.ones((4, 5)), np.eye(4, 5)), name="holes")
    with pytest.raises(ValueError, match=r"holes: .*is a masked array"):
        values_of(masked)


@pytest.mark.parametrize(
    "image",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.arange(18, dtype=np.uint8).reshape(2, 3, 3),
        np.arange(24, dtype=np.float64).reshape(2, 3, 4) - 7,
        np.array([[0, 1, np.nan], [2, 3, 5]]),
        np.array([[0, 1, np.inf], [-np.inf, 3, 5]], np.float32),
        np.array([[-1.7e308, 1, 2], [2, 3, 1.7e308]]),
    ],
    ids=["gray", "RGB", "RGBA", "NaN", "infinite", "huge"],
)
def test_a_backdrop_is_gray_from_0_to_1(image):
    gray = backdrop(image)
    assert gray.shape == (2, 3)
    assert gray.dtype == np.float32
    assert (gray.min(), gray.max()) == (0, 1)


def test_an_even_backdrop_is_black():
    np.testing.assert_array_equal(backdrop(np.full((2, 3), 7)), np.zeros((2, 3)))
    assert backdrop(np.zeros((0, 3))).shape == (0, 3)


def test_the_logic_knows_no_window():
    code = """
import importlib, pkgutil, sys, mdn_viewer.layers.conversion, mdn_viewer.reader, mdn_viewer.__main__
from mdn_viewer import core
for module in pkgutil.iter_modules(core.__path__, "mdn_viewer.core."):
    importlib.import_module(module.name)
assert not {"napari", "qtpy", "magicgui"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_reader_takes_mdn_files_only():
    assert reader.get_reader("a.mdn")
    assert reader.get_reader(["a.mdn", "b.MDN"])
    assert reader.get_reader("a.npz") is None
    assert reader.get_reader(["a.mdn", "b.npz"]) is None


def test_the_reader_names_layers_after_files(tmp_path):
    paths = [str(tmp_path / "hand.mdn"), str(tmp_path / "foot.mdn")]
    for path in paths:
        mdn.save_fields(path, two_parts())
    names = [keywords["name"] for _, keywords, _ in reader.get_reader(paths)(paths)]
    assert names == [
        f"{file} {role}" for file in ("hand", "foot") for role in ("image", "confidence", "offsets")
    ]


def _truncated(path):
    mdn.save_fields(path, two_parts())
    path.write_bytes(path.read_bytes()[:-300])


def _pickled(path):
    with path.open("wb") as file:
        np.savez(file, confidence=np.array([{}], dtype=object), offsets=np.zeros(3))


def _without_offsets(path):
    with path.open("wb") as file:
        np.savez(file, confidence=np.zeros((1, 2, 2)))


BAD_FILES = {
    "truncated": _truncated,
    "pickled": _pickled,
    "without offsets": _without_offsets,
    "text": lambda path: path.write_text("not an archive"),
    "empty": lambda path: path.touch(),
    "a directory": lambda path: path.mkdir(),
    "missing": lambda path: None,
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_one_clear_error(tmp_path, kind):
    path = tmp_path / "bad.mdn"
    BAD_FILES[kind](path)
    with pytest.raises((ValueError, OSError), match=r"bad\.mdn: "):
        reader.get_reader(str(path))(str(path))


@pytest.mark.parametrize("squeezed", [False, True], ids=["frames", "one part"])
def test_what_layers_do_not_hold_comes_from_the_set_that_they_carry(squeezed):
    parts = {"names": ("a",)} if squeezed else {"names": ("a", "b")}
    c = np.full((len(parts["names"]), 6, 8), 0.5, np.float32)
    fields = mdn.Fields(c, np.zeros((len(c), 2, 6, 8), np.float32), sigma=3.0, **parts)
    frames = [fields] if squeezed else [fields, fields]
    data, looks, _ = layer_data(Opened(frames), "two")[0]
    confidence = Image(
        data[0] if squeezed else data,
        **{**looks, "scale": None, "translate": None, "axis_labels": None},
    )
    o = np.stack([each.offsets for each in frames])
    found = frames_of(confidence, Image(o[0, 0] if squeezed else o), None, Reading())
    assert len(found) == len(frames)
    assert found[-1].names == parts["names"]
    assert found[-1].sigma == 3.0
