"""Which peak a source belongs to: the nearest one to where its vote lands."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.sources import Scalars, Sources
from mdn_cupy.maxima import Cells

__all__ = ["MARGIN", "Targets", "cell", "label", "new_targets"]

MARGIN = 2.0**-10
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
    place: tuple[int, int, int],
    rows: tuple[int, int],
) -> None:
    """Label the sources in rows [first, last) of the v-th voter of map m, [plane, H, W] of labels.

    `place` is m, v and the plane.
    """
    m, v, plane = place
    c_plane, o_plane = sources.confidence_plane[m, v], sources.offsets_plane[m, v]
    s_plane = sources.sigma_plane[m, v]
    _, s_rows, s_columns = sources.sigma.shape
    (origin_y, origin_x), (stride_y, stride_x) = scalars.origin, scalars.stride
    for i in range(rows[0], rows[1]):
        for j in range(labels.shape[2]):
            sigma = sources.sigma[s_plane, i if s_rows > 1 else 0, j if s_columns > 1 else 0]
            if not (sources.confidence[c_plane, i, j] > 0 and sigma > 0):
                continue
            p_x = (origin_x + stride_x * j) + sources.offsets[o_plane, 0, i, j]
            p_y = (origin_y + stride_y * i) + sources.offsets[o_plane, 1, i, j]
            if math.isfinite(p_x) and math.isfinite(p_y):
                labels[plane, i, j] = _nearest(targets, m, p_x, p_y, truncate * sigma)


@inlined
def _nearest(targets: Targets, m: int, p_x: float, p_y: float, reach: float) -> int:
    """Return the number from 1 of the nearest peak of map m in reach and radius; 0 for none."""
    found, least = 0, targets.radius * targets.radius
    spread = min(reach, targets.radius) + MARGIN
    top = cell(p_y - spread, targets.scale, targets.down)
    bottom = cell(p_y + spread, targets.scale, targets.down)
    left = cell(p_x - spread, targets.scale, targets.across)
    right = cell(p_x + spread, targets.scale, targets.across)
    for cell_row in range(top, bottom + 1):
        start = (m * targets.down + cell_row) * targets.across
        for n in range(targets.starts[start + left], targets.starts[start + right + 1]):
            peak = targets.order[n]
            dx, dy = targets.x[peak] - p_x, targets.y[peak] - p_y
            square = dx * dx + dy * dy
            if not (abs(dx) <= reach and abs(dy) <= reach and square <= least):
                continue
            if square < least or found == 0 or peak + 1 < found:
                found, least = peak + 1, square
    return found


@inlined
def cell(place: float, scale: float, count: int) -> int:
    """The row or column of cells at a place, of so many."""
    # np.floor stays a float: sigma may be inf, or too large for an integer.
    return int(min(max(np.floor(place * scale), 0.0), count - 1.0))
