"""Moments of the landing points of the votes for each peak, weighted by their shares."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.instances import Targets, cells_around
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.sources import ADDITIVE, NOISY_OR, Scalars, Sources, vote_of

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
    for row in range(rows[0], rows[1]):
        v, i = row // height, row % height
        for j in range(width):
            x, y, c, sigma = vote_of(sources, scalars, (m, v), i, j)
            if c != 0 and sigma > 0 and math.isfinite(x) and math.isfinite(y):
                _add(scalars, targets, evidence, moments, m, (x, y, c, sigma))


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
    x, y, c, sigma = vote
    reach = scalars.truncate * sigma
    top, bottom, left, right = cells_around(targets, (x, y), reach)
    for cell_row in range(top, bottom + 1):
        start = (m * targets.down + cell_row) * targets.across
        for n in range(targets.starts[start + left], targets.starts[start + right + 1]):
            peak = targets.order[n]
            dx, dy = x - targets.x[peak], y - targets.y[peak]
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
