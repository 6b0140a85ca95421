"""Decode maps to points, to a fraction of a pixel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdn_cupy.maxima import around, vertex
from mdn_cupy.torch.checks import check_floating
from mdn_cupy.validation import check_positive_or_inf

__all__ = ["Maxima", "soft_argmax", "subpixel_argmax"]


class Maxima(NamedTuple):
    """The highest point of every map.

    Attributes
    ----------
    positions : Tensor [..., 2]
        (x, y): columns and rows of the map; (0, 0) is the centre of the first pixel.
    scores : Tensor [...]
        The height of the map there, in the map's own unit.
    """

    positions: Tensor
    scores: Tensor


def subpixel_argmax(evidence: Tensor) -> Maxima:
    """Locate the highest peak of every evidence map to a fraction of a pixel.

    A Gaussian is fitted to the 3 × 3 pixels around the highest one: the paraboloid of their
    logarithms. It is exact for a Gaussian, which many weak votes for one point add up to; a lone
    vote of confidence 1, whose evidence is steeper, is found to 1/8 of a pixel. No fit leaves those
    pixels, and none is made across an edge of the map. Position and score are differentiable. All
    peaks of a map are found by `mdn_cupy.find_peaks`.

    Parameters
    ----------
    evidence : Tensor [..., H, W]
        Not negative: −L of the noisy-or, which does not saturate where m is 1, or an additive map.
        Pixels that are NaN count for nothing.

    Returns
    -------
    Maxima
        Positions and scores, in the dtype of the computation: float32, or float64 for float64. The
        score is 0 where nothing votes, and position and score are NaN where every pixel is.

    Raises
    ------
    TypeError
        If the map is not a dense tensor of a floating dtype.
    ValueError
        If the map has no pixels.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> offsets = torch.tensor([4.25, 2.4]).reshape(2, 1, 1)
    >>> s = mdn.additive(torch.ones(1, 1), offsets, 1.5, output_shape=(8, 8))
    >>> mdn.torch.subpixel_argmax(s).positions
    tensor([4.2500, 2.4000])
    """
    values = _map(evidence)
    height, width = values.shape[-2:]
    usable = torch.where(values.isnan(), -torch.inf, values).flatten(-2)
    index = usable.detach().argmax(-1)
    row, column = index // width, index % width
    rows, columns = around(row, height, torch), around(column, width, torch)
    patch = usable.gather(-1, (rows[..., :, None] * width + columns[..., None, :]).flatten(-2))
    peak = patch[..., 4]
    dx, dy, gain = vertex(patch, torch)
    nothing = values.isnan().all(-1).all(-1)
    position = torch.stack((column + dx, row + dy), -1).masked_fill(nothing[..., None], torch.nan)
    return Maxima(position, (peak * gain).masked_fill(nothing, torch.nan))


def soft_argmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean position under the softmax of every map: differentiable in all pixels.

    Parameters
    ----------
    logits : Tensor [..., H, W]
        Such as `logit` and `MDNKeypointHead` give: pixels then weigh by their odds m / (1 − m).
        Pixels that are NaN weigh nothing.
    temperature : float
        Less than 1 draws the mean towards the peak, away from the background's centre.

    Returns
    -------
    Tensor [..., 2]
        (x, y) as in `Maxima`; NaN where every pixel is.

    Raises
    ------
    TypeError
        If the map is not a dense tensor of a floating dtype.
    ValueError
        If the map has no pixels, or the temperature is not positive.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> logits = torch.full((5, 5), -30.0)
    >>> logits[1, 2:4] = 0.0
    >>> mdn.torch.soft_argmax(logits)
    tensor([2.5000, 1.0000])
    """
    values = _map(logits)
    temperature = check_positive_or_inf("temperature", temperature)
    scaled = torch.where(values.isnan(), -torch.inf, values / temperature).flatten(-2)
    weight = torch.softmax(scaled, -1).unflatten(-1, values.shape[-2:])
    along_x, along_y = (
        torch.arange(size, dtype=weight.dtype, device=weight.device)
        for size in (values.shape[-1], values.shape[-2])
    )
    return torch.stack((weight.sum(-2) @ along_x, weight.sum(-1) @ along_y), -1)


def _map(values: Tensor) -> Tensor:
    """Check a map and bring it to the dtype of the computation."""
    check_floating("the map", values)
    if values.ndim < 2 or 0 in values.shape[-2:]:
        raise ValueError(f"the map must have the shape (..., H, W), got {tuple(values.shape)}")
    return values.to(torch.promote_types(values.dtype, torch.float32))
