"""Vectors for the CPU kernels: LLVM's where Numba compiles, NumPy arrays where it does not.

Numba would vectorise loops too, but not reliably: a window is 8 to 30 pixels wide, and at that
length run-time alias checks and remainder loops cost more than the votes. Here every operation is
on a fixed number of lanes, which LLVM maps to what the machine has: 16 of float64 to two AVX-512
registers, or to eight of NEON.

An operation is a function on NumPy arrays, which says what it computes and runs where
NUMBA_DISABLE_JIT is set; its decorator has the type of the result and LLVM's instructions for
compiled code. `+ - * / & | ^ << >> < <= > >= == !=` work as in NumPy; a number takes the type of
the vector. Compiled, a·b + c may round once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from mdn_cupy.cpu.inlining import register

__all__ = [
    "HALF",
    "LANES",
    "Call",
    "Floats",
    "Integers",
    "Mask",
    "at_least",
    "at_most",
    "bits",
    "by_type",
    "ceil",
    "convert",
    "element",
    "floats",
    "floor",
    "full",
    "greatest",
    "lanes_set",
    "least",
    "load",
    "load_where",
    "lowest_bit",
    "move",
    "operation",
    "polynomial",
    "present",
    "product",
    "ramp",
    "rounded_product",
    "store",
    "store_where",
    "sums",
    "transpose",
    "where",
]

LANES = 16
HALF = LANES // 2
"""Lanes for the last columns of a window: one of 8 or 24, that of sigma 1 or 3, wastes none."""

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

_INDEX = ir.IntType(32)
_CONTRACT = ("contract",)
_SAME_BITS = {types.float32: types.int32, types.float64: types.int64}
_SAME_BITS |= {integer: real for real, integer in _SAME_BITS.items()}


class Vector(types.Type):
    """Numba's type of a vector; one of booleans is a mask."""

    def __init__(self, element: Any, lanes: int) -> None:
        super().__init__(f"vector({element}, {lanes})")
        self.element, self.lanes = element, lanes
        self.real = isinstance(element, types.Float)
        kind = "f" if self.real else "i"
        self.suffix = f"v{lanes}{kind}{1 if element == types.boolean else element.bitwidth}"

    def of(self, element: Any) -> Vector:
        """The type of as many elements of another type."""
        return Vector(element, self.lanes)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        mask = vector.element == types.boolean
        element = ir.IntType(1) if mask else manager[vector.element].get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


@dataclass(frozen=True)
class Call:
    """A call of an operation in compiled code."""

    context: Any
    builder: Any
    given: Sequence[Any]
    result: Any
    values: Sequence[ir.Value]

    def llvm(self, kind: Any) -> ir.Type:
        """LLVM's type for one of Numba's."""
        return self.context.get_value_type(kind)

    def number(self, n: int, kind: Any) -> ir.Value:
        """Argument n, a number, in some type."""
        return self.context.cast(self.builder, self.values[n], self.given[n], kind)

    def splat(self, number: ir.Value, lanes: int) -> ir.Value:
        """A number in all lanes."""
        empty = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
        return self.shuffle(self.builder.insert_element(empty, number, _INDEX(0)), [0] * lanes)

    def alike(self, first: int = 0) -> list[ir.Value]:
        """The arguments from the first on as vectors of one type."""
        like = next(t for t in self.given[first:] if isinstance(t, Vector))
        return [
            self.values[n]
            if isinstance(self.given[n], Vector)
            else self.splat(self.number(n, like.element), like.lanes)
            for n in range(first, len(self.given))
        ]

    def shuffle(self, one: ir.Value, order: Sequence[int], other: ir.Value = None) -> ir.Value:
        """Lanes of one vector, and of another whose lanes count on from there, in some order."""
        mask = ir.Constant(ir.VectorType(_INDEX, len(order)), list(order))
        return self.builder.shuffle_vector(one, other or ir.Constant(one.type, ir.Undefined), mask)

    def compared(self, sign: str, one: ir.Value, other: ir.Value) -> ir.Value:
        """The mask of a comparison; a NaN is different from everything."""
        if isinstance(one.type.element, ir.IntType):
            return self.builder.icmp_signed(sign, one, other)
        compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return compare(sign, one, other)

    def converted(self, n: int, element: Any) -> ir.Value:
        """Argument n, a vector, with elements of another type."""
        of, value = self.given[n], self.values[n]
        if of.element == element:
            return value
        wider = element.bitwidth > of.element.bitwidth
        name = {
            (True, True): "fpext" if wider else "fptrunc",
            (True, False): "fptosi",
            (False, True): "sitofp",
            (False, False): "sext" if wider else "trunc",
        }[of.real, isinstance(element, types.Float)]
        return getattr(self.builder, name)(value, self.llvm(of.of(element)))

    def pointer(self, array: int, vector: ir.Type, past: ir.Value = None) -> ir.Value:
        """The address of argument `array` at the index that follows it, and further on."""
        index = self.number(array + 1, types.int64)
        index = index if past is None else self.builder.add(index, past)
        address = self.builder.gep(self.data(self.given[array], self.values[array]), [index])
        return self.builder.bitcast(address, vector.as_pointer())

    def data(self, kind: Any, array: ir.Value) -> ir.Value:
        """The address of the first element of an array of some type."""
        return self.builder.extract_value(
            array, self.context.data_model_manager[kind].get_field_position("data")
        )

    def intrinsic(self, name: str, kind: ir.Type, *values: ir.Value) -> ir.Value:
        """Call a function of LLVM's."""
        declared = ir.FunctionType(kind, [value.type for value in values])
        function = cgutils.get_or_insert_function(self.builder.module, declared, f"llvm.{name}")
        return self.builder.call(function, values)

    def elementwise(self, name: str) -> ir.Value:
        """Call a function of LLVM's for vectors such as the first argument."""
        return self.intrinsic(
            f"{name}.{self.given[0].suffix}", self.llvm(self.result), self.values[0]
        )


def operation(
    typing: Callable[..., Any], emit: Callable[[Call], ir.Value], *arguments: Any
) -> Callable[[F], F]:
    """Let compiled code call a function: `typing` has the type of its result for those of its
    arguments, and `emit` its instructions."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
        value = emit(Call(context, builder, signature.args, signature.return_type, values))
        return context.get_dummy_value() if signature.return_type == types.void else value

    def registered(function: F) -> F:
        if arguments:
            register(function, typing, lower, arguments)
        else:
            register(function, typing, lower, prefer_literal=True)
        return function

    return registered


def _same(a: Any, b: Any) -> Vector | None:
    """The type of two vectors, or of one where the other is a number."""
    vectors = {each for each in (a, b) if isinstance(each, Vector)}
    return vectors.pop() if len(vectors) == 1 else None


def _mask(a: Any, b: Any) -> Vector | None:
    same = _same(a, b)
    return same and same.of(types.boolean)


def _element(of: Any) -> Any:
    return of.element if isinstance(of, Vector) else of.dtype


def _literal(element: Any, lanes: Any) -> Vector | None:
    """A vector of a constant number of lanes; None makes Numba look for the constant."""
    return Vector(element, lanes.literal_value) if isinstance(lanes, types.IntegerLiteral) else None


def _arithmetic(reals: str, integers: str) -> Callable[[Call], ir.Value]:
    def emit(call: Call) -> ir.Value:
        flags = _CONTRACT if call.result.real and reals != "fdiv" else ()
        name = reals if call.result.real else integers
        return getattr(call.builder, name)(*call.alike(), **({"flags": flags} if flags else {}))

    return emit


def _comparison(sign: str) -> Callable[[Call], ir.Value]:
    return lambda call: call.compared(sign, *call.alike())


_PAIRS = (Vector, Vector), (Vector, types.Any), (types.Any, Vector)
for _name, *_instructions in (
    ("add", "fadd", "add"),
    ("sub", "fsub", "sub"),
    ("mul", "fmul", "mul"),
    ("truediv", "fdiv", ""),
    ("and_", "", "and_"),
    ("or_", "", "or_"),
    ("xor", "", "xor"),
    ("lshift", "", "shl"),
    ("rshift", "", "ashr"),
):
    operation(_same, _arithmetic(*_instructions), *_PAIRS)(getattr(operator, _name))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    operation(_mask, _comparison(_sign), *_PAIRS)(getattr(operator, _name))


def _load(call: Call) -> ir.Value:
    address = call.pointer(0, call.llvm(call.result))
    return call.builder.load(address, align=call.given[0].dtype.bitwidth // 8)


@operation(lambda array, index: array.dtype, _load)
def element(array: Array, index: int) -> Any:
    """Read an element; the index counts through all axes, and no negative one from the end."""
    return array.reshape(-1)[index].item()


@operation(lambda array, index, lanes: _literal(array.dtype, lanes), _load)
def load(array: Array, index: int, lanes: int) -> Array:
    """Read the elements from an index on."""
    return array.reshape(-1)[index : index + lanes].copy()


def _load_where(call: Call) -> ir.Value:
    vector = call.llvm(call.result)
    rest = _INDEX(call.result.element.bitwidth // 8), call.values[2], ir.Constant(vector, None)
    name = f"masked.load.{call.result.suffix}.p0"
    return call.intrinsic(name, vector, call.pointer(0, vector), *rest)


@operation(lambda array, index, mask: mask.of(array.dtype), _load_where)
def load_where(array: Array, index: int, mask: Mask) -> Array:
    """Read the elements where a mask is set, and touch no memory for the others, which are 0."""
    loaded = np.zeros(len(mask), array.dtype)
    loaded[mask] = array.reshape(-1)[index + np.flatnonzero(mask)]
    return loaded


def _store(call: Call) -> None:
    vector, dtype = isinstance(call.given[2], Vector), call.given[0].dtype
    value = call.converted(2, dtype) if vector else call.number(2, dtype)
    call.builder.store(value, call.pointer(0, value.type), align=call.given[0].dtype.bitwidth // 8)


@operation(lambda array, index, values: types.void, _store)
def store(array: Array, index: int, values: Any) -> None:
    """Write a vector from an index on, or a number, in the type of the array."""
    array.reshape(-1)[index : index + np.size(values)] = values


def _store_where(call: Call) -> None:
    element = call.given[0].dtype
    value = call.converted(2, element)
    rest = call.pointer(0, value.type), _INDEX(element.bitwidth // 8), call.values[3]
    call.intrinsic(
        f"masked.store.{call.given[2].of(element).suffix}.p0", ir.VoidType(), value, *rest
    )


@operation(lambda array, index, vector, mask: types.void, _store_where)
def store_where(array: Array, index: int, vector: Array, mask: Mask) -> None:
    """Write the lanes where a mask is set, and touch no memory for the others."""
    array.reshape(-1)[index + np.flatnonzero(mask)] = vector[mask]


def _move(call: Call) -> None:
    to, at = (call.number(n, types.int64) for n in (1, 2))
    arrays = cgutils.unpack_tuple(call.builder, call.values[0])
    for kind, array in zip(call.given[0].types, arrays, strict=True):
        data = call.data(kind, array)
        element = call.builder.load(call.builder.gep(data, [at]))
        call.builder.store(element, call.builder.gep(data, [to]))


@operation(lambda arrays, to, at: types.void, _move)
def move(arrays: tuple[Array, ...], to: int, at: int) -> None:
    """Copy an element of each of some arrays, the one `at` an index, to another index."""
    for array in arrays:
        array[to] = array[at]


def _ramp(call: Call) -> ir.Value:
    kind = call.llvm(call.result)
    count = [float(n) if call.result.real else n for n in range(call.result.lanes)]
    first = call.splat(call.number(0, call.result.element), call.result.lanes)
    add = call.builder.fadd if call.result.real else call.builder.add
    return add(ir.Constant(kind, count), first)


@operation(
    lambda value, lanes: _literal(value, lanes),
    lambda call: call.splat(call.values[0], call.result.lanes),
)
def full(value: float, lanes: int) -> Array:
    """A number in all lanes."""
    return np.full(lanes, value)


@operation(lambda first, dtype, lanes: _literal(dtype.dtype, lanes), _ramp)
def ramp(first: float, dtype: npt.DTypeLike, lanes: int) -> Array:
    """Count up by one from the first number on."""
    counted: Array = np.arange(lanes).astype(dtype) + np.asarray(first).astype(dtype)
    return counted


def _present(call: Call) -> ir.Value:
    first, end = (call.number(n, types.int64) for n in range(2))
    left = call.builder.trunc(call.builder.sub(end, first), _INDEX)
    lanes = call.result.lanes
    count = ir.Constant(ir.VectorType(_INDEX, lanes), list(range(lanes)))
    return call.builder.icmp_signed("<", count, call.splat(left, lanes))


@operation(lambda first, end, lanes: _literal(types.boolean, lanes), _present)
def present(first: int, end: int, lanes: int) -> Mask:
    """Mask of the lanes whose index, from the first on, lies before the end."""
    mask: Mask = np.arange(lanes) < end - first
    return mask


@operation(
    lambda mask, a, b: _same(a, b), lambda call: call.builder.select(call.values[0], *call.alike(1))
)
def where(mask: Mask, a: Any, b: Any) -> Array:
    """Lanes of `a` where a mask is set, of `b` elsewhere; one of the two may be a number."""
    chosen: Array = np.where(mask, a, b).astype((a if isinstance(a, np.ndarray) else b).dtype)
    return chosen


def _bound(sign: str) -> Callable[[Call], ir.Value]:
    def emit(call: Call) -> ir.Value:
        vector, bound = call.alike()
        return call.builder.select(call.compared(sign, vector, bound), bound, vector)

    return emit


@operation(_same, _bound("<"))
def at_least(vector: Any, bound: float) -> Array:
    """The greater of a vector and a bound; a NaN stays a NaN."""
    return where(vector < bound, bound, vector)


@operation(_same, _bound(">"))
def at_most(vector: Any, bound: float) -> Array:
    """The lesser of a vector and a bound; a NaN stays a NaN."""
    return where(vector > bound, bound, vector)


@operation(
    lambda vector, dtype: vector.of(dtype.dtype),
    lambda call: call.converted(0, call.result.element),
)
def convert(vector: Array, dtype: npt.DTypeLike) -> Array:
    """Convert the elements to another type; floating ones to integers towards 0."""
    return vector.astype(dtype)


def _bits(call: Call) -> ir.Value:
    return call.builder.bitcast(call.values[0], call.llvm(call.result))


@operation(lambda vector: vector.of(_SAME_BITS[vector.element]), _bits)
def bits(vector: Floats) -> Integers:
    """The binary representation, as integers of as many bits."""
    return vector.view(f"i{vector.itemsize}")


@operation(lambda vector: vector.of(_SAME_BITS[vector.element]), _bits)
def floats(vector: Integers) -> Floats:
    """The numbers that have this binary representation."""
    return vector.view(f"f{vector.itemsize}")


@operation(lambda vector: vector, lambda call: call.elementwise("floor"))
def floor(vector: Floats) -> Floats:
    """Round down."""
    return np.floor(vector)


@operation(lambda vector: vector, lambda call: call.elementwise("ceil"))
def ceil(vector: Floats) -> Floats:
    """Round up."""
    return np.ceil(vector)


@operation(
    lambda vector: vector.element,
    lambda call: call.elementwise(f"vector.reduce.{'fmin' if call.given[0].real else 'smin'}"),
)
def least(vector: Array) -> Any:
    """The least element; a NaN does not count."""
    return np.fmin.reduce(vector).item()


@operation(
    lambda vector: vector.element,
    lambda call: call.elementwise(f"vector.reduce.{'fmax' if call.given[0].real else 'smax'}"),
)
def greatest(vector: Array) -> Any:
    """The greatest element; a NaN does not count."""
    return np.fmax.reduce(vector).item()


def _lanes_set(call: Call) -> ir.Value:
    lanes = call.builder.bitcast(call.values[0], ir.IntType(call.given[0].lanes))
    return call.builder.zext(lanes, call.llvm(call.result))


@operation(lambda mask: types.int64, _lanes_set)
def lanes_set(mask: Mask) -> int:
    """The lanes where a mask is set as bits of an integer, the first as the lowest; 0 for none."""
    return sum(1 << int(n) for n in np.flatnonzero(mask))


def _lowest_bit(call: Call) -> ir.Value:
    kind = call.llvm(call.result)
    return call.intrinsic("cttz.i64", kind, call.number(0, call.result), ir.IntType(1)(1))


@operation(lambda bits: types.int64, _lowest_bit)
def lowest_bit(bits: int) -> int:
    """The number of the lowest bit that is set, of one at least."""
    return (bits & -bits).bit_length() - 1


@operation(_same, lambda call: call.builder.fmul(*call.alike()))
def rounded_product(vector: Floats, factor: float) -> Floats:
    """The product, rounded before something is added to it."""
    return vector * factor


def _polynomial(call: Call) -> ir.Value:
    x, of = call.values[0], call.given[0]
    coefficients = [
        call.splat(call.context.cast(call.builder, each, call.given[1].dtype, of.element), of.lanes)
        for each in cgutils.unpack_tuple(call.builder, call.values[1])
    ]
    total = coefficients.pop()
    while coefficients:
        product = call.builder.fmul(total, x, flags=_CONTRACT)
        total = call.builder.fadd(product, coefficients.pop(), flags=_CONTRACT)
    return total


@operation(lambda x, coefficients: x, _polynomial)
def polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    """Σ coefficients[k]·x^k, by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for each in coefficients[-2::-1]:
        total = total * x + each
    return total


def _halves(call: Call, parts: int, one: ir.Value, other: ir.Value = None) -> list[ir.Value]:
    """The lower and the upper half of each of the parts of one or two vectors."""
    width = one.type.count // parts
    low = [n for n in range(one.type.count * (2 if other else 1)) if n % width < width // 2]
    return [call.shuffle(one, [n + by for n in low], other) for by in (0, width // 2)]


def _product(call: Call) -> ir.Value:
    (value,) = call.values
    while value.type.count > 1:
        value = call.builder.fmul(*_halves(call, 1, value), flags=_CONTRACT)
    return call.builder.extract_element(value, _INDEX(0))


@operation(lambda vector: vector.element, _product)
def product(vector: Floats) -> float:
    """The product of all lanes: half of them by the other half, until one is left."""
    while len(vector) > 1:
        vector = vector[: len(vector) // 2] * vector[len(vector) // 2 :]
    return vector.item()


def _sums(call: Call) -> ir.Value:
    def halved(*parts: Any) -> ir.Value:
        return call.builder.fadd(*_halves(call, *parts), flags=_CONTRACT)

    a, b, c, d = call.values
    total = halved(2, halved(1, a, b), halved(1, c, d))
    while total.type.count > 4:
        total = halved(4, total)
    return total


@operation(lambda a, b, c, d: Vector(a.element, 4), _sums)
def sums(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """The sums of four vectors: half of the lanes and the other half, until one is left."""
    four = np.stack([a, b, c, d])
    while four.shape[1] > 1:
        four = four[:, : four.shape[1] // 2] + four[:, four.shape[1] // 2 :]
    return four[:, 0]


def _transpose(call: Call) -> None:
    """Halves off the diagonal change places, then their halves."""
    pitches = [call.number(n, types.int64) for n in (2, 5)]
    vector = ir.VectorType(call.llvm(call.given[0].dtype), HALF)
    align = call.given[0].dtype.bitwidth // 8

    def addresses(array: int, pitch: ir.Value) -> list[ir.Value]:
        past = [call.builder.mul(pitch, pitch.type(n)) for n in range(HALF)]
        return [call.pointer(array, vector, each) for each in past]

    rows = [call.builder.load(address, align=align) for address in addresses(0, pitches[0])]
    step = HALF // 2
    while step:
        for n in range(HALF):
            if not n & step:
                low = [HALF + k - step if k & step else k for k in range(HALF)]
                high = [HALF + k if k & step else k + step for k in range(HALF)]
                one, other = rows[n], rows[n + step]
                rows[n], rows[n + step] = (call.shuffle(one, each, other) for each in (low, high))
        step //= 2
    for row, address in zip(rows, addresses(3, pitches[1]), strict=True):
        call.builder.store(row, address, align=align)


@operation(lambda source, at, pitch, target, to, rows_apart: types.void, _transpose)
def transpose(source: Array, at: int, pitch: int, target: Array, to: int, rows_apart: int) -> None:
    """Write the columns of a square of HALF rows, from an index on and `pitch` apart, as rows."""
    n = np.arange(HALF)
    square = source.reshape(-1)[at + pitch * n[:, None] + n]
    target.reshape(-1)[to + rows_apart * n[:, None] + n] = square.T


@operation(
    lambda array, single, double: single if _element(array) == types.float32 else double,
    lambda call: call.values[1 if _element(call.given[0]) == types.float32 else 2],
)
def by_type(array: Array, single: T, double: T) -> T:
    """The second argument for an array or a vector of float32, else the third: a choice that is
    made when a kernel is compiled."""
    return single if array.dtype == np.float32 else double
