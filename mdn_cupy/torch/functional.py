"""Functions of the log-complement L."""

from __future__ import annotations

import torch
from torch import Tensor

from mdn_cupy.arrays import is_number
from mdn_cupy.torch import autograd, plain
from mdn_cupy.torch.checks import check_floating

__all__ = ["logit", "one_minus_exp"]

torch.fx.wrap("check_floating")  # one node of a graph that torch.fx traces


def one_minus_exp(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L), exact in value and gradient at both ends.

    Parameters
    ----------
    log_complement : Tensor
        L from `mdn_cupy.log_complement`.

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
    >>> mdn.torch.one_minus_exp(L).sum().backward()
    >>> L.grad  # −exp(L)
    tensor([-1.0000e+00, -2.0612e-09])
    """
    check_floating("log_complement", log_complement)
    return autograd.one_minus_exp(log_complement)


def logit(log_complement: Tensor, leak: float = 1e-4) -> Tensor:
    """log m − log(1 − m) from L: exact where m rounds to 1, finite where it is 0.

    Softmax or sigmoid of it may be trained by torch's own losses. A leak keeps it finite: one more
    vote of this confidence falls on every pixel, so that a map without
    votes is at log(leak), −9.2, and its gradient is bounded.

    Parameters
    ----------
    log_complement : Tensor
        L from `mdn_cupy.log_complement`.
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
    if not (is_number(leak) and 0 < leak < 1):
        raise ValueError(f"leak must be between 0 and 1, got {leak}")
    check_floating("log_complement", log_complement)
    # A tensor, since torch.compile can trace no math.log1p; on the CPU, as it is not waited for.
    leaked = torch.log1p(torch.full((), -leak, dtype=torch.float64, device="cpu"))
    evidence = -log_complement - leaked
    m = plain.one_minus_exp(-evidence) if plain.is_plain() else -torch.expm1(-evidence)
    return evidence + torch.log(m)
