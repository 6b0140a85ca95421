"""The gradient of a loss of the session's votes, and steps along it. Independent of Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from mdn_viewer.core.losses import Loss
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.optimizer import Descent, Rates, arrows
from mdn_viewer.core.session import VotingSession

__all__ = ["GradientDescentController", "TargetSpec"]

_VOTES = 4  # a step takes about as long as so many votes


class TargetSpec(NamedTuple):
    """What a session's map should be, and how the difference counts."""

    target: Callable[[VotingSession], npt.NDArray[np.floating]]
    loss: Loss


class _Arrival(NamedTuple):
    """A descent and its arrows, and where and with what target it set out."""

    descent: Descent
    arrows: npt.NDArray[np.float32]
    session: VotingSession
    wanted: TargetSpec


class GradientDescentController:
    """The gradient at a model's session, and steps along it.

    A step replaces the fields that the model looks at by a copy (`VotingModel.set_fields`), so that
    maps, peaks and everything else follow. The gradient follows the session as soon as it settles.

    Parameters
    ----------
    model : VotingModel
        Whose session.

    Attributes
    ----------
    descent : Descent or None
        The gradient, and the way so far; None where there is no target or nothing votes.
    arrows : array [N, 2, 2], float32, or None
        Of it, as `mdn_viewer.core.optimizer.arrows` returns them.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> from mdn_viewer.core.targets import target_of_points
    >>> model = VotingModel()
    >>> model.show(VotingSession(mdn.samples.load("pose"), "nose", 8.0))
    >>> descending = GradientDescentController(model)
    >>> nose = target_of_points([[95, 166]], 8.0, (385, 385))
    >>> descending.take(TargetSpec(lambda session: nose, Loss.CROSS_ENTROPY))
    >>> for _ in range(3):
    ...     descending.step()
    >>> len(descending.descent.losses)
    4
    """

    changed = Signal(object)  # Descent or None
    refused = Signal(object)  # the error that says why there is no gradient

    def __init__(self, model: VotingModel) -> None:
        self._model = model
        self._wanted: TargetSpec | None = None
        self._worker = model.worker(self._arrive, self._refuse)
        self.descent: Descent | None = None
        self.arrows: npt.NDArray[np.float32] | None = None
        model.session_changed.connect(self._on_session)
        model.settled.connect(self.look)

    @property
    def _session(self) -> VotingSession | None:
        return self._model.session

    @property
    def up_to_date(self) -> bool:
        """Whether the gradient is that of what is being looked at."""
        return self.descent is not None and self.descent.session is self._model.session

    def take(self, wanted: TargetSpec | None) -> None:
        """Set target and loss; None clears them."""
        self._wanted = wanted
        self._forget()
        self.look()

    def look(self) -> None:
        """See the gradient where the model's session is now."""
        session, wanted = self._model.session, self._wanted
        if session is None or wanted is None or self.up_to_date:
            return

        def begin() -> _Arrival:
            start = Descent.begin(session, wanted.target(session), wanted.loss)
            return _Arrival(start, arrows(start), session, wanted)

        self._worker.submit(begin, _VOTES * session.work, "Seeing the gradient", session.program)

    def step(self, rates: Rates | None = None) -> None:
        """Take a step on a copy of the fields; see `Descent.step`."""
        descent, session, wanted = self.descent, self._model.session, self._wanted
        if descent is None or session is None or wanted is None:
            return
        if not self.up_to_date:
            self.look()
            return
        taken = Rates() if rates is None else rates

        def follow() -> _Arrival:
            arrived = descent.step(taken)
            return _Arrival(arrived, arrows(arrived), session, wanted)

        self._worker.submit(
            follow, _VOTES * session.work, "Following the gradient", session.program
        )

    def reset(self) -> None:
        """Go back to the fields that are open."""
        self._model.reset_fields()
        self.look()

    def wait(self) -> None:
        """Wait until what was asked for is there."""
        self._worker.wait()

    def _arrive(self, arrival: _Arrival) -> None:
        if arrival.session is not self._model.session or arrival.wanted is not self._wanted:
            self.look()  # the session has moved on
            return
        descent = arrival.descent
        if descent.session is not arrival.session:
            self._model.set_fields(descent.session.fields)
            session = self._session
            if session is None:
                return  # the votes were refused
            descent = replace(descent, session=session)
        self.descent, self.arrows = descent, arrival.arrows
        self.changed.emit(descent)

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:  # else what is known stays to be seen until the slider rests
            self._forget()

    def _forget(self) -> None:
        self._worker.cancel()
        if self.descent is not None:
            self.descent = self.arrows = None
            self.changed.emit(None)

    def _refuse(self, error: BaseException) -> None:
        self._forget()
        self.refused.emit(error)
