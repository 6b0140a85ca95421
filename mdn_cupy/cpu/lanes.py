"""Vector code for the CPU kernels, written as LLVM IR with fixed lanes.

Numba would vectorise these loops too, but not reliably: a window is 8 to 30 pixels wide, and at
that length run-time alias checks and remainder loops cost more than the votes. Here every operation
is on 16 lanes, which LLVM maps to what the machine has: one or two AVX-512 registers, four or eight
NEON ones. Operators on `Lanes` emit instructions, so that the functions read as the formulas they
are; `lane_function` makes them callable from Numba.

Numba's cache does not see this file: after editing it, delete the `__pycache__` beside it.
"""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "add_votes",
    "fold_exponents",
    "gather_double",
    "gather_noisy_or_double",
    "gather_noisy_or_single",
    "gather_single",
    "gaussian_double",
    "gaussian_single",
    "log_complement",
    "multiply_factors",
    "multiply_floored_factors",
]

LANES = 16

_F32, _F64 = ir.FloatType(), ir.DoubleType()
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_CONTRACT = ("contract",)  # a·b + c may round once; nothing else is relaxed


@dataclass(frozen=True)
class _Float:
    """One floating type, and the constants with which it is taken apart."""

    type: ir.Type
    integer: ir.IntType
    mantissa_bits: int
    bias: int
    degree: int  # of the Taylor polynomial of 2^r, |r| ≤ 1/2, to the type's precision

    @property
    def rounder(self) -> float:
        """Adding it leaves the nearest integer in the low bits of the mantissa."""
        return 1.5 * 2.0**self.mantissa_bits


_SINGLE = _Float(_F32, _I32, mantissa_bits=23, bias=127, degree=7)
_DOUBLE = _Float(_F64, _I64, mantissa_bits=52, bias=1023, degree=13)


@dataclass(frozen=True)
class Lanes:
    """A vector of lanes in LLVM IR; arithmetic with numbers and scalars broadcasts them."""

    builder: ir.IRBuilder
    value: ir.Value

    @property
    def count(self) -> int:
        return int(self.value.type.count)

    def like(self, other: Any) -> ir.Value:
        """`other` as a vector of this type."""
        if isinstance(other, Lanes):
            return other.value
        if isinstance(other, ir.Value):
            return splat(self.builder, other, self.count)
        return ir.Constant(self.value.type, [other] * self.count)

    def _with(self, emitted: ir.Value) -> Lanes:
        return Lanes(self.builder, emitted)

    def __add__(self, other: Any) -> Lanes:
        return self._with(self.builder.fadd(self.value, self.like(other), flags=_CONTRACT))

    def __sub__(self, other: Any) -> Lanes:
        return self._with(self.builder.fsub(self.value, self.like(other), flags=_CONTRACT))

    def __rsub__(self, other: Any) -> Lanes:
        return self._with(self.builder.fsub(self.like(other), self.value, flags=_CONTRACT))

    def __mul__(self, other: Any) -> Lanes:
        return self._with(self.builder.fmul(self.value, self.like(other), flags=_CONTRACT))

    def __truediv__(self, other: Any) -> Lanes:
        return self._with(self.builder.fdiv(self.value, self.like(other)))

    def where(self, condition: ir.Value, other: Any) -> Lanes:
        """Lanes of self where the condition holds, of other elsewhere."""
        return self._with(self.builder.select(condition, self.value, self.like(other)))

    def at_least(self, least: Any) -> Lanes:
        """max(self, least); a NaN stays a NaN."""
        bound = self.like(least)
        below = self.builder.fcmp_ordered("<", self.value, bound)
        return self._with(self.builder.select(below, bound, self.value))

    def to(self, kind: ir.Type) -> Lanes:
        """Convert to another floating type."""
        if self.value.type.element == kind:
            return self
        convert = self.builder.fpext if kind == _F64 else self.builder.fptrunc
        return self._with(convert(self.value, ir.VectorType(kind, self.count)))

    def sum(self) -> ir.Value:
        """Sum of all lanes, pairwise."""
        value, count = self.value, self.count
        while count > 1:
            half = count // 2
            low = _shuffle(self.builder, value, range(half))
            high = _shuffle(self.builder, value, range(half, count))
            value, count = self.builder.fadd(low, high), half
        return self.builder.extract_element(value, _I32(0))


def splat(builder: ir.IRBuilder, scalar: ir.Value, count: int) -> ir.Value:
    """A scalar in every lane."""
    single = builder.insert_element(
        ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined), scalar, _I32(0)
    )
    return _shuffle(builder, single, [0] * count)


def _shuffle(builder: ir.IRBuilder, value: ir.Value, order: Sequence[int]) -> ir.Value:
    undefined = ir.Constant(value.type, ir.Undefined)
    mask = ir.Constant(ir.VectorType(_I32, len(order)), list(order))
    return builder.shuffle_vector(value, undefined, mask)


@dataclass(frozen=True)
class Memory:
    """A contiguous array's data, read and written in lanes at an element index."""

    builder: ir.IRBuilder
    data: ir.Value

    @property
    def element(self) -> ir.Type:
        return self.data.type.pointee

    def load(self, index: ir.Value, count: int = LANES) -> Lanes:
        return Lanes(self.builder, self.load_integers(index, count))

    def load_where(self, index: ir.Value, present: ir.Value) -> Lanes:
        """Load the lanes that are present, and touch no memory for the others: they are 0."""
        vector = ir.VectorType(self.element, present.type.count)
        pointer = self._at(index, vector)
        suffix = f"v{present.type.count}{'f32' if self.element == _F32 else 'f64'}"
        arguments = [pointer, _I32(self._alignment), present, ir.Constant(vector, None)]
        load = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(vector, [a.type for a in arguments]),
            f"llvm.masked.load.{suffix}.p0",
        )
        return Lanes(self.builder, self.builder.call(load, arguments))

    def load_integers(self, index: ir.Value, count: int = LANES) -> ir.Value:
        loaded = self.builder.load(self._at(index, ir.VectorType(self.element, count)))
        loaded.align = self._alignment
        return loaded

    def store(self, index: ir.Value, lanes: Lanes) -> None:
        self.store_integers(index, lanes.to(self.element).value)

    def store_integers(self, index: ir.Value, value: ir.Value) -> None:
        instruction = self.builder.store(value, self._at(index, value.type))
        instruction.align = self._alignment

    def scalar(self, index: ir.Value) -> ir.Value:
        return self.builder.load(self.builder.gep(self.data, [index]))

    def add_to(self, index: int, value: ir.Value) -> None:
        pointer = self.builder.gep(self.data, [_I64(index)])
        self.builder.store(self.builder.fadd(self.builder.load(pointer), value), pointer)

    @property
    def _alignment(self) -> int:
        return 4 if self.element in (_F32, _I32) else 8

    def _at(self, index: ir.Value, vector: ir.Type) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(self.data, [index]), vector.as_pointer())


def lane_function(emit: Callable[..., None]) -> Any:
    """Make a function that emits IR callable from Numba: arrays come as `Memory`, ints and floats
    as scalars of 64 bits, and nothing is returned."""

    def typing(typingctx: Any, *arguments: Any) -> Any:
        scalars = {True: types.float64, False: types.int64}
        declared = [
            a if isinstance(a, types.Array) else scalars[isinstance(a, types.Float)]
            for a in arguments
        ]

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            operands = [
                Memory(builder, context.make_array(ty)(context, builder, value).data)
                if isinstance(ty, types.Array)
                else value
                for ty, value in zip(signature.args, values, strict=True)
            ]
            emit(builder, *operands)
            return context.get_dummy_value()

        return types.void(*declared), codegen

    typing.__name__ = typing.__qualname__ = emit.__name__
    typing.__doc__ = emit.__doc__
    typing.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined] # Numba counts it
    return intrinsic(typing)


def _present(builder: ir.IRBuilder, first: ir.Value, end: ir.Value, count: int) -> ir.Value:
    """Mask of the lanes whose index, from `first` on, lies before `end`."""
    index = ir.Constant(ir.VectorType(_I64, count), list(range(count)))
    return builder.icmp_signed("<", index, splat(builder, builder.sub(end, first), count))


def _number(builder: ir.IRBuilder, value: ir.Value, kind: _Float) -> ir.Value:
    """An integer or a float64 scalar in a floating type."""
    if isinstance(value.type, ir.IntType):
        return builder.sitofp(value, kind.type)
    return value if kind is _DOUBLE else builder.fptrunc(value, kind.type)


def _steps(builder: ir.IRBuilder, size: ir.Value) -> Any:
    """A loop over the first index of every group of lanes."""
    return cgutils.for_range_slice(builder, _I64(0), size, _I64(LANES))


def _cover(builder: ir.IRBuilder, columns: ir.Value, emit: Callable[[ir.Value, int], None]) -> None:
    """Emit code for groups of LANES columns, and for half as many where that is enough at the end.

    A window of 8 or 24 columns, that of sigma 1 or 3, then wastes no lanes.
    """
    half = LANES // 2
    groups = builder.udiv(builder.add(columns, _I64(half - 1)), _I64(LANES))
    full = builder.mul(groups, _I64(LANES))
    with _steps(builder, full) as (x, _):
        emit(x, LANES)
    with builder.if_then(builder.icmp_signed("<", full, columns)):
        emit(full, half)


def _exp2(x: Lanes, kind: _Float) -> Lanes:
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


def _gaussian(kind: _Float) -> Any:
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
        steps = ir.Constant(ir.VectorType(kind.type, LANES), [float(n) for n in range(LANES)])
        with _steps(builder, size) as (first, _):
            start = builder.fadd(distance, builder.sitofp(first, _F64))
            d = Lanes(builder, steps) + _number(builder, start, kind)
            power = _exp2(d * d * _number(builder, scale, kind), kind)
            w = power * _number(builder, amplitude, kind)
            weight.store(first, w.where(_present(builder, first, size, LANES), 0.0))

    return lane_function(gaussian)


def _vote(update: Callable[[Lanes, Lanes, ir.Value], Lanes]) -> Any:
    def vote(
        builder: ir.IRBuilder,
        total: Memory,
        base: ir.Value,
        pitch: ir.Value,
        rows: ir.Value,
        columns: ir.Value,
        w_x: Memory,
        a_y: Memory,
        floor: ir.Value,
    ) -> None:
        """Update the window of `total` [.., pitch] whose first pixel has the index `base` with the
        votes a_y[y]·w_x[x]; up to LANES − 1 pixels to its right are rewritten with their value."""

        def emit(x: ir.Value, count: int) -> None:
            w = w_x.load(x, count)
            first = builder.add(base, x)
            with cgutils.for_range(builder, rows) as row:
                index = builder.add(first, builder.mul(row.index, pitch))
                v = w * a_y.scalar(row.index)
                total.store(index, update(total.load(index, count), v, floor))

        _cover(builder, columns, emit)

    return lane_function(vote)


def _gather(kind: _Float, noisy_or: bool) -> Any:
    def gather(
        builder: ir.IRBuilder,
        cotangent: Memory,
        base: ir.Value,
        pitch: ir.Value,
        rows: ir.Value,
        columns: ir.Value,
        w_x: Memory,
        w_y: Memory,
        d_x: ir.Value,
        d_y: ir.Value,
        c: ir.Value,
        floor: ir.Value,
        moments: Memory,
    ) -> None:
        """Add to `moments` the sums over a window of t, t·(x0_x − p_x), t·(x0_y − p_y) and
        t·‖x0 − p‖², where t = g·w, or g·w / max(1 − w·c, floor) for the noisy-or."""
        confidence, least = (_number(builder, x, kind) for x in (c, floor))

        def emit(x: ir.Value, count: int) -> None:
            vector = ir.VectorType(kind.type, count)
            zero = ir.Constant(vector, [0.0] * count)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(3)]  # of t, t·d_y, t·d_y²
            steps = ir.Constant(vector, [float(n) for n in range(count)])
            for pointer in sums:
                builder.store(zero, pointer)
            w = w_x.load(x, count).to(kind.type)
            present = _present(builder, x, columns, count)
            first = builder.add(base, x)
            with cgutils.for_range(builder, rows) as row:
                index = builder.add(first, builder.mul(row.index, pitch))
                t = cotangent.load_where(index, present).to(kind.type) * w
                w_row = _number(builder, w_y.scalar(row.index), kind)
                if noisy_or:
                    factor = 1.0 - w * builder.fmul(confidence, w_row)
                    t = t / (factor.at_least(least) if kind is _DOUBLE else factor)
                d = _number(builder, builder.fadd(d_y, builder.sitofp(row.index, _F64)), kind)
                pull = w_row
                for pointer in sums:
                    old = Lanes(builder, builder.load(pointer))
                    builder.store((old + t * pull).value, pointer)
                    pull = builder.fmul(pull, d)
            start = builder.fadd(d_x, builder.sitofp(x, _F64))
            d = Lanes(builder, steps) + _number(builder, start, kind)
            t0, t1, t2 = (Lanes(builder, builder.load(pointer)) for pointer in sums)
            for n, moment in enumerate((t0, t0 * d, t1, t0 * d * d + t2)):
                moments.add_to(n, moment.to(_F64).sum())

        _cover(builder, columns, emit)

    return lane_function(gather)


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
    integers = ir.VectorType(_I64, LANES)

    def constant(value: int) -> ir.Value:
        return ir.Constant(integers, [value] * LANES)

    with _steps(builder, size) as (first, _):
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
        nan = builder.fcmp_unordered("uno", q.value, q.value)
        evidence.store(first, q.where(nan, log))


def _fold_exponents(
    builder: ir.IRBuilder,
    product: Memory,
    exponent: Memory,
    base: ir.Value,
    pitch: ir.Value,
    rows: ir.Value,
    columns: ir.Value,
) -> None:
    """Bring every product of a block into [1, 2) and add the power of two to its exponent; a NaN
    stays a NaN."""
    integers = ir.VectorType(_I64, LANES)

    def constant(value: int) -> ir.Value:
        return ir.Constant(integers, [value] * LANES)

    with _steps(builder, columns) as (x, _), cgutils.for_range(builder, rows) as row:
        index = builder.add(builder.add(base, x), builder.mul(row.index, pitch))
        q = product.load(index)
        bits = builder.bitcast(q.value, integers)
        biased = builder.and_(builder.lshr(bits, constant(52)), constant(0x7FF))
        mantissa = builder.or_(builder.and_(bits, constant((1 << 52) - 1)), constant(1023 << 52))
        special = builder.icmp_unsigned("==", biased, constant(0x7FF))
        shift = builder.select(special, constant(0), builder.sub(biased, constant(1023)))
        folded = Lanes(builder, builder.bitcast(mantissa, q.value.type))
        product.store(index, q.where(special, folded))
        shift = builder.trunc(shift, ir.VectorType(_I32, LANES))
        exponent.store_integers(index, builder.add(exponent.load_integers(index), shift))


_SQRT_HALF_BITS = int.from_bytes(struct.pack(">d", math.sqrt(0.5)), "big")
_LOG_ODD_POWERS = range(1, 23, 2)

gaussian_single = _gaussian(_SINGLE)
gaussian_double = _gaussian(_DOUBLE)
add_votes = _vote(lambda old, v, floor: old + v)
multiply_factors = _vote(lambda old, v, floor: old * (1.0 - v))
multiply_floored_factors = _vote(lambda old, v, floor: old * (1.0 - v).at_least(floor))
gather_single = _gather(_SINGLE, noisy_or=False)
gather_double = _gather(_DOUBLE, noisy_or=False)
gather_noisy_or_single = _gather(_SINGLE, noisy_or=True)
gather_noisy_or_double = _gather(_DOUBLE, noisy_or=True)
fold_exponents = lane_function(_fold_exponents)
log_complement = lane_function(_log_complement)
