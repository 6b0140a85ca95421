"""Order pixels by their values, and place a maximum between its pixels; for arrays of any library.

The functions use only what NumPy, CuPy and torch have in common, so that one formula serves all of
them and torch differentiates it.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

from mdn_cupy.arrays import Array, namespace, stable_argsort

__all__ = ["Cells", "around", "cells_of", "inside", "strongest_first", "vertex"]

_LEAST = 1e-6  # of the peak; a neighbour below that counts as empty


class Cells(NamedTuple):
    """Points sorted by the square cells of their maps in which they lie.

    Attributes
    ----------
    side_log2 : int
        A cell is 2**side_log2 pixels wide: in which it lies is exact for any position.
    down, across : int
        Cells of a map.
    numbers : int64 array [n]
        Cells of the points, counted over maps, down and across, ascending.
    order : int64 array [n]
        Which points those are; in one cell, in their order.
    """

    side_log2: int
    down: int
    across: int
    numbers: Array
    order: Array


def cells_of(number: Array, x: Array, y: Array, maps: int, shape: tuple[int, int]) -> Cells:
    """Sort points into cells that hold about one point on average.

    Points beyond the edge of a map count to the cells at the edge.

    Parameters
    ----------
    number : int array [n]
        The map of each point.
    x, y : float64 array [n]
        Where it is, in pixels.
    maps : int
        How many maps there are.
    shape : (int, int)
        Of a map, in pixels.

    Returns
    -------
    Cells
        The points in order.
    """
    xp, (height, width) = namespace(x), shape
    side_log2 = math.isqrt(maps * height * width // (len(x) + 1)).bit_length()
    side_log2 = max(side_log2 - 1, 0)
    down, across = ((max(size, 1) - 1 >> side_log2) + 1 for size in shape)
    row, column = (
        xp.asarray(xp.floor(place * 2.0**-side_log2).clip(0, count - 1), dtype=xp.int64)
        for place, count in ((xp.nan_to_num(y), down), (xp.nan_to_num(x), across))
    )
    cells = (number * down + row) * across + column
    order = stable_argsort(cells)
    return Cells(side_log2, down, across, cells[order], order)


def strongest_first(place: Array, values: Array, pixels: int) -> Array:
    """Sort pixels by map, then by value descending, then by position.

    Parameters
    ----------
    place : int64 array [n]
        Flat indices into maps of `pixels` pixels, ascending.
    values : array [n]
        What the maps have there; no NaN.
    pixels : int
        Of one map.

    Returns
    -------
    int64 array [n]
        `place` in that order.
    """
    place = place[stable_argsort(0 - values)]  # 0 − 0 and 0 − (−0) are the same zero to a sort
    return place[stable_argsort(place // max(pixels, 1))]


def inside(place: Array, height: int, width: int, border: int) -> Array:
    """Return whether pixels, flat indices into maps, lie in no margin of their map."""
    row, column = place // width % height, place % width
    rows = (row >= border) & (row < height - border)
    return rows & (column >= border) & (column < width - border)


def around(index: Array, size: int, xp: ModuleType) -> Array:
    """Return a pixel and its two neighbours; at an edge the inner one twice: its slope is 0.

    Parameters
    ----------
    index : int array [...]
        Pixels along one axis.
    size : int
        Length of that axis.
    xp : module
        numpy, cupy or torch.

    Returns
    -------
    int array [..., 3]
        index − 1, index, index + 1.
    """
    before, after = index - 1, index + 1
    inside_before = xp.where(before < 0, after, before).clip(0, size - 1)
    inside_after = xp.where(after >= size, before, after).clip(0, size - 1)
    return xp.stack((inside_before, index, inside_after), -1)


def vertex(patch: Array, xp: ModuleType) -> tuple[Array, Array, Array]:
    """Find the vertex of the paraboloid through the logarithms of 3 × 3 pixels.

    It is exact for a Gaussian. The vertex stays within the pixels: 1 is the farthest. Where the
    logarithms do not curve downwards along both axes, it is the middle pixel; where they hardly
    curve along a diagonal (a ridge, where the top is undetermined), each axis is fitted by itself.

    Parameters
    ----------
    patch : array [..., 9]
        The pixels in reading order, the highest in the middle. What is below 0 counts as 0.
    xp : module
        numpy, cupy or torch.

    Returns
    -------
    dx, dy : array [...]
        The vertex, in pixels from the middle.
    gain : array [...]
        Its height over the middle pixel's.
    """
    patch = patch.clip(0, xp.finfo(patch.dtype).max)  # inf / inf would be NaN
    peak = patch[..., 4, None]
    # Without votes the logarithm is −inf; the bound makes it a steep slope.
    log = xp.log((patch / xp.where(peak > 0, peak, 1)).clip(_LEAST))
    log = log.reshape(*log.shape[:-1], 3, 3)
    g_x, g_y = (log[..., 1, 2] - log[..., 1, 0]) / 2, (log[..., 2, 1] - log[..., 0, 1]) / 2
    h_xx = log[..., 1, 2] + log[..., 1, 0] - 2 * log[..., 1, 1]
    h_yy = log[..., 2, 1] + log[..., 0, 1] - 2 * log[..., 1, 1]
    h_xy = (log[..., 2, 2] + log[..., 0, 0] - log[..., 0, 2] - log[..., 2, 0]) / 4
    determinant = h_xx * h_yy - h_xy * h_xy
    curved = determinant > 0.1 * h_xx * h_yy  # not along a ridge
    across = xp.where(curved, h_xy, 0)
    determinant = xp.where(curved, determinant, h_xx * h_yy)
    flat = determinant <= 0
    determinant = xp.where(flat, 1, determinant)
    dx = xp.where(flat, 0, (across * g_y - h_yy * g_x) / determinant).clip(-1, 1)
    dy = xp.where(flat, 0, (across * g_x - h_xx * g_y) / determinant).clip(-1, 1)
    return dx, dy, xp.exp((g_x * dx + g_y * dy) / 2)
