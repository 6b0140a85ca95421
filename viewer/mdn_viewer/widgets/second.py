"""The tab of a second field set: its maps, its peaks and its voters beside those of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari.layers import Image
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QVBoxLayout,
    QWidget,
)

import mdn_cupy as mdn
from mdn_viewer.canvas.second import show_second, show_second_votes
from mdn_viewer.core.opened import Opened, open_origin
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.second import (
    Comparison,
    Own,
    VoterPairs,
    compare,
    second_session,
    voters_in_both,
    work_of_both,
)
from mdn_viewer.core.session import SUM_RULES, title
from mdn_viewer.layers.conversion import inputs_of, opened_of, role_of
from mdn_viewer.widgets.common import button, line, row
from mdn_viewer.widgets.files import waiting
from mdn_viewer.widgets.layer_box import LayerBox
from mdn_viewer.widgets.search_form import SearchForm
from mdn_viewer.widgets.table import Column, TableView

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.canvas.maps import MapView
    from mdn_viewer.core.detections import Search
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession
    from mdn_viewer.widgets.file_opener import FileOpener

__all__ = ["SecondPanel"]

_WELCOME = "Choose a second field set, B, to compare with the one that is shown, A."
_ASK = "Click on a map: who voted for that pixel in A, and who in B?"
_PEAKS = {
    "part": Column("part", "", "Of which part's map it is a peak."),
    "row_a": Column("A row", ".1f", "Row of the peak in A; nan where A has none near B's."),
    "column_a": Column("col", ".1f", "Column of the peak in A."),
    "score_a": Column("A", ".3f", "Value of A's map at its peak."),
    "row_b": Column("B row", ".1f", "Row of the peak in B; nan where B has none near A's."),
    "column_b": Column("col", ".1f", "Column of the peak in B."),
    "score_b": Column("B", ".3f", "Value of B's map at its peak."),
    "distance": Column("apart", ".2f", "Distance of the two peaks, in pixels."),
}
_VOTERS = {
    "part": Column("part", "", "Whose vote it is."),
    "row": Column("row", ".1f", "Row of the output where the source is."),
    "column": Column("col", ".1f", "Column of the output where the source is."),
    "listed": Column("in", "", "Whether it votes for the pixel in A, in B, or in both."),
    "evidence_a": Column("A", ".3g", "What it adds to the pixel's evidence in A."),
    "evidence_b": Column("B", ".3g", "What it adds to the pixel's evidence in B."),
    "change": Column("A − B", "+.3g", "By how much more it adds in A than in B."),
}
_AS_FIRST = "as the first"


class _Wanted(NamedTuple):
    """What a comparison is of: another one is another comparison."""

    first: VotingSession
    fields: mdn.Fields
    own: Own
    search: Search


Answer = tuple[_Wanted, Comparison, VoterPairs | None]


class SecondPanel(QWidget):
    """Choose a second field set; it follows the part, sigma, frame and question of the first.

    Parameters
    ----------
    model : VotingModel
        The first.
    canvas : ComparisonCanvas
        Where to draw the votes.
    maps : MapView
        Where to show the maps.
    viewer : napari.Viewer
        Whose layers carry field sets.
    opener : FileOpener
        Opens files of any kind as the second.
    """

    title = "Second"

    def __init__(
        self,
        model: VotingModel,
        canvas: ComparisonCanvas,
        maps: MapView,
        viewer: Viewer,
        opener: FileOpener,
    ) -> None:
        super().__init__()
        self._model, self._canvas, self._maps, self._viewer = model, canvas, maps, viewer
        self._opener = opener
        self._worker = model.worker(self._show, self._refuse)
        self._file: Opened | None = None  # the last one that was opened
        self._read: tuple[Any, int, mdn.Fields] | None = None  # the frame that was read last
        self._wanted: _Wanted | None = None  # what `compared` is of
        self.compared: Comparison | None = None
        self.voters: VoterPairs | None = None
        self._build()
        for signal in (model.settled, model.session_changed, model.pixel_asked):
            signal.connect(self.update_comparison)
        self._show(None)

    @property
    def opened(self) -> Opened | None:
        """The second field set, or its frames."""
        chosen = self.choice.value
        return chosen if isinstance(chosen, Opened) else opened_of(chosen)

    @property
    def own(self) -> Own:
        """What the second has of its own."""
        sigma = self.sigma.value() if self.own_sigma.isChecked() else None
        return Own(sigma, self.sum_rule.currentData(), self.cross.currentData())

    def wait(self) -> None:
        """Wait until the comparison is that of the session, and drawn."""
        self._worker.wait()
        self._canvas.finish()

    def open(self, *paths: str) -> None:
        """Open files as the second; what they do not say is asked."""
        self._opener.open(paths, self.take)

    def take(self, files: Origin) -> None:
        """Open files, read as they were before, as the second."""
        try:
            with waiting():
                self._file = open_origin(files)
        except (OSError, ValueError, TypeError) as error:
            self._model.refuse(error, of=self)
            return
        self.choice.reset_choices()
        self.choice.value = self._file

    def show_own(self, own: Own) -> None:
        """Let the second have other settings of its own."""
        self.sigma.setValue(self.sigma.value() if own.sigma is None else own.sigma)
        self.own_sigma.setChecked(own.sigma is not None)
        self.sum_rule.setCurrentIndex(max(0, self.sum_rule.findData(own.sum_rule)))
        self.cross.setCurrentIndex(max(0, self.cross.findData(own.cross)))

    def update_comparison(self, *_: Any) -> None:
        """Compare again, where something else is to be compared, and ask again."""
        model, first = self._model, self._model.session
        try:
            fields = None if first is None else self.fields()
            if first is None or fields is None:
                self._worker.cancel()
                self._show(None)
                return
            wanted = _Wanted(first, fields, self.own, self.form.search)
            known = self.compared if wanted == self._wanted else None
            second = known.second if known else second_session(first, fields, wanted.own)
        except (OSError, ValueError) as error:
            self._worker.cancel()
            self._refuse(error)
            return
        pixel, rule = model.pixel, model.asked_rule

        def job() -> Answer:
            found = known or compare(first, second, wanted.search)
            asked = None if pixel is None else voters_in_both(found, pixel, rule)
            return wanted, found, asked

        work = first.votes.offsets.size if known else work_of_both(first, second, wanted.search)
        kind = (first.program, second.program, wanted.search.every_part, known is None)
        self._worker.submit(job, work, "Comparing two field sets", kind)

    def _build(self) -> None:
        self.choice = LayerBox(
            self._offered, "The second field set: of an open layer, or of a file."
        )
        self.own_sigma = QCheckBox("own")
        self.own_sigma.setToolTip("Let the votes of the second have a width of their own.")
        self.sigma = QDoubleSpinBox()
        self.sigma.setRange(0.01, 1e5)
        self.sigma.setSingleStep(0.1)
        self.sigma.setValue(2)
        self.sigma.setEnabled(False)
        self.sigma.setToolTip("Width of the second's votes, in pixels of the output.")
        self.sum_rule, self.cross = QComboBox(), QComboBox()
        for box, choices in (
            (self.sum_rule, {title(rule): rule for rule in SUM_RULES}),
            (self.cross, {"the part itself": False, "all parts": True}),
        ):
            box.addItem(_AS_FIRST, None)
            for text, value in choices.items():
                box.addItem(text, value)
        self.sum_rule.setToolTip("How the votes of the second are added up.")
        self.cross.setToolTip("Who votes in the second.")
        self.form = SearchForm(self._model)
        self.summary = line("How far the maps differ, and how many peaks they share.")
        self.peaks = TableView(_PEAKS, "Peaks side by side. Click on one to ask who voted for it.")
        self.asked = line("Who voted for the asked pixel, in A and in B.")
        self.table = TableView(
            _VOTERS, "Voters of the pixel in either. Click on one to see where its vote lands in A."
        )
        form = QFormLayout()
        form.addRow("sigma", row(self.own_sigma, self.sigma))
        form.addRow("sum", self.sum_rule)
        form.addRow("votes of", self.cross)
        layout = QVBoxLayout(self)
        self.open_file = button(
            "Open…",
            "Open a file as the second; what it does not say is asked.",
            lambda: self._opener.ask("Open a second field set", self.take),
        )
        layout.addLayout(row(self.choice, self.open_file))
        layout.addLayout(form)
        layout.addWidget(self.form)
        layout.addWidget(self.form.every_part)
        layout.addWidget(self.summary)
        layout.addWidget(self.peaks, 1)
        layout.addWidget(self.asked)
        layout.addWidget(self.table, 1)
        self.peaks.chosen.connect(self._on_peak)
        self.table.chosen.connect(self._on_voter)
        self.own_sigma.toggled.connect(self.sigma.setEnabled)
        for signal in (
            self.choice.chosen,
            self.own_sigma.toggled,
            self.sigma.valueChanged,
            self.sum_rule.currentIndexChanged,
            self.cross.currentIndexChanged,
            self.form.changed,
        ):
            signal.connect(self.update_comparison)

    def _offered(self) -> list[Image | Opened]:
        layers = [x for x in inputs_of(self._viewer, Image) if role_of(x) == "confidence"]
        return layers if self._file is None else [*layers, self._file]

    def fields(self) -> mdn.Fields | None:
        """Return the second's fields in the frame that the first shows."""
        opened, frame = self.opened, self._model.frame
        if opened is None:
            return None
        if not opened.several:
            return opened.first
        frames = opened.frames
        if self._read is None or self._read[0] is not frames or self._read[1] != frame:
            if frame >= len(frames):
                raise ValueError(
                    f"the second field set: it has {len(frames)} frames, and the first shows "
                    f"frame {frame}"
                )
            self._read = frames, frame, frames[frame]
        return self._read[2]

    def _show(self, answer: Answer | None) -> None:
        before = self.compared, self.voters
        self._model.withdraw(self)
        self._wanted, self.compared, self.voters = answer or (None, None, None)
        found, voters = self.compared, self.voters
        if found is not before[0]:
            show_second(self._maps, found)
            self.peaks.show_columns({} if found is None else found.columns)
        if voters is not before[1]:
            show_second_votes(self._canvas, None if voters is None else voters.second)
            self.table.show_columns({} if voters is None else voters.columns)
        self.summary.setText(_WELCOME if found is None else str(found))
        asked = _ASK if voters is None else str(voters)
        self.asked.setText("" if found is None else asked)

    def _refuse(self, error: BaseException) -> None:
        self._show(None)
        self.summary.setText(str(error))
        self._model.refuse(error, of=self)

    def _on_peak(self, shown: int) -> None:
        """Ask who voted for a peak: where A has it, and else where B does."""
        found = self.compared
        if found is None:
            return
        one, other = (places[shown] for places in found.places)
        part = str(found.columns["part"][shown])
        names, session = found.first.fields.names, self._model.session
        if session is not None and part in names and session.part != names.index(part):
            self._model.change(part=part, cross=False)
        y, x = other if found.pairs[shown, 0] < 0 else one
        self._model.ask_pixel((round(y), round(x)), found.search.rule)

    def _on_voter(self, shown: int) -> None:
        if self.voters is not None:
            self._model.ask_source(self.voters.source(shown))  # None where A has no such source
