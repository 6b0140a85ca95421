"""Both rules' peaks against sigma: the paper's section 2 as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.sigma_sweep import Sweep, same_sweep, sweep, work_of
from mdn_viewer.widgets.common import ask_where, button, line, row, write
from mdn_viewer.widgets.plot import Look, SweepPlot

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.core.model import VotingModel


__all__ = ["SweepPanel"]

_TITLE = "Sweeping sigma"
_LOOK_MS = 100  # between two looks at how far the sweep is


class SweepPanel(QWidget):
    """What becomes of the peaks, and of the asked pixel, at other sigmas; click to go there.

    It sweeps while it is shown: hidden, it does nothing, and catches up once it is shown.

    Parameters
    ----------
    model : VotingModel
        Whose votes.
    viewer : napari.Viewer
        The viewer whose theme the plot has.
    """

    title = "Sweep"

    def __init__(self, model: VotingModel, viewer: Viewer) -> None:
        super().__init__()
        self._model, self._viewer = model, viewer
        self._worker = model.worker(self._show, self._stopped)
        self._sweeping: VotingSession | None = None  # what is under way
        self._done = 0, 1  # written by the worker's thread: so many sigmas, of so many
        self.found: Sweep | None = None
        self._build()
        self._dress()
        model.session_changed.connect(self._on_session)
        model.settled.connect(self._catch_up)
        model.pixel_asked.connect(self._catch_up)
        self._viewer.events.theme.connect(self._dress)

    def wait(self) -> None:
        """Wait until the curves are those of the session."""
        self._worker.wait()

    def export(self, path: str) -> None:
        """Write the curves to a CSV file; what fails is said where all is said that fails."""
        if self.found is not None:
            write(self._model, self.found.save, path, "a table is", ".csv")

    def save_picture(self, path: str) -> None:
        """Write a picture of the curves to a PNG file; what fails is said as above."""
        if self.found is not None:
            write(self._model, self.plot.save, path, "a picture is", ".png")

    def end(self) -> None:
        """Follow the viewer's theme no longer."""
        self._viewer.events.theme.disconnect(self._dress)

    def showEvent(self, event: Any) -> None:
        """Catch up with what has happened meanwhile."""
        super().showEvent(event)
        self._catch_up()

    def hideEvent(self, event: Any) -> None:
        """Leave off; a window that closes does not wait for a sweep."""
        super().hideEvent(event)
        if self._sweeping is not None:
            self._cancel()

    def _build(self) -> None:
        self.plot = SweepPlot()
        self.plot.sigma_chosen.connect(self._on_sigma_chosen)
        self.progress = QProgressBar()
        self.progress.setToolTip("How far the sweep is.")
        self.progress.setVisible(False)
        self._watch = QTimer(self)
        self._watch.timeout.connect(self._show_progress)
        self._hint = line("What the curves show.")
        self.export_csv = button(
            "Export CSV…", "Write the curves to a file, a line per sigma.", self._on_csv
        )
        self.save_png = button("Save PNG…", "Save the plot as a picture.", self._on_png)
        layout = QVBoxLayout(self)
        layout.addWidget(self._hint)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.progress)
        layout.addLayout(row(self.export_csv, self.save_png))
        self._show(None)

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:
            self._cancel()
            self._show(None)
        elif self.isVisible():
            self.plot.move_cursor(session.sigma)

    def _catch_up(self, *_: Any) -> None:
        """Sweep, unless the curves are there or under way; and read off the asked pixel."""
        session, pixel = self._model.session, self._model.pixel
        if session is None or not self.isVisible():
            return
        self.plot.move_cursor(session.sigma)
        if self.found is not None and self.found.serves(session):
            if self.found.pixel != pixel:
                found = self.found
                self._worker.submit(lambda: found.at(pixel), session.work, _TITLE)
        elif self._sweeping is None or not same_sweep(self._sweeping, session):
            self._cancel()
            self._begin(session)

    def _begin(self, session: VotingSession) -> None:
        pixel, self._sweeping, self._done = self._model.pixel, session, (0, 1)
        self._watch.start(_LOOK_MS)

        def wanted() -> bool:
            return self._sweeping is session

        def tell(done: int, of: int) -> None:
            self._done = done, of

        def job() -> Sweep | None:
            found = sweep(session, wanted, tell)
            return None if found is None else found.at(pixel)

        self._hint.setText(f"{_TITLE} …")
        self._worker.submit(job, work_of(session), _TITLE)

    def _cancel(self) -> None:
        self._sweeping = None  # which ends the job
        self._worker.cancel()
        self._watch.stop()
        self.progress.setVisible(False)

    def _show(self, found: Sweep | None) -> None:
        self._sweeping = None
        self._watch.stop()
        self.progress.setVisible(False)
        self.found = found
        self.plot.plot(found)
        for each in (self.export_csv, self.save_png):
            each.setEnabled(found is not None)
        self._hint.setText("Nothing votes yet." if found is None else _hint(found))
        self._catch_up()  # with what has been asked in the meantime

    def _stopped(self, error: BaseException) -> None:
        self._cancel()
        self._hint.setText(str(error))

    def _show_progress(self) -> None:
        done, of = self._done
        self.progress.setRange(0, of)
        self.progress.setValue(done)
        self.progress.setVisible(True)

    def _dress(self, *_: Any) -> None:
        theme = get_theme(self._viewer.theme)
        look = Look(theme.background.as_hex(), theme.text.as_hex())
        self.plot.plot(self.found, look)

    def _on_sigma_chosen(self, sigma: float) -> None:
        self._model.change(sigma=sigma)

    def _on_csv(self) -> None:
        ask_where(self, "sweep.csv", "CSV (*.csv)", self.export)

    def _on_png(self) -> None:
        ask_where(self, "sweep.png", "PNG (*.png)", self.save_picture)


def _hint(found: Sweep) -> str:
    return (
        "The noisy-or keeps what agrees at any sigma; the additive map fades as 1/σ²."
        if found.session.sum_rule == "additive"
        else "With the plain kernel the sum grows without bound where votes agree."
    )
