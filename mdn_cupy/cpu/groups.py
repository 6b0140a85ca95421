"""What a group of sources has in common, in lanes: how far it reaches, and how little it leaves."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from mdn_cupy.cpu.lanes import I32, I64, LANES, Memory, lane_function, present, splat

__all__ = ["enclose", "least_product"]

_INTEGERS = ir.VectorType(I32, LANES)
_MASK = ir.IntType(LANES)


def _enclose(
    builder: ir.IRBuilder,
    box: Memory,
    rows: Sequence[Memory],
    columns: Sequence[Memory],
    group: Sequence[ir.Value],
) -> None:
    """box = top, bottom, left, right of all windows of a group, the longest side of one, and
    whether they are all the same window.

    `rows` and `columns` are the first and one past the last of every window; `group` is the first
    and one past the last of up to LANES sources.
    """
    first, end = group
    inside = present(builder, first, end, LANES)
    ends = [memory.load_integers(first) for memory in (*rows, *columns)]
    sides = [builder.sub(ends[1], ends[0]), builder.sub(ends[3], ends[2])]
    longest = builder.select(builder.icmp_signed(">", *sides), *sides)
    for n, (of, values) in enumerate(zip(_REDUCTIONS, (*ends, longest), strict=True)):
        neutral = ir.Constant(_INTEGERS, [(1 << 31) - 1 if of == "smin" else -(1 << 31)] * LANES)
        reduce = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(I32, [_INTEGERS]),
            f"llvm.vector.reduce.{of}.v{LANES}i32",
        )
        value = builder.call(reduce, [builder.select(inside, values, neutral)])
        builder.store(value, builder.gep(box.data, [I64(n)]))
    same = ir.Constant(inside.type, [1] * LANES)
    for values in ends:
        of_first = splat(builder, builder.extract_element(values, I32(0)), LANES)
        same = builder.and_(same, builder.icmp_signed("==", values, of_first))
    outside = builder.not_(inside)
    alike = builder.bitcast(builder.or_(same, outside), _MASK)
    whole = builder.icmp_unsigned("==", alike, ir.Constant(_MASK, -1))
    builder.store(builder.zext(whole, I32), builder.gep(box.data, [I64(len(_REDUCTIONS))]))


_REDUCTIONS = ("smin", "smax", "smin", "smax", "smax")


def _least_product(
    builder: ir.IRBuilder,
    least: Memory,
    confidence: Memory,
    group: Sequence[ir.Value],
    floor: ir.Value,
) -> None:
    """least[0] = a product that those of the factors 1 − w·c of a group cannot fall below.

    The least factor of a vote is 1 − c, and its inverse where c < 0; below −10¹⁷, a group's product
    may leave the range whatever is done.
    """
    first, end = group
    factor = 1.0 - confidence.load(first)
    factor = factor.at_least(floor).where(factor <= 1.0, 1.0 / factor)
    counts = builder.and_(present(builder, first, end, LANES), factor > 0.0)  # a NaN does not
    factor = factor.where(counts, 1.0)
    while factor.count > 1:
        half = factor.count // 2
        low, high = list(range(half)), list(range(half, factor.count))
        factor = factor.shuffle(low) * factor.shuffle(high)
    builder.store(builder.extract_element(factor.value, I32(0)), least.data)


enclose, least_product = lane_function(_enclose), lane_function(_least_product)
