"""The tab of detections: peaks of the maps as a table and as marks, and the sources of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points
from qtpy.QtWidgets import (
    QCheckBox,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from mdn_viewer.canvas.detections import MOST_ELLIPSES, show_detections
from mdn_viewer.core.detections import Detections, Search, detect, work_of
from mdn_viewer.core.grid import Grid
from mdn_viewer.export import save_table, save_text
from mdn_viewer.widgets.common import button, line, row
from mdn_viewer.widgets.files import TABLE, FileKind, SaveButton
from mdn_viewer.widgets.search_form import SearchForm
from mdn_viewer.widgets.table import Column, TableView

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.layers.linked import LinkedLayers

__all__ = ["PeaksPanel"]

_COLUMNS = {
    "part": Column("part", "", "Of which part's map it is a peak."),
    "row": Column("row", ".2f", "Row of the output, to a fraction of a pixel."),
    "column": Column("col", ".2f", "Column of the output, to a fraction of a pixel."),
    "score": Column("score", ".3f", "Value of the map: m of the noisy-or, or the sum."),
    "evidence": Column("evidence", ".3g", "−L or the sum: it does not saturate where m is 1."),
    "spread": Column("spread", ".2f", "Standard deviation of where its votes land, in pixels."),
    "voters": Column("voters", ".1f", "Effective number of votes: n where n are equally strong."),
}
_POINTS, _LABELS = "detections", "instances"
_KEYPOINTS = FileKind("keypoints are", {"JSON": (".json",)})

Found = tuple[Detections, Any]


class PeaksPanel(QWidget):
    """Find peaks by a least score and a least distance; they follow sigma.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    canvas : ComparisonCanvas
        Where to draw them.
    links : LinkedLayers
        Where layers of them are added.
    """

    title = "Peaks"

    def __init__(self, model: VotingModel, canvas: ComparisonCanvas, links: LinkedLayers) -> None:
        super().__init__()
        self._model, self._canvas, self._links = model, canvas, links
        self._worker = model.worker(self._show, self._refuse)
        self.found: Detections | None = None
        self.labels: Any = None  # of the sources, where somebody wants them
        self._adding = False  # a layer of them, as soon as they are there
        self._rows: Any = ()  # of the table of peaks, those that the filter leaves
        self._build()
        for signal in (model.settled, model.session_changed):
            signal.connect(self._search)
        self._show(None)

    def wait(self) -> None:
        """Wait until the peaks are those of the session, and drawn."""
        self._worker.wait()
        self._canvas.finish()

    @property
    def search(self) -> Search:
        """What is looked for."""
        return self.form.search

    def showEvent(self, event: Any) -> None:
        """Search for what has not been looked at while the tab was hidden."""
        super().showEvent(event)
        self._search()

    def hideEvent(self, event: Any) -> None:
        """Take the marks off the maps, unless they are to stay."""
        super().hideEvent(event)
        if not self._wanted:
            self._worker.cancel()
            self._show(None)
        self._draw()

    @property
    def _wanted(self) -> bool:
        """Whether anything is to be searched for: marks, or layers, which follow in any tab."""
        linked = _POINTS in self._links or _LABELS in self._links
        return self.isVisible() or self.keep.isChecked() or linked

    def _build(self) -> None:
        self.form = SearchForm(self._model)
        self.rule, self.score = self.form.rule, self.form.score
        self.distance, self.every_part = self.form.distance, self.form.every_part
        self.sources = QCheckBox("colour the sources")
        self.sources.setToolTip("Give every source the colour of the peak that it votes for most.")
        self.keep = QCheckBox("keep on the maps")
        self.keep.setToolTip("Leave the peaks on the maps while another tab is open.")
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("filter by part")
        self.filter.setClearButtonEnabled(True)
        self.count = line("How many peaks there are.")
        self.table = TableView(
            _COLUMNS, "The peaks, by part and evidence. Click on one to ask who voted for it."
        )
        self.table.chosen.connect(self._on_chosen)
        self.buttons: dict[str, Any] = {
            "points": button(
                "Points layer", "Add the peaks as a Points layer, kept up to date.", self._add
            ),
            "labels": button(
                "Labels layer", "Add the sources' labels as a layer.", self._add_labels
            ),
            "csv": SaveButton(
                self._model, "CSV…", "Write the table to a file.", "peaks.csv", TABLE
            ),
            "json": SaveButton(
                self._model,
                "COCO…",
                "Write COCO's keypoint results (every part).",
                "peaks.json",
                _KEYPOINTS,
            ),
            "move": SaveButton(
                self._model,
                "movement…",
                "Write a table with movement's columns.",
                "movement.csv",
                TABLE,
            ),
        }
        buttons = list(self.buttons.values())
        layout = QVBoxLayout(self)
        layout.addWidget(self.form)
        layout.addLayout(row(self.every_part, self.sources))
        layout.addWidget(self.keep)
        layout.addWidget(self.filter)
        layout.addWidget(self.count)
        layout.addWidget(self.table, 1)
        layout.addLayout(row(*buttons[:2]))
        layout.addLayout(row(*buttons[2:]))
        self.form.changed.connect(self._search)
        self.sources.toggled.connect(self._search)
        self.filter.textChanged.connect(self._filter)

    def _search(self, *_: Any) -> None:
        """Search again, if the peaks are shown."""
        session, search = self._model.session, self.search
        if session is None:
            self._worker.cancel()
            self._show(None)
            return
        if not self._wanted:
            return
        with_sources = self.sources.isChecked() or self._adding or _LABELS in self._links

        def job() -> Found:
            found = detect(session, search)
            return found, found.instances()[0] if with_sources and len(found) else None

        kind = (*session.program, search.every_part, with_sources)
        self._worker.submit(job, work_of(session, search), "Finding peaks", kind)

    def _show(self, result: Found | None) -> None:
        self.found, self.labels = (None, None) if result is None else result
        self._draw()
        self._filter()
        found, frame, buttons = self.found or None, self._model.frame, self.buttons
        for name in ("points", "labels"):
            buttons[name].setEnabled(found is not None)
        buttons["csv"].offer(found and (lambda path: save_table(path, found.columns)))
        buttons["json"].offer(found and (lambda path: save_text(path, found.coco(frame))))
        buttons["move"].offer(found and (lambda path: save_table(path, found.movement(frame))))
        for name in (_POINTS, _LABELS):
            if self.found is not None:
                self._links.update(name)
        known = self.labels is not None or (self.found is not None and not len(self.found))
        if self._adding and known:
            self._adding = False
            self._add_layer_of_labels()

    def _draw(self) -> None:
        drawn = self.isVisible() or self.keep.isChecked()
        found = self.found if drawn else None
        coloured = drawn and self.sources.isChecked()
        show_detections(self._canvas, found, self.labels if coloured else None)

    def _filter(self, *_: Any) -> None:
        """Show the rows whose part has the text."""
        columns = {} if self.found is None else self.found.columns
        text = self.filter.text().casefold()
        rows = [text in str(part).casefold() for part in columns.get("part", ())]
        self._rows = np.flatnonzero(rows)
        self.table.show_columns({name: values[self._rows] for name, values in columns.items()})
        total = len(rows)
        some = f"{len(self._rows)} of {total}" if text else str(total)
        few = f"; the spread of the strongest {MOST_ELLIPSES} is drawn" * (total > MOST_ELLIPSES)
        text = f"{some} peak{'s' * (total != 1)}{few}"
        self.count.setText(text if self.found is not None else "")

    def _refuse(self, error: BaseException) -> None:
        self._show(None)
        self._model.refuse(error)

    def _on_chosen(self, shown: int) -> None:
        """Ask who voted for a peak; of another part, look at that part first."""
        if self.found is None:
            return
        peak = int(self._rows[shown])
        part, place = int(self.found.parts[peak]), self.found.places[peak]
        session = self._model.session
        if session is not None and part >= 0 and session.part != part:
            self._model.change(part=part, cross=False)
        self._model.ask_pixel((round(place[0]), round(place[1])), self.found.search.rule)

    def _add(self) -> None:
        if self.found is None:
            return
        layer = Points(
            self.found.places,
            features=_features(self.found),
            name=_POINTS,
            ndim=2,
            face_color="#00000000",
            border_color="#ffe633",
        )

        def update(layer: Any) -> None:
            if self.found is not None:
                layer.data = self.found.places
                layer.features = _features(self.found)

        self._links.add(_POINTS, layer, update)

    def _add_labels(self) -> None:
        """Add them once they are known: of many sources that takes seconds."""
        self._adding = True
        self._search()

    def _add_layer_of_labels(self) -> None:
        if self.found is None or self.labels is None:
            return  # no peaks
        scale, translate = Grid.of(self.found.session.fields)
        layer = Labels(self.labels, name=_LABELS, scale=scale, translate=translate)

        def update(layer: Any) -> None:
            if self.labels is not None:
                layer.data = self.labels
            elif self.found is not None and not len(self.found):
                layer.data = np.zeros_like(layer.data)

        self._links.add(_LABELS, layer, update)


def _features(found: Detections) -> dict[str, Any]:
    columns = found.columns
    return {name: columns[name] for name in ("part", "score", "evidence", "spread", "voters")}
