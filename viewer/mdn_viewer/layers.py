"""Field sets as napari layers, and back. Knows layers, not windows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = [
    "backdrop",
    "fields_of",
    "first_part",
    "grid_of",
    "layer_data",
    "role_of",
    "to_fields",
    "values_of",
]

Array = npt.NDArray[Any]
LayerData = tuple[Array, dict[str, Any], str]

_FIELDS, _ROLE, _PART = "mdn_fields", "mdn_role", "mdn_part"  # the keys in a layer's metadata
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def layer_data(fields: mdn.Fields, name: str, part: int | str = 0) -> list[LayerData]:
    """Turn a field set into layers that lie over each other and carry it in their metadata.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The field set.
    name : str
        What the layers' names begin with.
    part : int or str
        The part to look at first.

    Returns
    -------
    list of (data, keywords, "image")
        The image, if there is one; the confidence, (P, H, W); the offsets, (2, P, H, W), hidden.
        The offsets' components come first, so that one slider of napari's moves the part of both.

    Raises
    ------
    ValueError
        If the grid has no sources, of which napari can make no layer.
    """
    if fields.confidence.size == 0:
        raise ValueError(f"confidence has no sources: its shape is {fields.confidence.shape}")
    stride, origin = fields.stride, fields.origin
    layers: dict[str, tuple[Array, dict[str, Any]]] = {
        "confidence": (
            fields.confidence,
            {
                "scale": (1, stride, stride),
                "translate": (0, origin, origin),
                "axis_labels": ("part", "row", "column"),
                "colormap": "magma",
                "contrast_limits": (0, 1),
                "opacity": 0.7,
            },
        ),
        "offsets": (
            np.moveaxis(fields.offsets, 1, 0),
            {
                "scale": (1, 1, stride, stride),
                "translate": (0, 0, origin, origin),
                "axis_labels": ("x or y", "part", "row", "column"),
                "colormap": "twilight",  # dark where an offset is 0
                "contrast_limits": _symmetric_limits(fields.offsets),
                "visible": False,
            },
        ),
    }
    if fields.image is not None:
        layers = {"image": (fields.image, {}), **layers}
    return [
        (
            data,
            {
                "name": f"{name} {role}",
                "metadata": {_FIELDS: fields, _ROLE: role, _PART: part},
                **keywords,
            },
            "image",
        )
        for role, (data, keywords) in layers.items()
    ]


def fields_of(layer: Image | None) -> mdn.Fields | None:
    """Return the field set that a layer of `layer_data` carries, or None."""
    return None if layer is None else layer.metadata.get(_FIELDS)


def role_of(layer: Image) -> str | None:
    """Say which of a field set a layer of `layer_data` is: "image", "confidence" or "offsets"."""
    role: str | None = layer.metadata.get(_ROLE)
    return role


def first_part(layer: Image) -> int | str:
    """Return the part to look at first."""
    part: int | str = layer.metadata.get(_PART, 0)
    return part


def grid_of(confidence: Image) -> tuple[float, float]:
    """Read the stride and the origin of a coarse grid off its layer's scale and translation.

    Raises
    ------
    ValueError
        If they are not the same along rows and columns.
    """
    scale, translate = confidence.scale[-2:], confidence.translate[-2:]
    if not (np.isclose(*scale) and np.isclose(*translate)):
        raise ValueError(
            f"{confidence.name}: stride and origin must be the same along rows and columns, but "
            f"the layer's scale is {tuple(map(float, scale))} and its translation "
            f"{tuple(map(float, translate))}"
        )
    return float(scale[1]), float(translate[1])


def to_fields(
    confidence: Image, offsets: Image, image: Image | None, stride: float, origin: float
) -> mdn.Fields:
    """Make a field set of layers.

    Parameters
    ----------
    confidence : layer
        Of the shape (H, W) or (P, H, W).
    offsets : layer
        Of the shape (2, H, W) or (P, 2, H, W); or one that `layer_data` made.
    image : layer, optional
        What the fields were computed from; its pixels are the output grid.
    stride, origin : float
        As in `mdn_cupy.Fields`.

    Returns
    -------
    mdn_cupy.Fields
        With the names, and whatever else layers do not hold, of the set that `confidence` carries.

    Raises
    ------
    TypeError, ValueError
        If they do not fit each other; the message says why.
    """
    c, o = values_of(confidence), values_of(offsets)
    if role_of(offsets) == "offsets":
        o = np.moveaxis(o, 0, 1)
    found: dict[str, Any] = {
        "confidence": c[None] if c.ndim == 2 else c,
        "offsets": o[None] if o.ndim == 3 and len(o) == 2 else o,
        "image": None if image is None else values_of(image),
        "stride": stride,
        "origin": origin,
    }
    carried = fields_of(confidence)
    if carried is not None and carried.confidence.shape == c.shape:
        return dataclasses.replace(carried, **found)
    return mdn.Fields(**found)


def backdrop(image: Array) -> npt.NDArray[np.float32]:
    """Return an image in gray, from 0 to 1, to lay under a vote map."""
    gray = np.nan_to_num(image[..., :3] @ _LUMA if image.ndim == 3 else image).astype(np.float32)
    low, high = gray.min(initial=np.inf), gray.max(initial=-np.inf)
    return (gray - low) / (high - low) if high > low else np.zeros_like(gray)


def values_of(layer: Image) -> Array:
    """Return a layer's data, at full resolution, as an array."""
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def _symmetric_limits(offsets: Array) -> tuple[float, float]:
    reach = float(np.max(np.abs(offsets), initial=0, where=np.isfinite(offsets))) or 1.0
    return -reach, reach
