"""Voting as a module of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdn_cupy.problem import Rule, VoteOptions
from mdn_cupy.torch.functional import complement
from mdn_cupy.torch.operator import accumulate

__all__ = ["MassDisplacement"]


class MassDisplacement(nn.Module):
    """A voting layer: confidences and offsets in, vote maps out.

    Parameters
    ----------
    rule : {'noisy_or', 'additive'}
        How the votes combine.
    sigma : float or sequence of float
        Width of the Gaussian in output pixels: one, or one per part (the third axis from the end).
    learnable : bool
        Whether sigma is a parameter. It is kept positive: the parameter is log σ.
    normalized : bool
        For the additive rule: scale every vote by 1/(2πσ²).
    **options
        truncate, stride, origin, output_shape, aggregate and deterministic, as in
        `mdn_cupy.noisy_or`.

    Raises
    ------
    ValueError
        If the rule is unknown or a sigma is not positive.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> layer = mdn.torch.MassDisplacement(sigma=2.0, learnable=True)
    >>> layer
    MassDisplacement(rule=noisy_or, sigma=2, learnable)
    >>> layer(torch.rand(1, 3, 8, 8), torch.zeros(1, 3, 2, 8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """

    log_sigma: Tensor

    def __init__(
        self,
        rule: str = "noisy_or",
        sigma: float | Sequence[float] = 2.0,
        *,
        learnable: bool = False,
        normalized: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        if rule not in ("noisy_or", "additive"):
            raise ValueError(f"rule must be 'noisy_or' or 'additive', got {rule!r}")
        widths = torch.as_tensor(sigma, dtype=torch.get_default_dtype())
        if not bool(((widths > 0) & widths.isfinite()).all()):
            raise ValueError(f"sigma must be greater than 0, got {sigma}")
        self.rule = rule
        self.normalized = normalized
        self.options = VoteOptions(**options)
        if learnable:
            self.log_sigma = nn.Parameter(widths.log())
        else:
            self.register_buffer("log_sigma", widths.log())

    @property
    def sigma(self) -> Tensor:
        """Width of the Gaussian, in output pixels; (P, 1, 1) where there is one per part."""
        sigma = self.log_sigma.exp()
        return sigma[:, None, None] if sigma.ndim else sigma

    def forward(self, confidence: Tensor, offsets: Tensor) -> Tensor:
        """Vote: confidence [..., H, W] and offsets [..., 2, H, W] to maps [..., Ho, Wo]."""
        if self.rule == "noisy_or":
            return complement(self.accumulate(confidence, offsets))
        return self.accumulate(confidence, offsets)

    def accumulate(self, confidence: Tensor, offsets: Tensor) -> Tensor:
        """Log-complement L of the noisy-or (for `noisy_or_bce`), or the additive map."""
        additive = Rule.NORMALIZED if self.normalized else Rule.ADDITIVE
        rule = Rule.NOISY_OR if self.rule == "noisy_or" else additive
        return accumulate(confidence, offsets, self.sigma, rule, self.options)

    def extra_repr(self) -> str:
        """Rule, sigma and whether it is learnable, for `repr`."""
        sigma = ", ".join(f"{s:.3g}" for s in self.log_sigma.detach().exp().flatten())
        learnable = ", learnable" if isinstance(self.log_sigma, nn.Parameter) else ""
        return f"rule={self.rule}, sigma={sigma}{learnable}"
