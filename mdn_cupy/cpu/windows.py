"""Windows in lanes: which sources vote, where the votes land, and which pixels they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    any_lane,
    close_gaps,
    lane_function,
    present,
    splat,
    steps,
)

__all__ = ["collect", "reach", "widen"]


def _collect(
    builder: ir.IRBuilder,
    found: Sequence[Memory],
    number: Memory,
    fields: Sequence[Memory],
    row: Sequence[ir.Value],
    places: Sequence[ir.Value],
    waiting: ir.Value,
    every: ir.Value,
) -> ir.Value:
    """Append the sources of a row that vote, or every one, to the batch: p_x, p_y and confidence to
    `found`, and the index of the source in its plane to `number`. Returns the batch's size; up to
    LANES − 1 elements behind it are overwritten.

    `fields` are confidences and offsets; `row` are the indices of its first c, o_x and o_y, its
    first number and how many there are; `places` are origin, stride, its y and the column of the
    first. p = (origin + stride·column + o_x, y + o_y).
    """
    at_c, at_x, at_y, first, count = row
    origin, stride, y, column = places
    confidence, offsets = fields
    end = cgutils.alloca_once_value(builder, waiting)
    all_voting = builder.icmp_signed("!=", every, I64(0))
    with steps(builder, count) as (n, _):
        inside = present(builder, n, count, LANES)
        c = confidence.load_where(builder.add(at_c, n), inside)
        nonzero = builder.fcmp_unordered("!=", c.value, c.like(0.0))
        voting = builder.and_(inside, builder.or_(nonzero, splat(builder, all_voting, LANES)))
        with builder.if_then(any_lane(builder, voting)):
            o_x, o_y = (
                offsets.load_where(builder.add(at, n), inside).to(F64) for at in (at_x, at_y)
            )
            j = Lanes(builder, _RAMP) + builder.fadd(column, builder.sitofp(n, F64))
            # Rounded like the specification: not contracted with the sum.
            far = Lanes(builder, builder.fmul(j.value, j.like(stride)))
            begin = builder.load(end)
            for memory, values in zip(found, (far + origin + o_x, o_y + y, c), strict=True):
                memory.store(begin, values)
            numbers = splat(builder, builder.add(first, n), LANES)
            number.store_integers(begin, builder.add(numbers, _COUNTING))
            rest = builder.sub(count, n)
            rest = builder.select(builder.icmp_signed("<", rest, I64(LANES)), rest, I64(LANES))
            builder.store(builder.add(begin, rest), end)
            with builder.if_then(any_lane(builder, builder.xor(voting, inside))):
                bits = builder.zext(builder.bitcast(voting, ir.IntType(LANES)), I64)

                def votes(place: ir.Value) -> ir.Value:
                    return builder.trunc(builder.lshr(bits, place), ir.IntType(1))

                lists = [*found, number]
                builder.store(close_gaps(builder, lists, (begin, I64(LANES)), votes), end)
    return builder.load(end)


def _reach(
    builder: ir.IRBuilder,
    ends: Sequence[Memory],
    p: Memory,
    radius: Memory,
    count: ir.Value,
    pixels: Sequence[ir.Value],
) -> None:
    """The pixels with |x0 − p| ≤ radius of every source: the first, and one past the last.

    They are counted from the first of the `pixels` that there are, which is given with the last;
    both are 0 where a source reaches none.
    """
    start, last = pixels
    with steps(builder, count) as (n, _):
        q, r = p.load(n), radius.load(n)
        low, high = (q - r).rounded("ceil"), (q + r).rounded("floor")
        # q ± r is rounded, x0 − p hardly ever: the specification's words decide at the edge.
        low = (low - 1.0).where(q - (low - 1.0) <= r, (low + 1.0).where(q - low > r, low))
        high = (high + 1.0).where(high + 1.0 - q <= r, (high - 1.0).where(high - q > r, high))
        low, high = low.at_least(start), high.at_most(last)
        finite = builder.and_(q > -math.inf, q < math.inf)
        cast = builder.and_(finite, low <= high)
        for memory, value in zip(ends, (low - start, high - start + 1.0), strict=True):
            whole = value.where(cast, 0.0).value
            memory.store_integers(n, builder.fptosi(whole, ir.VectorType(I32, LANES)))


def _widen(
    builder: ir.IRBuilder, ends: Sequence[Memory], p: Memory, radius: Memory, count: ir.Value
) -> None:
    """Widen [lowest, highest] by p ± radius of the sources n < count, lane by lane."""
    with steps(builder, count) as (n, _):
        q, r = p.load(n), radius.load(n)
        votes = present(builder, n, count, LANES)
        for finite in (q > -math.inf, q < math.inf):
            votes = builder.and_(votes, finite)
        lowest, highest = (end.load(I64(0)) for end in ends)
        low, high = q - r, q + r
        ends[0].store(I64(0), low.where(builder.and_(votes, low < lowest), lowest))
        ends[1].store(I64(0), high.where(builder.and_(votes, high > highest), highest))


_RAMP = ir.Constant(ir.VectorType(F64, LANES), [float(n) for n in range(LANES)])
_COUNTING = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))

collect = lane_function(_collect, types.int64)
reach, widen = lane_function(_reach), lane_function(_widen)
