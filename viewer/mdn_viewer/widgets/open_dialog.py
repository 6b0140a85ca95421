"""Asks how a file is to be read, and shows what would come of it before it is accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

import mdn_cupy as mdn
from mdn_cupy.commands.opening import counted
from mdn_viewer.core.file_guess import FileReading
from mdn_viewer.core.preview import preview
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.common import line
from mdn_viewer.widgets.controls import RED
from mdn_viewer.widgets.files import waiting
from mdn_viewer.widgets.reading_form import ReadingForm

__all__ = ["OpenDialog"]

_FAMILIES = [name for name in mdn.adapters.__all__ if name.islower()]
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
        self.form = ReadingForm(_FAMILIES, "The network, whose adapter settles most of the rest.")
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
        self.form.offer_axes(reading.fitting, "")  # a new parent resets the choices
        self.form.network.value, self.form.reading = reading.family, reading.reading
        self._shown = self.form.reading
        self.form.changed.connect(lambda *_: self._later.start(0))
        self.look()

    @property
    def reading(self) -> FileReading:
        """What the controls say."""
        said, how, guess = self._shown, self.form.reading, self._guess.reading
        if guess.stride is None and how.stride == said.stride:  # the file may say it
            how = replace(how, stride=None)
        if guess.origin is None and how.origin == said.origin:
            how = replace(how, origin=None)
        guessed = (how.layout, how.order) == (guess.layout, guess.order)
        return replace(
            self._guess,
            family=str(self.form.network.value),
            reading=how,
            note=self._guess.note if guessed else "",
        )

    def look(self) -> None:
        """Show what would be opened, or why it cannot be."""
        form = self.form
        own = not form.network.value
        for box in (form.axes, form.order, form.coarse, form.scale, form.origin):
            self._rows.setRowVisible(box.native, own)  # else a network's adapter settles it
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

    def _lay_out(self) -> None:
        self._rows = QFormLayout()  # magicgui's own has labels of unequal widths in a dialog
        for box in self.form.boxes:
            self._rows.addRow("" if box is self.form.sigmoid else box.label, box.native)
        pictures = QHBoxLayout()
        for name, label in self.previews.items():
            label.setFixedSize(_SIDE, _SIDE)
            label.setToolTip(f"The {name} of the part of the highest confidence.")
            pictures.addWidget(label)
        layout = QVBoxLayout(self)
        layout.addWidget(self.found)
        layout.addLayout(self._rows)
        layout.addLayout(pictures)
        layout.addWidget(self.understood)
        layout.addWidget(self.buttons)

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self.understood.setText(text)
        self.understood.setStyleSheet(f"color: {RED}" if wrong else "")

    def _accept(self) -> None:
        reading = self.reading
        self.accept()
        self.chosen.emit(reading)


def _pixmap(values: npt.NDArray[Any]) -> QPixmap:
    """Return a grey picture of a map, its highest value white."""
    highest = max(float(values.max(initial=0)), 1e-12)
    grey = np.ascontiguousarray(np.nan_to_num(values / highest * 255).clip(0, 255), np.uint8)
    rows, columns = grey.shape
    image = QImage(grey.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
    ratio = Qt.AspectRatioMode.KeepAspectRatio
    return QPixmap.fromImage(image.copy()).scaled(_SIDE, _SIDE, ratio)
