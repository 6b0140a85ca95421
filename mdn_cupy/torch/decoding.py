"""From maps to points: where a map peaks, between its pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdn_cupy.torch.checks import check_floating

__all__ = ["Peaks", "find_peaks", "soft_argmax"]

_LEAST = 1e-6  # of the peak; less is as good as nothing beside it


class Peaks(NamedTuple):
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


def find_peaks(evidence: Tensor) -> Peaks:
    """Find the peak of every evidence map, to a fraction of a pixel.

    A Gaussian is laid through the 3 × 3 pixels around the highest one: the paraboloid of their
    logarithms. It is exact for a Gaussian, which many weak votes for one point add up to; a lone
    vote of confidence 1, whose evidence is steeper, is found to 1/8 of a pixel. No fit leaves those
    pixels, and none is made across an edge of the map. Position and score are differentiable.

    Parameters
    ----------
    evidence : Tensor [..., H, W]
        Not negative: −L of the noisy-or, which does not saturate where m is 1, or an additive map.
        Pixels that are NaN count for nothing.

    Returns
    -------
    Peaks
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
    >>> s = mdn.torch.additive(torch.ones(1, 1), offsets, 1.5, output_shape=(8, 8))
    >>> mdn.torch.find_peaks(s).positions
    tensor([4.2500, 2.4000])
    """
    values = _map(evidence)
    height, width = values.shape[-2:]
    usable = torch.where(values.isnan(), -torch.inf, values).flatten(-2)
    index = usable.detach().argmax(-1)
    row, column = index // width, index % width
    rows, columns = _around(row, height), _around(column, width)
    patch = usable.gather(-1, (rows[..., :, None] * width + columns[..., None, :]).flatten(-2))
    peak = patch[..., 4]
    dx, dy, gain = _vertex(patch.clamp(min=0))
    nothing = values.isnan().all(-1).all(-1)
    position = torch.stack((column + dx, row + dy), -1).masked_fill(nothing[..., None], torch.nan)
    return Peaks(position, (peak * gain).masked_fill(nothing, torch.nan))


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
        (x, y) as in `Peaks`; NaN where every pixel is.

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
    if not temperature > 0:
        raise ValueError(f"temperature must be greater than 0, got {temperature}")
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


def _around(index: Tensor, size: int) -> Tensor:
    """A pixel and its two neighbours; at an edge the inner one twice, so that nothing pulls."""
    before, after = index - 1, index + 1
    inside_before = torch.where(before < 0, after, before).clamp(0, size - 1)
    inside_after = torch.where(after >= size, before, after).clamp(0, size - 1)
    return torch.stack((inside_before, index, inside_after), -1)


def _vertex(patch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vertex (dx, dy) of the paraboloid through log values [..., 9], and the gain in height."""
    peak = patch[..., 4, None]
    # A neighbour without votes is a steep slope and no infinite one.
    log = torch.log((patch / torch.where(peak > 0, peak, 1)).clamp(_LEAST)).unflatten(-1, (3, 3))
    g_x, g_y = (log[..., 1, 2] - log[..., 1, 0]) / 2, (log[..., 2, 1] - log[..., 0, 1]) / 2
    h_xx = log[..., 1, 2] + log[..., 1, 0] - 2 * log[..., 1, 1]
    h_yy = log[..., 2, 1] + log[..., 0, 1] - 2 * log[..., 1, 1]
    h_xy = (log[..., 2, 2] + log[..., 0, 0] - log[..., 0, 2] - log[..., 2, 0]) / 4
    determinant = h_xx * h_yy - h_xy * h_xy
    curved = determinant > 0.1 * h_xx * h_yy  # not along a ridge, whose top is anywhere
    across = torch.where(curved, h_xy, 0)
    determinant = torch.where(curved, determinant, h_xx * h_yy)
    flat = determinant <= 0
    determinant = torch.where(flat, 1, determinant)
    dx = torch.where(flat, 0, (across * g_y - h_yy * g_x) / determinant).clamp(-1, 1)
    dy = torch.where(flat, 0, (across * g_x - h_xx * g_y) / determinant).clamp(-1, 1)
    return dx, dy, torch.exp((g_x * dx + g_y * dy) / 2)
