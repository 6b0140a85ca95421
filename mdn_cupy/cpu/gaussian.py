"""The Gaussian of a row or a column of pixels, in lanes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from llvmlite import ir

from mdn_cupy.cpu.simd import (
    DOUBLE,
    F64,
    I64,
    LANES,
    SINGLE,
    Float,
    Lanes,
    Memory,
    lane_function,
    number,
    present,
    splat,
    steps,
)

__all__ = [
    "across",
    "curves",
    "double",
    "double_profile",
    "down",
    "single",
    "single_profile",
]


def _exp2(x: Lanes, kind: Float) -> Lanes:
    """2^x to the precision of the type; never smaller than its least normal number, and not for x
    above its bias."""
    builder = x.builder
    x = x.at_least(2.0 - kind.bias)
    shifted = x + kind.rounder  # the nearest integer, in the low bits of the mantissa
    remainder = x - (shifted - kind.rounder)
    coefficients = _exp2_near_0(kind.degree)
    power = Lanes(builder, x.like(coefficients.pop()))
    while coefficients:
        power = power * remainder + coefficients.pop()
    integers = ir.VectorType(kind.integer, x.count)
    exponent = builder.shl(
        builder.bitcast(shifted.value, integers),
        ir.Constant(integers, [kind.mantissa_bits] * x.count),
    )
    scaled = builder.add(builder.bitcast(power.value, integers), exponent)
    return Lanes(builder, builder.bitcast(scaled, x.value.type))


def _exp2_near_0(degree: int) -> list[float]:
    """Coefficients of a polynomial that is 2^r for |r| ≤ 1/2, from the constant up.

    It is exact at 0 and at Chebyshev nodes: as good as Taylor's of one or two degrees more.
    """
    nodes = np.cos(np.pi * (np.arange(degree) + 0.5) / degree) / 2
    slopes = np.expm1(nodes * np.log(2.0)) / nodes
    return [1.0, *map(float, np.linalg.solve(np.vander(nodes, increasing=True), slopes))]


def _curves(
    builder: ir.IRBuilder,
    radius: Memory,
    curve: Sequence[Memory],
    sigma: Memory,
    count: ir.Value,
    truncate: ir.Value,
    by_area: ir.Value,
) -> None:
    """What follows from the sigmas of sources n < count, up to the next multiple of LANES: radius
    (NaN where sigma is not positive), and of the curve scale, 2^(2·scale) and the peak, which is
    1/(2πσ²) if `by_area` and else 1."""
    divided = builder.icmp_signed("!=", by_area, I64(0))
    with steps(builder, count) as (n, _):
        s = sigma.load(n)
        radius.store(n, (s * truncate).where(s > 0.0, math.nan))
        scale = (-0.5 / (s * s * math.log(2.0))).at_least(-1e30)  # finite, so that 0 · it is 0
        peak = (1.0 / (s * s * (2.0 * math.pi))).where(splat(builder, divided, LANES), 1.0)
        for memory, values in zip(curve, (scale, _exp2(scale * 2.0, DOUBLE), peak), strict=True):
            memory.store(n, values)


def _weights(
    builder: ir.IRBuilder,
    kind: Float,
    extent: tuple[ir.Value, ir.Value, ir.Value],
    store: Callable[[ir.Value, Lanes, Lanes], None],
) -> None:
    """Give 2^(scale·d²) and d = distance + n to `store`, for groups of n < size, zero beyond."""
    size, distance, scale = extent
    lane = ir.Constant(ir.VectorType(kind.type, LANES), [float(n) for n in range(LANES)])
    with steps(builder, size) as (first, _):
        start = builder.fadd(distance, builder.sitofp(first, F64))
        d = Lanes(builder, lane) + number(builder, start, kind)
        w = _exp2(d * d * number(builder, scale, kind), kind)
        store(first, w.where(present(builder, first, size, LANES), 0.0), d)


def _gaussian(kind: Float) -> Any:
    def gaussian(
        builder: ir.IRBuilder,
        weight: Memory,
        size: ir.Value,
        distance: ir.Value,
        scale: ir.Value,
    ) -> None:
        """weight[n] = 2^(scale · (distance + n)²) for n < size, and 0 up to the next multiple of
        LANES."""

        def store(first: ir.Value, w: Lanes, d: Lanes) -> None:
            weight.store(first, w)

        _weights(builder, kind, (size, distance, scale), store)

    return lane_function(gaussian)


def _profile(kind: Float) -> Any:
    def profile(
        builder: ir.IRBuilder,
        weight: Memory,
        stride: ir.Value,
        size: ir.Value,
        distance: ir.Value,
        scale: ir.Value,
    ) -> None:
        """weight[k·stride + n] = d^k · 2^(scale · d²), d = distance + n, for k of 0, 1 and 2 and
        n < size, and 0 up to the next multiple of LANES."""

        def store(first: ir.Value, w: Lanes, d: Lanes) -> None:
            for k in range(3):
                weight.store(builder.add(first, builder.mul(stride, I64(k))), w)
                w = w * d

        _weights(builder, kind, (size, distance, scale), store)

    return lane_function(profile)


single, double = _gaussian(SINGLE), _gaussian(DOUBLE)
single_profile, double_profile = _profile(SINGLE), _profile(DOUBLE)


def _group(store: Callable[..., None], scaled: bool) -> Any:
    def group(
        builder: ir.IRBuilder,
        weight: Memory,
        span: ir.Value,
        low: Memory,
        p: Memory,
        curve: Sequence[Memory],
        amplitude: Memory,
        source: Sequence[ir.Value],
        fields: Memory,
    ) -> None:
        """Weights amplitude · 2^(scale · d²) of LANES sources, at d = low + n − p for n < span.

        From one pixel to the next they change by a factor r, which changes by 2^(2·scale): two
        products in place of an exponential. It starts again every LANES pixels, so that some 10⁻¹⁴
        are lost at most, which is too much only where the fields are float64: 1 − w·c of a certain
        vote needs all digits. `curve` are scale and 2^(2·scale); `source` is the first of them, and
        what is to be added to `low`.
        """
        first, offset = source
        exact = fields.element == F64
        kind = DOUBLE if exact else _RECURRING
        position = Lanes(builder, builder.sitofp(low.load_integers(first), _DOUBLES))
        landing = p.load(first)
        scale, change = (memory.load(first) for memory in curve)
        with steps(builder, span) as (x, _):
            pixel = position + builder.sitofp(builder.add(offset, x), F64)
            d = pixel - landing
            height = amplitude.load(first) if scaled else 1.0
            w, r = _exp2(d * d * scale, kind) * height, _exp2((d * 2.0 + 1.0) * scale, kind)
            for n in range(0, LANES, _BLOCK):
                columns = []
                for k in range(n, n + _BLOCK):
                    if exact:
                        d = pixel + k - landing
                        w = _exp2(d * d * scale, kind) * height
                    columns.append(w)
                    w, r = w * r, r * change
                store(weight, builder.add(x, I64(n)), span, columns)

    return lane_function(group)


def _store_rows(weight: Memory, x: ir.Value, span: ir.Value, columns: Sequence[Lanes]) -> None:
    """weight[source · span + x]: a row for every source."""
    builder = weight.builder
    for first in range(0, LANES, _BLOCK):
        block = [column.shuffle(range(first, first + _BLOCK)) for column in columns]
        for n, row in enumerate(_transposed(block)):
            weight.store(builder.add(builder.mul(span, I64(first + n)), x), row)


def _store_columns(weight: Memory, x: ir.Value, span: ir.Value, columns: Sequence[Lanes]) -> None:
    """weight[x · LANES + source]: a column for every source."""
    builder = weight.builder
    for n, column in enumerate(columns):
        weight.store(builder.mul(builder.add(x, I64(n)), I64(LANES)), column)


def _transposed(rows: Sequence[Lanes]) -> Sequence[Lanes]:
    """Rows of a square as its columns: halves off the diagonal change places, then their halves."""
    size = len(rows)
    lanes = range(size)
    step = size // 2
    while step:
        swapped = list(rows)
        for n in lanes:
            if not n & step:
                pair = rows[n + step]
                low = [size + k - step if k & step else k for k in lanes]
                high = [size + k if k & step else k + step for k in lanes]
                swapped[n] = rows[n].shuffle(low, pair)
                swapped[n + step] = rows[n].shuffle(high, pair)
        rows = swapped
        step //= 2
    return rows


_RECURRING = replace(DOUBLE, degree=10)  # as precise as the recurrence, some 10⁻¹⁴
_DOUBLES = ir.VectorType(F64, LANES)
_BLOCK = LANES // 2  # pixels and sources of a square that is transposed

curves = lane_function(_curves)
across, down = _group(_store_rows, scaled=True), _group(_store_columns, scaled=False)
