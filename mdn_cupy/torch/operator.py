"""The custom operators: Σφ of all votes, and its pull-back.

On CPU tensors they run on the NumPy arrays that share their memory. On CUDA tensors, memory comes
from torch's allocator and launches go to torch's current stream of the tensor's device, so that
other devices, side streams, the backward thread and graph capture work as for torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from mdn_cupy.arrays import is_number
from mdn_cupy.backends import module
from mdn_cupy.problem import (
    Gradients,
    Rule,
    Shape,
    VoteOptions,
    VoteProblem,
    floating_dtype,
    vote_problem,
)

__all__ = ["accumulate", "additive_vjp", "noisy_or_vjp"]

Fields = tuple[Tensor, Tensor, Tensor]
"""Confidence [..., H, W], offsets [..., 2, H, W] and sigma, of one floating dtype."""


def accumulate(
    confidence: Tensor, offsets: Tensor, sigma: Tensor | float, rule: Rule, options: VoteOptions
) -> Tensor:
    """Σφ of all votes: L of the noisy-or, or the additive sum; differentiable.

    Half types are computed in float32; sigma is cast to the dtype of the fields.
    """
    arguments = _arguments(confidence, offsets, sigma)
    _refuse_tangents(*arguments)
    result: Tensor = _accumulate(*arguments, *_scalars(rule, options))
    return result


def _refuse_tangents(*tensors: Tensor) -> None:
    """Forward-mode differentiation through a custom operator would silently give zeros."""
    if any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise NotImplementedError(
            "forward-mode differentiation through mdn_cupy is not implemented; use reverse mode: "
            "backward(), torch.autograd.grad or torch.func.vjp"
        )


def noisy_or_vjp(
    cotangent: Tensor,
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    options: VoteOptions,
    *,
    log_complement: Tensor | None = None,
) -> Gradients:
    """Pull a cotangent of m back; `mdn_cupy.noisy_or_vjp` for tensors."""
    arguments = _detached(confidence, offsets, sigma)
    if log_complement is None:
        log_complement = _accumulate(*arguments, *_scalars(Rule.NOISY_OR, options))
    else:
        log_complement = _map_like("log_complement", log_complement, arguments, options)
    cotangent = -_map_like("cotangent", cotangent, arguments, options) * log_complement.exp()
    return _vjp(cotangent, arguments, Rule.NOISY_OR, options)


def additive_vjp(
    cotangent: Tensor,
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    rule: Rule,
    options: VoteOptions,
) -> Gradients:
    """Pull a cotangent of s back; `mdn_cupy.additive_vjp` for tensors."""
    arguments = _detached(confidence, offsets, sigma)
    return _vjp(_map_like("cotangent", cotangent, arguments, options), arguments, rule, options)


def _vjp(cotangent: Tensor, arguments: Fields, rule: Rule, options: VoteOptions) -> Gradients:
    wanted = [True, True, True]
    return Gradients(*_gather(cotangent, *arguments, *_scalars(rule, options), wanted))


def _detached(confidence: Tensor, offsets: Tensor, sigma: Tensor | float) -> Fields:
    c, o, s = (x.detach() for x in _arguments(confidence, offsets, sigma))
    return c, o, s


def _map_like(name: str, value: Tensor, arguments: Fields, options: VoteOptions) -> Tensor:
    """Check that an argument is a tensor of the vote map's shape, and bring it to its dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor like the fields, got {type(value).__name__}"
        )
    problem = _fake_problem(*arguments, *_scalars(Rule.NOISY_OR, options))
    problem.check_map(name, value.shape)
    return value.detach().to(arguments[0].dtype)


def _arguments(confidence: Tensor, offsets: Tensor, sigma: Tensor | float) -> Fields:
    """Check that the fields are tensors of one device and bring them to one dtype."""
    for name, value in (("confidence", confidence), ("offsets", offsets), ("sigma", sigma)):
        if not isinstance(value, Tensor) and not (name == "sigma" and is_number(value)):
            raise TypeError(
                f"{name} must be a torch tensor like the other fields, got {type(value).__name__}; "
                "torch.as_tensor(...) shares the memory of a NumPy array"
            )
    if not isinstance(sigma, Tensor):
        # On the CPU: a number that travelled to the GPU would have to be waited for.
        sigma = torch.tensor(float(sigma), dtype=torch.float64)
    elif sigma.ndim and sigma.device != confidence.device:
        raise TypeError(f"sigma is on {sigma.device}, confidence on {confidence.device}")
    if offsets.device != confidence.device:
        raise TypeError(f"offsets are on {offsets.device}, confidence on {confidence.device}")
    for name, tensor in (("confidence", confidence), ("offsets", offsets), ("sigma", sigma)):
        floating_dtype(name, tensor)
    dtype = torch.promote_types(torch.promote_types(confidence.dtype, offsets.dtype), torch.float32)
    return confidence.to(dtype), offsets.to(dtype), sigma.to(dtype)


def _scalars(rule: Rule, options: VoteOptions) -> tuple[Any, ...]:
    """The operator's arguments that are no tensors."""
    return (
        int(rule),
        options.truncate,
        options.stride,
        options.origin,
        options.output_shape,
        options.aggregate,
        options.deterministic,
    )


def _problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, rule: int, *scalars: Any
) -> VoteProblem:
    """The problem of an operator's arguments; CPU tensors as the NumPy arrays they share."""
    arrays = [_share(x) for x in (confidence, offsets)]
    width = float(sigma) if sigma.ndim == 0 and sigma.device.type == "cpu" else _share(sigma)
    return vote_problem(arrays[0], arrays[1], width, Rule(rule), VoteOptions(*scalars))


def _share(tensor: Tensor) -> Any:
    tensor = tensor.detach().resolve_neg()
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


class _TorchExecutor:
    """Torch's memory and current stream of a device; see `mdn_cupy.cuda.CupyExecutor`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=self._device)

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
        return torch.zeros(shape, dtype=getattr(torch, dtype.name), device=self._device)

    def operand(self, tensor: Tensor) -> Any:
        return module("cuda").Operand(tensor.data_ptr(), tensor.stride())

    def total(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        return tensor.sum(tuple(axes), keepdim=True)

    def run(self, launch: Any) -> None:
        with torch.cuda.device(self._device):
            module("cuda").launch(launch, torch.cuda.current_stream(self._device))


def _fake_problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, rule: int, *scalars: Any
) -> VoteProblem:
    """The same from shapes alone, for torch's tracing."""
    width = 1.0 if sigma.ndim == 0 else sigma
    return vote_problem(confidence, offsets, width, Rule(rule), VoteOptions(*scalars))


_FIELDS = "Tensor confidence, Tensor offsets, Tensor sigma"
_SCALARS = (
    "int rule, float truncate, float stride, float origin, int[]? output_shape, int? aggregate, "
    "bool deterministic"
)


@torch.library.custom_op(
    "mdn_cupy::accumulate", mutates_args=(), schema=f"({_FIELDS}, {_SCALARS}) -> Tensor"
)
def _accumulate(confidence: Tensor, offsets: Tensor, sigma: Tensor, *scalars: Any) -> Tensor:
    problem = _problem(confidence, offsets, sigma, *scalars)
    if confidence.is_cuda:
        executor = _TorchExecutor(confidence.device)
        on_device: Tensor = module("cuda").accumulate(problem, executor)
        return on_device
    return torch.from_numpy(module("cpu").accumulate(problem))


def _fake_accumulate(confidence: Tensor, offsets: Tensor, sigma: Tensor, *scalars: Any) -> Tensor:
    problem = _fake_problem(confidence, offsets, sigma, *scalars)
    return confidence.new_empty(problem.result_shape)


@torch.library.custom_op(
    "mdn_cupy::gather",
    mutates_args=(),
    schema=f"(Tensor cotangent, {_FIELDS}, {_SCALARS}, bool[] wanted) -> (Tensor, Tensor, Tensor)",
)
def _gather(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *scalars, wanted = rest
    problem = _problem(confidence, offsets, sigma, *scalars)
    wanted = (wanted[0], wanted[1], wanted[2])
    gradients: Gradients
    if confidence.is_cuda:
        executor = _TorchExecutor(confidence.device)
        gradients = module("cuda").gather(problem, cotangent, wanted, executor)
    else:
        found = module("cpu").gather(problem, _share(cotangent), wanted)
        gradients = Gradients(*(None if g is None else torch.from_numpy(g) for g in found))
    shaped = problem.as_given(gradients)
    c, o, s = (confidence.new_empty(0) if g is None else g for g in shaped)
    return c, o, s.to(sigma.device)


def _fake_gather(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    c, o, s = (
        torch.empty_like(x, memory_format=torch.contiguous_format) if asked else x.new_empty(0)
        for x, asked in zip((confidence, offsets, sigma), rest[-1], strict=True)
    )
    return c, o, s


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.scalars = inputs[3:]


def _backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
    gradients = _gather(cotangent, *ctx.saved_tensors, *ctx.scalars, wanted)
    asked = (g if needed else None for g, needed in zip(gradients, wanted, strict=True))
    return (*asked, *(None for _ in ctx.scalars))


torch.library.register_fake("mdn_cupy::accumulate", _fake_accumulate)
torch.library.register_fake("mdn_cupy::gather", _fake_gather)
torch.library.register_autograd("mdn_cupy::accumulate", _backward, setup_context=_setup_context)
