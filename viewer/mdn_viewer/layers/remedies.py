"""What makes confidences of a layer's numbers: a quotient for integers, the sigmoid for logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.io import sigmoid
from mdn_viewer.layers.conversion import values_of

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["Remedy", "apply", "one_of", "remedy_for"]

Array = npt.NDArray[Any]


class Remedy(NamedTuple):
    """What can be done with a layer's values, and what it is called."""

    text: str
    of: Callable[[Array], Array]


def remedy_for(layer: Image) -> Remedy | None:
    """Say what makes confidences of the values of a layer; None where nothing is known to.

    Parameters
    ----------
    layer : Image
        Whose values are no numbers from 0 to 1.
    """
    values = values_of(layer)
    if values.dtype.kind not in "biuf" or not values.size:
        return None
    if values.dtype.kind != "b" and np.fmin.reduce(values, axis=None) < 0:  # NaN is no number
        return Remedy(
            "Apply the sigmoid", lambda x: sigmoid(x if x.dtype.kind == "f" else x.astype("f4"))
        )
    if values.dtype.kind == "f":
        return None
    one = one_of(values)
    text = f"Divide by {one}" if one > 1 else "Convert to float32"
    return Remedy(text, lambda integers: integers.astype(np.float32) / np.float32(one))


def one_of(values: Array) -> int:
    """Return the integer that stands for 1: 1, the most that bytes hold, or the highest of all."""
    highest = int(values.max(initial=0))
    full = highest > 1 and values.dtype.kind == "u" and values.dtype.itemsize <= 2
    return int(np.iinfo(values.dtype).max) if full else highest


def apply(remedy: Remedy, layer: Image) -> None:
    """Replace the values of a layer, at all its resolutions."""
    if layer.multiscale:
        layer.data = [remedy.of(np.asarray(level)) for level in layer.data]
    else:
        layer.data = remedy.of(values_of(layer))
    layer.contrast_limits_range = layer.contrast_limits = (0, 1)
