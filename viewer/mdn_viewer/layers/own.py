"""The user's own points, shapes and labels as what JSON holds, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes

from mdn_viewer.layers.conversion import inputs_of

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["layer_of", "own_layers", "same_layer", "written"]

_KINDS: dict[str, type[Layer]] = {"points": Points, "shapes": Shapes, "labels": Labels}
_LOOKS = {
    "points": ("size", "symbol", "face_color", "border_color", "border_width"),
    "shapes": ("shape_type", "edge_width", "edge_color", "face_color"),
    "labels": (),
}


def own_layers(viewer: Viewer) -> list[Layer]:
    """Return the points, shapes and labels of a viewer that are no results."""
    return inputs_of(viewer, *_KINDS.values())


def written(layer: Any, keep: Callable[[Any], str]) -> dict[str, Any]:
    """Describe a layer in numbers, strings, lists and dicts.

    Parameters
    ----------
    layer : Points, Shapes or Labels
        The layer.
    keep : callable
        Takes the labels, writes them to a file and returns its path.
    """
    kind = next(kind for kind, each in _KINDS.items() if isinstance(layer, each))
    if kind == "labels":
        data: Any = keep(np.asarray(layer.data))
    elif kind == "shapes":
        data = [np.asarray(each).tolist() for each in layer.data]
    else:
        data = np.asarray(layer.data).tolist()
    looks = {name: _plain(getattr(layer, name)) for name in _LOOKS[kind]}
    place = {
        "scale": np.asarray(layer.scale).tolist(),
        "translate": np.asarray(layer.translate).tolist(),
        "rotate": np.asarray(layer.rotate).tolist(),
        "shear": np.asarray(layer.shear).tolist(),
        "affine": np.asarray(layer.affine.affine_matrix).tolist(),
    }
    also = {"ndim": layer.ndim, "opacity": layer.opacity, "visible": layer.visible}
    return {"kind": kind, "name": layer.name, "data": data, **looks, **place, **also}


def same_layer(one: Layer, other: Layer) -> bool:
    """Whether two layers of `own_layers` have the same data, looks and place."""
    first, second = ({**written(x, lambda _: ""), "name": ""} for x in (one, other))
    return first == second and (
        not isinstance(one, Labels) or np.array_equal(np.asarray(one.data), np.asarray(other.data))
    )


def layer_of(described: dict[str, Any]) -> Layer:
    """Make a layer of what `written` returns; labels are read from the file that it names.

    Raises
    ------
    OSError
        If that file cannot be read.
    ValueError
        If it describes no layer; the message says why.
    """
    known = dict(described)
    kind, data, ndim = known.pop("kind", None), known.pop("data", None), known.pop("ndim", 2)
    if kind not in _KINDS:
        raise ValueError(f"a layer must be one of {', '.join(_KINDS)}, got {kind!r}")
    try:
        if kind == "labels":
            return Labels(np.load(data, allow_pickle=False), **known)
        if not data:  # whose looks are those of no point
            known = {n: x for n, x in known.items() if n not in _LOOKS[str(kind)]}
        return _KINDS[str(kind)](data or None, ndim=ndim, **known)
    except OSError as error:
        raise type(error)(f"{data}: {error.strerror or error}") from error
    except Exception as error:  # whatever napari makes of numbers that do not fit
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the layer {known.get('name')!r} makes no sense: {reason}") from error


def _plain(value: Any) -> Any:
    """Return an attribute as JSON has it: symbols and types of shapes by their names."""
    array = np.asarray(value)
    if array.dtype.kind in "biuf":
        return array.tolist()
    return [str(getattr(each, "value", each)) for each in array.ravel().tolist()]
