"""The layer for torch: differentiable in the confidences, the offsets and sigma.

The operator is the evidence Σφ: the log-complement L of the noisy-or, or the sum of the additive
rule, as a `torch.library` custom operator. Everything after it is plain torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdn_cupy.arrays import is_number
from mdn_cupy.backends import module
from mdn_cupy.problem import Gradients, Rule, VoteOptions, VoteProblem, vote_problem

__all__ = [
    "MassDisplacement",
    "additive",
    "additive_vjp",
    "evidence",
    "noisy_or",
    "noisy_or_bce",
    "noisy_or_log_complement",
    "noisy_or_vjp",
]

_LEAST_PROBABILITY = 1e-12  # added under the logarithm of m, as torch's binary cross-entropy has it


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
    return evidence(confidence, offsets, sigma, Rule.NOISY_OR, VoteOptions(**options))


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
    return evidence(confidence, offsets, sigma, rule, VoteOptions(**options))


def complement(log_complement: Tensor) -> Tensor:
    """m = 1 − exp(L), exact in value and gradient at both ends.

    −expm1(L) keeps a tiny m; its derivative in torch, 1 + expm1(L), loses exp(L) where m is close
    to 1, and 1 − exp(L) does not. Each is used where it is exact.
    """
    near_zero = log_complement > -0.5
    return torch.where(
        near_zero,
        -torch.expm1(torch.where(near_zero, log_complement, 0)),
        1 - torch.exp(torch.where(near_zero, -1, log_complement)),
    )


def noisy_or_bce(
    log_complement: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of a noisy-or map against a target, from its log-complement.

    −t·log(m) − (1 − t)·L, with finite values and gradients where m is exactly 0 or 1.

    Parameters
    ----------
    log_complement : Tensor [..., Ho, Wo]
        L from `noisy_or_log_complement`.
    target : Tensor
        Target probabilities t, broadcast against L.
    weight : Tensor, optional
        Weight of each pixel, broadcast against L.
    reduction : {'mean', 'sum', 'none'}
        As in torch's losses.

    Returns
    -------
    Tensor
        The loss; of the shape of L for 'none'.

    Raises
    ------
    ValueError
        If `reduction` is another word.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> mdn.torch.noisy_or_bce(torch.tensor([-5000.0]), torch.tensor([1.0]))
    tensor(-0.)
    """
    log_m = torch.log(complement(log_complement) + _LEAST_PROBABILITY)
    loss = -(target * log_m + (1 - target) * log_complement)
    if weight is not None:
        loss = weight * loss
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


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
            return complement(self.evidence(confidence, offsets))
        return self.evidence(confidence, offsets)

    def evidence(self, confidence: Tensor, offsets: Tensor) -> Tensor:
        """Log-complement L of the noisy-or (for `noisy_or_bce`), or the additive map."""
        additive = Rule.NORMALIZED if self.normalized else Rule.ADDITIVE
        rule = Rule.NOISY_OR if self.rule == "noisy_or" else additive
        return evidence(confidence, offsets, self.sigma, rule, self.options)

    def extra_repr(self) -> str:
        """Rule, sigma and whether it is learnable, for `repr`."""
        sigma = ", ".join(f"{s:.3g}" for s in self.log_sigma.detach().exp().flatten())
        learnable = ", learnable" if isinstance(self.log_sigma, nn.Parameter) else ""
        return f"rule={self.rule}, sigma={sigma}{learnable}"


def evidence(
    confidence: Tensor, offsets: Tensor, sigma: Tensor | float, rule: Rule, options: VoteOptions
) -> Tensor:
    """Σφ of all votes: L of the noisy-or, or the additive sum; differentiable.

    Half types are computed in float32; sigma is cast to the dtype of the fields.
    """
    arguments = _arguments(confidence, offsets, sigma)
    result: Tensor = _evidence(*arguments, *_scalars(rule, options))
    return result


def noisy_or_vjp(
    cotangent: Tensor,
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    options: VoteOptions,
    *,
    log_complement: Tensor | None = None,
) -> Gradients:
    """Pull a cotangent of m back; `mdn_cupy.noisy_or_vjp` for tensors."""
    if log_complement is None:
        log_complement = evidence(confidence, offsets, sigma, Rule.NOISY_OR, options)
    cotangent = -cotangent * log_complement.exp()
    return additive_vjp(cotangent, confidence, offsets, sigma, Rule.NOISY_OR, options)


def additive_vjp(
    cotangent: Tensor,
    confidence: Tensor,
    offsets: Tensor,
    sigma: Tensor | float,
    rule: Rule,
    options: VoteOptions,
) -> Gradients:
    """Pull a cotangent of Σφ back; `mdn_cupy.additive_vjp` for tensors."""
    arguments = [x.detach() for x in _arguments(confidence, offsets, sigma)]
    cotangent = cotangent.detach().to(arguments[0].dtype)
    wanted = [True, True, True]
    return Gradients(*_evidence_vjp(cotangent, *arguments, *_scalars(rule, options), wanted))


def _arguments(
    confidence: Tensor, offsets: Tensor, sigma: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """Check that the fields are tensors of one device and bring them to one dtype."""
    for name, value in (("confidence", confidence), ("offsets", offsets), ("sigma", sigma)):
        if not isinstance(value, Tensor) and not (name == "sigma" and is_number(value)):
            raise TypeError(
                f"{name} must be a torch tensor like the other fields, got {type(value).__name__}; "
                "torch.as_tensor(...) shares the memory of a NumPy array"
            )
    if not isinstance(sigma, Tensor):
        # On the CPU: a number that travelled to the GPU would have to be waited for.
        sigma = torch.tensor(float(sigma), dtype=torch.float64)
    elif sigma.ndim and sigma.device != confidence.device:
        raise TypeError(f"sigma is on {sigma.device}, confidence on {confidence.device}")
    if offsets.device != confidence.device:
        raise TypeError(f"offsets are on {offsets.device}, confidence on {confidence.device}")
    if not (confidence.is_floating_point() and offsets.is_floating_point()):
        raise TypeError(
            "confidence and offsets must be of a floating dtype, got "
            f"{confidence.dtype} and {offsets.dtype}; convert them with .float()"
        )
    dtype = torch.promote_types(torch.promote_types(confidence.dtype, offsets.dtype), torch.float32)
    return confidence.to(dtype), offsets.to(dtype), sigma.to(dtype)


def _scalars(rule: Rule, options: VoteOptions) -> tuple[Any, ...]:
    """The operator's arguments that are no tensors."""
    output_shape = None if options.output_shape is None else list(options.output_shape)
    return (
        int(rule),
        float(options.truncate),
        float(options.stride),
        float(options.origin),
        output_shape,
        options.aggregate,
        options.deterministic,
    )


def _problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, rule: int, *scalars: Any
) -> VoteProblem:
    """The problem of an operator's arguments; CPU tensors as the NumPy arrays they share."""
    arrays = [_share(x) for x in (confidence, offsets)]
    width = float(sigma) if sigma.ndim == 0 and sigma.device.type == "cpu" else _share(sigma)
    return vote_problem(arrays[0], arrays[1], width, Rule(rule), VoteOptions(*scalars))


def _share(tensor: Tensor) -> Any:
    tensor = tensor.detach().resolve_neg()
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _fake_problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor, rule: int, *scalars: Any
) -> VoteProblem:
    """The same from shapes alone, for torch's tracing."""
    width = 1.0 if sigma.ndim == 0 else sigma
    return vote_problem(confidence, offsets, width, Rule(rule), VoteOptions(*scalars))


_FIELDS = "Tensor confidence, Tensor offsets, Tensor sigma"
_SCALARS = (
    "int rule, float truncate, float stride, float origin, int[]? output_shape, int? aggregate, "
    "bool deterministic"
)


@torch.library.custom_op(
    "mdn_cupy::evidence", mutates_args=(), schema=f"({_FIELDS}, {_SCALARS}) -> Tensor"
)
def _evidence(confidence: Tensor, offsets: Tensor, sigma: Tensor, *scalars: Any) -> Tensor:
    problem = _problem(confidence, offsets, sigma, *scalars)
    if confidence.is_cuda:
        on_device: Tensor = module("cuda").accumulate(problem, _memory(confidence))
        return on_device
    return torch.from_numpy(module("cpu").accumulate(problem))


def _fake_evidence(confidence: Tensor, offsets: Tensor, sigma: Tensor, *scalars: Any) -> Tensor:
    problem = _fake_problem(confidence, offsets, sigma, *scalars)
    return confidence.new_empty(problem.result_shape)


@torch.library.custom_op(
    "mdn_cupy::evidence_vjp",
    mutates_args=(),
    schema=f"(Tensor cotangent, {_FIELDS}, {_SCALARS}, bool[] wanted) -> (Tensor, Tensor, Tensor)",
)
def _evidence_vjp(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *scalars, wanted = rest
    problem = _problem(confidence, offsets, sigma, *scalars)
    if tuple(cotangent.shape) != problem.result_shape:
        raise ValueError(
            f"cotangent must have the shape of the vote map {problem.result_shape}, "
            f"got {tuple(cotangent.shape)}"
        )
    wanted = (wanted[0], wanted[1], wanted[2])
    gradients: Gradients
    if confidence.is_cuda:
        gradients = module("cuda").gather(problem, cotangent, wanted, _memory(confidence))
    else:
        found = module("cpu").gather(problem, _share(cotangent), wanted)
        gradients = Gradients(*(None if g is None else torch.from_numpy(g) for g in found))
    shaped = gradients.shaped_like(confidence, offsets, sigma)
    c, o, s = (confidence.new_empty(0) if g is None else g for g in shaped)
    return c, o, s.to(sigma.device)


def _fake_evidence_vjp(
    cotangent: Tensor, confidence: Tensor, offsets: Tensor, sigma: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    c, o, s = (
        torch.empty_like(x, memory_format=torch.contiguous_format) if asked else x.new_empty(0)
        for x, asked in zip((confidence, offsets, sigma), rest[-1], strict=True)
    )
    return c, o, s


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.scalars = inputs[3:]


def _backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    wanted = [bool(needed) for needed in ctx.needs_input_grad[:3]]
    gradients = _evidence_vjp(cotangent, *ctx.saved_tensors, *ctx.scalars, wanted)
    asked = (g if needed else None for g, needed in zip(gradients, wanted, strict=True))
    return (*asked, *(None for _ in ctx.scalars))


torch.library.register_fake("mdn_cupy::evidence", _fake_evidence)
torch.library.register_fake("mdn_cupy::evidence_vjp", _fake_evidence_vjp)
torch.library.register_autograd("mdn_cupy::evidence", _backward, setup_context=_setup_context)
