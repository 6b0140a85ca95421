"""The tab of frames: peaks, errors and what was asked, over all frames; click to go to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton

from mdn_viewer.core.frame_curve import FrameCurve, FrameCurves, Question
from mdn_viewer.widgets.common import button
from mdn_viewer.widgets.curve_panel import CurvePanel
from mdn_viewer.widgets.plot import FramePlot

if TYPE_CHECKING:
    from mdn_viewer.core.annotation_files import Annotations
    from mdn_viewer.core.model import VotingModel

__all__ = ["FramesPanel"]

_TITLE = "Measuring frames"


class FramesPanel(CurvePanel):
    """Curves over frames, which are measured while the tab is open.

    Parameters
    ----------
    model : VotingModel
        Whose frames.
    annotations : callable
        Returns the annotations that are open, or None.
    """

    title = "Frames"

    def __init__(self, model: VotingModel, annotations: Callable[[], Annotations | None]) -> None:
        super().__init__(model, FramePlot(), "frames", "frame")
        self._annotations = annotations
        self._curves = FrameCurves(())
        self._jobs = 0
        self._stopped_at: Any = None  # what the user has stopped
        self._shown: Any = None  # what `found` is of
        self.stop: QPushButton = button("Stop", "Measure no more frames.", self._on_stop)
        self._layout.addWidget(self.stop)
        self.plot.frame_chosen.connect(model.go_to)
        model.frame_changed.connect(self._on_frame)
        model.session_changed.connect(self._on_session)
        for signal in (model.settled, model.pixel_asked, model.source_asked):
            signal.connect(self.catch_up)
        self._show(None)

    def catch_up(self, *_: Any) -> None:
        """Measure the frames that have not been measured yet."""
        model, annotations = self._model, self._annotations()
        session, frames = model.session, model.frames
        if session is None or not frames or not self.isVisible():
            return
        if self._curves.frames is not frames:
            self._curves = FrameCurves(frames)
        question = Question(model.pixel, model.asked_rule, model.source if model.pixel else None)
        kernel = (session.part, session.cross, session.sigma, session.sum_rule, session.truncate)
        wanted = (self._curves, kernel, question, annotations)
        self.plot.move_cursor(model.frame)
        if wanted in (self._under_way, self._shown, self._stopped_at):
            return
        self._cancel()
        curves, self._stopped_at = self._curves, None

        def job() -> tuple[Any, FrameCurve]:
            found = curves.measure(
                session, question, annotations, lambda: self._under_way is wanted, self._tell
            )
            return wanted, found

        self.stop.setEnabled(True)
        self._jobs += 1  # each of its own kind: how much is missing only the job finds out
        self._submit(wanted, job, session.work * len(frames), _TITLE, self._jobs)

    def hint(self) -> str:
        """Say how much is measured, and which frames cannot be read."""
        if self.found is None:
            return "There are no frames."
        text = f"{self.found.done} of {self.found.frames} frames measured"
        unreadable = list(self.found.unreadable.values())
        return f"{text}; {len(unreadable)} unreadable, {unreadable[0]}" if unreadable else text

    def _show(self, found: Any) -> None:
        self.stop.setEnabled(False)
        if found is not None:
            self._shown, found = found
            if found.done < found.frames:
                self._stopped_at = self._shown
        super()._show(found)

    def _stopped(self, error: BaseException) -> None:
        self._stopped_at = self._under_way
        super()._stopped(error)

    def _on_stop(self) -> None:
        """Leave off after the present frame, and show what is measured."""
        self._stopped_at, self._under_way = self._under_way, None

    def _on_session(self, session: Any) -> None:
        idle = self._shown is None and self._under_way is None  # empty axes take 30 ms
        if not idle and (session is None or not self._model.frames):
            self._cancel()
            self._shown = None
            self._show(None)

    def _on_frame(self, frame: int) -> None:
        if self.isVisible():
            self.plot.move_cursor(frame)
