"""Layers that napari shows, but that cannot vote: what is said of them helps."""

from types import SimpleNamespace

import numpy as np
import pytest
from mdn_viewer.scene.layers import Reading, grid_of, to_fields
from napari.layers import Image

FULL, OFFSETS = np.ones((4, 5)), np.zeros((2, 4, 5))  # of one part
SWAPPED = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]  # rows and columns


def follow(error, *layers):
    """Do in a console what an error says."""
    _, _, remedy = str(error).partition("console: ")
    exec(remedy, {"viewer": SimpleNamespace(layers={layer.name: layer for layer in layers})})


@pytest.mark.parametrize(
    ("confidence", "offsets", "message"),
    [
        (np.full((4, 5), 255, np.uint8), OFFSETS, "it's c: .*, from 0 to 1, but .* holds uint8"),
        (np.full((4, 5), 300), OFFSETS, "it's c: .* holds int64"),
        (np.ones((4, 5), bool), OFFSETS, "it's c: .*must be floating-point .* holds bool"),
        (FULL, OFFSETS.astype(np.int16), "it's o: the offsets must be floating-point numbers, but"),
    ],
    ids=["bytes", "integers", "booleans", "integer offsets"],
)
def test_integers(confidence, offsets, message):
    c, o = Image(confidence, name="it's c"), Image(offsets, name="it's o")
    with pytest.raises(ValueError, match=message) as caught:
        to_fields(c, o, None, Reading())
    follow(caught.value, c, o)
    fields = to_fields(c, o, None, Reading())
    np.testing.assert_array_equal(fields.confidence, [FULL])
    np.testing.assert_array_equal(fields.offsets, [OFFSETS])


def test_colours():
    colour = Image(np.zeros((4, 5, 3)), rgb=True, name="face")
    with pytest.raises(
        ValueError, match=r"face: a colour image cannot be the confidence; .* split"
    ):
        to_fields(colour, Image(OFFSETS), None, Reading())
    with pytest.raises(ValueError, match=r"face: a colour image cannot be the offsets; .* split"):
        to_fields(Image(FULL), colour, None, Reading())


@pytest.mark.parametrize(
    ("looks", "message"),
    [
        ({"rotate": 30}, "the layer is rotated"),
        ({"shear": [0.1, 0, 0.2]}, "the layer is sheared"),
        ({"affine": SWAPPED}, "the layer is moved by an affine transform"),
        ({"scale": (1, 8, 4)}, r"the same along rows and columns, .* scale is \(8.0, 4.0\)"),
        ({"translate": (0, 0, 4)}, r"the same along .* translation \(0.0, 4.0\)"),
    ],
    ids=["rotated", "sheared", "affine", "scale", "translation"],
)
def test_a_grid_is_upright_and_even(looks, message):
    layer = Image(np.zeros((2, 4, 5)), name="c", **looks)
    with pytest.raises(ValueError, match=f"c: .*{message}") as caught:
        grid_of(layer)
    follow(caught.value, layer)
    assert grid_of(layer) == (looks.get("scale", [1])[-1], looks.get("translate", [0])[-1])
