"""The tab in which maps are compared: which are shown, their peaks and totals, and their looks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from mdn_viewer.canvas.maps import CONFIDENCE, MapView
from mdn_viewer.core.session import KINDS, RULES, SUM_RULES, VoteMap, VotingSession, title
from mdn_viewer.core.window import Window
from mdn_viewer.settings import recall, recall_shown, remember, remember_shown
from mdn_viewer.widgets.controls import Figure

if TYPE_CHECKING:
    from mdn_viewer.core.model import VotingModel

__all__ = ["ComparePanel"]

_NONE = "–"
_MEANINGS = {
    "noisy_or": "Show m = 1 − Π (1 − w·c).",
    "additive": "Show s, the sum of all votes.",
    "difference": "Show m − s: where, and by how much, the noisy-or is higher.",
    "evidence": "Show −L = −log(1 − m), which tells peaks apart where m is 1 for all of them.",
    CONFIDENCE: "Show the confidence of the part's sources beside the maps.",
}
_COLUMNS = {
    "peak": "Highest value of the map; of the difference, the one farthest from 0.",
    "row, col": "The pixel of the output in which the peak is. Click to ask who voted for it.",
    "total": "The sum of all pixels of the map.",
}
_COLORMAPS = ("inferno", "magma", "viridis", "turbo", "gray")  # those that `napari.yaml` allows


class ComparePanel(QWidget):
    """Choose which maps to see, and read their peaks and totals.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    maps : MapView
        What shows them.
    """

    title = "Compare"

    def __init__(self, model: VotingModel, maps: MapView) -> None:
        super().__init__()
        self._model, self._maps = model, maps
        self.shown = {kind: _checkbox(title(kind), text) for kind, text in _MEANINGS.items()}
        self.figures = {kind: [Figure(text) for text in _COLUMNS.values()] for kind in KINDS}
        for label in (label for labels in self.figures.values() for label in labels):
            label.setText(_NONE)
        self.same_scale = _checkbox(
            "same scale for both",
            "Show the sum from 0 to 1 too, and not from 0 to its own peak.",
        )
        self.sum_rule = QComboBox()
        for rule in SUM_RULES:
            self.sum_rule.addItem(title(rule), rule)
        self.sum_rule.setToolTip(
            "additive: every vote is scaled by 1/(2πσ²), so that it adds c to the total. "
            "plain sum: it adds c to the pixel where it lands."
        )
        self.truncate = QDoubleSpinBox()
        self.truncate.setRange(0.5, 16)
        self.truncate.setSingleStep(0.5)
        self.truncate.setToolTip("How many sigmas a vote reaches, along each axis.")
        self.colormap = QComboBox()
        self.colormap.setToolTip("Colours of all maps but the difference; they are linked.")
        self.napari_canvas = _checkbox(
            "napari's canvas beside the maps",
            "Show napari's own canvas too, with its layers and their tools.",
        )
        self.place = QLabel()
        self.place.setTextFormat(Qt.TextFormat.PlainText)  # it may be an error's
        self.place.setWordWrap(True)
        self._lay_out()
        self._begin()
        self._connect()

    def _lay_out(self) -> None:
        table = QGridLayout()
        for column, (name, meaning) in enumerate(_COLUMNS.items(), start=1):
            heading = QLabel(name)
            heading.setToolTip(meaning)
            heading.setAlignment(Qt.AlignmentFlag.AlignRight)
            table.addWidget(heading, 0, column)
            table.setColumnStretch(column, 1)
        for row, (kind, box) in enumerate(self.shown.items(), start=1):
            table.addWidget(box, row, 0)
            for column, label in enumerate(self.figures.get(kind, []), start=1):
                table.addWidget(label, row, column)
        looks = QFormLayout()
        looks.addRow(self.same_scale)
        looks.addRow("sum", self.sum_rule)
        looks.addRow("truncate (sigmas)", self.truncate)
        looks.addRow("colormap", self.colormap)
        looks.addRow(self.napari_canvas)
        layout = QVBoxLayout(self)
        layout.addLayout(table)
        layout.addLayout(looks)
        layout.addStretch()
        layout.addWidget(self.place)

    def _begin(self) -> None:
        """Begin with what the settings remember."""
        shown = recall_shown()
        for kind, box in self.shown.items():
            box.setChecked(kind in shown)
        self.truncate.setValue(4)
        colormap = recall("colormap")
        self.colormap.addItems(_COLORMAPS)
        self.colormap.setCurrentText(colormap)
        self._maps.set_colormap(colormap)
        self._model.show_kinds(shown)
        self._maps.show_confidence(CONFIDENCE in shown)

    def _connect(self) -> None:
        for box in self.shown.values():
            box.toggled.connect(self._on_shown)
        self.same_scale.toggled.connect(self._maps.set_same_scale)
        self.sum_rule.currentIndexChanged.connect(
            lambda _: self._model.change(sum_rule=self.sum_rule.currentData())
        )
        for kind, (_, place, _) in self.figures.items():
            place.setCursor(Qt.CursorShape.PointingHandCursor)
            place.clicked.connect(partial(self._ask_peak, kind))
        self.truncate.valueChanged.connect(lambda value: self._model.change(truncate=value))
        self.colormap.currentTextChanged.connect(self._on_colormap)
        self._model.session_changed.connect(self._follow)
        self._model.maps_changed.connect(self._write)

    def _on_shown(self) -> None:
        shown = {kind for kind, box in self.shown.items() if box.isChecked()}
        remember_shown(shown)
        self._maps.show_confidence(CONFIDENCE in shown)
        self._model.show_kinds(shown)

    def _on_colormap(self, name: str) -> None:
        remember("colormap", name)
        self._maps.set_colormap(name)

    def _ask_peak(self, kind: str) -> None:
        vote_map = self._model.maps.get(kind)
        if vote_map is not None and vote_map.peak is not None:
            rule = kind if kind in RULES else None
            self._model.ask_pixel((vote_map.peak.row, vote_map.peak.column), rule)

    def _follow(self, session: VotingSession | None) -> None:
        """Show the parameters of a session, without acting on them."""
        if session is None:
            return
        self.shown["additive"].setText(session.title("additive"))
        with QSignalBlocker(self.sum_rule), QSignalBlocker(self.truncate):
            self.sum_rule.setCurrentIndex(SUM_RULES.index(session.sum_rule))
            self.truncate.setValue(session.truncate)

    def _write(self, maps: dict[str, VoteMap]) -> None:
        """Write the figures of the maps; none for maps that are not there."""
        for kind, labels in self.figures.items():
            for label, text in zip(labels, _figures(maps.get(kind)), strict=True):
                label.setText(text)
        self._say_where()

    def _say_where(self) -> None:
        """Say where the maps were computed, and of which pixels, if not of all."""
        if self._model.voted is not None:
            place = self._model.voted.place
            maps = self._model.maps.values() if self._model.exact else ()  # and not while it drags
            window = next((each.window for each in maps if each.window), None)
            self.place.setText(f"{_counted(window)}Computed {place.text}")
            self.place.setToolTip(place.detail)


def _figures(vote_map: VoteMap | None) -> tuple[str, str, str]:
    if vote_map is None:
        return _NONE, _NONE, _NONE
    total = f"{vote_map.total:.4g}"
    if vote_map.peak is None:
        return "nan" if np.isnan(vote_map.total) else "no vote", _NONE, total
    value, row, column = vars(vote_map.peak).values()
    return f"{value:#.4g}", f"{row}, {column}", total


def _counted(window: Window | None) -> str:
    if window is None:
        return ""
    step = window.step
    which = f"one in {step} × {step} of the" if step > 1 else "the"
    return f"The table counts {which} pixels on the screen. "


def _checkbox(text: str, tooltip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(tooltip)
    return box
