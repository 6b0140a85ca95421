"""Sources as the kernels see them, in patches and batches, and where one of them votes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined, part
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
    "new_landings",
    "patch",
    "sigma_of",
    "vote_of",
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


class LandingBatch(NamedTuple):
    """Sources side by side: where their votes land, and which pixels of a region they reach."""

    p_x: npt.NDArray[np.float64]  # in pixels of the map
    p_y: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]  # NaN where sigma is not positive
    scale: npt.NDArray[np.float64]  # of (x0 − p)² in the exponent of 2
    change: npt.NDArray[np.float64]  # 2^(2·scale)
    peak: npt.NDArray[np.float64]  # the kernel's value at its centre
    number: npt.NDArray[np.int64]  # of the source in its plane
    left: npt.NDArray[np.int32]  # in pixels of the region
    right: npt.NDArray[np.int32]  # one past the last column; not after left where no vote is cast
    upper: npt.NDArray[np.int32]
    lower: npt.NDArray[np.int32]


def new_landings() -> LandingBatch:
    """Allocate a batch for two rows of a patch; in Python, where it need not be compiled."""
    size = 2 * PATCH_COLUMNS + LANES
    reals, ends = np.full((8, size), np.nan), np.zeros((4, size), np.int32)
    return LandingBatch(*reals, *np.zeros((1, size), np.int64), *ends)


@inlined
def vote_of(
    sources: Sources, scalars: Scalars, voter: tuple[int, int], i: int, j: int
) -> tuple[float, float, float, float]:
    """Where the source (i, j) of voter (m, v) votes, (x, y), its confidence and its sigma.

    It is the specification's origin + stride · (j, i) + offset, rounded alike by
    `windows.collect`, which computes it for LANES sources at a time.
    """
    plane, (origin_y, origin_x) = sources.offsets_plane[voter], scalars.origin
    stride_y, stride_x = scalars.stride
    return (
        (origin_x + stride_x * j) + sources.offsets[plane, 0, i, j],
        (origin_y + stride_y * i) + sources.offsets[plane, 1, i, j],
        float(sources.confidence[sources.confidence_plane[voter], i, j]),
        sigma_of(sources, sources.sigma_plane[voter], i, j),
    )


@inlined
def sigma_of(sources: Sources, plane: int, i: int, j: int) -> float:
    """The sigma of a source (i, j); all rows or all columns of a plane may share theirs."""
    _, rows, columns = sources.sigma.shape
    return float(sources.sigma[plane, i if rows > 1 else 0, j if columns > 1 else 0])


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
