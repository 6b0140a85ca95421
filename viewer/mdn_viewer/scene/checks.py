"""What layers must be for their data to vote; each error says how to make them so in napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["expect_even", "expect_floating", "expect_gray", "expect_upright"]

Array = npt.NDArray[Any]


def expect_upright(layer: Image) -> None:
    """Raise ValueError unless the rows and columns of a layer are seen as rows and columns."""
    dims = layer.ndim
    shears = dims * (dims - 1) // 2
    for is_so, what, remedy in (
        (np.allclose(layer.rotate, np.eye(dims)), "rotated", "rotate = 0"),
        (_is_none(layer.shear), "sheared", f"shear = {[0] * shears}"),
        (_is_none(layer.affine.affine_matrix), "moved by an affine transform", "affine = None"),
    ):
        if not is_so:
            raise ValueError(
                f"{layer.name}: the layer is {what}, but it is read in rows and columns of the "
                f"output; in napari's console: {_called(layer)}.{remedy}"
            )


def expect_even(layer: Image) -> None:
    """Raise ValueError unless a layer's stride and origin are the same along rows and columns."""
    scale, translate = (tuple(map(float, x)) for x in (layer.scale, layer.translate))
    for name, values in (("scale", scale), ("translate", translate)):
        if not np.isclose(values[-2], values[-1]):
            raise ValueError(
                f"{layer.name}: stride and origin must be the same along rows and columns, but the "
                f"layer's scale is {scale[-2:]} and its translation {translate[-2:]}; in napari's "
                f"console: {_called(layer)}.{name} = {(*values[:-2], values[-1], values[-1])}"
            )


def expect_gray(layer: Image, role: str) -> None:
    """Raise ValueError if a layer is in colour, and so has no number for each source."""
    if getattr(layer, "rgb", False):  # vectors are in no colour
        raise ValueError(
            f"{layer.name}: a colour image cannot be the {role}; choose another layer, or right-"
            f"click on this one and split RGB, or add it in napari's console with rgb=False"
        )


def expect_floating(layer: Image, values: Array, role: str) -> None:
    """Raise ValueError if a layer holds integers, which cannot move by a little."""
    if values.dtype.kind in "biu":
        most = _one(values) if role == "confidence" else 1
        raise ValueError(
            f"{layer.name}: the {role} must be floating-point numbers"
            f"{', from 0 to 1' if role == 'confidence' else ''}, but the layer holds "
            f"{values.dtype}; in napari's console: {_called(layer)}.data = {_called(layer)}.data"
            f".astype('float32'){f' / {most}' if most > 1 else ''}"
        )


def _one(values: Array) -> int:
    """Which integer stands for 1: 1, the most that a byte or two hold, or the highest of all."""
    highest = int(values.max(initial=0))
    full = highest > 1 and values.dtype in (np.uint8, np.uint16)
    return int(np.iinfo(values.dtype).max) if full else highest


def _is_none(transform: Array) -> bool:
    """Whether a matrix, or the numbers above its diagonal, leave everything where it is."""
    return np.allclose(transform, np.eye(len(transform)) if transform.ndim == 2 else 0)


def _called(layer: Image) -> str:
    """How napari's console calls a layer."""
    return f"viewer.layers[{layer.name!r}]"
