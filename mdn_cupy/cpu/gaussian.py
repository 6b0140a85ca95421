"""The Gaussian of rows and columns of pixels, in vectors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.simd import (
    LANES,
    Floats,
    at_least,
    bits,
    by_type,
    convert,
    floats,
    full,
    load,
    polynomial,
    present,
    ramp,
    store,
    where,
)
from mdn_cupy.cpu.sources import LandingBatch

__all__ = ["curves", "profile", "weights"]

Doubles = npt.NDArray[np.float64]
Ends = npt.NDArray[np.int32]


def _exp2_near_0(degree: int) -> tuple[float, ...]:
    """Coefficients of a polynomial that is 2^r for |r| ≤ 1/2, from the constant up.

    It is exact at 0 and at Chebyshev nodes: as good as Taylor's of one or two degrees more.
    """
    nodes = np.cos(np.pi * (np.arange(degree) + 0.5) / degree) / 2
    slopes = np.expm1(nodes * np.log(2.0)) / nodes
    return (1.0, *map(float, np.linalg.solve(np.vander(nodes, increasing=True), slopes)))


_SINGLE, _RECURRING, _DOUBLE = map(_exp2_near_0, (6, 10, 11))
"""To the precision of float32, of the recurrence in `weights`, and of float64."""


@inlined
def _exp2(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    """2^x, never smaller than the least normal number, and not for x above the exponents' bias."""
    x = at_least(x, by_type(x, 2.0 - 127, 2.0 - 1023))
    rounder = by_type(x, 1.5 * 2.0**23, 1.5 * 2.0**52)
    shifted = x + rounder  # the nearest integer, in the low bits of the mantissa
    power = polynomial(x - (shifted - rounder), coefficients)
    return floats(bits(power) + (bits(shifted) << by_type(x, 23, 52)))


@inlined
def curves(landings: LandingBatch, count: int, truncate: float, by_area: bool) -> None:
    """Fill in what follows from the sigmas of sources n < count, up to the next multiple of LANES:
    radius (NaN where sigma is not positive), scale, change and peak, 1/(2πσ²) if `by_area`, else 1.
    """
    for n in range(0, count, LANES):
        s = load(landings.sigma, n, LANES)
        store(landings.radius, n, where(s > 0.0, s * truncate, math.nan))
        # Finite, so that 0 · it is 0.
        scale = at_least(-0.5 / (s * s * math.log(2.0)), -1e30)
        store(landings.scale, n, scale)
        store(landings.change, n, _exp2(scale * 2.0, _DOUBLE))
        area = 1.0 / (s * s * (2.0 * math.pi))
        store(landings.peak, n, area if by_area else full(1.0, LANES))


@inlined
def profile(weights: Floats, order: int, at: int, size: int, distance: float, scale: float) -> None:
    """Write d^k · 2^(scale · d²), d = distance + n, for k ≤ order and n < size, and 0 up to the
    next multiple of LANES: k to row at + k of the weights, in their type."""
    for n in range(0, size, LANES):
        d = ramp(distance + n, weights.dtype, LANES)
        w = _exp2(d * d * scale, by_type(weights, _SINGLE, _DOUBLE))
        w = where(present(n, size, LANES), w, 0.0)
        for k in range(at, at + order + 1):
            store(weights, k * weights.shape[1] + n, w)
            w = w * d


@inlined
def weights(
    weight: Doubles,
    size: int,
    pixels: tuple[Ends, int, int],
    p: Doubles,
    landings: LandingBatch,
    factor: Floats,
    fields: Floats,
) -> None:
    """weight[n, source] = factor · 2^(scale · d²) of LANES sources, d = low + n − p, for n < size.

    From one pixel to the next they change by a ratio r, which changes by 2^(2·scale): two products
    in place of an exponential. It starts again every LANES pixels, so that some 10⁻¹⁴ are lost at
    most, which is too much only where the fields are float64: 1 − w·c of a certain vote needs all
    digits. `pixels` are the low of all sources, what is to be added to it, and the first source.
    """
    low, offset, first = pixels
    exact = by_type(fields, False, True)
    coefficients = by_type(fields, _RECURRING, _DOUBLE)
    position, landing = convert(load(low, first, LANES), np.float64), load(p, first, LANES)
    scale, change = load(landings.scale, first, LANES), load(landings.change, first, LANES)
    for x in range(0, size, LANES):
        pixel = position + float(offset + x)
        d = pixel - landing
        w = _exp2(d * d * scale, coefficients) * factor
        r = _exp2((d * 2.0 + 1.0) * scale, coefficients)
        # No further than `size`: far from a narrow vote, weights are subnormal numbers, and slow.
        for n in range(x, x + LANES if x + LANES < size else size):
            store(weight, n * LANES, w)
            if exact:
                d = pixel + float(n + 1 - x) - landing
                w = _exp2(d * d * scale, coefficients) * factor
            else:
                w = w * r
                r = r * change
