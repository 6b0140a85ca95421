"""Which peak a source belongs to: the nearest one to where its vote lands."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.sources import Scalars, Sources, vote_of
from mdn_cupy.maxima import Cells

__all__ = ["Targets", "cells_around", "label", "new_targets"]

_MARGIN = 2.0**-10
"""Pixels: more than p ± reach is rounded by, up to 2^40."""


class Targets(NamedTuple):
    """Peaks, listed by the cells in which they lie."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    order: npt.NDArray[np.int64]  # the peaks of each cell, ascending
    starts: npt.NDArray[np.int64]  # [cells + 1], where those of each cell begin in `order`
    scale: float  # cells to the pixel
    down: int
    across: int
    radius: float


def new_targets(
    cells: Cells,
    maps: int,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    radius: float,
) -> Targets:
    """List peaks by their cells."""
    starts = np.searchsorted(cells.numbers, np.arange(maps * cells.down * cells.across + 1))
    scale = 2.0**-cells.side_log2
    return Targets(x, y, cells.order, starts, scale, cells.down, cells.across, radius)


@jit
def label(
    sources: Sources,
    scalars: Scalars,
    truncate: float,
    targets: Targets,
    labels: npt.NDArray[np.int32],
    voter: tuple[int, int],
    plane: int,
    rows: tuple[int, int],
) -> None:
    """Label the sources in rows [first, last) of voter (m, v) in a plane of [planes, H, W]."""
    for i in range(rows[0], rows[1]):
        for j in range(labels.shape[2]):
            x, y, c, sigma = vote_of(sources, scalars, voter, i, j)
            if c > 0 and sigma > 0 and math.isfinite(x) and math.isfinite(y):
                labels[plane, i, j] = _nearest(targets, voter[0], (x, y), truncate * sigma)


@inlined
def _nearest(targets: Targets, m: int, p: tuple[float, float], reach: float) -> int:
    """Return the number from 1 of the nearest peak of map m in reach and radius; 0 for none."""
    found, least = 0, targets.radius * targets.radius
    top, bottom, left, right = cells_around(targets, p, min(reach, targets.radius))
    for cell_row in range(top, bottom + 1):
        start = (m * targets.down + cell_row) * targets.across
        for n in range(targets.starts[start + left], targets.starts[start + right + 1]):
            peak = targets.order[n]
            dx, dy = targets.x[peak] - p[0], targets.y[peak] - p[1]
            square = dx * dx + dy * dy
            if not (abs(dx) <= reach and abs(dy) <= reach and square <= least):
                continue
            if square < least or found == 0 or peak + 1 < found:
                found, least = peak + 1, square
    return found


@inlined
def cells_around(
    targets: Targets, p: tuple[float, float], reach: float
) -> tuple[int, int, int, int]:
    """The first and the last row and column of cells within reach of a point (x, y)."""
    x, y, reach = p[0], p[1], reach + _MARGIN
    return (
        _cell(y - reach, targets.scale, targets.down),
        _cell(y + reach, targets.scale, targets.down),
        _cell(x - reach, targets.scale, targets.across),
        _cell(x + reach, targets.scale, targets.across),
    )


@inlined
def _cell(position: float, scale: float, count: int) -> int:
    """The row or column of cells at a position, of so many."""
    # np.floor stays a float: sigma may be inf, or too large for an integer.
    return int(min(max(np.floor(position * scale), 0.0), count - 1.0))
