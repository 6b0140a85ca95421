"""Steps down a loss, each on a copy of the fields. Knows neither Qt nor napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_viewer.core import compilation
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.losses import Loss, LossGradient, loss_gradient, loss_of
from mdn_viewer.core.session import ALL, VotingSession

__all__ = ["Descent", "Moments", "Rates", "arrows"]

FloatArray = npt.NDArray[np.floating]

_KEPT, _SQUARES_KEPT = 0.9, 0.99  # of the running means: ten steps' direction, a hundred's length
_SHORTEST, _LONGER = 1 / 1024, 1.5  # of a step's usual length; by how much the next may be longer

_MOST = 500  # arrows on each map: soon drawn on five, and still told apart
_PERCENTILE = 90  # of the slopes that are drawn in full length; the few steepest would dwarf all


class Rates(NamedTuple):
    """Step lengths under a steady gradient; where its sign alternates, steps are shorter."""

    confidence: float = 0.04
    offsets: float = 0.25
    """In widths of a vote."""


_USUAL = Rates()


class Moments(NamedTuple):
    """Running means of a gradient and of its squared length at each source, as Adam keeps them.

    A step by their quotient is about 1 long whatever the scale of the loss.
    """

    mean: FloatArray  # [..., H, W] or [..., 2, H, W]
    square: FloatArray  # [..., H, W] or [..., 1, H, W]
    steps: int = 0

    def seen(self, gradient: FloatArray) -> Moments:
        """Take in another gradient."""
        mean = _KEPT * self.mean + (1 - _KEPT) * gradient
        square = _square_length(gradient, self.square.shape)
        squares = _SQUARES_KEPT * self.square + (1 - _SQUARES_KEPT) * square
        return Moments(mean, squares, self.steps + 1)

    def forgetful(self, gradient: FloatArray) -> Moments:
        """Forget where the steps before went: straight down from here."""
        return self._replace(mean=(1 - _KEPT**self.steps) * gradient)

    @property
    def direction(self) -> FloatArray:
        """Which way is up, about 1 long at each source that is pulled at all."""
        length = np.sqrt(self.square / (1 - _SQUARES_KEPT**self.steps))
        direction = self.mean / (1 - _KEPT**self.steps)
        up: FloatArray = np.divide(
            direction, length, out=np.zeros_like(direction), where=length > 0
        )
        return up


@dataclass(frozen=True, eq=False)
class Descent:
    """Fields on their way down a loss: a copy of a session's, and what pulls them.

    A descent never changes: a step makes another. `Descent.begin` stands at its start.

    Parameters
    ----------
    session : VotingSession
        What votes now.
    target : array [Ho, Wo]
        What the map should be.
    loss : Loss
        How the difference counts.
    pull : LossGradient
        The loss and its gradient there.
    losses : tuple of float
        All losses so far, from the start to that of `pull`. None is higher than the one before.
    moments : (Moments, Moments)
        Of ∂loss/∂c and ∂loss/∂o, over the steps so far.
    length : float
        Of the next step, at most 1: shorter where one of full length would lead upwards.
    at_rest : bool
        Whether no step leads downwards any more.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> from mdn_viewer.core.targets import target_of_points
    >>> session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> target = target_of_points([[200, 150]], 8.0, (385, 385))
    >>> start = Descent.begin(session, target, Loss.CROSS_ENTROPY)
    >>> start.step().pull.loss < start.pull.loss
    True
    """

    session: VotingSession
    target: FloatArray
    loss: Loss
    pull: LossGradient
    losses: tuple[float, ...]
    moments: tuple[Moments, Moments]
    length: float = 1.0
    at_rest: bool = False

    @classmethod
    def begin(cls, session: VotingSession, target: FloatArray, loss: Loss) -> Descent:
        """Stand where a session is; raises ValueError as `loss_of` does."""
        compilation.wait("gradient")
        pull = loss_gradient(session, target, loss)
        c, o = np.zeros_like(pull.confidence), np.zeros_like(pull.offsets)
        moments = Moments(c, c), Moments(o, o[..., :1, :, :])
        return cls(session, target, loss, pull, (pull.loss,), moments)

    def step(self, rates: Rates = _USUAL) -> Descent:
        """Move a copy of the fields down the gradient, to a lower loss if there is one near.

        Steps with momentum first; where that leads upwards, straight down and ever shorter.
        """
        gradients = self.pull.confidence, self.pull.offsets
        c, o = (m.seen(g) for m, g in zip(self.moments, gradients, strict=True))
        length = self.length
        for attempt in range(100):
            session = self._moved(c.direction, o.direction, rates, length)
            if loss_of(session, self.target, self.loss) < self.pull.loss:
                return self._arrived(session, (c, o), length)
            if length < _SHORTEST:
                break
            if attempt == 0:
                c, o = c.forgetful(gradients[0]), o.forgetful(gradients[1])
            else:
                length /= 2
        return replace(self, at_rest=True)

    def _moved(self, c: FloatArray, o: FloatArray, rates: Rates, length: float) -> VotingSession:
        """Move against two directions of ascent."""
        votes, sigma = self.session.votes, self.session.sigma
        confidence, offsets = votes.confidence, votes.offsets
        kind = confidence.dtype.type
        # What is left to 0 or to 1 is at most halved: log c, too, changes by little in a step.
        old = np.clip(confidence, 0, 1)
        new = confidence - kind(length * rates.confidence) * c
        new = np.clip(new, old / 2, np.minimum((1 + old) / 2, 2 * old))
        return _with_votes(self.session, new, offsets - kind(length * rates.offsets * sigma) * o)

    def _arrived(
        self, session: VotingSession, moments: tuple[Moments, Moments], length: float
    ) -> Descent:
        pull = loss_gradient(session, self.target, self.loss)
        return replace(
            self,
            session=session,
            pull=pull,
            losses=(*self.losses, pull.loss),
            moments=moments,
            length=min(1.0, _LONGER * length),
        )


def arrows(descent: Descent, most: int = _MOST) -> npt.NDArray[np.float32]:
    """Where a step would move the votes that are pulled most.

    Parameters
    ----------
    descent : Descent
        The gradient.
    most : int
        How many arrows at most.

    Returns
    -------
    array [N, 2, 2], float32
        Of each arrow the point where the vote lands and the vector (rows, columns), in pixels of
        the output. They show −∂loss/∂o, the steepest as long as is easily seen on the map.
    """
    votes = descent.session.votes
    shape, offsets = np.array(votes.shape), np.moveaxis(votes.offsets, -3, 0)[::-1]  # rows first
    pull = -np.moveaxis(descent.pull.offsets, -3, 0)[::-1]
    slope = np.hypot(*pull)
    strongest = np.arange(slope.size)
    if slope.size > most:
        strongest = np.argpartition(slope, -most, axis=None)[-most:]
    sources = np.unravel_index(strongest[slope.flat[strongest] > 0], slope.shape)
    grid = Grid.of(votes).places(np.stack(sources[-2:], axis=1))
    landing, vector = grid + offsets[:, *sources].T, pull[:, *sources].T
    near = (np.abs(landing - shape / 2) <= shape).all(axis=1)
    landing, vector, steepness = landing[near], vector[near], slope[sources][near]
    if not len(landing):
        return np.zeros((0, 2, 2), np.float32)
    usual = np.percentile(steepness, _PERCENTILE)
    longest = max(3 * descent.session.sigma, shape.max() / 16)
    vector = vector / np.maximum(steepness, usual)[:, None] * longest
    return np.stack([landing, vector], axis=1).astype(np.float32)


def _with_votes(
    session: VotingSession, confidence: FloatArray, offsets: FloatArray
) -> VotingSession:
    """Put other confidences and offsets where the session's votes came from."""
    fields = session.fields
    own: Any = slice(None) if session.part == ALL else session.part
    if session.cross:
        assert fields.cross_offsets is not None  # the session has checked
        cross_offsets = _put(fields.cross_offsets, own, offsets)
        return replace(
            session, fields=replace(fields, confidence=confidence, cross_offsets=cross_offsets)
        )
    confidence = _put(fields.confidence, own, confidence)
    offsets = _put(fields.offsets, own, offsets)
    return replace(session, fields=replace(fields, confidence=confidence, offsets=offsets))


def _put(values: FloatArray, index: Any, part: FloatArray) -> FloatArray:
    copy = values.copy()
    copy[index] = part
    return copy


def _square_length(gradient: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Of the vectors along axis -3 if that is what the shape says."""
    square: FloatArray = np.square(gradient)
    return square if square.shape == shape else square.sum(axis=-3, keepdims=True)
