"""A small picture of what fields would vote for, before they are opened."""

from __future__ import annotations

import math
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
    votes = fields.votes(part)
    scale = min(1.0, most / max(*votes.shape, 1))
    stride, origin = (np.broadcast_to(x, 2) for x in (votes.stride, votes.origin))
    small = mdn.Votes(
        confidence[part],
        fields.offsets[part] * fields.offsets.dtype.type(scale),
        sigma=max(1.0, fields.typical_sigma * scale),
        stride=(stride * scale).tolist(),
        origin=(origin * scale + (scale - 1) / 2).tolist(),
        output_shape=[max(1, math.ceil(n * scale)) for n in votes.shape],
    )
    return {"confidence": confidence[part], "noisy-or": small.noisy_or()}
