"""Field sets of what a user has in hand: arrays, tensors, votes, or the name of a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence
from mdn_viewer.core import layout_guess
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
    frames = _frames(confidence, offsets, image, given)
    if not isinstance(confidence, Sequence):
        frames = [*frames]  # each the same whenever it is looked at: what is known of it is kept
    return Opened([frames[0]] if len(frames) == 1 else frames)


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
    are_arrays = not isinstance(confidence, (mdn.Fields, mdn.Votes, Sequence))
    given = _grid(open_now) | (reading or {}) if are_arrays else {}
    frames = [*_frames(confidence, offsets, image, given, copy=copy)]
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


def _frames(
    confidence: Any, offsets: Any, image: Any, given: dict[str, Any], *, copy: bool = False
) -> Sequence[mdn.Fields]:
    """Return field sets of NumPy arrays."""
    sets = [confidence] if isinstance(confidence, mdn.Fields) else confidence
    are_sets = isinstance(sets, Sequence)
    if are_sets and not len(sets):
        raise ValueError("confidence must have a frame, got none")
    are_sets = are_sets and isinstance(sets[0], (mdn.Fields, mdn.Votes))
    if (are_sets or isinstance(confidence, mdn.Votes)) and {"layout", "order"} & given.keys():
        what = type(confidence).__name__
        raise TypeError(f"layout and order are for arrays, and this is {what}, which has its own")
    if are_sets:
        return FieldsSequence(Changed(sets, partial(_changed, given=given, copy=copy)))
    if isinstance(confidence, mdn.Votes):
        votes = confidence.to("cpu")
        confidence, offsets = votes.confidence, votes.offsets
        sigma = {} if np.ndim(votes.sigma) else {"sigma": float(votes.sigma)}
        grid = {"stride": votes.stride, "origin": votes.origin, "output_shape": votes.shape}
        given = {**grid, **sigma, **given}
    if offsets is None:
        raise TypeError(
            "offsets are missing; give confidence and offsets, or one Fields, Votes or path"
        )
    named = {"confidence": confidence, "offsets": offsets}
    named |= {} if image is None else {"image": image}
    arrays = {name: mdn.to_numpy(array, name) for name, array in named.items()}
    if copy:
        arrays = {name: array.copy() for name, array in arrays.items()}
    shapes = arrays["confidence"].shape, arrays["offsets"].shape
    return mdn.open_fields(arrays, **{**layout_guess.only(*shapes), **given})


def _changed(fields: mdn.Fields | mdn.Votes, given: dict[str, Any], copy: bool) -> mdn.Fields:
    if isinstance(fields, mdn.Votes):
        return _frames(fields, None, None, given, copy=copy)[0]
    if not isinstance(fields, mdn.Fields):
        raise TypeError(f"frames must all be Fields or Votes, got {type(fields).__name__}")
    fields = replace(fields.to_numpy(), **given) if given else fields.to_numpy()
    if not copy:
        return fields
    return replace(fields, confidence=fields.confidence.copy(), offsets=fields.offsets.copy())
