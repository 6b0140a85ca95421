"""Products in lanes: keep them in the range of float64, and read them out of a tile."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from mdn_cupy.cpu.simd import (
    F64,
    I32,
    I64,
    LANES,
    Lanes,
    Memory,
    lane_function,
    present,
    splat,
    steps,
)

__all__ = ["clear", "farthest", "fold_exponents", "log_complement", "noisy_or", "total"]

_SQRT_HALF_BITS = int.from_bytes(struct.pack(">d", math.sqrt(0.5)), "big")
_LOG_ODD_POWERS = range(1, 23, 2)
_INTEGERS = ir.VectorType(I64, LANES)


def _whole(value: int) -> ir.Value:
    return ir.Constant(_INTEGERS, [value] * LANES)


def _clear(builder: ir.IRBuilder, values: Memory, size: ir.Value, value: ir.Value) -> None:
    """values[n] = value for n < size, a multiple of LANES."""
    if values.element == I32:
        value = builder.fptosi(value, I32)
    with steps(builder, size) as (n, _):
        values.store_integers(n, splat(builder, value, LANES))


def _read(value: Callable[[Lanes, Callable[[], ir.Value]], Lanes]) -> Any:
    def read(
        builder: ir.IRBuilder,
        maps: Memory,
        product: Memory,
        exponent: Memory,
        places: Sequence[ir.Value],
    ) -> None:
        """Write the results of `size` pixels of a tile to the maps.

        `places` are the index of the first one in the maps and in the tile, and the size.
        """
        to, base, size = places
        with steps(builder, size) as (n, _):
            index = builder.add(base, n)
            result = value(product.load(index), partial(exponent.load_integers, index))
            maps.store_where(builder.add(to, n), present(builder, n, size, LANES), result)

    return lane_function(read)


def _log(q: Lanes, exponent: Callable[[], ir.Value]) -> Lanes:
    """log(q · 2^exponent).

    With q as m·2^e, m in [√½, √2): log m = 2·artanh((m − 1) / (m + 1)), a series in the square of
    an argument below 0.172.
    """
    builder = q.builder
    bits = builder.bitcast(q.value, _INTEGERS)
    above = builder.sub(bits, _whole(_SQRT_HALF_BITS))  # so that the mantissa comes out around 1
    e = builder.ashr(above, _whole(52))
    mantissa = builder.sub(bits, builder.shl(e, _whole(52)))
    m = Lanes(builder, builder.bitcast(mantissa, q.value.type))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = Lanes(builder, z.like(1.0 / _LOG_ODD_POWERS[-1]))
    for odd in reversed(_LOG_ODD_POWERS[:-1]):
        series = series * z + 1.0 / odd
    e = builder.add(e, builder.sext(exponent(), _INTEGERS))
    log = s * series * 2.0 + Lanes(builder, builder.sitofp(e, q.value.type)) * math.log(2.0)
    return log.where(q < math.inf, q)  # NaN and infinity stay what they are


def _one_minus(q: Lanes, exponent: Callable[[], ir.Value]) -> Lanes:
    """1 − q · 2^exponent: a power below the least normal number, or above the largest, may be it
    or infinity, since a q with an exponent was folded and lies around 1."""
    builder = q.builder
    e = builder.sext(exponent(), _INTEGERS)
    for predicate, end in (("<", -1022), (">", 1024)):
        e = builder.select(builder.icmp_signed(predicate, e, _whole(end)), _whole(end), e)
    power = builder.shl(builder.add(e, _whole(1023)), _whole(52))
    return 1.0 - q * Lanes(builder, builder.bitcast(power, q.value.type))


def _fold_exponents(
    builder: ir.IRBuilder,
    product: Memory,
    exponent: Memory,
    block: Sequence[ir.Value],
    size: Sequence[ir.Value],
) -> None:
    """Bring every product of a block into [1, 2) and add the power of two to its exponent; a NaN
    stays a NaN.

    `block` are the index of its first pixel and the pitch, `size` rows and columns.
    """
    (base, pitch), (rows, columns) = block, size
    with steps(builder, columns) as (x, _), cgutils.for_range(builder, rows) as row:
        index = builder.add(builder.add(base, x), builder.mul(row.index, pitch))
        q = product.load(index)
        bits = builder.bitcast(q.value, _INTEGERS)
        biased = builder.and_(builder.lshr(bits, _whole(52)), _whole(0x7FF))
        mantissa = builder.or_(builder.and_(bits, _whole((1 << 52) - 1)), _whole(1023 << 52))
        special = builder.icmp_unsigned("==", biased, _whole(0x7FF))
        shift = builder.select(special, _whole(0), builder.sub(biased, _whole(1023)))
        folded = Lanes(builder, builder.bitcast(mantissa, q.value.type))
        product.store(index, q.where(special, folded))
        shift = builder.trunc(shift, ir.VectorType(I32, LANES))
        exponent.store_integers(index, builder.add(exponent.load_integers(index), shift))


def _farthest(
    builder: ir.IRBuilder, product: Memory, block: Sequence[ir.Value], size: Sequence[ir.Value]
) -> ir.Value:
    """The least of 1, the products of a block, and their inverses; NaNs do not count."""
    (base, pitch), (rows, columns) = block, size
    ones = ir.Constant(ir.VectorType(F64, LANES), [1.0] * LANES)
    ends = [cgutils.alloca_once_value(builder, ones) for _ in range(2)]
    with steps(builder, columns) as (x, _), cgutils.for_range(builder, rows) as row:
        index = builder.add(builder.add(base, x), builder.mul(row.index, pitch))
        q = product.load(index)
        low, high = (Lanes(builder, builder.load(end)) for end in ends)
        builder.store(q.where(q < low, low).value, ends[0])
        builder.store(q.where(q > high, high).value, ends[1])
    low, high = (Lanes(builder, builder.load(end)) for end in ends)
    inverse = builder.fdiv(F64(1.0), high.reduced("fmax"))
    least = low.reduced("fmin")
    return builder.select(builder.fcmp_ordered("<", inverse, least), inverse, least)


clear = lane_function(_clear)
farthest = lane_function(_farthest, types.float64)
fold_exponents = lane_function(_fold_exponents)
log_complement, noisy_or = _read(_log), _read(_one_minus)
total = _read(lambda value, exponent: value)
