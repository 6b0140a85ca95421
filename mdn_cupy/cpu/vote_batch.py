"""The votes of a group of sources, in lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from mdn_cupy.cpu.simd import I64, LANES, Lanes, Memory, cover, lane_function, present

__all__ = ["add", "multiply", "multiply_guarded"]


def _votes(
    update: Callable[[Lanes, Lanes, ir.Value], Lanes], most: int = 1, peaked: bool = False
) -> Any:
    def vote(
        builder: ir.IRBuilder,
        total: Memory,
        pitch: ir.Value,
        windows: Sequence[Memory],
        weights: Sequence[Memory],
        group: Sequence[ir.Value],
        floor: ir.Value,
        peak: Memory,
    ) -> None:
        """Update windows of `total` with the votes a_x[x]·w_y[y] of a group of sources, in order;
        up to LANES − 1 pixels to the right of a window are rewritten with their value.

        `pitch` is that of the rows of `total`; `windows` are the first and one past the last row
        and column of every source's, and `group` is its first source, one past its last, how far
        one source's a_x is from the next one's, and how many have one window and vote at a time,
        which some rules take to be one. The w_y of a row are LANES apart from the next
        row's. a_x, which may not be finite, is replaced by 0 beyond the window. `floor` is
        the least factor, `peak` what the votes of a source are multiplied by to be added; not
        every rule uses them.
        """
        a_x, w_y = weights
        first, end, span, together = group
        count, pace = builder.sub(end, first), together if most > 1 else I64(1)
        with cgutils.for_range_slice(builder, I64(0), count, pace) as (k, _):
            n = builder.add(first, k)
            upper, lower, left, right = (window.scalar(n) for window in windows)
            rows, columns = builder.sub(lower, upper), builder.sub(right, left)
            base = builder.add(builder.mul(upper, pitch), left)
            # In place of a source that does not vote now, the first again, with no columns.
            sources, widths = [k], [columns]
            for m in range(1, most):
                source, votes_now = builder.add(k, I64(m)), builder.icmp_signed("<", I64(m), pace)
                there = builder.and_(votes_now, builder.icmp_signed("<", source, count))
                sources.append(builder.select(there, source, k))
                widths.append(builder.select(there, columns, I64(0)))

            def emit(x: ir.Value, lanes: int) -> None:
                a = []
                for source, width in zip(sources, widths, strict=True):
                    row = a_x.load(builder.add(builder.mul(span, source), x), lanes)
                    row = row * peak.scalar(n) if peaked else row
                    a.append(row.where(present(builder, x, width, lanes), 0.0))
                corner = builder.add(base, x)
                with cgutils.for_range(builder, rows) as row:
                    index = builder.add(corner, builder.mul(row.index, pitch))
                    w_row = builder.mul(row.index, I64(LANES))
                    new = total.load(index, lanes)
                    for source, a_source in zip(sources, a, strict=True):
                        v = a_source * w_y.scalar(builder.add(w_row, source))
                        new = update(new, v, floor)
                    total.store(index, new)

            cover(builder, columns, emit)

    return lane_function(vote)


add = _votes(lambda old, v, floor: old + v, peaked=True)
multiply = _votes(lambda old, v, floor: old * (1.0 - v))
# With factors that may have to be raised to the least, or two at a time where they have one window:
# they load and store it once only, and need not wait for each other. To compile both takes longer.
multiply_guarded = _votes(lambda old, v, floor: old * (1.0 - v).at_least(floor), most=2)
