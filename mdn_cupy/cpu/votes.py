"""Votes in lanes: products and sums over windows, and what becomes of products in the end."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
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

__all__ = ["add", "fold_exponents", "log_complement", "lowest", "multiply", "multiply_two"]

_SQRT_HALF_BITS = int.from_bytes(struct.pack(">d", math.sqrt(0.5)), "big")
_LOG_ODD_POWERS = range(1, 23, 2)


def _vote(update: Callable[[Lanes, Lanes, ir.Value, ir.Value], Lanes], together: int = 1) -> Any:
    def vote(
        builder: ir.IRBuilder,
        total: Memory,
        window: Sequence[ir.Value],
        w_x: Memory,
        a_y: Memory,
        weights: Sequence[ir.Value],
        floor: ir.Value,
    ) -> None:
        """Update a window of `total` with the votes a_y[y]·w_x[x] of some successive sources; up to
        LANES − 1 pixels to its right are rewritten with their value.

        `window` is the index of its first pixel, the pitch of `total`, rows and columns; `weights`
        are the indices of the first source's first w_x and a_y, and how far the next one's w_x is
        from it. Its a_y is the next, and the next row's LANES farther.
        """
        base, pitch, rows, columns = window
        at_x, at_y, span = weights

        def emit(x: ir.Value, count: int) -> None:
            starts = [builder.add(at_x, builder.mul(span, I64(k))) for k in range(together)]
            w = [w_x.load(builder.add(start, x), count) for start in starts]
            first, inside = builder.add(base, x), present(builder, x, columns, count)
            with cgutils.for_range(builder, rows) as row:
                index = builder.add(first, builder.mul(row.index, pitch))
                a = builder.add(at_y, builder.mul(row.index, I64(LANES)))
                new = total.load(index, count)
                for k in range(together):
                    v = w[k] * a_y.scalar(builder.add(a, I64(k)))
                    new = update(new, v, inside, floor)
                total.store(index, new)

        cover(builder, columns, emit)

    return lane_function(vote)


def _log_complement(
    builder: ir.IRBuilder,
    evidence: Memory,
    product: Memory,
    exponent: Memory,
    base: ir.Value,
    size: ir.Value,
) -> None:
    """evidence[n] = log(product · 2^exponent)[base + n] for n < size, a multiple of LANES.

    With the product as m·2^e, m in [√½, √2): log m = 2·artanh((m − 1) / (m + 1)), a series in the
    square of an argument below 0.172.
    """
    integers = ir.VectorType(I64, LANES)

    def constant(value: int) -> ir.Value:
        return ir.Constant(integers, [value] * LANES)

    with steps(builder, size) as (first, _):
        index = builder.add(base, first)
        q = product.load(index)
        bits = builder.bitcast(q.value, integers)
        # Counted from √½, so that the mantissa comes out around 1.
        above = builder.sub(bits, constant(_SQRT_HALF_BITS))
        e = builder.ashr(above, constant(52))
        m = Lanes(
            builder,
            builder.bitcast(builder.sub(bits, builder.shl(e, constant(52))), q.value.type),
        )
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        series = Lanes(builder, z.like(1.0 / _LOG_ODD_POWERS[-1]))
        for odd in reversed(_LOG_ODD_POWERS[:-1]):
            series = series * z + 1.0 / odd
        stored = exponent.load_integers(index)
        e = builder.add(e, builder.sext(stored, integers))
        whole = Lanes(builder, builder.sitofp(e, q.value.type))
        log = s * series * 2.0 + whole * math.log(2.0)
        evidence.store(first, log.where(q < math.inf, q))  # NaN and infinity stay what they are


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
    integers = ir.VectorType(I64, LANES)
    (base, pitch), (rows, columns) = block, size

    def constant(value: int) -> ir.Value:
        return ir.Constant(integers, [value] * LANES)

    with steps(builder, columns) as (x, _), cgutils.for_range(builder, rows) as row:
        index = builder.add(builder.add(base, x), builder.mul(row.index, pitch))
        q = product.load(index)
        bits = builder.bitcast(q.value, integers)
        biased = builder.and_(builder.lshr(bits, constant(52)), constant(0x7FF))
        mantissa = builder.or_(builder.and_(bits, constant((1 << 52) - 1)), constant(1023 << 52))
        special = builder.icmp_unsigned("==", biased, constant(0x7FF))
        shift = builder.select(special, constant(0), builder.sub(biased, constant(1023)))
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


# What does not count is replaced before the last step: LLVM would make masked stores of it, from
# which the next vote cannot load until they have reached the cache.
add = _vote(lambda old, v, inside, floor: old + v.where(inside, 0.0))
multiply, multiply_two = (
    _vote(
        lambda old, v, inside, floor: old * (1.0 - v).at_least(floor).where(inside, 1.0), together
    )
    for together in (1, 2)
)
fold_exponents = lane_function(_fold_exponents)
lowest = lane_function(_lowest)
log_complement = lane_function(_log_complement)
