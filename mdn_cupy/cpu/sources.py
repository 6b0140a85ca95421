"""Sources as the kernels see them: where their votes land, and which pixels they reach."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, windows
from mdn_cupy.cpu.jit_options import inlined, jit, part
from mdn_cupy.cpu.simd import LANES
from mdn_cupy.problem import Rule

__all__ = [
    "ADDITIVE",
    "NOISY_OR",
    "PATCH_COLUMNS",
    "PATCH_ROWS",
    "LandingBatch",
    "Scalars",
    "Sources",
    "collect",
    "find_windows",
    "new_landings",
    "patch",
    "reach_of_patches",
]

PATCH_ROWS, PATCH_COLUMNS = 8, 64
"""Sources walked through together: what they reach of a map stays in the L1 cache."""

NOISY_OR = int(Rule.NOISY_OR)
ADDITIVE = int(Rule.ADDITIVE)


class Sources(NamedTuple):
    """Inputs of the kernels: contiguous planes, and which of them vote into which map."""

    confidence: npt.NDArray[Any]  # [planes, H, W]
    offsets: npt.NDArray[Any]  # [planes, 2, H, W]
    sigma: npt.NDArray[Any]  # [planes, H or 1, W or 1]
    confidence_plane: npt.NDArray[np.int64]  # [maps, voters]
    offsets_plane: npt.NDArray[np.int64]  # [maps, voters]
    sigma_plane: npt.NDArray[np.int64]  # [maps, voters]


class Scalars(NamedTuple):
    """The scalars of a problem."""

    rule: int
    truncate: float
    stride: tuple[float, float]  # y, x
    origin: tuple[float, float]
    floor: float  # least factor 1 − w·c
    double: bool  # whether the fields are float64


class LandingBatch(NamedTuple):
    """Sources side by side: where their votes land, and which pixels of a window they reach."""

    p_x: npt.NDArray[np.float64]  # in pixels of the map
    p_y: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]  # NaN where sigma is not positive
    scale: npt.NDArray[np.float64]  # of (x0 − p)² in the exponent of 2
    change: npt.NDArray[np.float64]  # 2^(2·scale)
    peak: npt.NDArray[np.float64]  # the kernel's value at its centre
    number: npt.NDArray[np.int64]  # of the source in its plane
    left: npt.NDArray[np.int32]  # in pixels of the window
    right: npt.NDArray[np.int32]  # one past the last column; not after left where no vote is cast
    upper: npt.NDArray[np.int32]
    lower: npt.NDArray[np.int32]


def new_landings() -> LandingBatch:
    """Allocate a batch for two rows of a patch; in Python, where it need not be compiled."""
    size = 2 * PATCH_COLUMNS + LANES
    measures, numbers, ends = (
        np.full((8, size), np.nan),
        np.zeros((1, size), np.int64),
        np.zeros((4, size), np.int32),
    )
    return LandingBatch(*measures, *numbers, *ends)


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
def collect(
    sources: Any,
    scalars: Any,
    voter: tuple[int, int],
    i: int,
    columns: tuple[int, int],
    waiting: int,
    landings: Any,
    every: bool,
) -> int:
    """Append the sources of voter (m, v) in row i and columns [start, stop) that vote, or every
    one, to the batch; return its size."""
    start, stop = columns
    _, _, height, width = sources.offsets.shape
    number = i * width + start
    at_c = sources.confidence_plane[voter] * height * width + number
    at_x = sources.offsets_plane[voter] * 2 * height * width + number
    row = (at_c, at_x, at_x + height * width, number, stop - start)
    (origin_y, origin_x), (stride_y, stride_x) = scalars.origin, scalars.stride
    places = (origin_x, stride_x, origin_y + stride_y * i, float(start))
    found = (landings.p_x, landings.p_y, landings.confidence)
    fields = (sources.confidence, sources.offsets)
    count: int = windows.collect(found, landings.number, fields, row, places, waiting, every)
    return count


@inlined
def find_windows(
    sources: Any,
    scalars: Any,
    voter: tuple[int, int],
    count: int,
    window: tuple[int, int, int, int],
    landings: Any,
) -> None:
    """Compute how far the votes of `count` sources of a voter reach, and which pixels.

    `window` is the part of the map that counts: its top, left, rows and columns.
    """
    top, left, rows, width = window
    spread(sources, scalars, voter, count, landings)
    across, down = (float(left), left + width - 1.0), (float(top), top + rows - 1.0)
    windows.reach((landings.left, landings.right), landings.p_x, landings.radius, count, across)
    windows.reach((landings.upper, landings.lower), landings.p_y, landings.radius, count, down)


@inlined
def spread(sources: Any, scalars: Any, voter: tuple[int, int], count: int, landings: Any) -> None:
    """Fill in what follows from the sigma of `count` sources of a voter."""
    plane = sources.sigma_plane[voter]
    shared = sources.sigma.shape[1] == 1 and sources.sigma.shape[2] == 1
    if shared and landings.sigma[0] == sources.sigma[plane, 0, 0]:
        return  # as the sources before
    _spread(sources.sigma, sources.confidence.shape[2], scalars, plane, count, landings)


@part
def _spread(sigmas: Any, width: int, scalars: Any, plane: int, count: int, landings: Any) -> None:
    _, rows, columns = sigmas.shape
    if rows == 1 and columns == 1:
        count = landings.sigma.shape[0]
    for n in range(count):
        i, j = landings.number[n] // width, landings.number[n] % width
        landings.sigma[n] = sigmas[plane, i if rows > 1 else 0, j if columns > 1 else 0]
    curve, by_area = (landings.scale, landings.change, landings.peak), scalars.rule == ADDITIVE
    gaussian.curves(landings.radius, curve, landings.sigma, count, scalars.truncate, by_area)


@jit
def reach_of_patches(
    sources: Any, scalars: Any, m: int, first: int, landings: Any, ends: Any, reach: Any
) -> None:
    """Which points of the plane of map m the patches from number `first` on reach.

    reach[n] = top, left, bottom, right, with the bottom above the top where nothing votes; `ends`
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
            voter = (m, v)
            count = collect(sources, scalars, voter, i, (start, stop), 0, landings, every=False)
            spread(sources, scalars, voter, count, landings)
            windows.widen((left, right), landings.p_x, landings.radius, count)
            windows.widen((top, bottom), landings.p_y, landings.radius, count)
        for k in range(4):
            reach[n, k] = ends[k, 0]
            for end in ends[k]:
                reach[n, k] = min(reach[n, k], end) if k < 2 else max(reach[n, k], end)
