"""A small picture of what fields would vote for, before they are opened."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn

__all__ = ["preview"]


def preview(fields: mdn.Fields, most: int = 160) -> dict[str, npt.NDArray[Any]]:
    """Vote for the part of the highest confidence, at a low resolution.

    Parameters
    ----------
    fields : Fields
        What would be opened.
    most : int
        Longest side of the maps.

    Returns
    -------
    dict of array
        The confidence (H, W) as it is, and the noisy-or; both in [0, 1].

    Raises
    ------
    ValueError
        If the fields cannot vote.
    """
    confidence = np.clip(np.nan_to_num(fields.confidence), 0, 1)
    part = int(confidence.max(axis=(1, 2), initial=0).argmax())
    step = max(1, -(-max(fields.votes(part).shape) // most))
    every = slice(None, None, step)
    votes = fields.votes(part, sigma=max(float(step), fields.typical_sigma))
    small = votes.replace(confidence=confidence[part]).crop(every, every)
    return {"confidence": confidence[part], "noisy-or": small.noisy_or()}
