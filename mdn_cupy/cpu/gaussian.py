"""The Gaussian of a row or a column of pixels, in lanes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from mdn_cupy.cpu.lanes import (
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
    steps,
)

__all__ = ["double", "double_profile", "single", "single_profile"]


def _exp2(x: Lanes, kind: Float) -> Lanes:
    """2^x for x ≤ 0, to the precision of the type; never smaller than its least normal number."""
    builder = x.builder
    x = x.at_least(2.0 - kind.bias)
    shifted = x + kind.rounder  # the nearest integer, in the low bits of the mantissa
    remainder = x - (shifted - kind.rounder)
    taylor = [math.log(2.0) ** k / math.factorial(k) for k in range(kind.degree + 1)]
    power = Lanes(builder, x.like(taylor.pop()))
    while taylor:
        power = power * remainder + taylor.pop()
    integers = ir.VectorType(kind.integer, x.count)
    exponent = builder.shl(
        builder.bitcast(shifted.value, integers),
        ir.Constant(integers, [kind.mantissa_bits] * x.count),
    )
    scaled = builder.add(builder.bitcast(power.value, integers), exponent)
    return Lanes(builder, builder.bitcast(scaled, x.value.type))


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
        amplitude: ir.Value,
    ) -> None:
        """weight[n] = amplitude · 2^(scale · (distance + n)²) for n < size, and 0 up to the next
        multiple of LANES."""
        peak = number(builder, amplitude, kind)

        def store(first: ir.Value, w: Lanes, d: Lanes) -> None:
            weight.store(first, w * peak)

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
