"""Windows in lanes: where votes land along an axis, and which pixels they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from mdn_cupy.cpu.lanes import F64, I32, LANES, Lanes, Memory, lane_function, present, steps

__all__ = ["land", "reach"]


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


land, reach = lane_function(_land), lane_function(_reach)
