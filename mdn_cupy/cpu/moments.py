"""Moments in lanes: what a source gathers from the pixels of its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from mdn_cupy.cpu.simd import (
    DOUBLE,
    F64,
    I64,
    SINGLE,
    Float,
    Lanes,
    Memory,
    cover,
    lane_function,
    number,
    present,
)

__all__ = ["double", "noisy_or_double", "noisy_or_single", "single"]


def _gather(kind: Float, noisy_or: bool) -> Any:
    def gather(
        builder: ir.IRBuilder,
        moments: Memory,
        source: ir.Value,
        cotangent: Memory,
        window: Sequence[ir.Value],
        w_x: Memory,
        w_y: Memory,
        d_x: ir.Value,
        factor: Sequence[ir.Value],
    ) -> None:
        """moments[source, :] = Σ over a window of t, t·(x0_x − p_x), t·(x0_y − p_y), t·‖x0 − p‖²

        where t = g·w, or g·w / max(1 − w·c, floor) for the noisy-or.

        `window` is the index of its first pixel, the pitch of the map, rows, columns and the stride
        of w_y, the column's `gaussian.single_profile`; `factor` is c and the floor.
        """
        base, pitch, rows, columns, stride = window
        # In double precision the product of factors might leave the range.
        together = 4 if kind is SINGLE else 1
        four = ir.VectorType(F64, 4)
        total = cgutils.alloca_once_value(builder, ir.Constant(four, None))

        def emit(x: ir.Value, count: int) -> None:
            sums = _RowSums(builder, ir.VectorType(kind.type, count))
            w = w_x.load(x, count)
            inside = present(builder, x, columns, count)
            first = builder.add(base, x)
            c, floor = (number(builder, value, kind) for value in factor)
            weighted = w * c

            def add_rows(row: ir.Value, count: int) -> None:
                each = [builder.add(row, I64(k)) for k in range(count)]
                profiles = [
                    [w_y.scalar(builder.add(y, builder.mul(stride, I64(k)))) for k in range(3)]
                    for y in each
                ]
                at = [builder.add(first, builder.mul(y, pitch)) for y in each]
                pulls = [cotangent.load_where(n, inside).to(kind.type) * w for n in at]
                if noisy_or:
                    factors = [1.0 - weighted * w_row for w_row, *_ in profiles]
                    if kind is DOUBLE:
                        factors = [f.at_least(floor) for f in factors]
                    inverse = _reciprocals(factors)
                    pulls = [t * r for t, r in zip(pulls, inverse, strict=True)]
                for t, profile in zip(pulls, profiles, strict=True):
                    sums.add(t, profile)

            whole = builder.and_(rows, I64(-together))
            with cgutils.for_range_slice(builder, I64(0), whole, I64(together)) as (row, _):
                add_rows(row, together)
            with cgutils.for_range_slice(builder, whole, rows, I64(1)) as (row, _):
                add_rows(row, 1)

            lane = ir.Constant(w.value.type, [float(n) for n in range(count)])
            start = builder.fadd(d_x, builder.sitofp(x, F64))
            d = Lanes(builder, lane) + number(builder, start, kind)
            t0, t1, t2 = sums.values()
            t0_x = t0 * d
            found = _sum_each(t0, t0_x, t1, t0_x * d + t2).to(F64)
            builder.store(builder.fadd(builder.load(total), found.value), total)

        cover(builder, columns, emit)
        moments.store(builder.mul(source, I64(4)), Lanes(builder, builder.load(total)))

    return lane_function(gather)


class _RowSums:
    """Sums over the rows of a window, per column: of t·w_y, t·w_y·d_y and t·w_y·d_y²."""

    def __init__(self, builder: ir.IRBuilder, vector: ir.Type) -> None:
        self._builder = builder
        zero = ir.Constant(vector, None)
        self._sums = [cgutils.alloca_once(builder, vector) for _ in range(3)]
        for pointer in self._sums:
            builder.store(zero, pointer)

    def add(self, t: Lanes, profile: Sequence[ir.Value]) -> None:
        for pointer, old, weight in zip(self._sums, self.values(), profile, strict=True):
            self._builder.store((old + t * weight).value, pointer)

    def values(self) -> list[Lanes]:
        return [Lanes(self._builder, self._builder.load(pointer)) for pointer in self._sums]


def _reciprocals(factors: Sequence[Lanes]) -> list[Lanes]:
    """1 / f of each, by one division for all; their product must neither under- nor overflow."""
    if len(factors) == 1:
        return [1.0 / f for f in factors]
    pairs = list(zip(factors[::2], factors[1::2], strict=True))
    inverse = _reciprocals([a * b for a, b in pairs])
    return [r * other for r, (a, b) in zip(inverse, pairs, strict=True) for other in (b, a)]


def _sum_each(*four: Lanes) -> Lanes:
    """Sums of four vectors, as the lanes of one: halved side by side, which takes fewer steps."""
    a, b, c, d = four
    sums = _halve(2, _halve(1, a, b), _halve(1, c, d))
    while sums.count > len(four):
        sums = _halve(4, sums)
    return sums


def _halve(parts: int, first: Lanes, second: Lanes | None = None) -> Lanes:
    """Add the upper half of each part of one or two vectors to the lower half; put all in one."""
    width = first.count // parts
    starts = range(0, first.count * (2 if second else 1), width)
    low = [start + n for start in starts for n in range(width // 2)]
    high = [n + width // 2 for n in low]
    return first.shuffle(low, second) + first.shuffle(high, second)


double = _gather(DOUBLE, noisy_or=False)
noisy_or_double = _gather(DOUBLE, noisy_or=True)
noisy_or_single = _gather(SINGLE, noisy_or=True)
single = _gather(SINGLE, noisy_or=False)
