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

__all__ = ["additive", "noisy_or"]

Window = tuple[int, int, int, int]
"""Index of its first pixel, the pitch of the map, rows and columns."""

Sums = tuple[Floats, Floats, Floats]


@inlined
def _pull(cotangent: Floats, place: int, inside: Mask, w: Floats, weights: Floats) -> Floats:
    """g·w_x of some pixels of a row, in the type of the weights."""
    return convert(load_where(cotangent, place, inside), weights.dtype) * w


@inlined
def _add(total: Sums, t: Floats, weights: Floats, y: int) -> Sums:
    """Add t·w_y, t·w_y·d_y and t·w_y·d_y² of a row."""
    pitch = weights.shape[1]
    return (
        total[0] + t * element(weights, pitch + y),
        total[1] + t * element(weights, 2 * pitch + y),
        total[2] + t * element(weights, 3 * pitch + y),
    )


def _columns(lanes: int, noisy_or: bool) -> Callable[..., Floats]:
    """Make a function that sums over some columns of a window."""

    @inlined
    def columns(
        cotangent: Floats,
        window: Window,
        weights: Floats,
        x: int,
        d_x: float,
        factor: tuple[float, float],
    ) -> Floats:
        first, pitch, rows, width = window
        c, floor = factor
        inside, w = present(x, width, lanes), load(weights, x, lanes)
        place, stride = first + x, weights.shape[1]
        zero = w * 0.0
        total: Sums = (zero, zero, zero)
        weighted = w * c
        # One division for four rows, where the product of their factors stays in range.
        whole = by_type(weights, rows & -4, 0) if noisy_or else 0
        for y in range(0, whole, 4):
            a = 1.0 - weighted * element(weights, stride + y)
            b = 1.0 - weighted * element(weights, stride + y + 1)
            c_ = 1.0 - weighted * element(weights, stride + y + 2)
            d = 1.0 - weighted * element(weights, stride + y + 3)
            ab, cd = a * b, c_ * d
            inverse = 1.0 / (ab * cd)
            over_ab, over_cd = inverse * cd, inverse * ab
            total = _add(
                total, _pull(cotangent, place, inside, w, weights) * (over_ab * b), weights, y
            )
            place += pitch
            total = _add(
                total, _pull(cotangent, place, inside, w, weights) * (over_ab * a), weights, y + 1
            )
            place += pitch
            total = _add(
                total, _pull(cotangent, place, inside, w, weights) * (over_cd * d), weights, y + 2
            )
            place += pitch
            total = _add(
                total, _pull(cotangent, place, inside, w, weights) * (over_cd * c_), weights, y + 3
            )
            place += pitch
        for y in range(whole, rows):
            t = _pull(cotangent, place, inside, w, weights)
            if noisy_or:
                t = t * (1.0 / at_least(1.0 - weighted * element(weights, stride + y), floor))
            total = _add(total, t, weights, y)
            place += pitch
        d = ramp(d_x + x, weights.dtype, lanes)
        t0_x = total[0] * d
        return convert(sums(total[0], t0_x, total[1], t0_x * d + total[2]), np.float64)

    return columns


def _gather(noisy_or: bool) -> Callable[..., None]:
    all_lanes, half_of_them = _columns(LANES, noisy_or), _columns(HALF, noisy_or)

    @inlined
    def gather(
        moments: npt.NDArray[np.float64],
        source: int,
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
        total = full(0.0, 4)
        full_columns = (window[3] + HALF - 1) // LANES * LANES
        for x in range(0, full_columns, LANES):
            total = total + all_lanes(cotangent, window, weights, x, d_x, factor)
        if full_columns < window[3]:
            total = total + half_of_them(cotangent, window, weights, full_columns, d_x, factor)
        store(moments, source * 4, total)

    return gather


noisy_or, additive = _gather(True), _gather(False)
