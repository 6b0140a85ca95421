"""Σφ of all votes for tensors, and its pull-back: arguments checked and brought to one dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mdn_cupy.arrays import is_number, kind_of
from mdn_cupy.problem import (
    Gradients,
    Rule,
    VoteOptions,
    check_positive,
    check_width,
    compute_dtype,
    floating_dtype,
)
from mdn_cupy.torch.autograd import sum_of_terms
from mdn_cupy.torch.checks import FLOATING, check_dense, check_device
from mdn_cupy.torch.library import ACCUMULATE, GATHER, Fields, fake_problem, scalars

__all__ = ["accumulate", "additive_vjp", "noisy_or_vjp"]


def accumulate(
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    rule: Rule,
    options: VoteOptions,
    output_shape: Sequence[int] | None = None,
) -> Tensor:
    """Σφ of all votes: L of the noisy-or, or the additive sum; differentiable.

    Half types are computed in float32; sigma is cast to the dtype of the fields. `output_shape`, if
    given, takes the place of that of the options.
    """
    arguments = _arguments(confidence, offsets, sigma, rule)
    return sum_of_terms(arguments, scalars(rule, options, output_shape))


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
    arguments = _detached(confidence, offsets, sigma, Rule.NOISY_OR)
    if log_complement is None:
        log_complement = ACCUMULATE(*arguments, *scalars(Rule.NOISY_OR, options))
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
    arguments = _detached(confidence, offsets, sigma, rule)
    return _vjp(_map_like("cotangent", cotangent, arguments, options), arguments, rule, options)


def _vjp(cotangent: Tensor, arguments: Fields, rule: Rule, options: VoteOptions) -> Gradients:
    wanted = [True, True, True]
    return Gradients(*GATHER(cotangent, *arguments, *scalars(rule, options), wanted))


def _detached(confidence: Tensor, offsets: Tensor, sigma: Tensor | float, rule: Rule) -> Fields:
    c, o, s = (x.detach() for x in _arguments(confidence, offsets, sigma, rule))
    return c, o, s


def _map_like(name: str, value: Tensor, arguments: Fields, options: VoteOptions) -> Tensor:
    """Check that an argument is a tensor of the vote map's shape, and bring it to its dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor like the fields, got {kind_of(value)}")
    problem = fake_problem(*arguments, *scalars(Rule.NOISY_OR, options))
    problem.check_map(name, value)
    check_dense(name, value)
    check_device(name, value, "confidence", arguments[0].device)
    return value.detach().to(arguments[0].dtype)


def _arguments(confidence: Tensor, offsets: Tensor, sigma: Tensor | float, rule: Rule) -> Fields:
    """Check that the fields are tensors of one device and bring them to one dtype."""
    for name, value in (("confidence", confidence), ("offsets", offsets), ("sigma", sigma)):
        if isinstance(value, Tensor):
            _check(name, value, confidence.device)
        elif name == "sigma" and not is_number(value):
            raise TypeError(
                f"sigma must be a number or a torch tensor, got {kind_of(value)}; "
                "torch.as_tensor(...) makes one"
            )
        elif name != "sigma":
            raise TypeError(
                f"{name} must be a torch tensor like the other fields, got {kind_of(value)}; "
                "torch.as_tensor(...) shares the memory of a NumPy array"
            )
    dtype = torch.promote_types(torch.promote_types(confidence.dtype, offsets.dtype), torch.float32)
    if isinstance(sigma, Tensor):
        sigma = sigma.to(dtype)
    else:
        if torch.compiler.is_compiling():  # Rounding would make a constant of it.
            check_positive("sigma", sigma)
        else:
            check_width(sigma, rule, compute_dtype(confidence, offsets))
        # On the CPU: a number that travelled to the GPU would have to be waited for.
        sigma = torch.full((), float(sigma), dtype=dtype, device="cpu")
    return confidence.to(dtype), offsets.to(dtype), sigma


def _check(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.dtype not in FLOATING:
        floating_dtype(name, tensor)  # which says what is wrong
    check_dense(name, tensor)
    if name != "sigma" or tensor.ndim:
        check_device(name, tensor, "confidence", device)
