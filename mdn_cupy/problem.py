"""Arguments -> one validated, frozen `VoteProblem`; every error message about arguments.

Nothing here looks at the values of an array (a GPU would have to be waited for); shapes, dtypes and
scalars are always checked. `mdn_cupy.check_fields` looks at values.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import (
    Array,
    cast_to,
    dtype_name,
    is_number,
    is_torch,
    kind_of,
    library,
    not_an_array,
)

__all__ = [
    "Gradients",
    "Pair",
    "Rule",
    "RuleName",
    "VoteOptions",
    "VoteProblem",
    "check_positive",
    "check_shape",
    "check_size",
    "check_width",
    "compute_dtype",
    "floating_dtype",
    "per_axis",
    "rule_of",
    "shown_pair",
    "vote_problem",
]

Shape = tuple[int, ...]

Pair = tuple[float, float]
"""One number per axis of the map: along the rows' axis y, and along the columns' axis x."""

_MOST_PIXELS = 1 << 40
_LARGEST = sys.float_info.max

_FARTHEST = 37.0
"""Sigmas: weights beyond, below 10⁻²⁹⁶, change nothing, and float64 products with them might leave
the range. So a NaN does not show beyond either."""

_COMPUTED_IN: dict[str, np.dtype[np.floating]] = {
    "float16": np.dtype(np.float32),
    "bfloat16": np.dtype(np.float32),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


class Rule(IntEnum):
    """How the terms φ(w·c) of the votes read; the numbers are the kernels' template parameter."""

    NOISY_OR = 0
    """Σ log(1 − w·c), the log-complement of Eq. 2."""
    ADDITIVE = 1
    """Σ w·c / (2πσ²) (Eq. 3 with the normalised kernel, Eq. 6)."""
    PLAIN_SUM = 2
    """Σ w·c with K(0) = 1 (Eq. 3 with the plain kernel, Eq. 4)."""


RuleName = Literal["noisy_or", "additive", "plain_sum"]


def rule_of(name: str) -> Rule:
    """Return the rule of a name; ValueError for another word."""
    try:
        return Rule[name.upper()]
    except (KeyError, AttributeError):
        names = ", ".join(repr(rule.name.lower()) for rule in Rule)
        raise ValueError(f"rule must be one of {names}, got {name!r}") from None


class Gradients(NamedTuple):
    """The gradients of a vote map, each of the shape of its argument, or None where not asked for.

    Attributes
    ----------
    confidence : array [..., H, W] or None
        ∂loss/∂c.
    offsets : array [..., 2, H, W] or None
        ∂loss/∂o_x and ∂loss/∂o_y, per output pixel.
    sigma : array or None
        ∂loss/∂σ, per output pixel; of zero dimensions where sigma was a number.
    """

    confidence: Array | None
    offsets: Array | None
    sigma: Array | None


@dataclass(frozen=True, kw_only=True)
class VoteOptions:
    """What a caller may set beside the fields, checked; see `mdn_cupy.Votes` for the meaning.

    `stride` and `origin` are taken as a number or a pair (y, x) and kept as a pair.

    Raises
    ------
    TypeError
        If a value has the wrong type.
    ValueError
        If a value is out of range.
    """

    truncate: float = 4.0
    stride: float | Sequence[float] = (1.0, 1.0)
    origin: float | Sequence[float] = (0.0, 0.0)
    output_shape: Sequence[int] | None = None
    aggregate: int | None = None
    deterministic: bool = True

    def __post_init__(self) -> None:
        settled = {
            "truncate": _truncation(self.truncate),
            "stride": per_axis("stride", self.stride, positive=True),
            "origin": per_axis("origin", self.origin),
            "output_shape": check_size(self.output_shape),
            "aggregate": _axis(self.aggregate),
            "deterministic": bool(self.deterministic),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    @property
    def named(self) -> dict[str, Any]:
        """The options by name, as the constructor takes them."""
        return {name: getattr(self, name) for name in OPTIONS}

    @property
    def described(self) -> list[tuple[str, str]]:
        """Name and text of the options that are not at their default."""
        texts = []
        for option in (VoteOptions.__dataclass_fields__[name] for name in OPTIONS):
            value = getattr(self, option.name)
            if value != option.default:
                pair = option.name in ("stride", "origin")
                texts.append((option.name, shown_pair(value) if pair else str(value)))
        return texts


OPTIONS = tuple(VoteOptions.__dataclass_fields__)
"""The names of the options."""


@dataclass(frozen=True)
class VoteProblem:
    """One validated voting problem: the same for every rule, pass and backend.

    The three arrays have as many leading axes as `batch`; an axis of size 1 broadcasts. They are
    views of what the caller gave, of `dtype`, in whatever strides they came.
    """

    confidence: Array  # [*batch or 1s, H, W]
    offsets: Array  # [*batch or 1s, 2, H, W]: o_x, o_y in output pixels
    sigma: Array | float  # a number, or [*batch or 1s, H or 1, W or 1], in output pixels
    dtype: np.dtype[np.floating]  # float32 or float64
    batch: Shape  # the broadcast leading axes, the aggregated one included
    aggregate: int | None  # the axis of `batch` whose maps vote into one
    output_shape: tuple[int, int]  # (Ho, Wo)
    truncate: float  # at most 37: beyond, weights change nothing
    stride: Pair
    origin: Pair
    deterministic: bool
    given: tuple[Shape, Shape, Shape]  # the shapes of confidence, offsets and sigma as they came

    @property
    def source_shape(self) -> tuple[int, int]:
        """(H, W) of the fields."""
        return cast(tuple[int, int], tuple(self.confidence.shape[-2:]))

    @property
    def voters(self) -> int:
        """How many source planes vote into one output map."""
        return 1 if self.aggregate is None else self.batch[self.aggregate]

    @property
    def maps_shape(self) -> Shape:
        """The leading axes of the result."""
        if self.aggregate is None:
            return self.batch
        return self.batch[: self.aggregate] + self.batch[self.aggregate + 1 :]

    @property
    def maps(self) -> int:
        """How many output maps there are."""
        return math.prod(self.maps_shape)

    @property
    def result_shape(self) -> Shape:
        """The shape of the vote maps: leading axes without the aggregated one, then (Ho, Wo)."""
        return self.maps_shape + self.output_shape

    @property
    def saturation_floor(self) -> float:
        """The least value of a factor 1 − w·c: one ulp below one, 2⁻²⁴ or 2⁻⁵³."""
        return float(np.finfo(self.dtype).epsneg)

    def check_rule(self, rule: Rule) -> None:
        """Raise ValueError if a sigma that is a number is out of a rule's range."""
        sigma, most = self.sigma, float(np.finfo(self.dtype).max)
        if rule is not Rule.ADDITIVE or not isinstance(sigma, float):
            return
        if 1 / (2 * math.pi) / sigma / sigma > most:
            raise ValueError(
                f"sigma, {sigma:g}, is so small that 1/(2πσ²) is out of the range of "
                f"{self.dtype.name}"
            )

    def check_map(self, name: str, array: Array) -> None:
        """Raise unless an argument has the shape of the vote map and a floating dtype."""
        check_shape(name, array, self.result_shape)
        floating_dtype(name, array)

    def as_given(self, gradients: Gradients) -> Gradients:
        """Bring gradients of this problem's arrays to the shapes of the caller's."""
        return Gradients(
            *(
                None if gradient is None else gradient.reshape(shape)
                for gradient, shape in zip(gradients, self.given, strict=True)
            )
        )

    def planes(self, leading: Shape) -> npt.NDArray[np.int64]:
        """Which plane of an array with these leading axes votes where: [maps, voters].

        Entry [m, v] is the index, in the C order of `leading`, of the plane that the v-th voter of
        output map m reads.
        """
        return _planes(leading, self.batch, self.aggregate)


@lru_cache(maxsize=64)
def _planes(leading: Shape, batch: Shape, aggregate: int | None) -> npt.NDArray[np.int64]:
    index = np.broadcast_to(np.arange(math.prod(leading), dtype=np.int64).reshape(leading), batch)
    index = index[..., None] if aggregate is None else np.moveaxis(index, aggregate, -1)
    return np.ascontiguousarray(index.reshape(math.prod(index.shape[:-1]), index.shape[-1]))


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


def vote_problem(
    confidence: Array, offsets: Array, sigma: Array | float, options: VoteOptions
) -> VoteProblem:
    """Validate the arguments of `mdn_cupy.Votes`.

    Parameters
    ----------
    confidence : array [..., H, W]
        Confidences c.
    offsets : array [..., 2, H, W]
        Offsets (o_x, o_y), in output pixels.
    sigma : float or array
        Width of the Gaussian, in output pixels; an array broadcasts against `confidence`.
    options : VoteOptions
        Everything else.

    Returns
    -------
    VoteProblem
        The arrays cast to one dtype and aligned to the same leading axes, and the scalars.

    Raises
    ------
    TypeError
        If an argument has the wrong type or dtype.
    ValueError
        If a shape or a scalar does not fit; the message names the argument, what was seen and what
        was wanted.
    """
    dtype = compute_dtype(confidence, offsets)
    source_shape = _source_shape(confidence, offsets)
    leading = {"confidence": tuple(confidence.shape[:-2]), "offsets": tuple(offsets.shape[:-3])}
    given: tuple[Shape, Shape, Shape] = (tuple(confidence.shape), tuple(offsets.shape), ())
    width: Any
    if is_number(sigma):
        width = check_width(sigma, dtype)
    else:
        width = sigma
        floating_dtype("sigma", width)
        axes = tuple(width.shape)
        leading["sigma"] = _sigma_leading(axes, source_shape)
        given = (*given[:2], axes)
    batch = _broadcast(leading)
    if "sigma" in leading:
        width = _align(cast_to(width, dtype), len(batch), 2)
    return VoteProblem(
        confidence=_align(cast_to(confidence, dtype), len(batch), 2),
        offsets=_align(cast_to(offsets, dtype), len(batch), 3),
        sigma=width,
        dtype=dtype,
        batch=batch,
        aggregate=_aggregate(options.aggregate, batch),
        output_shape=_output_shape(options.output_shape, source_shape, cast(Pair, options.stride)),
        truncate=_representable("truncate", min(options.truncate, _FARTHEST), dtype),
        stride=cast(Pair, options.stride),
        origin=cast(Pair, options.origin),
        deterministic=options.deterministic,
        given=given,
    )


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
    if is_number(value):
        number = check(name, value)
        return number, number
    try:
        y, x = cast(Sequence[object], value)
    except (TypeError, ValueError):
        y = x = None
    if not (is_number(y) and is_number(x)):
        length = f" of length {len(value)}" if isinstance(value, Sized) else ""
        raise TypeError(
            f"{name} must be a number or a pair of numbers (y, x), in the order of output_shape, "
            f"got {type(value).__name__}{length}"
        )
    return check(name, y), check(name, x)


def shown_pair(pair: Pair) -> str:
    """Write a pair as a number where both are equal, else as (y, x)."""
    y, x = pair
    return f"{y:g}" if y == x else f"({y:g}, {x:g})"


def check_width(sigma: float, dtype: np.dtype[np.floating]) -> float:
    """Round a sigma that is a number to a dtype; ValueError if it is no width there."""
    return _representable("sigma", check_positive("sigma", sigma), dtype)


def floating_dtype(name: str, array: Array) -> np.dtype[np.floating]:
    """Return the dtype in which a floating array is computed; TypeError for anything else."""
    if library(array) is None:
        raise TypeError(not_an_array(name, array))
    dtype = _COMPUTED_IN.get(dtype_name(array))
    if dtype is None:
        raise TypeError(
            f"{name} must be of a floating dtype ({', '.join(_COMPUTED_IN)}), "
            f"got {dtype_name(array)}; convert it with astype('float32') or .float()"
        )
    return dtype


def _source_shape(confidence: Array, offsets: Array) -> tuple[int, int]:
    if confidence.ndim < 2:
        raise ValueError(
            f"confidence must have the shape (..., H, W), got {tuple(confidence.shape)}"
        )
    if offsets.ndim < 3 or offsets.shape[-3] != 2:
        raise ValueError(
            "offsets must have the shape (..., 2, H, W) with o_x and o_y on the third axis from "
            f"the end, got {tuple(offsets.shape)}{_doubt(confidence, offsets)}"
        )
    height, width = confidence.shape[-2:]
    if tuple(offsets.shape[-2:]) != (height, width):
        raise ValueError(
            f"offsets must have the shape (..., 2, {height}, {width}) to match confidence "
            f"{tuple(confidence.shape)}, got {tuple(offsets.shape)}"
        )
    return int(height), int(width)


def _doubt(confidence: Array, offsets: Array) -> str:
    shape = tuple(offsets.shape)
    exchanged = tuple(confidence.shape) == (*shape[:-2], 2, *shape[-2:])
    return "; are confidence and offsets exchanged?" if exchanged else ""


def _sigma_leading(shape: Shape, source_shape: tuple[int, int]) -> Shape:
    padded = (1,) * (2 - len(shape)) + shape
    if any(n not in (1, size) for n, size in zip(padded[-2:], source_shape, strict=True)):
        raise ValueError(
            f"sigma of shape {shape} does not broadcast against confidence (..., "
            f"{source_shape[0]}, {source_shape[1]}); one sigma per part has the shape (P, 1, 1)"
        )
    return padded[:-2]


def _broadcast(leading: dict[str, Shape]) -> Shape:
    if len(set(leading.values())) == 1:
        return leading["confidence"]
    try:
        return np.broadcast_shapes(*leading.values())
    except ValueError:
        seen = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        raise ValueError(
            f"the leading axes (all before H, W) do not broadcast against each other: {seen}"
        ) from None


def _align(array: Array, leading: int, trailing: int) -> Array:
    """Prepend axes of size 1 until there are `leading` of them before the trailing ones."""
    missing = leading + trailing - array.ndim
    return array.reshape((1,) * missing + tuple(array.shape)) if missing else array


def _aggregate(axis: int | None, batch: Shape) -> int | None:
    if axis is None:
        return None
    index = axis + len(batch) + 2 if axis < 0 else axis
    if not 0 <= index < len(batch):
        raise ValueError(
            f"aggregate={axis} must name a leading axis of the broadcast confidence shape "
            f"({', '.join(map(str, (*batch, 'H', 'W')))}), not one of the last two"
        )
    return index


def _output_shape(
    wanted: Sequence[int] | None, source_shape: tuple[int, int], stride: Pair
) -> tuple[int, int]:
    if wanted is None:
        height, width = (
            math.floor(step * (n - 1)) + 1 if n else 0
            for step, n in zip(stride, source_shape, strict=True)
        )
    else:
        height, width = wanted
    if height * width > _MOST_PIXELS:
        raise ValueError(
            f"output_shape {(height, width)} is more than 2⁴⁰ pixels; give a smaller one, or "
            f"check stride ({shown_pair(stride)})"
        )
    return height, width


def check_shape(name: str, array: Array, wanted: Shape) -> None:
    """Raise ValueError unless an argument has the shape of the vote map."""
    if tuple(array.shape) != wanted:
        raise ValueError(
            f"{name} must have the shape of the vote map {wanted}, got {tuple(array.shape)}"
        )


def check_size(wanted: Sequence[int] | None) -> tuple[int, int] | None:
    """Return an output shape as two integers; ValueError if it is anything else, or negative."""
    if wanted is None:
        return None
    if any(map(_is_traced, wanted)):
        return cast(tuple[int, int], tuple(wanted))
    try:
        height, width = (n if _is_whole(n) else operator.index(n) for n in wanted)
    except (TypeError, ValueError):
        raise ValueError(f"output_shape must be two integers (Ho, Wo), got {wanted!r}") from None
    if height < 0 or width < 0:
        raise ValueError(f"output_shape must not be negative, got {(height, width)}")
    return height, width


def _is_traced(value: object) -> bool:
    """True for a size that torch.jit traces, which is a tensor."""
    return is_torch(value) and sys.modules["torch"].jit.is_tracing()


def _is_whole(value: object) -> bool:
    """True for an int and for a size that torch traces, whose index would be a constant."""
    return type(value) is int or type(value).__name__ == "SymInt"


def _axis(aggregate: int | None) -> int | None:
    try:
        return None if aggregate is None else operator.index(aggregate)
    except TypeError:
        raise TypeError(f"aggregate must be an axis number or None, got {aggregate!r}") from None


def _finite(name: str, value: object) -> float:
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {kind_of(value)}")
    number = float(value)  # type: ignore[arg-type]
    if not abs(number) <= _LARGEST:  # torch.compile cannot trace math.isfinite
        raise ValueError(f"{name} must be finite, got {number}")
    return number


@lru_cache(maxsize=64)
def _representable(name: str, number: float, dtype: np.dtype[np.floating]) -> float:
    """Round a positive number to the dtype, unless that makes it 0 or infinite."""
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(number))
    if not 0 < rounded < math.inf:
        raise ValueError(f"{name}, {number:g}, is out of the range of {dtype.name}")
    return rounded


def _truncation(value: object) -> float:
    if is_number(value) and not float(value) > 0:  # type: ignore[arg-type]
        raise ValueError(f"truncate must be greater than 0, or math.inf, got {value}")
    return math.inf if value == math.inf else _finite("truncate", value)


def check_positive(name: str, value: object) -> float:
    """Return a number that is positive and finite; TypeError or ValueError for anything else."""
    number = _finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {number}")
    return number
