"""Moments in vectors: what a source gathers from the pixels of its window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.simd import (
    HALF,
    LANES,
    Floats,
    Mask,
    at_least,
    by_type,
    convert,
    element,
    full,
    load,
    load_where,
    present,
    ramp,
    store,
    sums,
)

__all__ = ["of_window"]

Window = tuple[int, int, int, int]
"""Index of its first pixel, the pitch of the map, rows and columns."""

Sums = tuple[Floats, Floats, Floats]


@inlined
def _add(
    total: Sums,
    cotangent: Floats,
    pixel: int,
    inside: Mask,
    w: Floats,
    inverse: Floats,
    weights: Floats,
    y: int,
) -> Sums:
    """Add t·w_y, t·w_y·d_y and t·w_y·d_y² of some pixels of a row, t = g·w_x·inverse."""
    length = weights.shape[1]
    t = convert(load_where(cotangent, pixel, inside), weights.dtype) * w * inverse
    return (
        total[0] + t * element(weights, length + y),
        total[1] + t * element(weights, 2 * length + y),
        total[2] + t * element(weights, 3 * length + y),
    )


def _columns_of(lanes: int) -> Callable[..., Floats]:
    """Make a function that sums over some columns of a window."""

    @inlined
    def columns(
        noisy_or: bool,
        cotangent: Floats,
        window: Window,
        weights: Floats,
        x: int,
        d_x: float,
        factor: tuple[float, float],
    ) -> Floats:
        first, pitch, rows, width = window
        inside, w = present(x, width, lanes), load(weights, x, lanes)
        pixel, w_y = first + x, weights.shape[1]
        zero = convert(full(0.0, lanes), weights.dtype)
        one = convert(full(1.0, lanes), weights.dtype)
        total: Sums = (zero, zero, zero)
        wc, done = w * factor[0], 0
        if noisy_or:
            # One division for four rows, where the product of their factors stays in range.
            done = by_type(weights, rows & -4, 0)
            for y in range(0, done, 4):
                f0 = 1.0 - wc * element(weights, w_y + y)
                f1 = 1.0 - wc * element(weights, w_y + y + 1)
                f2 = 1.0 - wc * element(weights, w_y + y + 2)
                f3 = 1.0 - wc * element(weights, w_y + y + 3)
                inverse = 1.0 / ((f0 * f1) * (f2 * f3))
                r, s = inverse * (f2 * f3), inverse * (f0 * f1)
                total = _add(total, cotangent, pixel, inside, w, r * f1, weights, y)
                total = _add(total, cotangent, pixel + pitch, inside, w, r * f0, weights, y + 1)
                pixel += 2 * pitch
                total = _add(total, cotangent, pixel, inside, w, s * f3, weights, y + 2)
                total = _add(total, cotangent, pixel + pitch, inside, w, s * f2, weights, y + 3)
                pixel += 2 * pitch
        for y in range(done, rows):
            inverse = one
            if noisy_or:
                inverse = 1.0 / at_least(1.0 - wc * element(weights, w_y + y), factor[1])
            total = _add(total, cotangent, pixel, inside, w, inverse, weights, y)
            pixel += pitch
        d = ramp(d_x + x, weights.dtype, lanes)
        t_x = total[0] * d
        return convert(sums(total[0], t_x, total[1], t_x * d + total[2]), np.float64)

    return columns


_full_columns, _half_columns = _columns_of(LANES), _columns_of(HALF)


@inlined
def of_window(
    moments: npt.NDArray[np.float64],
    source: int,
    noisy_or: bool,
    cotangent: Floats,
    window: Window,
    weights: Floats,
    d_x: float,
    factor: tuple[float, float],
) -> None:
    """moments[source, :] = Σ over a window of t, t·(x0_x − p_x), t·(x0_y − p_y), t·‖x0 − p‖²

    where t = g·w, or g·w / max(1 − w·c, floor) for the noisy-or.

    `weights` are those of a row, and the `gaussian.profile` of a column; `factor` is c and the
    floor.
    """
    total, width = full(0.0, 4), window[3]
    whole = (width + HALF - 1) // LANES * LANES
    for x in range(0, whole, LANES):
        total = total + _full_columns(noisy_or, cotangent, window, weights, x, d_x, factor)
    if whole < width:
        total = total + _half_columns(noisy_or, cotangent, window, weights, whole, d_x, factor)
    store(moments, source * 4, total)
