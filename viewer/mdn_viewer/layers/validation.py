"""What layers must be for their data to vote; each error says how to make them so in napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari.layers import Image, Layer

__all__ = ["expect_floating", "expect_gray", "expect_upright"]

Array = npt.NDArray[Any]


def expect_upright(layer: Layer) -> None:
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


def expect_gray(layer: Image, role: str) -> None:
    """Raise ValueError if a layer is in colour, and so has no number for each source."""
    if getattr(layer, "rgb", False):  # vectors are in no colour
        raise ValueError(
            f"{layer.name}: a colour image cannot be the {role}; choose another layer, or right-"
            f"click on this one and split RGB, or add it in napari's console with rgb=False"
        )


def expect_floating(layer: Image) -> None:
    """Raise ValueError if a confidence holds integers, none of which lies between 0 and 1."""
    if layer.data.dtype.kind in "biu":
        raise ValueError(
            f"{layer.name}: the confidence must be floating-point numbers, from 0 to 1, but the "
            f"layer holds {layer.data.dtype}; the button below makes such of them"
        )


def _is_none(transform: Array) -> bool:
    """Whether a matrix, or the numbers above its diagonal, leave everything where it is."""
    return np.allclose(transform, np.eye(len(transform)) if transform.ndim == 2 else 0)


def _called(layer: Image) -> str:
    """How napari's console calls a layer."""
    return f"viewer.layers[{layer.name!r}]"
