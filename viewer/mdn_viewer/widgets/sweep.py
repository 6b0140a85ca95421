"""Both rules' peaks against sigma: the paper's section 2 as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.sigma_sweep import Sweep, same_sweep, sweep, work_of
from mdn_viewer.widgets.curve_panel import CurvePanel
from mdn_viewer.widgets.plot import SweepPlot

if TYPE_CHECKING:
    from mdn_viewer.core.model import VotingModel


__all__ = ["SweepPanel"]

_TITLE = "Sweeping sigma"


class SweepPanel(CurvePanel):
    """The peaks, and the asked pixel's values, against sigma; a click sets sigma.

    Parameters
    ----------
    model : VotingModel
        Whose votes.
    """

    title = "Sweep"

    def __init__(self, model: VotingModel) -> None:
        super().__init__(model, SweepPlot(), "sweep", "sigma")
        self.plot.sigma_chosen.connect(lambda sigma: model.change(sigma=sigma))
        model.session_changed.connect(self._on_session)
        model.settled.connect(self.catch_up)
        model.pixel_asked.connect(self.catch_up)
        self._show(None)

    def catch_up(self, *_: Any) -> None:
        """Sweep, unless the curves are there or under way; and read off the asked pixel."""
        session, pixel = self._model.session, self._model.pixel
        if session is None or not self.isVisible():
            return
        self.plot.move_cursor(session.sigma)
        if self.found is not None and self.found.serves(session):
            if self.found.pixel != pixel:
                found = self.found
                self._worker.submit(lambda: found.at(pixel), session.work, _TITLE)
        elif self._under_way is None or not same_sweep(self._under_way, session):
            self._cancel()
            self._begin(session)

    def hint(self) -> str:
        """Say what the curves teach."""
        if self.found is None:
            return "Nothing votes yet."
        return (
            "The noisy-or keeps what agrees at any sigma; the additive map fades as 1/σ²."
            if self.found.session.sum_rule == "additive"
            else "With the plain kernel the sum grows without bound where votes agree."
        )

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:
            self._cancel()
            self._show(None)
        elif self.isVisible():
            self.plot.move_cursor(session.sigma)

    def _begin(self, session: VotingSession) -> None:
        pixel = self._model.pixel

        def job() -> Sweep | None:
            found = sweep(session, lambda: self._under_way is session, self._tell)
            return None if found is None else found.at(pixel)

        self._submit(session, job, work_of(session), _TITLE)
