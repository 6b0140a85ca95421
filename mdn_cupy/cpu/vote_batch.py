"""The votes of a group of sources, in vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.simd import HALF, LANES, at_least, element, load, present, store, where
from mdn_cupy.cpu.sources import LandingBatch

__all__ = ["ADD", "MULTIPLY", "MULTIPLY_GUARDED", "vote"]

ADD, MULTIPLY, MULTIPLY_GUARDED = range(3)
"""Σ w·c·peak; Π (1 − w·c); and the same with factors that are raised to the least, or two sources
at a time where all have one window: they load and store it once only, and need not wait for each
other. To compile both takes longer."""

Doubles = npt.NDArray[np.float64]
Weights = tuple[Doubles, Doubles, int]
"""w_x·c of the sources of a group, a row each; w_y, a column each; and the length of these rows."""


def _columns_of(lanes: int) -> Callable[..., None]:
    """Make a function that updates some columns of a window."""

    @inlined
    def update(
        total: Doubles,
        how: int,
        window: tuple[int, int, int],
        weights: Weights,
        pair: tuple[int, int],
        columns: tuple[int, int],
        factor: tuple[float, float],
    ) -> None:
        pixel, pitch, rows = window
        (k, other), (x, width) = pair, columns
        a_x, w_y, span = weights
        peak, floor = factor
        inside = present(x, width, lanes)
        a = load(a_x, k * span + x, lanes)  # beyond the window it may not be finite
        if how == ADD:
            a = where(inside, a * peak, 0.0)
            for y in range(rows):
                v = a * element(w_y, y * LANES + k)
                store(total, pixel, load(total, pixel, lanes) + v)
                pixel += pitch
        elif how == MULTIPLY:
            a = where(inside, a, 0.0)
            for y in range(rows):
                v = a * element(w_y, y * LANES + k)
                store(total, pixel, load(total, pixel, lanes) * (1.0 - v))
                pixel += pitch
        else:
            a = where(inside, a, 0.0)
            votes_too = present(x, width if other != k else 0, lanes)
            b = where(votes_too, load(a_x, other * span + x, lanes), 0.0)
            for y in range(rows):
                v, u = a * element(w_y, y * LANES + k), b * element(w_y, y * LANES + other)
                new = load(total, pixel, lanes) * at_least(1.0 - v, floor)
                store(total, pixel, new * at_least(1.0 - u, floor))
                pixel += pitch

    return update


_full_columns, _half_columns = _columns_of(LANES), _columns_of(HALF)


@inlined
def vote(
    total: Doubles,
    how: int,
    pitch: int,
    landings: LandingBatch,
    weights: Weights,
    group: tuple[int, int],
    together: int,
    floor: float,
) -> None:
    """Update the windows of `total` with the votes of a group of sources [first, end), in order;
    up to LANES − 1 pixels to the right of a window are rewritten with their value."""
    first, end = group
    for n in range(first, end, together):
        upper, left = element(landings.upper, n), element(landings.left, n)
        rows, width = element(landings.lower, n) - upper, element(landings.right, n) - left
        corner, factor = upper * pitch + left, (element(landings.peak, n), floor)
        k = n - first
        pair = k, (k + 1 if together > 1 and n + 1 < end else k)
        full = (width + HALF - 1) // LANES * LANES
        for x in range(0, full, LANES):
            window = corner + x, pitch, rows
            _full_columns(total, how, window, weights, pair, (x, width), factor)
        if full < width:
            window = corner + full, pitch, rows
            _half_columns(total, how, window, weights, pair, (full, width), factor)
