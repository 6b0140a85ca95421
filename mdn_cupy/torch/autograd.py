"""The operators' gradients, and torch.func's transforms of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from mdn_cupy.torch import plain
from mdn_cupy.torch.batching import vmap_accumulate, vmap_gather
from mdn_cupy.torch.library import ACCUMULATE, GATHER, FieldTensors, OptionScalars

__all__ = ["accumulate", "one_minus_exp"]

# Where torch has these names no more, a call takes up to 40 and 10 µs longer.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_below_autograd: Callable[[], Any] = getattr(torch._C, "_AutoDispatchBelowAutograd", nullcontext)

_NO_FORWARD_MODE = (
    "forward-mode differentiation through mdn_cupy is not implemented; use reverse mode: "
    "backward(), torch.autograd.grad, torch.func.vjp or torch.func.jacrev"
)


def accumulate(fields: FieldTensors, scalars: OptionScalars) -> Tensor:
    """Sum φ of all votes: L of the noisy-or, or a sum; differentiable."""
    if plain.is_plain():
        return plain.total(*fields, scalars)
    total: Tensor = _apply(_Accumulate, fields, *scalars)
    return total


def one_minus_exp(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L), exact in value and gradient at both ends."""
    if plain.is_plain():
        return plain.one_minus_exp(log_complement)
    if torch.compiler.is_compiling():  # It would trace into a Function.
        small, large = 0 - torch.expm1(log_complement), 1 - torch.exp(log_complement)
        return torch.where(log_complement > -1, small, large)
    m: Tensor = _apply(_OneMinusExp, (log_complement,))
    return m


def _apply(function: Any, tensors: tuple[Tensor, ...], *rest: Any) -> Any:
    """Call a Function in the way that takes least time of those that serve its tensors.

    Its `apply` takes 40 µs where there is nothing to record, and 7 µs more with a `setup_context`,
    which only torch.func needs; the autograd of an operator takes 20 µs more to record a gradient.
    """
    if torch.compiler.is_compiling():  # It traces an operator, but would trace into a Function.
        _refuse_tangents(tensors)
        return function.forward(*tensors, *rest)
    if _transforms_active():
        return function.apply(*tensors, *rest)
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return function.record(*tensors, *rest)
    _refuse_tangents(tensors)
    with _below_autograd():
        return function.forward(*tensors, *rest)


def _refuse_tangents(tensors: tuple[Tensor, ...]) -> None:
    """Raise NotImplementedError in forward mode, in which an operator's tangents would be 0."""
    if any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise NotImplementedError(_NO_FORWARD_MODE)


def _record(function: Any) -> Any:
    """Give a Function `record`: its `apply` with the context as an argument of the forward."""

    class Recorded(function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            with _below_autograd():
                output = function.forward(*arguments)
            function.setup_context(ctx, arguments, output)
            return output

        setup_context = staticmethod(Function.setup_context)

    function.record = Recorded.apply
    return function


@_record
class _Accumulate(Function):
    """`ACCUMULATE` with its gradient; a Function, which torch.func needs (pytorch#168393)."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        total: Tensor = ACCUMULATE(*arguments)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.scalars = inputs[3:]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
        tensors = cotangent, *ctx.saved_tensors
        gradients = _apply(_Gather, tensors, *ctx.scalars, wanted)
        asked = (g if needed else None for g, needed in zip(gradients, wanted, strict=True))
        return (*asked, *(None for _ in ctx.scalars))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise NotImplementedError(_NO_FORWARD_MODE)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return vmap_accumulate(_Accumulate.apply)(info, in_dims, *arguments)


@_record
class _Gather(Function):
    """`GATHER`, whose own gradient raises where a second derivative would need it."""

    @staticmethod
    def forward(*arguments: Any) -> FieldTensors:
        gradients: FieldTensors = GATHER(*arguments)
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: FieldTensors) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> NoReturn:
        raise NotImplementedError(
            "second derivatives through mdn_cupy are not implemented; call backward() or "
            "torch.autograd.grad without create_graph, or detach the gradient"
        )

    jvp = _Accumulate.jvp

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return vmap_gather(_Gather.apply)(info, in_dims, *arguments)


@_record
class _OneMinusExp(Function):
    """m = −expm1(L), which keeps a tiny m.

    Its derivative in torch, 1 + expm1(L), loses exp(L) where m is close to 1: here it is −exp(L).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(log_complement: Tensor) -> Tensor:
        """Compute m."""
        return 0 - torch.expm1(log_complement)  # not −0 where nothing votes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep L."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        """Pull a cotangent of m back to L."""
        (log_complement,) = ctx.saved_tensors
        return -cotangent * torch.exp(log_complement)

    jvp = _Accumulate.jvp


for _operator, _function in ((ACCUMULATE, _Accumulate), (GATHER, _Gather)):
    torch.library.register_autograd(
        _operator.name(), _function.backward, setup_context=_function.setup_context
    )
torch.library.register_vmap(ACCUMULATE.name(), vmap_accumulate(ACCUMULATE))
torch.library.register_vmap(GATHER.name(), vmap_gather(GATHER))
