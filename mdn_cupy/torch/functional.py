"""The voting functions for tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mdn_cupy.problem import Rule, VoteOptions
from mdn_cupy.torch.operator import accumulate

__all__ = ["additive", "complement", "noisy_or", "noisy_or_log_complement"]


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

    −expm1(L) keeps a tiny m; its derivative in torch, 1 + expm1(L), loses exp(L) where m is close
    to 1, and 1 − exp(L) does not. Each is used where it is exact.
    """
    near_zero = log_complement > -0.5
    return torch.where(
        near_zero,
        0 - torch.expm1(torch.where(near_zero, log_complement, 0)),
        1 - torch.exp(torch.where(near_zero, -1, log_complement)),
    )
