"""What counts as a peak: which map, its least score, the least distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QWidget

from mdn_viewer.core.detections import Search
from mdn_viewer.core.session import RULES, VotingSession, title

if TYPE_CHECKING:
    from mdn_viewer.core.model import VotingModel

__all__ = ["SearchForm"]

_SCORES = {"noisy_or": (1e-6, 1 - 1e-6, 0.05), "additive": (1e-9, 1e9, 0.001)}


class SearchForm(QWidget):
    """Boxes for a `Search`; `every_part` is laid out by the caller.

    Parameters
    ----------
    model : VotingModel
        Of whose maps a peak is the scale of a sum's score.
    """

    changed = Signal()

    def __init__(self, model: VotingModel) -> None:
        super().__init__()
        self._model = model
        self.rule = QComboBox()
        for rule in RULES:
            self.rule.addItem(title(rule), rule)
        self.rule.setToolTip("In which map to look for peaks.")
        self.score = QDoubleSpinBox()
        self.score.setDecimals(6)
        self.score.setToolTip("Least value of the map at a peak.")
        self._limit_score()
        self.score.setValue(0.5)
        self.distance = QDoubleSpinBox()
        self.distance.setRange(1, 1e5)
        self.distance.setValue(8)
        self.distance.setToolTip("Least distance of two peaks of a map, in pixels of the output.")
        self.every_part = QCheckBox("every part")
        self.every_part.setToolTip("Search the maps of all parts, and not only the one shown.")
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("map", self.rule)
        layout.addRow("least score", self.score)
        layout.addRow("distance (px)", self.distance)
        model.session_changed.connect(self._on_session)
        self.rule.currentIndexChanged.connect(self._on_rule)
        for signal in (
            self.score.valueChanged,
            self.distance.valueChanged,
            self.every_part.toggled,
        ):
            signal.connect(lambda *_: self.changed.emit())

    @property
    def search(self) -> Search:
        """What is looked for."""
        return Search(
            self.score.value(),
            self.distance.value(),
            self.rule.currentData(),
            self.every_part.isChecked(),
        )

    def show_search(self, search: Search) -> None:
        """Look for something else."""
        with QSignalBlocker(self):
            self.rule.setCurrentIndex(max(0, self.rule.findData(search.rule)))
            self.score.setValue(search.score)
            self.distance.setValue(search.distance)
            self.every_part.setChecked(search.every_part)
        self.changed.emit()

    def _limit_score(self) -> None:
        low, high, step = _SCORES[self.rule.currentData()]
        self.score.setRange(low, high)
        self.score.setSingleStep(step)

    def _on_session(self, session: VotingSession | None) -> None:
        if session is not None:
            for n, rule in enumerate(RULES):
                self.rule.setItemText(n, session.title(rule))

    def _on_rule(self, *_: Any) -> None:
        """Begin with half of the map's peak: a sum has no scale of its own."""
        rule, vote_map = self.rule.currentData(), self._model.maps.get(self.rule.currentData())
        with QSignalBlocker(self.score):
            self._limit_score()
            half = 0.5
            if rule != "noisy_or" and vote_map is not None and vote_map.peak is not None:
                half = vote_map.peak.value / 2
            self.score.setValue(half)
        self.changed.emit()
