"""What a torch user would write: votes as a `scatter_add` over windows, or as a dense product.

All are differentiable by autograd in the confidences and the offsets, on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.inputs import TRUNCATE, Case

__all__ = ["dense", "forward_pass", "has_cuda", "training_step", "windowed", "windowed_by_rows"]


def windowed(confidence: Tensor, offsets: Tensor, sigma: float, rule: str) -> Tensor:
    """Lay all windows out and add them up by one `scatter_add`.

    The noisy-or is a sum of log1p(−w·c).

    Parameters
    ----------
    confidence : Tensor [P, H, W]
        Below 1.
    offsets : Tensor [P, 2, H, W]
        In pixels.
    sigma : float
        Of all votes.
    rule : {'noisy_or', 'additive'}
        How they combine; the additive rule is the normalised one.

    Returns
    -------
    Tensor [P, H, W]
        The map.
    """
    rows, columns, w_y, w_x = _windows(confidence, offsets, sigma, rule)
    votes = w_y[..., :, None] * w_x[..., None, :]
    pixels = rows[..., :, None] + columns[..., None, :]
    total = _scatter(_zeros(confidence), pixels, votes, rule)
    return _map(total, confidence, rule)


def windowed_by_rows(confidence: Tensor, offsets: Tensor, sigma: float, rule: str) -> Tensor:
    """Add the windows up row by row, which keeps more of it in the caches.

    Parameters and the result are those of `windowed`.
    """
    rows, columns, w_y, w_x = _windows(confidence, offsets, sigma, rule)
    total = _zeros(confidence)
    for n in range(rows.shape[-1]):
        votes = w_y[..., n, None] * w_x
        total = _scatter(total, rows[..., n, None] + columns, votes, rule)
    return _map(total, confidence, rule)


def dense(confidence: Tensor, offsets: Tensor, sigma: float, rule: str) -> Tensor:
    """Weigh every pixel of the map, source row by source row, by a separable matrix product.

    The additive rule only; otherwise as `windowed`.
    """
    if rule != "additive":
        raise ValueError(f"a product of matrices adds votes, and does not know {rule!r}")
    _, height, width = confidence.shape
    x, y = _positions(offsets)
    strength = confidence / (2 * math.pi * sigma**2)
    total = torch.zeros_like(confidence)
    for i in range(height):
        g_x = _weights(torch.arange(width, device=x.device) - x[:, i, :, None], sigma)
        g_y = _weights(torch.arange(height, device=y.device) - y[:, i, :, None], sigma)
        total = torch.baddbmm(total, (g_y * strength[:, i, :, None]).mT, g_x)
    return total


def forward_pass(
    forward: Callable[..., Tensor], case: Case, rule: str, device: str = "cpu"
) -> Callable[[], Tensor]:
    """Prepare a forward pass without a graph."""
    confidence, offsets = _tensors(case, device)
    return lambda: forward(confidence, offsets, case.sigma, rule)


def training_step(
    forward: Callable[..., Tensor], case: Case, rule: str, device: str = "cpu"
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Prepare a forward and backward pass; it returns the gradients of confidence and offsets."""
    confidence, offsets = (x.requires_grad_() for x in _tensors(case, device))
    cotangent = torch.from_numpy(case.cotangent).to(device)

    def step() -> tuple[Tensor, Tensor]:
        m = forward(confidence, offsets, case.sigma, rule)
        to_confidence, to_offsets = torch.autograd.grad(m, (confidence, offsets), cotangent)
        return to_confidence, to_offsets

    return step


def has_cuda() -> bool:
    """Return whether torch can use a CUDA device here."""
    return torch.cuda.is_available()


def _tensors(case: Case, device: str) -> tuple[Tensor, Tensor]:
    confidence, offsets = (torch.from_numpy(x) for x in (case.confidence, case.offsets))
    return confidence.to(device), offsets.to(device)


def _positions(offsets: Tensor) -> tuple[Tensor, Tensor]:
    height, width = offsets.shape[-2:]
    x = torch.arange(width, device=offsets.device) + offsets[:, 0]
    y = torch.arange(height, device=offsets.device)[:, None] + offsets[:, 1]
    return x, y


def _weights(distance: Tensor, sigma: float) -> Tensor:
    inside = distance.detach().abs() <= TRUNCATE * sigma
    return torch.exp(-0.5 * (distance / sigma) ** 2) * inside


def _window(p: Tensor, sigma: float, size: int) -> tuple[Tensor, Tensor]:
    """Pixels around every p along one axis, and their weights: 0 beyond the window or the map."""
    reach = TRUNCATE * sigma
    first = (p.detach() - reach).ceil()
    count = int(((p.detach() + reach).floor() - first).max()) + 1
    pixels = first[..., None] + torch.arange(count, device=p.device)
    weight = _weights(pixels - p[..., None], sigma) * ((pixels >= 0) & (pixels < size))
    return pixels.clamp(0, size - 1).long(), weight


def _windows(
    confidence: Tensor, offsets: Tensor, sigma: float, rule: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First pixel of every window's rows, its columns, and the factors of its votes."""
    _, height, width = confidence.shape
    x, y = _positions(offsets)
    columns, w_x = _window(x, sigma, width)
    rows, w_y = _window(y, sigma, height)
    strength = confidence if rule == "noisy_or" else confidence / (2 * math.pi * sigma**2)
    return rows * width, columns, w_y * strength[..., None], w_x


def _zeros(confidence: Tensor) -> Tensor:
    return torch.zeros_like(confidence, requires_grad=False).flatten(1)


def _scatter(total: Tensor, pixels: Tensor, votes: Tensor, rule: str) -> Tensor:
    phi = torch.log1p(-votes) if rule == "noisy_or" else votes
    return total.scatter_add(1, pixels.flatten(1), phi.flatten(1))


def _map(total: Tensor, confidence: Tensor, rule: str) -> Tensor:
    total = total.view_as(confidence)
    return -torch.expm1(total) if rule == "noisy_or" else total
