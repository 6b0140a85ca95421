"""The operators that torch knows: mdn_cupy::accumulate, Σφ of all votes, and mdn_cupy::gather.

On CPU tensors they run on the NumPy arrays that share their memory. On CUDA tensors, memory comes
from torch's allocator and launches go to torch's current stream of the tensor's device, so that
other devices, side streams, the backward thread and graph capture work as for torch's own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from mdn_cupy.backend import module
from mdn_cupy.problem import (
    OPTIONS,
    Rule,
    VoteOptions,
    VoteProblem,
    new_spec,
    spec_of,
    vote_problem,
)
from mdn_cupy.torch.checks import is_jit_tracing
from mdn_cupy.validation import Pair, Shape

__all__ = [
    "ACCUMULATE",
    "GATHER",
    "FieldTensors",
    "OptionScalars",
    "as_tensor",
    "backend_of",
    "map_shape",
    "map_size",
    "problem_of",
    "scalars",
    "share",
]

FieldTensors = tuple[Tensor, Tensor, Tensor]
"""Confidence [..., H, W], offsets [..., 2, H, W] and sigma, of one floating dtype."""


class OptionScalars(NamedTuple):
    """The operators' arguments that are no tensors: the rule, and `VoteOptions`; as `_SCALARS`."""

    rule: int
    truncate: float
    stride: Sequence[float]
    origin: Sequence[float]
    output_shape: Sequence[int] | None
    aggregate: int | None
    deterministic: bool

    @property
    def options(self) -> VoteOptions:
        """The options, checked."""
        return VoteOptions(**{name: getattr(self, name) for name in OPTIONS})


_FIELDS = "Tensor confidence, Tensor offsets, Tensor sigma"
_SCALARS = (
    "int rule, float truncate, float[2] stride, float[2] origin, SymInt[]? output_shape, "
    "int? aggregate, bool deterministic"
)
_RESULTS = "(Tensor, Tensor, Tensor)"


def _define(name: str, schema: str) -> Any:
    torch.library.define(f"mdn_cupy::{name}", schema, tags=torch.Tag.pt2_compliant_tag)
    return getattr(torch.ops.mdn_cupy, name).default


ACCUMULATE = _define("accumulate", f"({_FIELDS}, {_SCALARS}) -> Tensor")
"""(confidence, offsets, sigma, *scalars) to Σφ."""

GATHER = _define(
    "gather", f"(Tensor cotangent, {_FIELDS}, {_SCALARS}, bool[] wanted) -> {_RESULTS}"
)
"""(cotangent, confidence, offsets, sigma, *scalars, wanted) to the gradients; empty if unwanted."""


def scalars(rule: Rule, options: VoteOptions) -> OptionScalars:
    """Return the operators' arguments that are no tensors."""
    return OptionScalars(
        int(rule),
        options.truncate,
        cast(Pair, options.stride),
        cast(Pair, options.origin),
        options.output_shape,
        options.aggregate,
        options.deterministic,
    )


@torch.library.impl("mdn_cupy::accumulate", ("cpu", "cuda"))
def _accumulate(confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any) -> Tensor:
    problem, rule = _problem(confidence, offsets, sigma, *rest)
    backend, options = backend_of(confidence)
    return as_tensor(backend.accumulate(problem, rule, **options))


@torch.library.impl("mdn_cupy::gather", ("cpu", "cuda"))
def _gather(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> FieldTensors:
    problem, rule = _problem(confidence, offsets, sigma, *rest[:-1])
    backend, options = backend_of(confidence)
    found = backend.gather(problem, rule, share(cotangent), tuple(rest[-1]), **options)
    c, o, s = (confidence.new_empty(0) if g is None else as_tensor(g) for g in found)
    return c, o, s.to(sigma.device)  # a number's, which stays on the CPU


def problem_of(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, options: VoteOptions
) -> VoteProblem:
    """Return tensors as a problem, those on the CPU as the NumPy arrays they share."""
    return vote_problem(share(confidence), share(offsets), _width(sigma, confidence), options)


def _problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> tuple[VoteProblem, Rule]:
    """Return an operator's arguments as a problem and a rule."""
    options = _options(*[tuple(each) if isinstance(each, list) else each for each in rest[1:]])
    return problem_of(confidence, offsets, sigma, options), Rule(rest[0])


@lru_cache(maxsize=64)
def _options(*values: Any) -> VoteOptions:
    """Check options once: those of `mdn_cupy.Votes` come again with each of its operators."""
    return VoteOptions(**dict(zip(OPTIONS, values, strict=True)))


def _width(sigma: Tensor, fields: Tensor) -> Any:
    """Sigma as a number if it has no dimensions and is a width, else as an array of the fields'."""
    if sigma.ndim == 0 and sigma.is_cpu:
        width = float(sigma)
        if 0 < width < math.inf:
            return width
        sigma = sigma.to(fields.device)  # A tensor's value raises nothing: it casts no votes.
    return share(sigma)


def share(tensor: Tensor) -> Any:
    """A CPU tensor as the array that shares its memory; any other as it is, its sign resolved."""
    if tensor.is_cpu:
        return tensor.numpy(force=True)
    return tensor.detach().resolve_neg()


def as_tensor(array: Any) -> Tensor:
    """Return what a backend made of such arrays: an array as the tensor that shares its memory."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def backend_of(tensor: Tensor) -> tuple[ModuleType, dict[str, Any]]:
    """Return the backend for what `share` makes of a tensor, and the options that it needs."""
    if tensor.is_cpu:
        return module("cpu"), {}
    return module("cuda"), {"executor": _Executor(tensor.device)}


class _Executor:
    """Torch's memory and current stream of a device; see `mdn_cupy.cuda.CupyExecutor`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
        """Return a new tensor."""
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=self._device)

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
        """Return a new tensor of zeros."""
        return torch.zeros(shape, dtype=getattr(torch, dtype.name), device=self._device)

    def operand(self, tensor: Tensor) -> Any:
        """Return the address and the strides of a tensor."""
        return module("cuda").Operand(tensor.data_ptr(), tensor.stride())

    def total(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """Sum over axes."""
        return tensor.sum(tuple(axes), keepdim=True)

    def run(self, launch: Any) -> None:
        """Queue a launch."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream(self._device).cuda_stream
            module("cuda").launch(launch, SimpleNamespace(ptr=stream))


# Tracing: the same from shapes alone


def map_shape(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, scalars: OptionScalars
) -> tuple[int, ...]:
    """Return the shape [..., Ho, Wo] of the map; what has known sizes is checked."""
    leading = (confidence.shape[:-2], offsets.shape[:-3], sigma.shape[:-2])
    maps = list(torch.broadcast_shapes(*leading))
    aggregate = scalars.aggregate
    if aggregate is not None:
        del maps[aggregate + 2 if aggregate < 0 else aggregate]
    return (*maps, *map_size(confidence, offsets, sigma, scalars))


def map_size(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, scalars: OptionScalars
) -> Sequence[int]:
    """Return (Ho, Wo) of the map; what has known sizes is checked."""
    width = 1.0 if sigma.ndim == 0 else sigma
    if is_jit_tracing():
        with warnings.catch_warnings():  # that sizes become constants: here alone
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            new_spec(confidence, offsets, width, scalars.options)
    elif not torch.compiler.is_dynamo_compiling():
        sizes = (*confidence.shape, *offsets.shape, *sigma.shape, *(scalars.output_shape or ()))
        if not any(isinstance(size, torch.SymInt) for size in sizes):
            return spec_of(confidence, offsets, width, scalars.options).output_shape
    if scalars.output_shape is not None:
        return tuple(scalars.output_shape)
    steps = zip(confidence.shape[-2:], scalars.stride, strict=True)
    return tuple(_traced_size(n, step) for n, step in steps)


def _traced_size(n: Any, stride: float) -> Any:
    """Size of the map along an axis of n sources, where n may be a symbol or a tensor."""
    if type(n) is int and not n:
        return 0
    if stride == int(stride):
        return int(stride) * (n - 1) + 1
    last = stride * (n - 1)
    return (last.long() if isinstance(last, Tensor) else torch.sym_int(last)) + 1


def _fake_accumulate(confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any) -> Tensor:
    return confidence.new_empty(map_shape(confidence, offsets, sigma, OptionScalars(*rest)))


def _fake_gather(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> FieldTensors:
    c, o, s = (
        torch.empty_like(x, memory_format=torch.contiguous_format) if asked else x.new_empty(0)
        for x, asked in zip((confidence, offsets, sigma), rest[-1], strict=True)
    )
    return c, o, s


torch.library.register_fake(ACCUMULATE.name(), _fake_accumulate)
torch.library.register_fake(GATHER.name(), _fake_gather)
