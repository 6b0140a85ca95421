"""How kernels in lanes are written: functions that Numba can call, and loops and masks in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mdn_cupy.cpu.lanes import DOUBLE, I32, I64, LANES, Float, Memory, splat

__all__ = ["any_lane", "close_gaps", "cover", "lane_function", "number", "present", "steps"]


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
