"""Voting as a module of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, Unpack

import torch
from torch import Tensor, nn

from mdn_cupy.problem import RuleName, VoteKwargs, VoteOptions, rule_of, spelled_out
from mdn_cupy.torch.checks import check_dtype, refuse_script
from mdn_cupy.validation import called, check_flag
from mdn_cupy.votes import Votes

__all__ = ["MassDisplacement", "Sigma"]


def vote(
    method: str, confidence: Tensor, offsets: Tensor, sigma: Tensor, options: dict[str, Any]
) -> Tensor:
    """Vote by a method of `Votes`, in one node of a graph that torch.fx traces."""
    result: Tensor = getattr(Votes(confidence, offsets, sigma, **options), method)()
    return result


torch.fx.wrap("vote")

Sigma: TypeAlias = float | Sequence["Sigma"] | Tensor
"""A number, or numbers that broadcast against the leading axes of the confidences."""

_MOST_SIGMAS = 8  # that are spelled out


class MassDisplacement(nn.Module):
    """A voting layer: confidences and offsets in, vote maps out.

    Parameters
    ----------
    rule : {'noisy_or', 'additive', 'plain_sum'}
        How the votes combine.
    sigma : float, or nested sequence of float
        Width of the Gaussian in output pixels: one, or one per part (the third axis from the end),
        or any numbers that broadcast against the leading axes of the confidences.
    learnable : bool
        Whether sigma is a parameter. It is kept positive: the parameter is log σ. One of
        several that turns NaN in training raises nothing: its part casts no votes any more.
    device, dtype
        Of sigma, as for torch's own modules; on "meta" it has no value until `reset_parameters`.
    **options
        truncate, stride, origin, output_shape, aggregate and deterministic, as in `mdn_cupy.Votes`.

    Attributes
    ----------
    initial_sigma : Tensor
        What sigma was made with, on the CPU.

    Raises
    ------
    TypeError
        If sigma is not made of numbers, the dtype is not floating, or an option has the wrong type.
    ValueError
        If the rule is unknown, a sigma is not positive, or an option is out of range.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> layer = mdn.torch.MassDisplacement(sigma=2.0, learnable=True, stride=4)
    >>> layer
    MassDisplacement(rule=noisy_or, sigma=2, learnable, stride=4)
    >>> layer(torch.rand(1, 3, 8, 8), torch.zeros(1, 3, 2, 8, 8)).shape
    torch.Size([1, 3, 29, 29])
    """

    log_sigma: Tensor

    def __init__(
        self,
        rule: RuleName = "noisy_or",
        sigma: Sigma = 2.0,
        *,
        learnable: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[VoteKwargs],
    ) -> None:
        super().__init__()
        rule_of(rule)
        check_dtype(dtype)
        self.rule = rule
        self.options = called(type(self).__name__, VoteOptions, **options)
        self.initial_sigma = _widths(sigma, dtype or torch.get_default_dtype())
        # One dimension at least: torch's fully_shard takes no parameter without any.
        size = self.initial_sigma.shape or (1,)
        log_sigma = torch.empty(size, device=device, dtype=dtype)
        if check_flag("learnable", learnable):
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set sigma to `initial_sigma`."""
        with torch.no_grad():
            self.log_sigma.copy_(self.initial_sigma.log())

    @property
    def sigma(self) -> Tensor:
        """Width of the Gaussian, in output pixels; (P, 1, 1) where there is one per part."""
        sigma = self.log_sigma.exp()
        return sigma[..., None, None] if self.initial_sigma.ndim else sigma.reshape(())

    def forward(self, confidence: Tensor, offsets: Tensor) -> Tensor:
        """Vote: confidence [..., H, W] and offsets [..., 2, H, W] to maps [..., Ho, Wo]."""
        return vote(self.rule, confidence, offsets, self.sigma, self.options.named)

    # Types and not their names, which torch.fx would save as text and could not read again.
    forward.__annotations__.update(confidence=Tensor, offsets=Tensor, **{"return": Tensor})

    def votes(self, confidence: Tensor, offsets: Tensor, **options: Unpack[VoteKwargs]) -> Votes:
        """Return the votes of these fields, for another map or its log-complement.

        Options that are given take the place of the module's.
        """
        named = {**self.options.named, **options}
        return called("MassDisplacement.votes", Votes, confidence, offsets, self.sigma, **named)

    def extra_repr(self) -> str:
        """Rule, sigma, whether it is learnable, and the options that were set, for `repr`."""
        words = [f"rule={self.rule}", f"sigma={self._sigma_in_words()}"]
        if isinstance(self.log_sigma, nn.Parameter):
            words.append("learnable")
        words += [f"{name}={text}" for name, text in self.options.described]
        return ", ".join(words)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load, as torch does; a single log σ may have no dimensions."""
        log_sigma = state.get(f"{prefix}log_sigma")
        if log_sigma is not None and log_sigma.ndim == 0:
            state[f"{prefix}log_sigma"] = log_sigma.reshape(1)
        super()._load_from_state_dict(state, prefix, *rest)

    def __prepare_scriptable__(self) -> NoReturn:
        refuse_script(self)

    def _sigma_in_words(self) -> str:
        widths = self.initial_sigma if self.log_sigma.is_meta else self.log_sigma.detach().exp()
        widths = widths.reshape(self.initial_sigma.shape)
        if widths.numel() > _MOST_SIGMAS:
            size = "×".join(map(str, widths.shape))
            return f"{widths.min():.3g}…{widths.max():.3g} ({size})"
        listed = ", ".join(f"{width:.3g}" for width in widths.flatten())
        return f"({listed})" if widths.ndim else listed


MassDisplacement.__init__.__signature__ = spelled_out(  # type: ignore[attr-defined]
    MassDisplacement.__init__
)
MassDisplacement.votes.__signature__ = spelled_out(  # type: ignore[attr-defined]
    MassDisplacement.votes, default=...
)


def _widths(sigma: Sigma, dtype: torch.dtype) -> Tensor:
    """Check sigmas, and make them a tensor, on the CPU whatever device is the default."""
    try:
        given = torch.as_tensor(sigma, device="cpu").detach()
        if not given.numel() or given.dtype is torch.bool or given.is_complex():
            raise TypeError
        widths = given.to(dtype, copy=True)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"sigma must be a number, or numbers such as one per part, got {sigma!r}"
        ) from None
    if not bool(((widths > 0) & widths.isfinite()).all()):
        raise ValueError(f"sigma must be greater than 0 and finite, got {sigma}")
    return widths
