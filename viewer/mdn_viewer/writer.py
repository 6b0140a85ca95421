"""Writes the layers of a field set to a `.mdn` file: napari's File > Save Selected Layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core import layout_guess
from mdn_viewer.layers.conversion import carried_by

__all__ = ["write_fields"]


def write_fields(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write one field set.

    Parameters
    ----------
    path : str
        Its name ends in `.mdn`.
    layers : list of (data, keywords, kind)
        Layers that carry a field set; or a confidence and offsets, and nothing else.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ValueError
        If they are no field set, or several.
    OSError
        If the file cannot be written there.
    """
    mdn.save_fields(path, carried_by(layers) or _plain(layers))
    return [path]


def _plain(layers: list[tuple[Any, dict[str, Any], str]]) -> Sequence[mdn.Fields]:
    """Return the field sets of two layers that fit in one way."""
    arrays = {f"{n}": (np.asarray(data), keywords) for n, (data, keywords, _) in enumerate(layers)}
    pair = layout_guess.find_pair({name: array.shape for name, (array, _) in arrays.items()})
    if pair is None or len(layers) != 2:
        raise ValueError(
            "select the layers of one field set: those that were opened together, or a confidence "
            "and its offsets"
        )
    (c, keywords), (o, _) = (arrays[name] for name in pair)
    fitting = layout_guess.layouts(c.shape, o.shape)
    if len(fitting) > 1:
        could = " or ".join(layout.text for layout in fitting)
        raise ValueError(f"the layers could be {could}; open them in Mass displacement, save there")
    found = {"confidence": c, "offsets": o}
    if fitting[0].text.endswith("HW"):
        found |= {"stride": keywords["scale"][-2:], "origin": keywords["translate"][-2:]}
    return mdn.open_fields(found, layout=fitting[0].text)
