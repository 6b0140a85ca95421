"""The tab of annotations: errors of the parts, and the sources that pull a peak away."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from qtpy.QtWidgets import QVBoxLayout, QWidget

from mdn_viewer.canvas.truth import show_influence, show_truth
from mdn_viewer.core.annotation_files import Annotations, read_annotations
from mdn_viewer.core.annotations import Errors, Influence, errors_of, influence_of
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.export import save_table
from mdn_viewer.layers.conversion import inputs_of
from mdn_viewer.layers.transforms import Frame
from mdn_viewer.widgets.common import button, line, row
from mdn_viewer.widgets.files import TABLE, SaveButton, ask_files, waiting
from mdn_viewer.widgets.layer_box import LayerBox
from mdn_viewer.widgets.table import Column, TableView

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["TruthPanel"]

_WELCOME = "Open annotations, or choose a Points layer: how far is each peak from the truth?"
_PARTS = {
    "part": Column("part", "", "An annotated part."),
    "row": Column("row", ".1f", "Row where it is annotated."),
    "column": Column("col", ".1f", "Column where it is annotated."),
    "error": Column("error", ".2f", "Distance of the peak of its map, in pixels."),
    "similarity": Column("OKS", ".3f", "exp(−error² / (2·area·(2σ)²)), the term of COCO's OKS."),
}
_SOURCES = {
    "part": Column("part", "", "Whose vote it is."),
    "row": Column("row", "d", "Row of the source, on the fields' own grid."),
    "column": Column("col", "d", "Column of the source, on the fields' own grid."),
    "share": Column("share", ".1%", "Its share of the peak's evidence."),
    "without": Column("without", ".2f", "The error without this source, in pixels."),
    "change": Column("pull", "+.2f", "By how much it moves the peak away from the truth."),
}
_LISTED = 10  # frames, or parts, that are named
_FILES = "Annotations (*.json *.csv *.h5 *.hdf5)"

Answer = tuple[Errors, Influence | None]


class TruthPanel(QWidget):
    """Compare the peaks with annotations, and leave sources out in turn.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    canvas : ComparisonCanvas
        Where to draw.
    viewer : napari.Viewer
        The viewer whose Points layers may be the truth.
    frame : callable
        Returns where the pixels of the output are.
    """

    title = "Truth"

    def __init__(
        self,
        model: VotingModel,
        canvas: ComparisonCanvas,
        viewer: Viewer,
        frame: Callable[[], Frame],
    ) -> None:
        super().__init__()
        self._model, self._canvas, self._viewer, self._frame = model, canvas, viewer, frame
        self._worker = model.worker(self._show, self._refuse)
        self._annotations: Annotations | None = None
        self.errors: Errors | None = None
        self.influence: Influence | None = None
        self._build()
        for signal in (model.settled, model.session_changed):
            signal.connect(self.update_errors)
        self._show(None)

    def wait(self) -> None:
        """Wait until the errors are those of the session, and drawn."""
        self._worker.wait()
        self._canvas.finish()

    @property
    def annotations(self) -> Annotations | None:
        """The annotations that are open, by the frames that are."""
        read = self._annotations
        return None if read is None else read.among(max(1, len(self._model.frames)))

    def open(self, path: str) -> None:
        """Read annotations from a file; what fails is said where all is said that fails."""
        self._model.withdraw(self)
        try:
            with waiting():
                annotations = read_annotations(path)
        except (OSError, ValueError) as error:
            self._model.refuse(error, of=self)
        else:
            self.take(annotations)

    def forget(self) -> None:
        """Compare with no file."""
        self._annotations = None
        self.update_errors()

    def take(self, annotations: Annotations) -> None:
        """Compare with annotations."""
        self._annotations = annotations
        self.layers.value = None
        self.update_errors()

    def update_errors(self, *_: Any) -> None:
        """Measure again, if the tab is open."""
        session, truth, area = self._model.session, self._truth(), self._area()
        if session is None or not truth:
            self._worker.cancel()
            self._show(None)
            return
        if not self.isVisible():
            return

        def job() -> Answer:
            errors = errors_of(session, truth, area)
            return errors, _influence(session, errors)

        work = session.work * (len(session.fields.names) + 1)
        self._worker.submit(job, work, "Comparing with the truth", session.program)

    def showEvent(self, event: Any) -> None:
        """Measure what has changed while the tab was hidden."""
        super().showEvent(event)
        self.update_errors()

    def hideEvent(self, event: Any) -> None:
        """Take the marks off the maps."""
        super().hideEvent(event)
        self._worker.cancel()
        self._show(None)

    def _build(self) -> None:
        self.layers = LayerBox(
            lambda: inputs_of(self._viewer, Points),
            "Points of the part that is shown; or with a feature 'part' or 'label', of several.",
        )
        self.layers.chosen.connect(self.update_errors)
        self.layers.edited.connect(self.update_errors)
        self.summary = line("Mean error and OKS of the annotated parts.")
        self.parts = TableView(_PARTS, "The annotated parts. Click on one to look at it.")
        self.parts.chosen.connect(self._on_part)
        self.pull = line("Which sources pull the peak away.")
        self.sources = TableView(
            _SOURCES, "Sources by what the error would be without them. Click to see the vote."
        )
        self.sources.chosen.connect(self._on_source)
        self.open_file = button(
            "Open…",
            "COCO, DeepLabCut or CSV.",
            lambda: ask_files(self, "Open annotations", self.open, _FILES),
        )
        self.export_csv = SaveButton(
            self._model, "CSV…", "Write both tables to files.", "errors.csv", TABLE
        )
        layout = QVBoxLayout(self)
        layout.addLayout(row(self.open_file, self.layers))
        layout.addWidget(self.summary)
        layout.addWidget(self.parts, 1)
        layout.addWidget(self.pull)
        layout.addWidget(self.sources, 1)
        layout.addWidget(self.export_csv)

    def _truth(self) -> dict[str, tuple[float, float]]:
        """Return the places of the parts in the present frame."""
        session, layer = self._model.session, self.layers.value
        if session is None:
            return {}
        if layer is not None:
            return _places(layer, self._frame(), session)
        annotations = self.annotations
        return {} if annotations is None else annotations.of(self._model.frame)

    @property
    def _nothing(self) -> str:
        """Say why there are no errors."""
        session, annotations = self._model.session, self.annotations
        if session is not None and self.errors is not None:
            return (
                f"Annotated parts: {_listed(self._truth())}; none is one of the fields' parts: "
                f"{_listed(session.fields.names)}."
            )
        if session is None or annotations is None or self.layers.value is not None or self._truth():
            return _WELCOME
        frames = _listed(annotations.frames)
        return f"Annotated frames: {frames or 'none'}; none is frame {self._model.frame}."

    def _area(self) -> float | None:
        annotations = self.annotations
        if annotations is None or self.layers.value is not None:
            return None
        return annotations.areas.get(self._model.frame)

    def _show(self, answer: Answer | None) -> None:
        self.errors, self.influence = (None, None) if answer is None else answer
        show_truth(self._canvas, self.errors)
        show_influence(self._canvas, self.influence)
        self.parts.show_columns({} if self.errors is None else self.errors.columns)
        self.sources.show_columns({} if self.influence is None else self.influence.columns)
        found = self.errors is not None and self.errors.names
        self.summary.setText(_summary(self.errors) if self.errors and found else self._nothing)
        self.pull.setText("" if self.influence is None else _pull(self.influence))
        self.export_csv.offer(partial(_save, answer) if answer else None)

    def _refuse(self, error: BaseException) -> None:
        self._show(None)
        self._model.refuse(error)

    def _on_part(self, shown: int) -> None:
        if self.errors is not None:
            name = self.errors.names[shown]
            self._model.change(part=name, cross=False)

    def _on_source(self, shown: int) -> None:
        if self.influence is not None:
            part, i, j = self.influence.sources[shown].tolist()
            self._model.ask_source((part, i, j))


def _save(answer: Answer, path: str) -> None:
    """Write the table of the parts, and beside it that of the sources."""
    errors, influence = answer
    save_table(path, errors.columns)
    if influence is not None:
        save_table(f"{path.removesuffix('.csv')}-sources.csv", influence.columns)


def _influence(session: VotingSession, errors: Errors) -> Influence | None:
    """Leave out the sources of the part that is shown, where it is annotated and has a peak."""
    name = "" if session.part == ALL else session.fields.names[int(session.part)]
    at = errors.names.index(name) if name in errors.names else None
    if at is None or np.isnan(errors.error[at]):
        return None
    row, column = errors.truth[at].tolist()
    return influence_of(session, (row, column))


def _places(layer: Any, frame: Frame, session: VotingSession) -> dict[str, tuple[float, float]]:
    """Return the places of a Points layer by part; without names they are of the part shown."""
    places = frame.points_of(layer)
    if not len(places):
        return {}
    at, names = places[:, -2:], session.fields.names
    for feature in ("part", "label", "keypoint", "name"):
        if feature in layer.features:
            labels = [str(label) for label in layer.features[feature]]
            return {label: tuple(place) for label, place in zip(labels, at.tolist(), strict=True)}
    if layer.ndim > 2:
        numbers = np.rint(places[:, -3]).astype(int)
        pairs = zip(numbers, at.tolist(), strict=True)
        return {names[p]: tuple(place) for p, place in pairs if 0 <= p < len(names)}
    if session.part == ALL:
        return {}
    return {names[int(session.part)]: tuple(at[-1].tolist())}


def _listed(names: Collection[Any]) -> str:
    """Write the first names, and how many there are if those are not all."""
    more = f", … ({len(names)})" if len(names) > _LISTED else ""
    return ", ".join(str(name) for name in [*names][:_LISTED]) + more


def _summary(errors: Errors) -> str:
    oks = f"OKS {errors.oks:.3f}" if np.isfinite(errors.oks) else "no OKS without an area"
    found, total = int(np.isfinite(errors.error).sum()), len(errors.names)
    parts = f"{total} part{'s' * (total != 1)}" + (f", {found} with a peak" * (found < total))
    mean = f"mean error {np.nanmean(errors.error):.2f} px, " if found else ""
    return f"{parts}: {mean}{oks}"


def _pull(influence: Influence) -> str:
    worst = influence.change[0] if len(influence.change) else 0.0
    helps = f"; without the worst source {influence.without[0]:.2f} px" if worst > 0 else ""
    tried, total = len(influence.without), len(influence.voters.share)
    some = f" Left out in turn: the {tried} strongest of {total} sources." if tried < total else ""
    return f"The peak is {influence.error:.2f} px from the truth{helps}.{some}"
