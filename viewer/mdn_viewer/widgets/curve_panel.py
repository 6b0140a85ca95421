"""What tabs with a plot share: it is computed in the background while they are shown, and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from mdn_viewer.export import save_table
from mdn_viewer.widgets.common import line, row
from mdn_viewer.widgets.files import PICTURE, TABLE, SaveButton
from mdn_viewer.widgets.plot import CurvePlot, Look

if TYPE_CHECKING:
    from mdn_viewer.core.model import VotingModel

__all__ = ["CurvePanel"]

_LOOK_MS = 100  # between two looks at how far it is


class CurvePanel(QWidget):
    """A plot, how far it is, and its files.

    It computes while it is shown: hidden, it does nothing, and catches up once it is shown.

    Parameters
    ----------
    model : VotingModel
        Whose votes.
    plot : CurvePlot
        The plot.
    name : str
        What its files are called at first.
    each : str
        What a line of the CSV file is of.
    """

    def __init__(self, model: VotingModel, plot: CurvePlot, name: str, each: str) -> None:
        super().__init__()
        self._model = model
        self.plot: Any = plot
        self._worker = model.worker(self._show, self._stopped)
        self._under_way: Any = None  # what is computed
        self._done = 0, 1  # written by the worker's thread: so many, of so many
        self.found: Any = None
        self.progress = QProgressBar()
        self.progress.setToolTip("How far it is.")
        self.progress.setVisible(False)
        self._watch = QTimer(self)
        self._watch.timeout.connect(self._show_progress)
        self._hint = line("What the curves show.")
        self.export_csv = SaveButton(
            model,
            "Export CSV…",
            f"Write the curves to a file, a line per {each}.",
            f"{name}.csv",
            TABLE,
        )
        self.save_png = SaveButton(
            model, "Save PNG…", "Save the plot as a picture.", f"{name}.png", PICTURE
        )
        self._layout = QVBoxLayout(self)
        self._layout.addWidget(self._hint)
        self._layout.addWidget(self.plot, 1)
        self._layout.addWidget(self.progress)
        self._layout.addLayout(row(self.export_csv, self.save_png))

    def catch_up(self, *_: Any) -> None:
        """Compute what is missing, if the tab is shown."""
        raise NotImplementedError

    def hint(self) -> str:
        """Return a sentence on what is found, or on why nothing is."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait until the curves are those of the session."""
        self._worker.wait()

    def dress(self, look: Look) -> None:
        """Draw the curves in the colours of a theme."""
        self.plot.plot(self.found, look)

    def showEvent(self, event: Any) -> None:
        """Catch up with what has happened meanwhile."""
        super().showEvent(event)
        self.catch_up()

    def hideEvent(self, event: Any) -> None:
        """Leave off; a window that closes does not wait for curves."""
        super().hideEvent(event)
        if self._under_way is not None:
            self._cancel()

    def _tell(self, done: int, of: int) -> None:
        self._done = done, of

    def _submit(self, what: Any, job: Any, work: float, title: str, kind: Any = None) -> None:
        """Compute; `_under_way` is `what` until that is done or left off."""
        self._under_way, self._done = what, (0, 1)
        self._watch.start(_LOOK_MS)
        self._hint.setText(f"{title} …")
        self._worker.submit(job, work, title, kind)

    def _cancel(self) -> None:
        self._under_way = None  # which ends the job
        self._worker.cancel()
        self._rest()

    def _rest(self) -> None:
        self._under_way = None
        self._watch.stop()
        self.progress.setVisible(False)

    def _show(self, found: Any) -> None:
        self._rest()
        self.found = found
        self.plot.plot(found)
        self.export_csv.offer((lambda path: save_table(path, found.table)) if found else None)
        self.save_png.offer(self.plot.save if found else None)
        self._hint.setText(self.hint())
        self.catch_up()  # with what has been asked in the meantime

    def _stopped(self, error: BaseException) -> None:
        self._cancel()
        self._hint.setText(str(error))

    def _show_progress(self) -> None:
        done, of = self._done
        self.progress.setRange(0, of)
        self.progress.setValue(done)
        self.progress.setVisible(True)
