"""The votes in plain torch operations, for programs that run without this library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mdn_cupy.problem import Rule
from mdn_cupy.torch.checks import is_jit_tracing
from mdn_cupy.torch.library import OptionScalars, map_size

__all__ = ["is_plain", "one_minus_exp", "plain_operators", "total"]

_requests = 0  # contexts that are open; a global, which torch.compile can read and guard


@contextmanager
def plain_operators() -> Iterator[None]:
    """Vote with torch's own operations inside this context, to export what other runtimes load.

    `torch.jit.trace` and `torch.onnx.export` do so without it; with `torch.export` it makes a
    program that has no operator of this library. The maps are those of the operator to rounding.
    Every source is weighed against every pixel: a vote takes H·W·Ho·Wo numbers of memory for each
    map, aggregated ones included, so vote without it wherever this library can be installed. It is
    in force for all threads.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> layer = mdn.torch.MassDisplacement(sigma=1.5, stride=2)
    >>> fields = torch.rand(3, 4, 5), torch.randn(3, 2, 4, 5)
    >>> with mdn.torch.plain_operators():
    ...     program = torch.export.export(layer, fields)
    >>> "mdn_cupy" in str(program.graph)
    False
    >>> torch.allclose(program.module()(*fields), layer(*fields), atol=1e-5)
    True
    """
    global _requests
    _requests += 1
    try:
        yield
    finally:
        _requests -= 1


def is_plain() -> bool:
    """Whether to vote with torch's own operations: on request, and while torch exports."""
    if _requests > 0 or is_jit_tracing():
        return True
    # The first for its time: asking for the other takes 1 µs.
    return torch.compiler.is_compiling() and torch.onnx.is_in_onnx_export()


def total(confidence: Tensor, offsets: Tensor, sigma: Tensor, scalars: OptionScalars) -> Tensor:
    """Compute Σφ of all votes, as the operator `ACCUMULATE` does."""
    stride, origin = scalars.stride, scalars.origin
    sigma = sigma[..., None]
    is_width = sigma > 0  # false for NaN
    sigma = torch.where(is_width, sigma, 1)
    reach = torch.where(is_width, scalars.truncate * sigma, -1)

    def along(axis: int, size: Any) -> tuple[Tensor, Tensor]:
        """Weights, and which pixels are in the window: [..., H, W, size]."""
        index = torch.arange(confidence.shape[-1 - axis], **_like(confidence))
        index = index[:, None] if axis else index
        position = (origin[1 - axis] + stride[1 - axis] * index) + offsets[..., axis, :, :]
        distance = torch.arange(size, **_like(confidence)) - position[..., None]
        inside = (distance.abs() <= reach) & (distance.abs() < math.inf)  # nowhere if it is NaN
        distance = torch.where(inside, distance, 0)
        return torch.exp(-(distance**2) / (2 * sigma**2)), inside

    height, width = map_size(confidence, offsets, sigma[..., 0], scalars)
    (weight_x, inside_x), (weight_y, inside_y) = along(0, width), along(1, height)
    inside = inside_y[..., :, None] & inside_x[..., None, :]
    weight = weight_y[..., :, None] * weight_x[..., None, :]
    votes = torch.where(inside, confidence[..., None, None] * weight, 0)
    if scalars.rule == Rule.NOISY_OR:
        votes = torch.log1p(-votes.clamp(max=1 - torch.finfo(votes.dtype).eps / 2))
    elif scalars.rule == Rule.ADDITIVE:
        votes = votes / (2 * math.pi * sigma[..., None] ** 2)
    votes = votes.sum((-4, -3))
    return votes if scalars.aggregate is None else votes.sum(scalars.aggregate)


def one_minus_exp(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L) by the hyperbolic tangent: ONNX has no expm1."""
    t = torch.tanh(log_complement / 2)
    return 0 - 2 * t / (1 - t)  # not −0 where nothing votes


def _like(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "device": tensor.device}
