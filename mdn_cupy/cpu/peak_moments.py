"""Moments of the landing points of the votes for each peak, weighted by their shares."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.instances import MARGIN, Targets, cell
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.sources import ADDITIVE, NOISY_OR, Scalars, Sources

__all__ = ["add_moments"]

Float64 = npt.NDArray[np.float64]


@jit
def add_moments(
    sources: Sources,
    scalars: Scalars,
    targets: Targets,
    evidence: Float64,
    moments: Float64,
    m: int,
    rows: tuple[int, int],
) -> None:
    """Add the votes in rows [first, last) of all voters of map m to the moments [peaks, 7].

    Rows are counted over the voters. The moments of a peak are the sums of the shares and of their
    squares, and of the shares times dx, dy, dx², dx·dy and dy², from its pixel to the landing
    point.
    """
    _, height, width = sources.confidence.shape
    _, s_rows, s_columns = sources.sigma.shape
    (origin_y, origin_x), (stride_y, stride_x) = scalars.origin, scalars.stride
    for row in range(rows[0], rows[1]):
        v, i = row // height, row % height
        c_plane, o_plane = sources.confidence_plane[m, v], sources.offsets_plane[m, v]
        s_plane = sources.sigma_plane[m, v]
        for j in range(width):
            c = float(sources.confidence[c_plane, i, j])
            sigma = float(sources.sigma[s_plane, i if s_rows > 1 else 0, j if s_columns > 1 else 0])
            p_x = (origin_x + stride_x * j) + sources.offsets[o_plane, 0, i, j]
            p_y = (origin_y + stride_y * i) + sources.offsets[o_plane, 1, i, j]
            if c != 0 and sigma > 0 and math.isfinite(p_x) and math.isfinite(p_y):
                _add(scalars, targets, evidence, moments, m, (p_x, p_y, c, sigma))


@inlined
def _add(
    scalars: Scalars,
    targets: Targets,
    evidence: Float64,
    moments: Float64,
    m: int,
    vote: tuple[float, float, float, float],
) -> None:
    """Add one vote to the moments of the peaks whose pixels it reaches."""
    p_x, p_y, c, sigma = vote
    reach = scalars.truncate * sigma
    spread = reach + MARGIN
    top = cell(p_y - spread, targets.scale, targets.down)
    bottom = cell(p_y + spread, targets.scale, targets.down)
    left = cell(p_x - spread, targets.scale, targets.across)
    right = cell(p_x + spread, targets.scale, targets.across)
    for cell_row in range(top, bottom + 1):
        start = (m * targets.down + cell_row) * targets.across
        for n in range(targets.starts[start + left], targets.starts[start + right + 1]):
            peak = targets.order[n]
            dx, dy = p_x - targets.x[peak], p_y - targets.y[peak]
            if not (abs(dx) <= reach and abs(dy) <= reach):
                continue
            term = c * math.exp(-((dx / sigma) * (dx / sigma) + (dy / sigma) * (dy / sigma)) / 2)
            if scalars.rule == NOISY_OR:
                term = -math.log1p(-min(term, 1 - scalars.floor))
            elif scalars.rule == ADDITIVE:
                term = term / (2 * math.pi) / sigma / sigma
            share = term / evidence[peak]
            moments[peak, 0] += share
            moments[peak, 1] += share * share
            moments[peak, 2] += share * dx
            moments[peak, 3] += share * dy
            moments[peak, 4] += share * dx * dx
            moments[peak, 5] += share * dx * dy
            moments[peak, 6] += share * dy * dy
