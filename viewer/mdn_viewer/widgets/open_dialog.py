"""Asks how a file is to be read, and shows what would come of it before it is accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

import mdn_cupy as mdn
from mdn_cupy.commands.opening import counted
from mdn_cupy.io import Layout
from mdn_viewer.core.file_guess import FileReading
from mdn_viewer.core.preview import preview
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.common import line
from mdn_viewer.widgets.controls import RED, PixelPair
from mdn_viewer.widgets.files import waiting

__all__ = ["OpenDialog"]

_FAMILIES = [name for name in mdn.adapters.__all__ if name.islower()]
_PIXELS, _CELLS, _NUMBER = "pixels of the output", "sources of the grid", "a number of pixels:"
_LOCREF = 7.2801  # DeepLabCut's locref_std, in pixels: the usual such number
_SIDE = 160  # screen pixels of a preview


class OpenDialog(QDialog):
    """A file's reading, to be corrected and accepted.

    Parameters
    ----------
    reading : FileReading
        What was guessed.
    parent : QWidget
        Whose window it belongs to.
    """

    chosen = Signal(object)  # the reading that was accepted

    def __init__(self, reading: FileReading, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Open {reading.path.name}")
        self._guess = reading
        self.found = line("The arrays of the file.")
        self.found.setText(reading.found)
        self._make_controls()
        self.understood = line("How the file is read.")
        self.previews = {name: QLabel() for name in ("confidence", "noisy-or")}
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self.opens: Any = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        self.buttons.accepted.connect(self._accept)
        self.buttons.rejected.connect(self.reject)
        self._lay_out()
        self._later = single_shot_timer(self.look, self)
        self._fill(reading)
        self._connect()
        self.look()

    @property
    def reading(self) -> FileReading:
        """What the controls say."""
        stride, origin = self._pairs()
        layout, order = self.layout_.currentData(), self.order.currentData()
        guessed = (layout, order) == (self._guess.layout, self._guess.order)
        return replace(
            self._guess,
            family=self.family.currentData(),
            layout=layout,
            order=order,
            sigmoid=self.sigmoid.isChecked(),
            scale=self._scale(),
            stride=stride,
            origin=origin,
            note=self._guess.note if guessed else "",
        )

    def look(self) -> None:
        """Show what would be opened, or why it cannot be."""
        own = not self.family.currentData()
        for row in self._settled:
            self._form.setRowVisible(row, own)
        self.scale.setEnabled(self.unit.currentText() == _NUMBER)
        try:
            reading = self.reading
            with waiting():
                frames = reading.files().frames()
                pictures = preview(frames[0])
        except (OSError, TypeError, ValueError, ModuleNotFoundError) as error:
            self._say(str(error), wrong=True)
            pictures = {}
        else:
            count = f"{len(frames)} frames, " if len(frames) > 1 else ""
            parts = counted(len(frames[0].names), "part")
            grid = "" if own else f": stride {frames[0].stride}, origin {frames[0].origin}"
            self._say(f"{count}{parts}; {reading.line}{grid}")
        self.opens.setEnabled(bool(pictures))
        for name, label in self.previews.items():
            label.setPixmap(_pixmap(pictures[name]) if name in pictures else QPixmap())

    def _make_controls(self) -> None:
        reading = self._guess
        self.family = _choices({"as chosen below": "", **{name: name for name in _FAMILIES}})
        self.layout_ = _choices({_described(text): text for text in reading.fitting})
        self.order = _choices({"x, y (right, down)": "xy", "y, x (down, right)": "yx"})
        self.unit = _choices({name: name for name in (_PIXELS, _CELLS, _NUMBER)})
        self.scale = QDoubleSpinBox()
        self.scale.setDecimals(6)
        self.scale.setRange(-1e9, 1e9)
        self.scale.setValue(_LOCREF)
        self.sigmoid = QCheckBox("the confidences are logits")
        self.stride = PixelPair(1e-6, (1.0, 1.0))
        self.origin = PixelPair(-1e9, (0.0, 0.0))

    def _lay_out(self) -> None:
        self._form = form = QFormLayout()
        form.addRow("network", self.family)
        form.addRow("axes", self.layout_)
        form.addRow("channels", self.order)
        units = QHBoxLayout()
        units.addWidget(self.unit, 1)
        units.addWidget(self.scale)
        form.addRow("in units of", units)
        form.addRow("stride (px)", self.stride.native)
        form.addRow("origin (px)", self.origin.native)
        form.addRow("", self.sigmoid)
        # Rows that a network's adapter settles, in ways of its own.
        self._settled = (self.layout_, self.order, units, self.origin.native)
        pictures = QHBoxLayout()
        for name, label in self.previews.items():
            label.setFixedSize(_SIDE, _SIDE)
            label.setToolTip(f"The {name} of the part of the highest confidence.")
            pictures.addWidget(label)
        layout = QVBoxLayout(self)
        layout.addWidget(self.found)
        layout.addLayout(form)
        layout.addLayout(pictures)
        layout.addWidget(self.understood)
        layout.addWidget(self.buttons)

    def _fill(self, reading: FileReading) -> None:
        for box, value in (
            (self.family, reading.family),
            (self.layout_, reading.layout),
            (self.order, reading.order),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))
        self.sigmoid.setChecked(reading.sigmoid)
        stride = 1.0 if reading.stride is None else reading.stride
        origin = 0.0 if reading.origin is None else reading.origin
        self.stride.pair, self.origin.pair = _both(stride), _both(origin)
        self._said = self.stride.pair, self.origin.pair
        if reading.scale == 1:
            return
        cells = reading.scale == stride
        self.unit.setCurrentText(_CELLS if cells else _NUMBER)
        if not cells:
            self.scale.setValue(reading.scale)

    def _connect(self) -> None:
        for box in (self.family, self.layout_, self.order, self.unit):
            box.currentIndexChanged.connect(self._soon)
        for signal in (self.scale.valueChanged, self.sigmoid.toggled):
            signal.connect(self._soon)
        for pair in (self.stride, self.origin):
            pair.changed.connect(self._soon)

    def _soon(self, *_: Any) -> None:
        self._later.start(0)

    def _pairs(self) -> tuple[Any, Any]:
        """Return stride and origin; None for one that was not changed and that the file may say."""
        pairs = (self.stride.pair, self.origin.pair)
        guessed = (self._guess.stride, self._guess.origin)
        stride, origin = (
            None if guess is None and pair == said else _one(pair)
            for pair, said, guess in zip(pairs, self._said, guessed, strict=True)
        )
        return stride, origin

    def _scale(self) -> float:
        unit = self.unit.currentText()
        if unit == _NUMBER:
            return self.scale.value()
        if unit == _PIXELS:
            return 1.0
        y, x = self.stride.pair
        if y != x:
            raise ValueError("offsets in sources need one stride along rows and columns")
        return y

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self.understood.setText(text)
        self.understood.setStyleSheet(f"color: {RED}" if wrong else "")

    def _accept(self) -> None:
        reading = self.reading
        self.accept()
        self.chosen.emit(reading)


def _choices(items: dict[str, str]) -> QComboBox:
    box = QComboBox()
    for text, value in items.items():
        box.addItem(text, value)
    return box


def _described(text: str) -> str:
    meaning = Layout(text).meaning
    return f"{text}: {meaning}" if meaning else text


def _both(value: float | tuple[float, float]) -> tuple[float, float]:
    y, x = np.broadcast_to(value, 2).tolist()
    return y, x


def _one(pair: tuple[float, float]) -> float | tuple[float, float]:
    return pair[0] if pair[0] == pair[1] else pair


def _pixmap(values: npt.NDArray[Any]) -> QPixmap:
    """Return a grey picture of a map, its highest value white."""
    highest = max(float(values.max(initial=0)), 1e-12)
    grey = np.ascontiguousarray(np.nan_to_num(values / highest * 255).clip(0, 255), np.uint8)
    rows, columns = grey.shape
    image = QImage(grey.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
    ratio = Qt.AspectRatioMode.KeepAspectRatio
    return QPixmap.fromImage(image.copy()).scaled(_SIDE, _SIDE, ratio)
