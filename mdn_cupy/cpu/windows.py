"""Windows in lanes: where votes land along an axis, and which pixels they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from mdn_cupy.cpu.lanes import (
    F64,
    I32,
    I64,
    LANES,
    Lanes,
    Memory,
    lane_function,
    present,
    steps,
)

__all__ = ["land", "reach", "widen"]


def _land(
    builder: ir.IRBuilder,
    p: Memory,
    offsets: Memory,
    sources: Sequence[ir.Value],
    places: Sequence[ir.Value],
) -> None:
    """p[n] = origin + stride · (index + n) + offsets[at + n] for n < count.

    `sources` are at and count, `places` origin, stride and index.
    """
    at, count = sources
    origin, stride, index = places
    lane = ir.Constant(ir.VectorType(F64, LANES), [float(n) for n in range(LANES)])
    with steps(builder, count) as (n, _):
        inside = present(builder, n, count, LANES)
        o = offsets.load_where(builder.add(at, n), inside).to(F64)
        number = Lanes(builder, lane) + builder.fadd(index, builder.sitofp(n, F64))
        # Rounded like the specification: not contracted with the sum.
        far = Lanes(builder, builder.fmul(number.value, number.like(stride)))
        p.store(n, far + origin + o)


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
    builder: ir.IRBuilder,
    ends: Sequence[Memory],
    p: Memory,
    radius: Memory,
    confidence: Memory,
    sources: Sequence[ir.Value],
) -> None:
    """Widen [lowest, highest] by p ± radius of the sources that vote, lane by lane.

    `sources` are the index of the first confidence and how many there are.
    """
    at, count = sources
    with steps(builder, count) as (n, _):
        inside = present(builder, n, count, LANES)
        c = confidence.load_where(builder.add(at, n), inside)
        q, r = p.load(n), radius.load(n)
        votes = builder.fcmp_unordered("!=", c.value, c.like(0.0))
        for votes_where in (q > -math.inf, q < math.inf):
            votes = builder.and_(votes, votes_where)
        lowest, highest = (end.load(I64(0)) for end in ends)
        low, high = q - r, q + r
        ends[0].store(I64(0), low.where(builder.and_(votes, low < lowest), lowest))
        ends[1].store(I64(0), high.where(builder.and_(votes, high > highest), highest))


land, reach, widen = lane_function(_land), lane_function(_reach), lane_function(_widen)
