"""The loss between a vote map and its target, and its gradient in the votes."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_viewer.core.session import VotingSession

__all__ = ["Loss", "LossGradient", "loss_gradient", "loss_of"]

FloatArray = npt.NDArray[np.floating]

_STEEPEST = 1e12  # slope of the cross-entropy where m is 0, as in mdn_cupy.torch.noisy_or_bce


class Loss(Enum):
    """What is summed over the pixels of a map with a target."""

    CROSS_ENTROPY = "cross-entropy, noisy-or"
    NOISY_OR = "squared error, noisy-or"
    ADDITIVE = "squared error, sum"


class LossGradient(NamedTuple):
    """A loss and its gradient, in what votes for one map.

    Attributes
    ----------
    loss : float
        The loss, summed over the pixels.
    confidence : array [..., H, W]
        ∂loss/∂c.
    offsets : array [..., 2, H, W]
        ∂loss/∂o, per output pixel; a step moves the votes the other way.
    sigma : float
        ∂loss/∂σ, per output pixel.
    """

    loss: float
    confidence: FloatArray
    offsets: FloatArray
    sigma: float


def loss_of(session: VotingSession, target: FloatArray, loss: Loss) -> float:
    """Compute a loss on a session's map.

    Parameters
    ----------
    session : VotingSession
        What votes.
    target : array [Ho, Wo]
        What the map should be, from 0 to 1.
    loss : Loss
        How the difference counts.

    Returns
    -------
    float
        The loss, summed over the pixels.

    Raises
    ------
    ValueError
        If the target is not of the map's shape, or the map has values that are not numbers.
    """
    return _value_and_cotangent(session, target, loss)[0]


def loss_gradient(session: VotingSession, target: FloatArray, loss: Loss) -> LossGradient:
    """Compute a loss on a session's map, and its gradient.

    Parameters
    ----------
    session, target, loss
        As in `loss_of`.

    Returns
    -------
    LossGradient
        The loss and its gradient.

    Raises
    ------
    ValueError
        As in `loss_of`.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> from mdn_viewer.core.targets import target_of_points
    >>> session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> nose = target_of_points([[95, 166]], 8.0, (385, 385))
    >>> pull = loss_gradient(session, nose, Loss.CROSS_ENTROPY)
    >>> pull.confidence.shape, pull.offsets.shape
    ((25, 25), (2, 25, 25))
    """
    value, cotangent = _value_and_cotangent(session, target, loss)
    if loss is Loss.ADDITIVE:
        gradients = session.compute(f"{session.sum_rule}_vjp", cotangent)
    else:  # of L itself, which stays exact where m has saturated
        gradients = session.compute("log_complement_vjp", cotangent)
    c, o, sigma = map(np.asarray, gradients)
    return LossGradient(value, c, o, float(sigma))


def _value_and_cotangent(
    session: VotingSession, target: FloatArray, loss: Loss
) -> tuple[float, FloatArray]:
    """The loss, and ∂loss/∂L of the noisy-or or ∂loss/∂s of the additive map."""
    if loss is Loss.ADDITIVE:
        accumulated = session.compute(session.sum_rule)
    else:
        accumulated = session.compute("log_complement")
    if target.shape != accumulated.shape:
        raise ValueError(
            f"the target must be of the map's size {accumulated.shape}, got {target.shape}"
        )
    unknown = int(np.count_nonzero(np.isnan(accumulated)))
    if unknown:
        raise ValueError(
            f"{unknown} pixels of the map are not a number, so there is no loss; replace the "
            "confidences that are not"
        )
    return _FORMULAS[loss](accumulated, target.astype(accumulated.dtype, copy=False))


def _cross_entropy(log_complement: FloatArray, target: FloatArray) -> tuple[float, FloatArray]:
    """−t·log(m) − (1 − t)·L; its slope in L is t·exp(L)/m − (1 − t)."""
    m = np.maximum(-np.expm1(log_complement), 0)
    log_m = np.log(np.maximum(m, np.finfo(m.dtype).tiny))
    value = -(target * log_m + (1 - target) * log_complement)
    slope = target * np.exp(log_complement) / (m + 1 / _STEEPEST) - (1 - target)
    return float(value.sum(dtype=np.float64)), slope.astype(m.dtype, copy=False)


def _squared_noisy_or(log_complement: FloatArray, target: FloatArray) -> tuple[float, FloatArray]:
    error = -np.expm1(log_complement) - target
    slope = -2 * error * np.exp(log_complement)
    return float(np.square(error).sum(dtype=np.float64)), slope


def _squared_additive(s: FloatArray, target: FloatArray) -> tuple[float, FloatArray]:
    error = s - target
    return float(np.square(error).sum(dtype=np.float64)), 2 * error


_FORMULAS = {
    Loss.CROSS_ENTROPY: _cross_entropy,
    Loss.NOISY_OR: _squared_noisy_or,
    Loss.ADDITIVE: _squared_additive,
}
