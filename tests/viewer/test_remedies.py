"""Layers that napari shows, but that cannot vote: what is said of them helps."""

from types import SimpleNamespace

import numpy as np
import pytest
from mdn_viewer.core.reading import Reading
from mdn_viewer.layers.conversion import frames_of
from mdn_viewer.layers.remedies import apply, remedy_for
from mdn_viewer.layers.transforms import grid_of
from napari.layers import Image

FULL, OFFSETS = np.ones((4, 5)), np.zeros((2, 4, 5))  # of one part
SWAPPED = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]  # rows and columns


def follow(error, *layers):
    """Do in a console what an error says."""
    _, _, remedy = str(error).partition("console: ")
    exec(remedy, {"viewer": SimpleNamespace(layers={layer.name: layer for layer in layers})})


LOGITS = np.array([[-800.0, -2, 0, np.nan], [np.inf, -np.inf, 2, 800]])
CHANCES = [[0, 0.11920292, 0.5, np.nan], [1, 0, 0.88079708, 1]]


@pytest.mark.parametrize(
    ("confidence", "name", "expected"),
    [
        (np.array([[0, 51, 255]], np.uint8), "Divide by 255", [[0, 0.2, 1]]),
        (np.array([[0, 51]], np.uint8), "Divide by 255", [[0, 0.2]]),
        (np.array([[0, 13107, 300]], ">u2"), "Divide by 65535", [[0, 0.2, 300 / 65535]]),
        (np.array([[0, 60, 300]]), "Divide by 300", [[0, 0.2, 1]]),
        (np.array([[0, 1]], np.uint8), "Convert to float32", [[0, 1]]),
        (np.array([[False, True]]), "Convert to float32", [[0, 1]]),
        (np.array([[-2, 0, 2]], np.int8), "Apply the sigmoid", [[0.11920292, 0.5, 0.88079708]]),
        (LOGITS, "Apply the sigmoid", CHANCES),
        (LOGITS.astype(np.float16), "Apply the sigmoid", CHANCES),
        (np.array([[0.5, -np.inf]]), "Apply the sigmoid", [[0.62245933, 0]]),
    ],
)
def test_confidences_are_made_of_other_numbers(confidence, name, expected):
    layer = Image(confidence, contrast_limits=(0, 255))
    remedy = remedy_for(layer)
    assert remedy.text == name
    with np.errstate(over="raise", invalid="raise"):
        apply(remedy, layer)
    assert layer.data.dtype.kind == "f"
    np.testing.assert_allclose(layer.data, expected, rtol=1e-3, atol=1e-6)
    assert tuple(layer.contrast_limits) == (0, 1)
    assert remedy_for(layer) is None


def test_all_resolutions_are_made_confidences():
    levels = [np.full((8, 8), 51, np.uint8), np.full((4, 4), 51, np.uint8)]
    layer = Image(levels, multiscale=True, contrast_limits=(0, 255))
    apply(remedy_for(layer), layer)
    assert [level.shape for level in layer.data] == [(8, 8), (4, 4)]
    np.testing.assert_allclose(layer.data[0], 0.2)


def test_integers():
    for integers in (np.full((4, 5), 255, np.uint8), np.full((4, 5), 300), np.ones((4, 5), bool)):
        c = Image(integers, name="it's c")
        with pytest.raises(ValueError, match=r"it's c: .*, from 0 to 1, but .* holds .*button"):
            frames_of(c, Image(OFFSETS), None, Reading())[0]
    for dtype in (np.int16, np.uint8, np.int64):
        o = np.full((2, 4, 5), 3, dtype)
        fields = frames_of(Image(FULL), Image(o), None, Reading(coarse=True, stride=(2.0, 4.0)))[0]
        assert (fields.offsets == np.array([12, 6])[:, None, None]).all()  # x first


def test_colours():
    colour = Image(np.zeros((4, 5, 3)), rgb=True, name="face")
    with pytest.raises(
        ValueError, match=r"face: a colour image cannot be the confidence; .* split"
    ):
        frames_of(colour, Image(OFFSETS), None, Reading())[0]
    with pytest.raises(ValueError, match=r"face: a colour image cannot be the offsets; .* split"):
        frames_of(Image(FULL), colour, None, Reading())[0]


@pytest.mark.parametrize(
    ("looks", "message"),
    [
        ({"rotate": 30}, "the layer is rotated"),
        ({"shear": [0.1, 0, 0.2]}, "the layer is sheared"),
        ({"affine": SWAPPED}, "the layer is moved by an affine transform"),
    ],
    ids=["rotated", "sheared", "affine"],
)
def test_a_grid_is_upright(looks, message):
    layer = Image(np.zeros((2, 4, 5)), name="c", **looks)
    with pytest.raises(ValueError, match=f"c: .*{message}") as caught:
        grid_of(layer)
    follow(caught.value, layer)
    assert grid_of(layer) == ((1, 1), (0, 0))
