"""Sources as the kernels see them: where their votes land, and which pixels they reach."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import windows
from mdn_cupy.cpu.compiled import inlined, jit, part
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.problem import Rule

__all__ = [
    "FARTHEST",
    "NOISY_OR",
    "NORMALIZED",
    "PATCH_COLUMNS",
    "PATCH_ROWS",
    "Aim",
    "Geometry",
    "Sources",
    "aim_row",
    "new_aim",
    "patch",
    "reach_of_patches",
]

PATCH_ROWS, PATCH_COLUMNS = 8, 64
"""Sources walked through together: what they reach of a map stays in the L1 cache."""

FARTHEST = 37.0
"""Sigmas: weights beyond, below 10⁻²⁹⁶, change nothing, and products with them might leave the
range. So a NaN does not show beyond either."""

NOISY_OR = int(Rule.NOISY_OR)
NORMALIZED = int(Rule.NORMALIZED)


class Sources(NamedTuple):
    """What the kernels read: contiguous planes, and which of them vote into which map."""

    confidence: npt.NDArray[Any]  # [planes, H, W]
    offsets: npt.NDArray[Any]  # [planes, 2, H, W]
    sigma: npt.NDArray[Any]  # [planes, H or 1, W or 1]
    confidence_plane: npt.NDArray[np.int64]  # [maps, voters]
    offsets_plane: npt.NDArray[np.int64]  # [maps, voters]
    sigma_plane: npt.NDArray[np.int64]  # [maps, voters]


class Geometry(NamedTuple):
    """The scalars of a problem."""

    rule: int
    truncate: float
    stride: float
    origin: float
    floor: float  # least factor 1 − w·c
    double: bool  # whether the fields are float64


class Aim(NamedTuple):
    """Where the votes of one row of a patch land, and which pixels of a window they reach."""

    p_x: npt.NDArray[np.float64]  # [PATCH_COLUMNS], in pixels of the map
    p_y: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]  # NaN where sigma is not positive
    scale: npt.NDArray[np.float64]  # of (x0 − p)² in the exponent of 2
    change: npt.NDArray[np.float64]  # 2^(2·scale)
    peak: npt.NDArray[np.float64]  # the kernel's value at its centre
    left: npt.NDArray[np.int32]  # in pixels of the window
    right: npt.NDArray[np.int32]  # one past the last column; not after left where no vote is cast
    upper: npt.NDArray[np.int32]
    lower: npt.NDArray[np.int32]


def new_aim() -> Aim:
    """Room for the aim of a row; made here, where it need not be compiled."""
    return Aim(*np.full((7, PATCH_COLUMNS), np.nan), *np.zeros((4, PATCH_COLUMNS), np.int32))


@part
def patch(number: int, height: int, width: int) -> tuple[int, int, int, int, int]:
    """Voter, rows [first, last) and columns [start, stop) of a patch of fields [H, W].

    Patches are numbered by voter, then down, then across.
    """
    across = (width + PATCH_COLUMNS - 1) // PATCH_COLUMNS
    down = (height + PATCH_ROWS - 1) // PATCH_ROWS
    v, rest = number // (down * across), number % (down * across)
    first, start = rest // across * PATCH_ROWS, rest % across * PATCH_COLUMNS
    last, stop = first + PATCH_ROWS, start + PATCH_COLUMNS
    return v, first, last if last < height else height, start, stop if stop < width else width


@inlined
def aim_row(
    sources: Any,
    geometry: Any,
    voter: tuple[int, int],
    i: int,
    columns: tuple[int, int],
    window: tuple[int, int, int, int],
    aim: Any,
) -> None:
    """Aim the sources in row i and columns [start, stop) of voter (m, v).

    `window` is the part of the map that counts: its top, left, rows and columns.
    """
    top, left, rows, width = window
    count = columns[1] - columns[0]
    _land_row(sources, geometry, voter, i, columns, aim)
    across, down = (float(left), left + width - 1.0), (float(top), top + rows - 1.0)
    windows.reach((aim.left, aim.right), aim.p_x, aim.radius, count, across)
    windows.reach((aim.upper, aim.lower), aim.p_y, aim.radius, count, down)


@inlined
def _land_row(
    sources: Any, geometry: Any, voter: tuple[int, int], i: int, columns: tuple[int, int], aim: Any
) -> None:
    """Fill in where the votes of a row land, and how far they reach."""
    start, count = columns[0], columns[1] - columns[0]
    _, _, height, pitch = sources.offsets.shape
    at_x = (sources.offsets_plane[voter] * 2 * height + i) * pitch + start
    at_y = at_x + height * pitch
    y = geometry.origin + geometry.stride * i
    windows.land(
        aim.p_x, sources.offsets, (at_x, count), (geometry.origin, geometry.stride, float(start))
    )
    windows.land(aim.p_y, sources.offsets, (at_y, count), (y, 0.0, 0.0))
    _spread(sources, geometry, voter, i, columns, aim)


@part
def _spread(
    sources: Any, geometry: Any, voter: tuple[int, int], i: int, columns: tuple[int, int], aim: Any
) -> None:
    """Fill in what follows from sigma; the radius of a source that casts no vote is NaN."""
    sigmas = sources.sigma[sources.sigma_plane[voter], i if sources.sigma.shape[1] > 1 else 0]
    if sigmas.shape[0] == 1 and aim.sigma[0] == sigmas[0]:
        return  # as the row before
    for n in range(PATCH_COLUMNS if sigmas.shape[0] == 1 else columns[1] - columns[0]):
        sigma = float(sigmas[columns[0] + n if sigmas.shape[0] > 1 else 0])
        scale = -0.5 / (sigma * sigma * np.log(2.0))
        aim.sigma[n] = sigma
        aim.radius[n] = geometry.truncate * sigma if sigma > 0.0 else np.nan
        aim.scale[n] = scale if scale > -1e30 else -1e30  # finite, so that 0 · it is 0
        aim.change[n] = np.exp2(2.0 * aim.scale[n])
        aim.peak[n] = 1.0 / (2.0 * np.pi * sigma * sigma) if geometry.rule == NORMALIZED else 1.0


@jit
def reach_of_patches(
    sources: Any, geometry: Any, m: int, first: int, aim: Any, ends: Any, reach: Any
) -> None:
    """Which points of the plane of map m the patches from number `first` on reach.

    reach[n] = top, left, bottom, right, with the bottom above the top where nobody votes; `ends`
    are four times LANES numbers to work with.
    """
    height, width = sources.confidence.shape[1:]
    top, left, bottom, right = ends[0], ends[1], ends[2], ends[3]
    for n in range(reach.shape[0]):
        v, upper, lower, start, stop = patch(first + n, height, width)
        for lane in range(LANES):
            top[lane] = left[lane] = np.inf
            bottom[lane] = right[lane] = -np.inf
        for i in range(upper, lower):
            _land_row(sources, geometry, (m, v), i, (start, stop), aim)
            at = (sources.confidence_plane[m, v] * height + i) * width + start
            among = (at, stop - start)
            windows.widen((left, right), aim.p_x, aim.radius, sources.confidence, among)
            windows.widen((top, bottom), aim.p_y, aim.radius, sources.confidence, among)
        for k in range(4):
            reach[n, k] = ends[k, 0]
            for end in ends[k]:
                reach[n, k] = min(reach[n, k], end) if k < 2 else max(reach[n, k], end)
