"""Products in vectors: keep them in the range of float64, and read them out of a tile."""

from __future__ import annotations

import math
import struct

import numpy as np

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.simd import (
    LANES,
    Floats,
    Integers,
    at_least,
    at_most,
    bits,
    convert,
    floats,
    full,
    greatest,
    least,
    load,
    polynomial,
    store,
    where,
)
from mdn_cupy.cpu.tiles import Tile

__all__ = ["farthest", "fold_exponents", "log_complement", "noisy_or"]

_SQRT_HALF_BITS = int.from_bytes(struct.pack(">d", math.sqrt(0.5)), "big")
_MANTISSA, _EXPONENT, _BIAS = 52, 0x7FF, 1023
_ARTANH = tuple(1.0 / odd for odd in range(1, 23, 2))

Block = tuple[int, int, int]
"""Index of its first pixel, rows and columns."""


@inlined
def log_complement(q: Floats, exponent: Integers) -> Floats:
    """log(q · 2^exponent).

    With q as m·2^e, m in [√½, √2): log m = 2·artanh((m − 1) / (m + 1)), a series in the square of
    an argument below 0.172.
    """
    e = (bits(q) - _SQRT_HALF_BITS) >> _MANTISSA  # so that the mantissa comes out around 1
    m = floats(bits(q) - (e << _MANTISSA))
    s = (m - 1.0) / (m + 1.0)
    e = e + convert(exponent, np.int64)
    log = s * polynomial(s * s, _ARTANH) * 2.0 + convert(e, np.float64) * math.log(2.0)
    return where(q < math.inf, log, q)  # NaN and infinity stay what they are


@inlined
def noisy_or(q: Floats, exponent: Integers) -> Floats:
    """Return 1 − q · 2^exponent.

    A q that has an exponent lies around 1. So a power below the least normal number may be replaced
    by that number, and one above the largest by infinity.
    """
    e = at_most(at_least(convert(exponent, np.int64), -1022), 1024)
    return 1.0 - q * floats((e + _BIAS) << _MANTISSA)


@inlined
def fold_exponents(tile: Tile, pitch: int, block: Block) -> None:
    """Bring every product of a block into [1, 2) and add the power of two to its exponent; a NaN
    stays a NaN."""
    first, rows, columns = block
    for y in range(rows):
        for n in range(first + y * pitch, first + y * pitch + columns, LANES):
            q = load(tile.product, n, LANES)
            biased = (bits(q) >> _MANTISSA) & _EXPONENT
            special = biased == _EXPONENT
            mantissa = (bits(q) & ((1 << _MANTISSA) - 1)) | (_BIAS << _MANTISSA)
            store(tile.product, n, where(special, q, floats(mantissa)))
            shift = convert(where(special, 0, biased - _BIAS), np.int32)
            store(tile.exponent, n, load(tile.exponent, n, LANES) + shift)


@inlined
def farthest(tile: Tile, pitch: int, block: Block) -> float:
    """The least of 1, the products of a block, and their inverses; NaNs do not count."""
    first, rows, columns = block
    low = high = full(1.0, LANES)
    for y in range(rows):
        for n in range(first + y * pitch, first + y * pitch + columns, LANES):
            q = load(tile.product, n, LANES)
            low = where(q < low, q, low)
            high = where(q > high, q, high)
    lowest: float = least(low)
    inverse: float = 1.0 / greatest(high)
    return inverse if inverse < lowest else lowest
