"""What a vote map should be: blurred points, or an image, on the map's own pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Instruction", "target_of_image", "target_of_points"]

FloatArray = npt.NDArray[np.floating]

_REACH = 5.0  # widths; beyond, a Gaussian is below 4e-6
_SAME = 0.05  # by how much the proportions of a stretched image may differ from the map's


class Instruction(ValueError):
    """Something cannot be done yet, and the message says what is missing; nothing is wrong."""


def target_of_points(
    points: npt.ArrayLike, width: float, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Blur points by a Gaussian with its peak at 1; where two reach, the higher counts.

    Parameters
    ----------
    points : array [N, 2]
        Row and column of each, in pixels of the map.
    width : float
        Standard deviation of the Gaussian, in pixels of the map.
    shape : (int, int)
        Size of the map.

    Returns
    -------
    array [Ho, Wo], float32
        The target, from 0 to 1.

    Raises
    ------
    ValueError
        If the width is not positive, or no point lies on the map.

    Examples
    --------
    >>> target_of_points([[1, 2]], 1.0, (3, 5))[1].round(2).tolist()
    [0.14000000059604645, 0.6100000143051147, 1.0, 0.6100000143051147, 0.14000000059604645]
    """
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"the width of a target's points must be greater than 0, got {width:g}")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    size = np.array(shape)
    within = ((points >= -0.5) & (points <= size - 0.5)).all(axis=1)
    if not within.any():
        raise ValueError(
            f"none of the {len(points)} points of the target lies on the map of "
            f"{shape[0]} × {shape[1]} pixels; add one there"
        )
    target = np.zeros(shape, np.float32)
    for point in points[within]:
        low = np.maximum(np.floor(point - _REACH * width), 0).astype(int)
        high = np.minimum(np.ceil(point + _REACH * width) + 1, size).astype(int)
        rows, columns = (
            np.exp(-((np.arange(*ends) - p) ** 2) / (2 * width**2))
            for p, *ends in zip(point, low, high, strict=True)
        )
        window = target[low[0] : high[0], low[1] : high[1]]
        np.maximum(window, np.outer(rows, columns), out=window)
    return target


def target_of_image(
    values: npt.NDArray[np.generic],
    shape: tuple[int, ...],
    grid: tuple[Sequence[float], Sequence[float]] | None = None,
) -> npt.NDArray[np.float32]:
    """Sample an image at the pixels of a map, linearly, and bring it to the range from 0 to 1.

    Parameters
    ----------
    values : array [H, W]
        The image, of any real dtype. Values from 0 to 1 stay what they are; others are divided by
        the highest.
    shape : (int, int)
        Size of the map.
    grid : (pair, pair), optional
        Stride and origin (y, x) of the image's pixels, in pixels of the map; 0 beyond them. By
        default the image is stretched so that its corners are the map's.

    Returns
    -------
    array [Ho, Wo], float32
        The target.

    Raises
    ------
    ValueError
        If the image has not two axes or not the map's proportions, is negative or not finite
        somewhere, or has nothing above 0 on the map.

    Examples
    --------
    >>> target_of_image(np.array([[0, 0], [0, 200]]), (3, 3)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.25, 0.5], [0.0, 0.5, 1.0]]
    """
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        raise ValueError(
            "a target must be one image (H, W) of real numbers, got the shape "
            f"{values.shape} of {values.dtype}"
        )
    if not (np.isfinite(values).all() and values.min() >= 0):
        raise ValueError("a target must be finite and not negative everywhere")
    sampled: FloatArray = values.astype(np.float64)
    for axis in (0, 1):
        where = (
            _stretched(values.shape, shape, axis)
            if grid is None
            else (np.arange(shape[axis]) - grid[1][axis]) / grid[0][axis]
        )
        sampled = _sampled(sampled, where, axis)
    highest = float(sampled.max())
    if highest == 0:
        raise ValueError("the target is 0 on all of the map; there is nothing to vote for")
    return (sampled / highest if highest > 1 else sampled).astype(np.float32)


def _stretched(size: tuple[int, ...], shape: tuple[int, ...], axis: int) -> FloatArray:
    """Where the map's pixels are in an image that is stretched over it."""
    if abs(size[0] * shape[1] / (size[1] * shape[0]) - 1) > _SAME:
        raise ValueError(
            f"the target's {size[0]} × {size[1]} pixels have not the proportions of the map's "
            f"{shape[0]} × {shape[1]}; choose an image of that size, or give its layer a scale"
        )
    return np.linspace(0, size[axis] - 1, shape[axis])


def _sampled(values: FloatArray, where: FloatArray, axis: int) -> FloatArray:
    """Interpolate linearly along an axis; 0 outside."""
    last = values.shape[axis] - 1
    first = np.clip(np.floor(where), 0, last).astype(int)
    along = (slice(None), None) if axis == 0 else (None, slice(None))
    rest = np.clip(where - first, 0, 1)[along]
    low, high = (np.take(values, np.minimum(i, last), axis) for i in (first, first + 1))
    inside = ((where > -1e-6) & (where < last + 1e-6))[along]  # rounding is no reason to be out
    sampled: FloatArray = np.where(inside, low * (1 - rest) + high * rest, 0)
    return sampled
