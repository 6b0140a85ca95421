"""The voting functions for tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mdn_cupy.problem import Rule, VoteOptions
from mdn_cupy.torch.autograd import one_minus_exp
from mdn_cupy.torch.checks import check_floating
from mdn_cupy.torch.operator import accumulate
from mdn_cupy.torch.plain import is_plain

__all__ = ["additive", "complement", "logit", "noisy_or", "noisy_or_log_complement"]

for _name in ("accumulate", "check_floating", "one_minus_exp"):
    torch.fx.wrap(_name)  # one node of a graph that torch.fx traces


def noisy_or(
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    *,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Tensor:
    """Combine displaced votes by the noisy-or rule; differentiable.

    Parameters
    ----------
    confidence : Tensor [..., H, W]
        Confidences c in [0, 1]. Half types are computed in float32.
    offsets : Tensor [..., 2, H, W]
        Offsets (o_x, o_y), in output pixels.
    sigma : float or Tensor
        Width σ of the Gaussian, in output pixels; a tensor broadcasts against `confidence`. A
        number must be greater than 0; where a tensor of any number of dimensions is not, or is NaN,
        no vote is cast.
    truncate, stride, origin, output_shape, aggregate, deterministic
        As in `mdn_cupy.noisy_or`.

    Returns
    -------
    Tensor [..., Ho, Wo]
        The vote map m; float64 if a field is, else float32.

    Raises
    ------
    TypeError
        If an argument has the wrong type or dtype, or is on another device than the others.
    ValueError
        If a shape or a scalar does not fit.
    NotImplementedError
        If a second derivative, or one in forward mode, is asked for.

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
    options = VoteOptions(truncate, stride, origin, None, aggregate, deterministic)
    return complement(accumulate(confidence, offsets, sigma, Rule.NOISY_OR, options, output_shape))


def noisy_or_log_complement(
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    *,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Tensor:
    """L = log(1 − m) of the noisy-or, exact where m rounds to 0 or 1; differentiable.

    −L is the evidence, and `noisy_or_bce` and `logit` take L.

    Parameters
    ----------
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `noisy_or`.

    Returns
    -------
    Tensor [..., Ho, Wo]
        The log-complement; float64 if a field is, else float32.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As in `noisy_or`.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> saturated = torch.ones(1, 1), torch.zeros(2, 1, 1)  # one vote, of confidence 1
    >>> mdn.torch.noisy_or_log_complement(*saturated, 1.0)  # log 2⁻²⁴
    tensor([[-16.6355]])
    """
    options = VoteOptions(truncate, stride, origin, None, aggregate, deterministic)
    return accumulate(confidence, offsets, sigma, Rule.NOISY_OR, options, output_shape)


def additive(
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    *,
    normalized: bool = True,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Tensor:
    """Combine displaced votes by summation; differentiable.

    Parameters
    ----------
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `noisy_or`.
    normalized : bool
        Scale every vote by its own 1/(2πσ²), so that its mass is c.

    Returns
    -------
    Tensor [..., Ho, Wo]
        The vote map s; float64 if a field is, else float32.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As in `noisy_or`.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> agreeing = torch.full((1, 2), 0.75), torch.tensor([[[0.0, -1.0]], [[0.0, 0.0]]])
    >>> mdn.torch.additive(*agreeing, 0.2, normalized=False)  # both vote for the first pixel
    tensor([[1.5000, 0.0000]])
    """
    options = VoteOptions(truncate, stride, origin, None, aggregate, deterministic)
    rule = Rule.ADDITIVE if normalized else Rule.PLAIN_SUM
    return accumulate(confidence, offsets, sigma, rule, options, output_shape)


def complement(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L), exact in value and gradient at both ends.

    Parameters
    ----------
    log_complement : Tensor
        L from `noisy_or_log_complement`.

    Returns
    -------
    Tensor
        The map m, of the shape of L.

    Raises
    ------
    TypeError
        If L is not a dense tensor of a floating dtype.
    NotImplementedError
        If a derivative in forward mode is asked for.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> L = torch.tensor([-1e-20, -20.0], requires_grad=True)
    >>> mdn.torch.complement(L).sum().backward()
    >>> L.grad  # −exp(L)
    tensor([-1.0000e+00, -2.0612e-09])
    """
    check_floating("log_complement", log_complement)
    return one_minus_exp(log_complement)


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
    TypeError
        If L is not a dense tensor of a floating dtype.
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
    check_floating("log_complement", log_complement)
    # A tensor, since torch.compile can trace no math.log1p; on the CPU, as it is not waited for.
    leaked = torch.log1p(torch.full((), -leak, dtype=torch.float64, device="cpu"))
    evidence = -log_complement - leaked
    m = one_minus_exp(-evidence) if is_plain() else -torch.expm1(-evidence)
    return evidence + torch.log(m)
