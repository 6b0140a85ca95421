"""Field sets of what a user has in hand: arrays, tensors, votes, or the name of a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence, Layout
from mdn_viewer.core.opened import Opened, open_paths
from mdn_viewer.core.origin import Changed

__all__ = ["newer", "opened_from", "paths_of"]


def opened_from(confidence: Any, offsets: Any, image: Any, given: dict[str, Any]) -> Opened:
    """Make field sets of the arguments of `mdn_viewer.show`.

    Parameters
    ----------
    confidence, offsets, image
        As in `mdn_viewer.show`.
    given : dict
        Other parameters of `mdn_cupy.Fields`; layout and order, of `mdn_cupy.open_fields`.

    Raises
    ------
    TypeError, ValueError, OSError
        If they are no field set; the message says why.
    """
    paths = paths_of(confidence)
    if paths:
        return open_paths(paths, **given)
    if isinstance(confidence, Sequence) and confidence and isinstance(confidence[0], mdn.Fields):
        change = partial(_fields, offsets=None, image=None, given=given)
        return Opened(FieldsSequence(Changed(confidence, change)) if given else confidence)
    if _has_frames(confidence, offsets, given):
        return Opened(_frames(confidence, offsets, image, given))
    return Opened([_fields(confidence, offsets, image, given)])


def paths_of(confidence: Any) -> list[str]:
    """Return the paths that the first argument of `mdn_viewer.show` names, or none."""
    several = isinstance(confidence, (list, tuple))
    paths = confidence if several else [confidence]
    named = all(isinstance(path, (str, os.PathLike)) for path in paths)
    return [os.fspath(path) for path in paths] if named else []


def newer(
    open_now: mdn.Fields | None,
    confidence: Any,
    offsets: Any,
    image: Any,
    reading: dict[str, Any] | None = None,
    *,
    copy: bool = True,
) -> list[mdn.Fields]:
    """Take new values, with whatever else the fields that are open say, and their image.

    Parameters
    ----------
    open_now : mdn_cupy.Fields or None
        The fields that are open.
    confidence, offsets, image
        As in `mdn_viewer.show`.
    reading : dict, optional
        Layout and order, where `mdn_viewer.show` was given them.
    copy : bool
        Whether to copy the arrays, which may change later.

    Returns
    -------
    list of Fields
        One, or one for each frame of (N, P, H, W) or of a sequence of field sets.

    Raises
    ------
    TypeError, ValueError
        If they are no field set; the message says why.
    """
    reading = reading or {}
    if isinstance(confidence, Sequence):
        frames = [_fields(each, None, None, {}, copy=copy) for each in confidence]
    elif _has_frames(confidence, offsets, reading):
        frames = _frames(confidence, offsets, image, _grid(open_now) | reading, copy=copy)
    else:
        given = {} if isinstance(confidence, (mdn.Fields, mdn.Votes)) else _grid(open_now) | reading
        frames = [_fields(confidence, offsets, image, given, copy=copy)]
    if not frames:
        raise ValueError("confidence must have a frame, got none")
    return [_like(open_now, each) for each in frames]


def _grid(open_now: mdn.Fields | None) -> dict[str, Any]:
    """Return what arrays do not say and what holds for those of another size too."""
    if open_now is None:
        return {}
    width = {"sigma": open_now.sigma} if np.ndim(open_now.sigma) == 0 else {}
    return {"stride": open_now.stride, "origin": open_now.origin, **width}


def _like(open_now: mdn.Fields | None, fields: mdn.Fields) -> mdn.Fields:
    if open_now is None:
        return fields
    if fields.confidence.shape != open_now.confidence.shape:
        plain = fields.names[:1] == ("part 0",) and len(fields.names) == len(open_now.names)
        return replace(fields, names=open_now.names) if plain else fields
    image = open_now.image if fields.image is None else fields.image
    return replace(open_now, confidence=fields.confidence, offsets=fields.offsets, image=image)


def _has_frames(confidence: Any, offsets: Any, given: dict[str, Any]) -> bool:
    """Whether arrays have an axis of frames before those of a field set."""
    if "layout" not in given or not (hasattr(confidence, "shape") and hasattr(offsets, "shape")):
        return getattr(confidence, "ndim", 0) == 4
    layout, shapes = Layout(str(given["layout"])), (tuple(confidence.shape), tuple(offsets.shape))
    leading = layout.leading(*shapes)
    if leading is None:
        raise ValueError(
            f"layout={layout.text!r} wants {layout}, got {shapes[0]} and {shapes[1]}; "
            f"{layout.suggestion(*shapes)}"
        )
    return bool(leading)


def _frames(
    confidence: Any, offsets: Any, image: Any, given: dict[str, Any], *, copy: bool = False
) -> list[mdn.Fields]:
    if offsets is None or len(offsets) != len(confidence):
        count = None if offsets is None else len(offsets)
        raise ValueError(f"offsets must have {len(confidence)} frames, as confidence; got {count}")
    several = getattr(image, "ndim", 0) == 4
    if getattr(image, "ndim", 0) == 3:
        several = image.shape[-1] not in (3, 4)  # else it is one picture in colour
    each = several and len(image) == len(confidence)
    return [
        _fields(c, o, image[n] if each else image, given, copy=copy)
        for n, (c, o) in enumerate(zip(confidence, offsets, strict=True))
    ]


def _in_own_layout(c: Any, o: Any, layout: str | None) -> tuple[Any, Any]:
    """Bring arrays to (P, H, W) and (P, 2, H, W), by a layout or if they fit in only one way."""
    if layout is not None:
        return Layout(layout).confidence(c), Layout(layout).offsets(o, c.shape)
    if c.ndim == 2 and o.shape == (2, *c.shape):
        return c[None], o[None]
    if c.ndim == 3 and o.shape == (c.shape[0], 2, *c.shape[1:]):
        return c, o
    fitting = Layout.fitting(c.shape, o.shape) if c.ndim in (2, 3) else []
    told = [layout for layout in fitting if "".join(layout.maps) == "PHW"]
    if len(told) == 1 and c.shape[0] <= min(c.shape[1:]):
        fitting = told  # as documented; a last axis that is shorter may be that of the parts
    if len(fitting) > 1:
        raise ValueError(
            f"confidence {c.shape} and offsets {o.shape} fit in the layouts "
            f"{' and '.join(layout.text for layout in fitting)}; give layout= one of them"
        )
    if fitting and fitting[0].leading(c.shape, o.shape) == ():
        return fitting[0].confidence(c), fitting[0].offsets(o, c.shape)
    return (c[None], o[None] if o.ndim == 3 else o) if c.ndim == 2 else (c, o)


def _fields(
    confidence: Any, offsets: Any, image: Any, given: dict[str, Any], *, copy: bool = False
) -> mdn.Fields:
    """Make one field set of NumPy arrays."""
    given = dict(given)
    layout, order = given.pop("layout", None), given.pop("order", "xy")
    if order not in ("xy", "yx"):
        raise ValueError(f"order must be 'xy' or 'yx', got {order!r}")
    if isinstance(confidence, (mdn.Fields, mdn.Votes)) and (layout, order) != (None, "xy"):
        what = type(confidence).__name__
        raise TypeError(f"layout and order are for arrays, and this is {what}, which has its own")
    if isinstance(confidence, mdn.Fields):
        fields = replace(confidence.to_numpy(), **given) if given else confidence.to_numpy()
        if not copy:
            return fields
        c, o = fields.confidence.copy(), fields.offsets.copy()
        return replace(fields, confidence=c, offsets=o)
    if isinstance(confidence, mdn.Votes):
        votes = confidence.to("cpu")
        given = {
            "stride": votes.stride,
            "origin": votes.origin,
            "output_shape": votes.shape,
        } | given
        if np.ndim(votes.sigma) == 0:
            given.setdefault("sigma", float(votes.sigma))
        confidence, offsets = votes.confidence, votes.offsets
    if offsets is None:
        raise TypeError(
            "offsets are missing; give confidence and offsets, or one Fields, Votes or path"
        )
    c, o = mdn.to_numpy(confidence, "confidence"), mdn.to_numpy(offsets, "offsets")
    c, o = _in_own_layout(c, o, layout)
    if order == "yx":
        o = o[:, ::-1]
    c, o = (x.copy() if copy else np.ascontiguousarray(x) for x in (c, o))
    pixels = None if image is None else mdn.to_numpy(image, "image")
    if copy and pixels is not None:
        pixels = pixels.copy()
    return mdn.Fields(c, o, image=pixels, **given)
