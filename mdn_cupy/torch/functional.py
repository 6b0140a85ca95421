"""The voting functions for tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mdn_cupy.problem import Rule, VoteOptions
from mdn_cupy.torch.operator import accumulate

__all__ = ["additive", "complement", "logit", "noisy_or", "noisy_or_log_complement"]


def noisy_or(confidence: Tensor, offsets: Tensor, sigma: Tensor | float, **options: Any) -> Tensor:
    """Noisy-or vote map m, differentiable; arguments as in `mdn_cupy.noisy_or`.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> c = torch.full((1, 4, 4), 0.5, requires_grad=True)
    >>> m = mdn.torch.noisy_or(c, torch.zeros(1, 2, 4, 4), 1.0)
    >>> m.sum().backward()
    >>> c.grad.shape
    torch.Size([1, 4, 4])
    """
    return complement(noisy_or_log_complement(confidence, offsets, sigma, **options))


def noisy_or_log_complement(
    confidence: Tensor, offsets: Tensor, sigma: Tensor | float, **options: Any
) -> Tensor:
    """L = log(1 − m), differentiable; arguments as in `mdn_cupy.noisy_or`.

    It is exact where m rounds to 0 or 1; −L is the evidence, and `noisy_or_bce` takes it.
    """
    return accumulate(confidence, offsets, sigma, Rule.NOISY_OR, VoteOptions(**options))


def additive(
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    *,
    normalized: bool = True,
    **options: Any,
) -> Tensor:
    """Additive vote map s, differentiable; arguments as in `mdn_cupy.additive`."""
    rule = Rule.NORMALIZED if normalized else Rule.ADDITIVE
    return accumulate(confidence, offsets, sigma, rule, VoteOptions(**options))


def complement(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L), exact in value and gradient at both ends.

    −expm1(L) keeps a tiny m, but its derivative in torch, 1 + expm1(L), loses exp(L) where m is
    close to 1: here it is −exp(L) itself.
    """
    m: Tensor = _Complement.apply(log_complement)  # type: ignore[no-untyped-call]
    return m


class _Complement(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(log_complement: Tensor) -> Tensor:
        return 0 - torch.expm1(log_complement)  # and not −0 where nobody votes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        (log_complement,) = ctx.saved_tensors
        return -cotangent * torch.exp(log_complement)


def logit(log_complement: Tensor, leak: float = 1e-4) -> Tensor:
    """log m − log(1 − m) from L: exact where m rounds to 1, finite where it is 0.

    Softmax or sigmoid of it may be trained by torch's own losses. A noisy-or with a leak is what
    makes it finite: one more vote of this confidence falls on every pixel, so that a map without
    votes is at log(leak), −9.2, and its gradient is bounded.

    Parameters
    ----------
    log_complement : Tensor
        L from `noisy_or_log_complement`.
    leak : float
        Confidence of that vote, greater than 0.

    Returns
    -------
    Tensor
        Logits of the shape of L.

    Raises
    ------
    ValueError
        If the leak is not between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> mdn.torch.logit(torch.tensor([0.0, -5000.0]))  # of m = 0 and m = 1
    tensor([  -9.2102, 5000.0000])
    """
    if not 0 < leak < 1:
        raise ValueError(f"leak must be between 0 and 1, got {leak}")
    evidence = -log_complement - math.log1p(-leak)
    return evidence + torch.log(-torch.expm1(-evidence))
