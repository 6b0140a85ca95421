"""The values of all maps under the cursor, in the window's status bar."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMainWindow, QWidget

from mdn_viewer.widgets.controls import Figure

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["StatusReadout"]

_WIDTH = 640  # screen pixels: four maps' values


class StatusReadout:
    """Writes the pixel under the cursor, and what every map is there, into the status bar.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    canvas : ComparisonCanvas
        Where they are.
    widget : QWidget
        A widget in the viewer's window.
    """

    def __init__(self, model: VotingModel, canvas: ComparisonCanvas, widget: QWidget) -> None:
        self._model, self._canvas, self._widget = model, canvas, widget
        self._label: Figure | None = None
        self.position: tuple[float, float] | None = None  # (row, column) under the cursor
        canvas.hovered.connect(self._on_move)
        model.maps_changed.connect(self._write)

    @property
    def text(self) -> str:
        """What is written at present."""
        pixel = self._pixel()
        if pixel is None:
            return ""
        values = [
            f"{self._model.titles[kind]} {m.values[pixel]:#.4g}"
            for kind, m in self._model.maps.items()
            if m.window is None
        ]
        return "   ".join([f"row {pixel[0]}, col {pixel[1]}", *values])

    def close(self) -> None:
        """Write no longer."""
        if self._label is not None:
            with suppress(RuntimeError):  # Qt has deleted it with the window
                self._label.deleteLater()
            self._label = None

    def _pixel(self) -> tuple[int, int] | None:
        session = self._model.voted
        if self.position is None or session is None or not self._model.maps:
            return None
        row, column = map(round, self.position)
        rows, columns = session.votes.shape
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None

    def _on_move(self, position: tuple[float, float] | None) -> None:
        self.position = position
        self._write()

    def _write(self, *_: Any) -> None:
        window = self._widget.window()
        if self._label is None and isinstance(window, QMainWindow):
            self._label = Figure("The pixel under the cursor, and every map's value there.")
            self._label.setFixedWidth(_WIDTH)
            bar = window.statusBar()
            if bar is not None:
                bar.addPermanentWidget(self._label)
        if self._label is not None:
            self._label.setText(self.text)
