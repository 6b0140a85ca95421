"""Arguments -> one validated, frozen `VoteProblem`, the same for every rule, pass and backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from inspect import Parameter, Signature, signature
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypedDict, cast

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array, cast_to, is_number
from mdn_cupy.validation import (
    Pair,
    Shape,
    broadcast_leading,
    check_axis,
    check_flag,
    check_positive_or_inf,
    check_representable,
    check_shape,
    check_size,
    check_width,
    compute_dtype,
    floating_dtype,
    leading_axis,
    output_size,
    per_axis,
    shown_pair,
    sigma_leading,
    source_shape,
)

__all__ = [
    "Gradients",
    "ProblemSpec",
    "Rule",
    "RuleName",
    "VoteKwargs",
    "VoteOptions",
    "VoteProblem",
    "new_spec",
    "rule_of",
    "spec_of",
    "spelled_out",
    "vote_problem",
]

_FARTHEST = 37.0
"""Sigmas: weights beyond, below 10⁻²⁹⁶, change nothing, and float64 products with them might leave
the range. So a NaN does not show beyond either."""


class Rule(IntEnum):
    """The term φ(w·c) of a vote; the numbers are the kernels' template parameter."""

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


class VoteKwargs(TypedDict, total=False):
    """The options of `Votes` beside the fields, for annotations of functions that pass them on.

    Examples
    --------
    >>> from typing import Unpack
    >>> import mdn_cupy as mdn
    >>> def evidence(confidence, offsets, **options: Unpack[mdn.VoteKwargs]):
    ...     return -mdn.log_complement(confidence, offsets, 2.0, **options)
    """

    truncate: float
    stride: float | Sequence[float]
    origin: float | Sequence[float]
    output_shape: Sequence[int] | None
    aggregate: int | None
    deterministic: bool


@dataclass(frozen=True, kw_only=True)
class VoteOptions:
    """The options beside the fields, checked; see `mdn_cupy.Votes` for their meaning.

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
        put = object.__setattr__
        put(self, "truncate", check_positive_or_inf("truncate", self.truncate))
        put(self, "stride", per_axis("stride", self.stride, positive=True))
        put(self, "origin", per_axis("origin", self.origin))
        put(self, "output_shape", check_size(self.output_shape))
        put(self, "aggregate", check_axis(self.aggregate))
        put(self, "deterministic", check_flag("deterministic", self.deterministic))

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

_values_of = attrgetter(*OPTIONS)


def spelled_out(
    function: Callable[..., Any], model: Callable[..., Any] = VoteOptions, **changes: Any
) -> Signature:
    """Return the signature of a function with `**options`, for `help`: these by name.

    Parameters
    ----------
    function : callable
        What takes the options.
    model : callable
        What has them as its parameters.
    **changes
        Of these parameters: default=... where they are kept as they are.
    """
    own, keywords = signature(function), {"kind": Parameter.KEYWORD_ONLY, **changes}
    options = (each.replace(**keywords) for each in signature(model).parameters.values())
    return own.replace(parameters=[*[*own.parameters.values()][:-1], *options])


@dataclass(frozen=True)
class ProblemSpec:
    """What follows from the options and from the shapes and dtypes of the fields."""

    dtype: np.dtype[np.floating]  # float32 or float64
    source_shape: tuple[int, int]  # (H, W) of the fields
    batch: Shape  # the broadcast leading axes, the aggregated one included
    aggregate: int | None  # the axis of `batch` whose maps vote into one
    voters: int  # how many source planes vote into one output map
    maps: int  # how many output maps there are
    maps_shape: Shape  # the leading axes of the result: `batch` without the aggregated one
    output_shape: tuple[int, int]  # (Ho, Wo)
    result_shape: Shape  # of the vote maps: `maps_shape`, then (Ho, Wo)
    truncate: float  # at most 37: beyond, weights change nothing
    stride: Pair
    origin: Pair
    deterministic: bool
    saturation_floor: float  # least value of 1 − w·c: one ulp below one, 2⁻²⁴ or 2⁻⁵³
    given: tuple[Shape, Shape, Shape]  # the shapes of confidence, offsets and sigma as they came

    def check_rule(self, rule: Rule, sigma: Array | float) -> None:
        """Raise ValueError if a sigma that is a number is out of a rule's range."""
        if rule is not Rule.ADDITIVE or not is_number(sigma):
            return
        if 1 / (2 * math.pi) / sigma / sigma > float(np.finfo(self.dtype).max):
            raise ValueError(
                f"sigma, {sigma:g}, is so small that 1/(2πσ²) is out of the range of "
                f"{self.dtype.name}"
            )


@dataclass(frozen=True)
class VoteProblem(ProblemSpec):
    """One validated voting problem: the same for every rule, pass and backend.

    The three arrays have as many leading axes as `batch`; an axis of size 1 broadcasts. They are
    views of what the caller gave, of `dtype`, in whatever strides they came.
    """

    confidence: Array  # [*batch or 1s, H, W]
    offsets: Array  # [*batch or 1s, 2, H, W]: o_x, o_y in output pixels
    sigma: Array | float  # a number, or [*batch or 1s, H or 1, W or 1], in output pixels

    def check_map(self, name: str, array: Array) -> None:
        """Raise unless an argument has the shape of the vote map and a floating dtype."""
        check_shape(name, array, self.result_shape)
        floating_dtype(name, array)

    def as_given(self, gradients: Gradients) -> Gradients:
        """Reshape gradients of this problem's arrays to the caller's."""
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
    spec = spec_of(confidence, offsets, sigma, options)
    dtype, leading = spec.dtype, len(spec.batch)
    problem = object.__new__(VoteProblem)  # by its constructor it would take three times as long
    vars(problem).update(
        vars(spec),
        confidence=_align(cast_to(confidence, dtype), leading, 2),
        offsets=_align(cast_to(offsets, dtype), leading, 3),
        sigma=(
            check_width(cast(float, sigma), dtype)
            if is_number(sigma)
            else _align(cast_to(sigma, dtype), leading, 2)
        ),
    )
    return problem


def spec_of(
    confidence: Array, offsets: Array, sigma: Array | float, options: VoteOptions
) -> ProblemSpec:
    """Return the spec of a problem, kept from an earlier one of such fields and options.

    Of tensors it is asked for twice, by `mdn_cupy.Votes` and by the operator.
    """
    arrays: tuple[Any, ...] = (confidence, offsets, *(() if is_number(sigma) else (sigma,)))
    key = (*_values_of(options), *((x.shape, x.dtype) for x in arrays))
    spec = _specs.get(key)
    if spec is None:
        spec = new_spec(confidence, offsets, sigma, options)
        if len(_specs) >= _MOST_SPECS:
            _specs.clear()
        _specs[key] = spec
    return spec


_specs: dict[Any, ProblemSpec] = {}
_MOST_SPECS = 256


def new_spec(
    confidence: Array, offsets: Array, sigma: Array | float, options: VoteOptions
) -> ProblemSpec:
    """Check the fields' dtypes and shapes against each other and the options."""
    dtype = compute_dtype(confidence, offsets)
    grid = source_shape(confidence, offsets)
    leading = {"confidence": tuple(confidence.shape[:-2]), "offsets": tuple(offsets.shape[:-3])}
    axes: Shape = ()
    if not is_number(sigma):
        floating_dtype("sigma", sigma)
        axes = tuple(cast(Any, sigma).shape)
        leading["sigma"] = sigma_leading(axes, grid)
    batch = broadcast_leading(leading)
    aggregate = leading_axis(options.aggregate, batch)
    maps_shape = batch if aggregate is None else batch[:aggregate] + batch[aggregate + 1 :]
    stride, origin = cast(Pair, options.stride), cast(Pair, options.origin)
    output_shape = output_size(options.output_shape, grid, stride)
    return ProblemSpec(
        dtype=dtype,
        source_shape=grid,
        batch=batch,
        aggregate=aggregate,
        voters=1 if aggregate is None else batch[aggregate],
        maps=math.prod(maps_shape),
        maps_shape=maps_shape,
        output_shape=output_shape,
        result_shape=maps_shape + output_shape,
        truncate=check_representable("truncate", min(options.truncate, _FARTHEST), dtype),
        stride=stride,
        origin=origin,
        deterministic=options.deterministic,
        saturation_floor=float(np.finfo(dtype).epsneg),
        given=(tuple(confidence.shape), tuple(offsets.shape), axes),
    )


def _align(array: Array, leading: int, trailing: int) -> Array:
    """Prepend axes of size 1 until there are `leading` of them before the trailing ones."""
    missing = leading + trailing - array.ndim
    return array.reshape((1,) * missing + tuple(array.shape)) if missing else array
