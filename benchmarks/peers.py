"""Ours, and other implementations of the same maps, to measure against.

Those that need torch are in `torch_peers`. All are compared with `mdn_cupy.reference` before they
are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.inputs import TRUNCATE, Case
from mdn_cupy import functional, reference
from mdn_cupy.arrays import to_numpy

__all__ = [
    "GRADIENT_TOLERANCE",
    "MAP_TOLERANCE",
    "OURS",
    "Peer",
    "RuleName",
    "bincount",
    "check",
    "has_torch",
    "hold",
    "peers",
]

RuleName = Literal["noisy_or", "additive"]
"""The additive rule is the normalised one."""

_BOTH: tuple[RuleName, ...] = ("noisy_or", "additive")
MAP_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4  # in float32


@dataclass(frozen=True)
class Peer:
    """A way from fields to maps.

    Attributes
    ----------
    name : str
        For tables.
    vote : callable
        (confidence, offsets, sigma, rule) to maps [P, H, W]: confidence [P, H, W] and offsets
        [P, 2, H, W] as NumPy arrays or as tensors.
    takes_arrays, takes_tensors : bool
        Which of them; what takes tensors can be trained through.
    rules : tuple of str
        Those it knows.
    """

    name: str
    vote: Callable[[Any, Any, float, RuleName], Any]
    takes_arrays: bool
    takes_tensors: bool
    rules: tuple[RuleName, ...] = _BOTH

    def forward(self, case: Case, rule: RuleName, device: str = "cpu") -> Callable[[], Any]:
        """Prepare a forward pass: on NumPy arrays if it takes them, else on tensors."""
        if self.takes_arrays and device == "cpu":
            return lambda: self.vote(case.confidence, case.offsets, case.sigma, rule)
        from benchmarks import torch_peers

        return torch_peers.forward_pass(self.vote, case, rule, device)

    def training(self, case: Case, rule: RuleName, device: str = "cpu") -> Callable[[], Any]:
        """Prepare a forward and backward pass through torch: it returns two gradients."""
        from benchmarks import torch_peers

        return torch_peers.training_step(self.vote, case, rule, device)


def _ours(confidence: Any, offsets: Any, sigma: float, rule: RuleName) -> Any:
    return getattr(functional, rule)(confidence, offsets, sigma)


OURS = Peer("mdn-cupy", _ours, takes_arrays=True, takes_tensors=True)


def has_torch() -> bool:
    """Return whether torch is installed."""
    return find_spec("torch") is not None


def peers() -> list[Peer]:
    """List the peers that can run here: without torch, NumPy's alone."""
    found = [Peer("NumPy bincount", bincount, takes_arrays=True, takes_tensors=False)]
    if has_torch():
        from benchmarks import torch_peers as of_torch

        found = [
            Peer("torch windowed", of_torch.windowed, False, True),
            Peer("torch by rows", of_torch.windowed_by_rows, False, True),
            Peer("torch dense", of_torch.dense, False, True, rules=("additive",)),
            *found,
        ]
    return found


def check(peer: Peer, case: Case, device: str = "cpu") -> None:
    """Compare a peer's maps and gradients with the specification.

    Parameters
    ----------
    peer : Peer
        What to check.
    case : Case
        A small one.
    device : str
        Where its tensors live.

    Raises
    ------
    RuntimeError
        If a map or a gradient is not that of the specification.
    """
    fields = (case.confidence, case.offsets, case.sigma)
    for rule in peer.rules:
        want = getattr(reference, rule)(*fields)
        hold(f"{peer.name}, {rule}", peer.forward(case, rule, device)(), want, MAP_TOLERANCE)
        if peer.takes_tensors and has_torch():
            gradients = getattr(reference, f"{rule}_vjp")(case.cotangent, *fields)
            for got, want in zip(peer.training(case, rule, device)(), gradients, strict=False):
                hold(f"{peer.name}, {rule} backward", got, want, GRADIENT_TOLERANCE)


def hold(what: str, got: Any, want: Any, allowed: float) -> None:
    """Raise a RuntimeError where a result is off the specification, relative to its largest."""
    error = float(np.abs(to_numpy(got) - want).max() / np.abs(want).max())
    if not error <= allowed:
        raise RuntimeError(f"{what}: off the specification by {error:.2g}")


def bincount(
    confidence: npt.NDArray[Any], offsets: npt.NDArray[Any], sigma: float, rule: RuleName
) -> npt.NDArray[Any]:
    """Vote row by row of the windows, with `numpy.bincount` to add the votes up."""
    parts, height, width = confidence.shape
    x, y = (np.arange(n, dtype=offsets.dtype) for n in (width, height))
    columns, w_x = _window(x + offsets[:, 0], sigma, width)
    rows, w_y = _window(y[:, None] + offsets[:, 1], sigma, height)
    w_y *= confidence[..., None]
    if rule == "additive":
        w_y /= 2 * math.pi * sigma**2
    rows += np.arange(parts)[:, None, None, None] * height
    total: npt.NDArray[Any] = np.zeros(confidence.size)
    for n in range(rows.shape[-1]):
        votes = w_y[..., n, None] * w_x
        pixels = rows[..., n, None] * width + columns
        phi = np.log1p(-votes) if rule == "noisy_or" else votes
        total += np.bincount(pixels.ravel(), phi.ravel(), total.size)
    total = total.reshape(confidence.shape)
    return -np.expm1(total) if rule == "noisy_or" else total


def _window(
    p: npt.NDArray[Any], sigma: float, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Pixels around every p along one axis, and their weights: 0 beyond the window or the map."""
    reach = TRUNCATE * sigma
    first = np.ceil(p - reach)
    count = int((np.floor(p + reach) - first).max()) + 1
    pixels = first[..., None] + np.arange(count, dtype=p.dtype)
    distance = pixels - p[..., None]
    inside = (np.abs(distance) <= reach) & (pixels >= 0) & (pixels < size)
    weight = np.exp(-0.5 * (distance / sigma) ** 2) * inside
    return pixels.clip(0, size - 1).astype(np.int64), weight
