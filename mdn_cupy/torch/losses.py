"""Losses on vote maps."""

from __future__ import annotations

import torch
from torch import Tensor

from mdn_cupy.arrays import kind_of
from mdn_cupy.torch.checks import check_dense, check_device, check_floating
from mdn_cupy.torch.functional import one_minus_exp

__all__ = ["noisy_or_bce"]

_STEEPEST = 1e12  # slope of the cross-entropy where m is 0, as in torch's own


def noisy_or_bce(
    log_complement: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of a noisy-or map against a target, from its log-complement.

    −t·log(m) − (1 − t)·L, finite where m is exactly 0 or 1: the logarithm of m stops at that of the
    smallest normal number, and its slope 1/m is taken as 1/(m + 10⁻¹²). Half types are computed in
    float32, with a slope that is half of what their gradient can hold: 1/(m + 3·10⁻⁵) for float16.

    Parameters
    ----------
    log_complement : Tensor [..., Ho, Wo]
        L from `mdn_cupy.log_complement`; not m itself, of which the loss is NaN.
    target : Tensor
        Target probabilities t, broadcast against L.
    weight : Tensor, optional
        Weight of each pixel, broadcast against L.
    reduction : {'mean', 'sum', 'none'}
        As in torch's losses.

    Returns
    -------
    Tensor
        The loss; of the shape of L for 'none', and 0 for the mean of no pixels.

    Raises
    ------
    TypeError
        If an argument is not a dense tensor of real numbers or is on another device than L, or L
        is not floating.
    ValueError
        If a shape does not broadcast against that of L, or `reduction` is another word.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> mdn.torch.noisy_or_bce(torch.tensor([-5000.0]), torch.tensor([0.0]))
    tensor(5000.)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    check_floating("log_complement", log_complement)
    _check("target", target, log_complement)
    steepest = min(_STEEPEST, torch.finfo(log_complement.dtype).max / 2)
    dtype = torch.promote_types(log_complement.dtype, torch.float32)
    log_complement, target = log_complement.to(dtype), target.to(dtype)
    log_m = _log(one_minus_exp(log_complement), steepest)
    loss = -(target * log_m + (1 - target) * log_complement)
    if weight is not None:
        _check("weight", weight, log_complement)
        loss = weight * loss
    if reduction == "none":
        return loss
    # The mean of no pixels is 0: a batch without regions must not turn a network's loss to NaN.
    return loss.sum() / max(loss.numel(), 1) if reduction == "mean" else loss.sum()


def _check(name: str, value: Tensor, log_complement: Tensor) -> None:
    if not isinstance(value, Tensor) or value.is_complex():
        kind = value.dtype if isinstance(value, Tensor) else kind_of(value)
        raise TypeError(f"{name} must be a torch tensor of real numbers, got {kind}")
    check_dense(name, value)
    if value.ndim:
        check_device(name, value, "log_complement", log_complement.device)
    wanted = log_complement.shape
    sizes = zip(reversed(value.shape), reversed(wanted), strict=False)
    if value.ndim > len(wanted) or any(n not in (1, size) for n, size in sizes):
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not broadcast against the log-complement, "
            f"{tuple(wanted)}"
        )


def _log(m: Tensor, steepest: float) -> Tensor:
    """log(m) with a slope of at most so much."""
    sloped = torch.log(m + 1 / steepest)
    exact = torch.log(m.detach().clamp_min(torch.finfo(m.dtype).tiny))
    return sloped + (exact - sloped.detach())
