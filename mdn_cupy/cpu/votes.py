"""Votes in lanes: products and sums over windows, and what becomes of products in the end."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from mdn_cupy.cpu.lanes import (
    F64,
    I32,
    I64,
    LANES,
    Lanes,
    Memory,
    cover,
    lane_function,
    present,
    steps,
)

__all__ = [
    "add",
    "complement",
    "fold_exponents",
    "log_complement",
    "lowest",
    "multiply",
    "multiply_certain",
    "multiply_two",
    "total",
]

_SQRT_HALF_BITS = int.from_bytes(struct.pack(">d", math.sqrt(0.5)), "big")
_LOG_ODD_POWERS = range(1, 23, 2)
_INTEGERS = ir.VectorType(I64, LANES)


def _whole(value: int) -> ir.Value:
    return ir.Constant(_INTEGERS, [value] * LANES)


def _vote(update: Callable[[Lanes, Lanes, ir.Value], Lanes], together: int = 1) -> Any:
    def vote(
        builder: ir.IRBuilder,
        total: Memory,
        window: Sequence[ir.Value],
        a_x: Memory,
        w_y: Memory,
        weights: Sequence[ir.Value],
        floor: ir.Value,
    ) -> None:
        """Update a window of `total` with the votes a_x[x]·w_y[y] of some successive sources; up to
        LANES − 1 pixels to its right are rewritten with their value.

        `window` is the index of its first pixel, the pitch of `total`, rows and columns; `weights`
        are the indices of the first source's first a_x and w_y, and how far the next one's a_x is
        from it. Its w_y is the next, and the next row's LANES farther. a_x, which may not be
        finite, is replaced by 0 beyond the window.
        """
        base, pitch, rows, columns = window
        at_x, at_y, span = weights

        def emit(x: ir.Value, count: int) -> None:
            starts = [builder.add(at_x, builder.mul(span, I64(k))) for k in range(together)]
            inside = present(builder, x, columns, count)
            a = [a_x.load(builder.add(start, x), count).where(inside, 0.0) for start in starts]
            first = builder.add(base, x)
            with cgutils.for_range(builder, rows) as row:
                index = builder.add(first, builder.mul(row.index, pitch))
                at = builder.add(at_y, builder.mul(row.index, I64(LANES)))
                new = total.load(index, count)
                for k in range(together):
                    v = a[k] * w_y.scalar(builder.add(at, I64(k)))
                    new = update(new, v, floor)
                total.store(index, new)

        cover(builder, columns, emit)

    return lane_function(vote)


def _read(value: Callable[[Lanes, Callable[[], ir.Value]], Lanes]) -> Any:
    def read(
        builder: ir.IRBuilder,
        maps: Memory,
        product: Memory,
        exponent: Memory,
        places: Sequence[ir.Value],
    ) -> None:
        """Write what became of `size` pixels of a tile to the maps.

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


def _lowest(
    builder: ir.IRBuilder,
    lowest: Memory,
    product: Memory,
    block: Sequence[ir.Value],
    size: Sequence[ir.Value],
) -> None:
    """The least products of a block, or inverses of products, lane by lane; NaNs do not count."""
    (base, pitch), (rows, columns) = block, size
    lowest.store(I64(0), Lanes(builder, ir.Constant(ir.VectorType(F64, LANES), [1.0] * LANES)))
    with steps(builder, columns) as (x, _), cgutils.for_range(builder, rows) as row:
        index = builder.add(builder.add(base, x), builder.mul(row.index, pitch))
        q = product.load(index)
        least = q.where(q < 1.0, 1.0 / q)
        old = lowest.load(I64(0))
        lowest.store(I64(0), least.where(least < old, old))


add = _vote(lambda old, v, floor: old + v)
multiply, multiply_two = (_vote(lambda old, v, floor: old * (1.0 - v), n) for n in (1, 2))
multiply_certain = _vote(lambda old, v, floor: old * (1.0 - v).at_least(floor))
fold_exponents = lane_function(_fold_exponents)
lowest = lane_function(_lowest)
log_complement, complement = _read(_log), _read(_one_minus)
total = _read(lambda sum, exponent: sum)
