"""Ask a pixel who voted for it, and a source where its vote lands."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from mdn_viewer.canvas.votes import MOST_ARROWS, show_votes
from mdn_viewer.core.provenance import Landing, Provenance, landing_of, provenance_of
from mdn_viewer.export import save_table
from mdn_viewer.widgets.common import button, line, row
from mdn_viewer.widgets.files import TABLE, SaveButton
from mdn_viewer.widgets.table import Column, TableView

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession

__all__ = ["VotersPanel"]

_ASK_PIXEL = "Click on a map: who voted for that pixel?"
_ASK_SOURCE = (
    "Shift-click on the confidence, or choose a row of the table: where does that vote land, and "
    "what does it add?"
)
_SUPPORTERS = 6  # parts named in the summary
_COLUMNS = {
    "part": Column("part", "", "Whose confidence and offset it is."),
    "row": Column("row", "d", "Row of the source, on the fields' own grid."),
    "column": Column("col", "d", "Column of the source, on the fields' own grid."),
    "c": Column("c", ".3f", "Confidence of the source."),
    "o_x": Column("o_x", ".1f", "How far to the right its vote goes, in pixels of the output."),
    "o_y": Column("o_y", ".1f", "How far down its vote goes, in pixels of the output."),
    "w": Column("w", ".3f", "Weight of its vote at the pixel: 1 where it lands there exactly."),
    "share": Column(
        "share",
        ".1%",
        "Its share of the pixel's evidence: −L for the noisy-or, s for the sum.",
    ),
    "evidence": Column(
        "evidence",
        ".3g",
        "What it adds to the pixel's evidence: −log(1 − w·c), or its part of the sum s.",
    ),
}

Answers = tuple[Provenance | None, Landing | None]


class VotersPanel(QWidget):
    """The voters of the pixel that was asked about, as a table and as arrows on the maps.

    Parameters
    ----------
    model : VotingModel
        Which pixel and which source are asked about.
    canvas : ComparisonCanvas
        Where to draw the votes.
    """

    title = "Voters"

    def __init__(self, model: VotingModel, canvas: ComparisonCanvas) -> None:
        super().__init__()
        self._model, self._canvas = model, canvas
        self._worker = model.worker(self._show, self._refuse)
        self.asked: Provenance | None = None
        self.landing: Landing | None = None
        self._build()
        self._show((None, None))
        model.pixel_asked.connect(self._ask)
        model.source_asked.connect(self._ask)
        model.settled.connect(self._ask)
        model.session_changed.connect(self._on_session)

    def wait(self) -> None:
        """Wait until what has been asked is answered, and drawn."""
        self._worker.wait()
        self._canvas.finish()

    def _build(self) -> None:
        self.headline = line("The pixel, its value, and how many sources voted for it.")
        self.support = line("How much of the pixel's evidence comes from each part.")
        self.where = line("Where the vote of the source lands, and what it adds there.")
        self.table = TableView(
            _COLUMNS,
            "The sources that voted for the pixel. Click on a header to sort, on a row to see "
            "where that vote lands.",
        )
        self.table.chosen.connect(self._on_chosen)
        self.export_csv = SaveButton(
            self._model,
            "Export CSV…",
            "Write the table, and where the votes land, to a file.",
            "voters.csv",
            TABLE,
        )
        self.clear = button(
            "Clear", "Ask no more: take the arrows and the footprint off the maps.", self._on_clear
        )
        layout = QVBoxLayout(self)
        layout.addWidget(self.headline)
        layout.addWidget(self.support)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.where)
        layout.addLayout(row(self.export_csv, self.clear))

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:  # else the answers follow once the slider rests
            self._ask()

    def _ask(self, *_: Any) -> None:
        """Ask again: of another pixel or source, or since the slider has come to rest."""
        model = self._model
        session, pixel, source, rule = model.session, model.pixel, model.source, model.asked_rule
        if session is None or (pixel is None and source is None):
            self._worker.cancel()
            self._show((None, None))
            return

        asked = self.asked if self._is_answered(session, pixel, rule) else None

        def answer() -> Answers:
            return (
                asked if asked or pixel is None else provenance_of(session, pixel, rule),
                None if source is None else landing_of(session, source),
            )

        self._worker.submit(answer, session.votes.offsets.size, "Asking who voted", session.program)

    def _is_answered(self, session: VotingSession, pixel: Any, rule: str) -> bool:
        """Whether the voters are known: then the table stays as it is, and what is chosen of it."""
        a = self.asked
        return a is not None and (a.session, a.pixel, a.rule) == (session, pixel, rule)

    def _show(self, answers: Answers) -> None:
        changed = answers[0] is not self.asked
        self.asked, self.landing = answers
        show_votes(self._canvas, *answers)
        if changed:
            self.table.show_columns({} if self.asked is None else self.asked.columns)
        self.headline.setText(_ASK_PIXEL if self.asked is None else _summary(self.asked))
        self.support.setText("" if self.asked is None else _support(self.asked))
        self.support.setVisible(bool(self.support.text()))
        self.where.setText(_ASK_SOURCE if self.landing is None else str(self.landing))
        self.export_csv.offer(partial(save_table, columns=self.asked.table) if self.asked else None)
        self.clear.setEnabled(answers != (None, None))

    def _refuse(self, error: BaseException) -> None:
        self._show((None, None))
        self._model.refuse(error)

    def _on_chosen(self, voter: int) -> None:
        """Ask where the vote in a row of the table lands."""
        if self.asked is not None:
            row, column = self.asked.voters.source[voter, -2:].tolist()
            self._model.ask_source((int(self.asked.parts[voter]), row, column))

    def _on_clear(self) -> None:
        self._model.ask_source(None)
        self._model.ask_pixel(None)


def _summary(asked: Provenance) -> str:
    drawn = f"; the strongest {MOST_ARROWS} drawn" if len(asked.voters) > MOST_ARROWS else ""
    return f"{asked}{drawn}"


def _support(asked: Provenance) -> str:
    """Say which parts supported a pixel, where several may have."""
    if not asked.several_parts or not asked.support:
        return ""
    named = [f"{name} {share:.1%} ({count})" for name, count, share in asked.support[:_SUPPORTERS]]
    more = len(asked.support) - len(named)
    return "by part: " + ", ".join(named) + (f", and {more} more" if more else "")
