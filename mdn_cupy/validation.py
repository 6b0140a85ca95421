"""Checks of scalars, dtypes and shapes: pure functions that return what they checked, or raise.

Nothing here looks at the values of an array (a GPU would have to be waited for); `mdn_cupy.checks`
does. Every message names the argument, what was seen, what was wanted, and the remedy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence, Set, Sized
from difflib import get_close_matches
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np

from mdn_cupy.arrays import (
    Array,
    dtype_name,
    integer,
    is_number,
    is_torch,
    kind_of,
    library,
    not_an_array,
)
from mdn_cupy.axes import OWN, Layout

__all__ = [
    "Pair",
    "Shape",
    "and_divided",
    "as_float",
    "broadcast_leading",
    "called",
    "check_axis",
    "check_count",
    "check_flag",
    "check_not_negative",
    "check_positive",
    "check_positive_or_inf",
    "check_representable",
    "check_sequence",
    "check_shape",
    "check_size",
    "check_width",
    "compute_dtype",
    "crop_range",
    "floating_dtype",
    "is_ordered",
    "leading_axis",
    "named_in_errors",
    "output_size",
    "per_axis",
    "shown_pair",
    "sigma_leading",
    "source_shape",
]

Shape = tuple[int, ...]

Pair = tuple[float, float]
"""One number per axis of the map: along the rows' axis y, and along the columns' axis x."""

Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)

_MOST_PIXELS = 1 << 40
_LARGEST = sys.float_info.max

_HIGHEST = {"uint8": 255, "uint16": 65535}  # what a confidence of 1 is there

_COMPUTED_IN: dict[str, np.dtype[np.floating]] = {
    "float16": np.dtype(np.float32),
    "bfloat16": np.dtype(np.float32),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def called(name: str, callee: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Call a function; TypeError in another's name if it does not take these arguments.

    Parameters
    ----------
    name : str
        Name of the function that the user called.
    callee : callable
        What takes its arguments.
    *arguments, **options
        Theirs.

    Examples
    --------
    >>> called("widen", lambda sigma, factor: sigma * factor, 2.0, facter=3)
    Traceback (most recent call last):
        ...
    TypeError: widen(): unexpected argument 'facter', did you mean 'factor'? It takes sigma, factor
    """
    try:
        return callee(*arguments, **options)
    except TypeError:
        takes = signature(callee)
        try:
            takes.bind(*arguments, **options)
        except TypeError as error:
            names = [name for name in takes.parameters if name != "self"]
            unknown = next((name for name in options if name not in names), "")
            near = get_close_matches(unknown, names, 1)
            problem = f"unexpected argument {unknown!r}" if unknown else error
            meant = f", did you mean {near[0]!r}? It" if near else "; it"
            raise TypeError(f"{name}(): {problem}{meant} takes {', '.join(names)}") from None
        raise


def named_in_errors(cls: Class) -> Class:
    """Let a class name itself, and not its `__init__`, where that does not take the arguments."""
    construct = cls.__init__  # type: ignore[misc]

    @wraps(construct)
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        called(cls.__name__, construct, self, *arguments, **options)

    cls.__init__ = __init__  # type: ignore[misc]
    return cls


def compute_dtype(confidence: Array, offsets: Array) -> np.dtype[np.floating]:
    """Return the dtype of the computation and its result: float32, or float64 if a field has it.

    Sigma, the cotangent and the scalars are cast to it.

    Raises
    ------
    TypeError
        If a field is not of a floating dtype.
    """
    return np.result_type(
        floating_dtype("confidence", confidence), floating_dtype("offsets", offsets)
    )


def floating_dtype(name: str, array: Array) -> np.dtype[np.floating]:
    """Return the dtype in which a floating array is computed; TypeError for anything else."""
    if library(array) is None:
        raise TypeError(not_an_array(name, array))
    dtype = _COMPUTED_IN.get(dtype_name(array))
    if dtype is None:
        raise TypeError(
            f"{name} must be of a floating dtype ({', '.join(_COMPUTED_IN)}), "
            f"got {dtype_name(array)}; convert it with astype('float32') or .float()"
            f"{and_divided(name, array)}"
        )
    return dtype


def and_divided(name: str, array: Array) -> str:
    """Say what else makes confidences of integers."""
    highest = _HIGHEST.get(dtype_name(array)) if name == "confidence" else None
    return f", and divide it by {highest}" if highest else ""


def source_shape(confidence: Array, offsets: Array) -> tuple[int, int]:
    """Return (H, W) of the fields; ValueError if the two shapes do not fit each other."""
    if confidence.ndim < 2:
        raise ValueError(
            f"confidence must have the shape (..., H, W), got {tuple(confidence.shape)}"
        )
    height, width = confidence.shape[-2:]
    if tuple(offsets.shape[-3:]) != (2, height, width):
        raise ValueError(
            f"offsets must have the shape (..., 2, H, W), which is (..., 2, {height}, {width}) for "
            f"confidence {tuple(confidence.shape)}, got {tuple(offsets.shape)}"
            f"{_resemblance(confidence, offsets)}"
        )
    return int(height), int(width)


_OTHER_LAYOUTS = "HWC,PHW HWPC,CPHW,(PC)HW,(CP)HW,PHW HW(PC),PHW HW(CP),HWP PCHW,HWPC,HW(PC),HW(CP)"


def _resemblance(confidence: Array, offsets: Array) -> str:
    """Say which layouts two shapes look like, and which expressions convert them."""
    maps, seen, module = tuple(confidence.shape), tuple(offsets.shape), library(offsets)
    if maps == (*seen[:-2], 2, *seen[-2:]):
        return "; are confidence and offsets exchanged?"
    found = []
    for layout in map(Layout, _OTHER_LAYOUTS.split(",")):
        leading = seen[: -len(layout.axes)]
        sizes = layout.lengths(maps[-len(layout.maps) :], seen[len(leading) :])
        if sizes is None:
            continue
        apart, text, meaning = "".join(layout.axes), "offsets", ""
        if "(" in layout.text:
            text += f".reshape({', '.join(str(n) for n in (*leading, *map(sizes.get, apart)))})"
            x_first = "CP" in layout.axes
            meaning = ", all x before all y" if x_first else ", x and y of each part in turn"
        wanted = [axis for axis in OWN if axis in apart]
        if apart != "".join(wanted):
            now = tuple(apart.index(axis) - len(apart) for axis in wanted[:-2])
            text = f"{module}.moveaxis({text}, {now}, {tuple(range(-len(wanted), -2))})"
        if layout.maps[-1] == "P":
            meaning += ", beside confidence (H, W, P)"
            text += f" and {module}.moveaxis(confidence, -1, -3)"
        axes = ", ".join(["..."] * bool(leading) + layout.words[1])
        found.append(f"({axes}){meaning}: {text}")
    if not found:
        return ""
    flip = f"{module}.flip(..., (-3,)) swaps x and y if y comes first"
    return f"; it looks like {', or like '.join(found)}; {flip}"


def sigma_leading(shape: Shape, grid: tuple[int, int]) -> Shape:
    """Return sigma's axes before the grid's (H, W); ValueError if it does not broadcast there."""
    padded = (1,) * (2 - len(shape)) + shape
    if any(n not in (1, size) for n, size in zip(padded[-2:], grid, strict=True)):
        raise ValueError(
            f"sigma of shape {shape} does not broadcast against confidence (..., {grid[0]}, "
            f"{grid[1]}); one per part has the shape (P, 1, 1): sigma[:, None, None] of (P,)"
        )
    return padded[:-2]


def broadcast_leading(leading: dict[str, Shape]) -> Shape:
    """Return the broadcast of all arguments' leading axes; ValueError if there is none."""
    if len(set(leading.values())) == 1:
        return leading["confidence"]
    try:
        return np.broadcast_shapes(*leading.values())
    except ValueError:
        seen = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        raise ValueError(
            f"the leading axes (all before H, W) do not broadcast against each other: {seen}"
        ) from None


def leading_axis(axis: int | None, batch: Shape) -> int | None:
    """Return the axis to aggregate over, counted from the front of the leading axes `batch`."""
    if axis is None:
        return None
    index = axis + len(batch) + 2 if axis < 0 else axis
    if not 0 <= index < len(batch):
        raise ValueError(
            f"aggregate={axis} must name a leading axis of the broadcast confidence shape "
            f"({', '.join(map(str, (*batch, 'H', 'W')))}), not one of the last two"
        )
    return index


def output_size(
    wanted: Sequence[int] | None, grid: tuple[int, int], stride: Pair
) -> tuple[int, int]:
    """Return (Ho, Wo): the wanted size, or that of a grid of sources; ValueError beyond 2⁴⁰."""
    if wanted is None:
        height, width = (
            math.floor(step * (n - 1)) + 1 if n else 0 for step, n in zip(stride, grid, strict=True)
        )
    else:
        height, width = wanted
    if height * width > _MOST_PIXELS:
        seen = f"({as_float(height):.10g}, {as_float(width):.10g})"  # an int may have 300 digits
        raise ValueError(
            f"output_shape {seen} is more than 2⁴⁰ pixels; give a smaller one, or "
            f"check stride ({shown_pair(stride)})"
        )
    return height, width


def check_shape(name: str, array: Array, wanted: Shape) -> None:
    """Raise ValueError unless an argument has the shape of the vote map."""
    if tuple(array.shape) != wanted:
        raise ValueError(
            f"{name} must have the shape of the vote map {wanted}, got {tuple(array.shape)}"
        )


def check_sequence(name: str, value: Any, count: int, what: str) -> list[Any]:
    """Return a sequence of so many entries as a list; TypeError for a text or what has no order."""
    if isinstance(value, (str, bytes)) or not is_ordered(value):
        entries = None
    else:
        try:
            entries = list(value)
        except TypeError:
            entries = None
    if entries is None:
        seen = f"the string {value!r}" if isinstance(value, (str, bytes)) else kind_of(value)
        raise TypeError(f"{name} must be a sequence, one for each of {count} {what}, got {seen}")
    if len(entries) != count:
        raise ValueError(f"{name} must name {count} {what}, got {len(entries)}")
    return entries


def check_size(wanted: Sequence[int] | None) -> tuple[int, int] | None:
    """Return an output shape as two integers; ValueError if it is anything else, or negative."""
    if wanted is None:
        return None
    try:
        if any(map(_is_traced, wanted)):
            return cast("tuple[int, int]", tuple(wanted))
        if not is_ordered(wanted):
            raise TypeError
        height, width = (n if _is_whole(n) else integer(n) for n in wanted)
    except (TypeError, ValueError):
        raise ValueError(f"output_shape must be two integers (Ho, Wo), got {wanted!r}") from None
    if height < 0 or width < 0:
        raise ValueError(f"output_shape must not be negative, got {(height, width)}")
    return height, width


def is_ordered(value: object) -> bool:
    """False for a set or a dict, whose y might come last."""
    return isinstance(value, tuple) or not isinstance(value, (Set, Mapping))  # asked in 0.4 µs


def _is_traced(value: object) -> bool:
    """True for a size that torch.jit traces, which is a tensor."""
    return is_torch(value) and sys.modules["torch"].jit.is_tracing()


def _is_whole(value: object) -> bool:
    """True for an int and for a size that torch traces, whose index would be a constant."""
    return type(value) is int or type(value).__name__ == "SymInt"


def check_axis(aggregate: int | None) -> int | None:
    """Return an axis as an int, or None; TypeError for anything else."""
    try:
        return None if aggregate is None else integer(aggregate)
    except TypeError:
        raise TypeError(f"aggregate must be an axis number or None, got {aggregate!r}") from None


def check_count(name: str, value: object, least: int = 1, remedy: str = "") -> int:
    """Return a whole number of at least `least`; TypeError or ValueError for anything else."""
    remedy = remedy and f"; {remedy}"
    try:
        number = integer(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}{remedy}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}{remedy}")
    return number


def check_flag(name: str, value: object) -> bool:
    """Return a bool; TypeError for anything else, since 'no' would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _finite(name: str, value: object) -> float:
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {kind_of(value)}")
    number = as_float(value)
    if not abs(number) <= _LARGEST:  # torch.compile cannot trace math.isfinite
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def as_float(value: Any) -> float:
    """Convert a number to a float, infinite where it is out of range: an int may be."""
    if type(value) is float:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


@lru_cache(maxsize=64)
def check_representable(name: str, number: float, dtype: np.dtype[np.floating]) -> float:
    """Round a positive number to the dtype, unless that makes it 0 or infinite."""
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(number))
    if not 0 < rounded < math.inf:
        raise ValueError(f"{name}, {number:g}, is out of the range of {dtype.name}")
    return rounded


def check_positive_or_inf(name: str, value: object) -> float:
    """Return a positive number or infinity; TypeError or ValueError for anything else."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {kind_of(value)}")
    number = as_float(value)
    if not number > 0:
        raise ValueError(f"{name} must be greater than 0, or math.inf, got {value}")
    return number


def check_positive(name: str, value: object) -> float:
    """Return a number that is positive and finite; TypeError or ValueError for anything else."""
    number = _finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {number}")
    return number


def check_not_negative(name: str, value: object) -> float:
    """Return a number from 0 on, inf included; TypeError or ValueError for anything else."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {kind_of(value)}")
    if not (number := as_float(value)) >= 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    return number


def per_axis(name: str, value: object, positive: bool = False) -> Pair:
    """Return a number, or a pair (y, x), as a pair of floats.

    Parameters
    ----------
    name : str
        What to call it in an error message.
    value : float or sequence of two floats
        One number for both axes, or one for each, in the order of `output_shape`.
    positive : bool
        Whether 0 and less are refused.

    Returns
    -------
    (float, float)
        y and x.

    Raises
    ------
    TypeError
        If it is neither a number nor two.
    ValueError
        If a number is not finite, or not greater than 0 where it has to be.
    """
    check = check_positive if positive else _finite
    if not isinstance(value, tuple) and is_number(value):  # a tuple's own test takes 0.4 µs
        number = check(name, value)
        return number, number
    try:
        y, x = cast("Sequence[object]", value) if is_ordered(value) else (None, None)
    except (TypeError, ValueError):
        y = x = None
    if not (is_number(y) and is_number(x)):
        sized = isinstance(value, Sized) and getattr(value, "shape", (1,)) != ()
        length = f" of length {len(cast(Sized, value))}" if sized else ""
        raise TypeError(
            f"{name} must be a number or a pair of numbers (y, x), in the order of output_shape, "
            f"got {type(value).__name__}{length}"
        )
    return check(name, y), check(name, x)


def crop_range(name: str, part: object, size: int) -> range:
    """Return the rows or columns of a map that a slice takes.

    Raises
    ------
    TypeError
        If it is no slice of integers.
    ValueError
        If its step is less than 1.
    """
    try:
        given = cast(slice, part)
        if any(isinstance(n, bool) for n in (given.start, given.stop, given.step)):
            raise TypeError
        first, last, step = given.indices(size)
    except (AttributeError, TypeError):
        raise TypeError(
            f"{name} must be a slice of integers, such as slice(10, 20), got {part!r}"
        ) from None
    except ValueError:  # a step of 0
        step = 0
    if step < 1:
        raise ValueError(f"{name} must be a slice with a step from 1 on, got {part!r}")
    return range(first, last, step)


def shown_pair(pair: Pair) -> str:
    """Write a pair as a number where both are equal, else as (y, x)."""
    y, x = pair
    return f"{y:g}" if y == x else f"({y:g}, {x:g})"


def check_width(sigma: float, dtype: np.dtype[np.floating]) -> float:
    """Round a sigma that is a number to a dtype; ValueError if it is no width there."""
    return check_representable("sigma", check_positive("sigma", sigma), dtype)
