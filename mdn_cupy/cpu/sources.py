"""Sources as the kernels see them: where their votes land, and which pixels they reach."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import part
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
