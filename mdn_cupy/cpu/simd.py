"""Vectors for the CPU kernels, written as LLVM IR with fixed lanes.

Numba would vectorise these loops too, but not reliably: a window is 8 to 30 pixels wide, and at
that length run-time alias checks and remainder loops cost more than the votes. Here every operation
is on 16 lanes, which LLVM maps to what the machine has: one or two AVX-512 registers, four or eight
NEON ones. Operators on `Lanes` emit instructions, so that the functions read as the formulas they
are; `lane_function` makes them callable from Numba.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "DOUBLE",
    "F32",
    "F64",
    "I32",
    "I64",
    "LANES",
    "SINGLE",
    "Float",
    "Lanes",
    "Memory",
    "any_lane",
    "close_gaps",
    "cover",
    "lane_function",
    "number",
    "present",
    "splat",
    "steps",
]

LANES = 16

F32, F64 = ir.FloatType(), ir.DoubleType()
I32, I64 = ir.IntType(32), ir.IntType(64)
_CONTRACT = ("contract",)  # a·b + c may round once; nothing else is relaxed


@dataclass(frozen=True)
class Float:
    """One floating type, and the constants of its binary representation."""

    type: ir.Type
    integer: ir.IntType
    mantissa_bits: int
    bias: int
    degree: int  # of the polynomial of 2^r, |r| ≤ 1/2, to the type's precision

    @property
    def rounder(self) -> float:
        """Adding it leaves the nearest integer in the low bits of the mantissa."""
        return 1.5 * 2.0**self.mantissa_bits


SINGLE = Float(F32, I32, mantissa_bits=23, bias=127, degree=6)
DOUBLE = Float(F64, I64, mantissa_bits=52, bias=1023, degree=11)


@dataclass(frozen=True)
class Lanes:
    """A vector of lanes in LLVM IR; arithmetic with numbers and scalars broadcasts them."""

    builder: ir.IRBuilder
    value: ir.Value

    @property
    def count(self) -> int:
        """How many lanes there are."""
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

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._with(self.builder.fdiv(self.like(other), self.value))

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

    def at_most(self, most: Any) -> Lanes:
        """min(self, most); a NaN stays a NaN."""
        bound = self.like(most)
        above = self.builder.fcmp_ordered(">", self.value, bound)
        return self._with(self.builder.select(above, bound, self.value))

    def __lt__(self, other: Any) -> ir.Value:
        return self.builder.fcmp_ordered("<", self.value, self.like(other))

    def __le__(self, other: Any) -> ir.Value:
        return self.builder.fcmp_ordered("<=", self.value, self.like(other))

    def __gt__(self, other: Any) -> ir.Value:
        return self.builder.fcmp_ordered(">", self.value, self.like(other))

    def reduced(self, how: str) -> ir.Value:
        """One value of all lanes: "fmin" or "fmax", for which a NaN does not count."""
        vector = self.value.type
        suffix = f"v{self.count}{'f32' if vector.element == F32 else 'f64'}"
        reduction = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(vector.element, [vector]),
            f"llvm.vector.reduce.{how}.{suffix}",
        )
        return self.builder.call(reduction, [self.value])

    def rounded(self, how: str) -> Lanes:
        """Round to integers, "floor" or "ceil"."""
        vector = self.value.type
        suffix = f"v{self.count}{'f32' if vector.element == F32 else 'f64'}"
        rounding = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(vector, [vector]), f"llvm.{how}.{suffix}"
        )
        return self._with(self.builder.call(rounding, [self.value]))

    def to(self, kind: ir.Type) -> Lanes:
        """Convert to another floating type."""
        if self.value.type.element == kind:
            return self
        convert = self.builder.fpext if kind == F64 else self.builder.fptrunc
        return self._with(convert(self.value, ir.VectorType(kind, self.count)))

    def shuffle(self, order: Sequence[int], second: Lanes | None = None) -> Lanes:
        """Lanes of self, and of a second vector whose lanes count on from there, in some order."""
        other = ir.Constant(self.value.type, ir.Undefined) if second is None else second.value
        mask = ir.Constant(ir.VectorType(I32, len(order)), list(order))
        return self._with(self.builder.shuffle_vector(self.value, other, mask))


def splat(builder: ir.IRBuilder, scalar: ir.Value, count: int) -> ir.Value:
    """A scalar in every lane."""
    single = builder.insert_element(
        ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined), scalar, I32(0)
    )
    return Lanes(builder, single).shuffle([0] * count).value


@dataclass(frozen=True)
class Memory:
    """A contiguous array's data, read and written in lanes at an element index."""

    builder: ir.IRBuilder
    data: ir.Value

    @property
    def element(self) -> ir.Type:
        """The type of an element."""
        return self.data.type.pointee

    def load(self, index: ir.Value, count: int = LANES) -> Lanes:
        """Read the lanes from an element on."""
        return Lanes(self.builder, self.load_integers(index, count))

    def load_where(self, index: ir.Value, present: ir.Value) -> Lanes:
        """Load the lanes that are present, and touch no memory for the others: they are 0."""
        vector = ir.VectorType(self.element, present.type.count)
        pointer = self._at(index, vector)
        suffix = f"v{present.type.count}{'f32' if self.element == F32 else 'f64'}"
        arguments = [pointer, I32(self._alignment), present, ir.Constant(vector, None)]
        load = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(vector, [a.type for a in arguments]),
            f"llvm.masked.load.{suffix}.p0",
        )
        return Lanes(self.builder, self.builder.call(load, arguments))

    def load_integers(self, index: ir.Value, count: int = LANES) -> ir.Value:
        """The same of integers, as a plain vector."""
        loaded = self.builder.load(self._at(index, ir.VectorType(self.element, count)))
        loaded.align = self._alignment
        return loaded

    def store(self, index: ir.Value, lanes: Lanes) -> None:
        """Write lanes from an element on, in the type of the elements."""
        self.store_integers(index, lanes.to(self.element).value)

    def store_integers(self, index: ir.Value, value: ir.Value) -> None:
        """The same of integers, a plain vector."""
        instruction = self.builder.store(value, self._at(index, value.type))
        instruction.align = self._alignment

    def store_where(self, index: ir.Value, present: ir.Value, lanes: Lanes) -> None:
        """Write the lanes that are present, and touch no memory for the others."""
        vector = lanes.to(self.element).value
        suffix = f"v{lanes.count}{'f32' if self.element == F32 else 'f64'}"
        arguments = [vector, self._at(index, vector.type), I32(self._alignment), present]
        store = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [a.type for a in arguments]),
            f"llvm.masked.store.{suffix}.p0",
        )
        self.builder.call(store, arguments)

    def scalar(self, index: ir.Value) -> ir.Value:
        """Read one element, an integer in 64 bits."""
        value = self.builder.load(self.builder.gep(self.data, [index]))
        return self.builder.sext(value, I64) if value.type == I32 else value

    @property
    def _alignment(self) -> int:
        return 4 if self.element in (F32, I32) else 8

    def _at(self, index: ir.Value, vector: ir.Type) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(self.data, [index]), vector.as_pointer())


def lane_function(emit: Callable[..., Any], result: Any = types.void) -> Any:
    """Make a function that emits IR callable from Numba: arrays come as `Memory`, ints and floats
    as scalars of 64 bits, tuples of these as lists; the result, if any, is a scalar alike."""

    def typing(typingctx: Any, *arguments: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            def operand(ty: Any, value: ir.Value) -> Any:
                if isinstance(ty, types.Array):
                    return Memory(builder, context.make_array(ty)(context, builder, value).data)
                if isinstance(ty, types.Tuple | types.UniTuple):
                    return list(map(operand, ty.types, cgutils.unpack_tuple(builder, value)))
                return value

            value = emit(builder, *map(operand, signature.args, values))
            return context.get_dummy_value() if result is types.void else value

        return result(*map(_declared, arguments)), codegen

    typing.__name__ = typing.__qualname__ = emit.__name__
    typing.__doc__ = emit.__doc__
    typing.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined] # Numba counts it
    return intrinsic(typing)


def _declared(argument: Any) -> Any:
    """The type in which a lane function takes an argument."""
    if isinstance(argument, types.Array):
        return argument
    if isinstance(argument, types.Tuple | types.UniTuple):
        return types.BaseTuple.from_types([_declared(each) for each in argument.types])
    return types.float64 if isinstance(argument, types.Float) else types.int64


def present(builder: ir.IRBuilder, first: ir.Value, end: ir.Value, count: int) -> ir.Value:
    """Mask of the lanes whose index, from `first` on, lies before `end`."""
    index = ir.Constant(ir.VectorType(I32, count), list(range(count)))
    left = builder.trunc(builder.sub(end, first), I32)
    return builder.icmp_signed("<", index, splat(builder, left, count))


def any_lane(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    """Whether a mask has a lane set."""
    bits = ir.IntType(mask.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, bits), ir.Constant(bits, 0))


def number(builder: ir.IRBuilder, value: ir.Value, kind: Float) -> ir.Value:
    """An integer or a float64 scalar in a floating type."""
    if isinstance(value.type, ir.IntType):
        return builder.sitofp(value, kind.type)
    return value if kind is DOUBLE else builder.fptrunc(value, kind.type)


def steps(builder: ir.IRBuilder, size: ir.Value) -> Any:
    """A loop over the first index of every group of lanes."""
    return cgutils.for_range_slice(builder, I64(0), size, I64(LANES))


def cover(builder: ir.IRBuilder, columns: ir.Value, emit: Callable[[ir.Value, int], None]) -> None:
    """Emit code for groups of LANES columns, and for half as many where that is enough at the end.

    A window of 8 or 24 columns, that of sigma 1 or 3, then wastes no lanes.
    """
    half = LANES // 2
    groups = builder.udiv(builder.add(columns, I64(half - 1)), I64(LANES))
    full = builder.mul(groups, I64(LANES))
    with steps(builder, full) as (x, _):
        emit(x, LANES)
    with builder.if_then(builder.icmp_signed("<", full, columns)):
        emit(full, half)


def close_gaps(
    builder: ir.IRBuilder,
    lists: Sequence[Memory],
    extent: tuple[ir.Value, ir.Value],
    keep: Callable[[ir.Value], ir.Value],
) -> ir.Value:
    """Move the elements to keep to the front of the extent, begin and size; one past the last.

    `keep` says whether, as an i1, of an element's place in the extent.
    """
    begin, size = extent
    end = cgutils.alloca_once(builder, I64)
    builder.store(begin, end)
    with cgutils.for_range(builder, size) as place:
        kept = builder.zext(keep(place.index), I64)
        target = builder.load(end)
        for memory in lists:
            element = builder.load(builder.gep(memory.data, [builder.add(begin, place.index)]))
            builder.store(element, builder.gep(memory.data, [target]))
        builder.store(builder.add(target, kept), end)
    return builder.load(end)
