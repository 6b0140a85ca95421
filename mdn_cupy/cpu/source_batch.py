"""Sources in lanes: which reach a tile, the box of a group, and its least product."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils

from mdn_cupy.cpu.simd import (
    I32,
    I64,
    LANES,
    Memory,
    any_lane,
    close_gaps,
    lane_function,
    present,
    splat,
    steps,
)

__all__ = [
    "ALIKE",
    "CERTAIN",
    "LEFT",
    "LONGEST",
    "LOWER",
    "RIGHT",
    "SILENT",
    "UPPER",
    "bring_to_front",
    "enclose",
    "least_product",
    "survey",
]

SILENT, CERTAIN = 1, 2

UPPER, LOWER, LEFT, RIGHT, LONGEST, ALIKE = range(6)
"""The results of `enclose` for the windows of a group, in this order."""

_INTEGERS = ir.VectorType(I32, LANES)
_FLAGS = ir.VectorType(ir.IntType(1), LANES)


def _enclose(
    builder: ir.IRBuilder,
    box: Memory,
    rows: Sequence[Memory],
    columns: Sequence[Memory],
    group: Sequence[ir.Value],
) -> None:
    """Around all windows of a group, upper, lower, left and right; the longest side of one, and
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
    differ = ir.Constant(inside.type, [0] * LANES)
    for values in ends:
        of_first = splat(builder, builder.extract_element(values, I32(0)), LANES)
        differ = builder.or_(differ, builder.icmp_signed("!=", values, of_first))
    alike = builder.not_(any_lane(builder, builder.and_(differ, inside)))
    builder.store(builder.zext(alike, I32), builder.gep(box.data, [I64(ALIKE)]))


_REDUCTIONS = ("smin", "smax", "smin", "smax", "smax")


def _least_product(
    builder: ir.IRBuilder, confidence: Memory, group: Sequence[ir.Value], floor: ir.Value
) -> ir.Value:
    """A product that those of the factors 1 − w·c of a group cannot fall below.

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
    return builder.extract_element(factor.value, I32(0))


def _survey(
    builder: ir.IRBuilder,
    confidence: Memory,
    windows: Sequence[Memory],
    count: ir.Value,
    most: ir.Value,
) -> ir.Value:
    """SILENT, if one of `count` sources reaches no pixel, plus CERTAIN, if a confidence is above
    `most`."""
    flags = [cgutils.alloca_once_value(builder, ir.Constant(_FLAGS, [0] * LANES)) for _ in range(2)]
    with steps(builder, count) as (n, _):
        c = confidence.load(n)
        upper, lower, left, right = (window.load_integers(n) for window in windows)
        silent = builder.or_(
            builder.icmp_signed(">=", upper, lower), builder.icmp_signed(">=", left, right)
        )
        inside = present(builder, n, count, LANES)
        for flag, found in zip(flags, (silent, c > most), strict=True):
            builder.store(builder.or_(builder.load(flag), builder.and_(found, inside)), flag)
    silent, certain = (builder.zext(any_lane(builder, builder.load(f)), I64) for f in flags)
    return builder.add(silent, builder.mul(certain, I64(CERTAIN)))


def _bring_to_front(
    builder: ir.IRBuilder, measures: Sequence[Memory], windows: Sequence[Memory], count: ir.Value
) -> ir.Value:
    """Move what is known of the sources that reach a pixel to the front; how many they are."""

    def reaches(n: ir.Value) -> ir.Value:
        upper, lower, left, right = (window.scalar(n) for window in windows)
        return builder.and_(
            builder.icmp_signed("<", upper, lower), builder.icmp_signed("<", left, right)
        )

    return close_gaps(builder, [*measures, *windows], (I64(0), count), reaches)


enclose = lane_function(_enclose)
bring_to_front, survey = (lane_function(emit, types.int64) for emit in (_bring_to_front, _survey))
least_product = lane_function(_least_product, types.float64)
