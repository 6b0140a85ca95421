"""The values of all maps under the cursor, in the window's status bar."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMainWindow, QWidget

from mdn_viewer.logic.session import title
from mdn_viewer.panels.controls import Figure

if TYPE_CHECKING:
    from mdn_viewer.logic.model import VotingModel
    from mdn_viewer.scene.stage import Stage

__all__ = ["Readout"]

_WIDTH = 640  # screen pixels: four maps' values


class Readout:
    """Writes the pixel under the cursor, and what every map is there, into the status bar.

    napari's own text names one layer only; this stands beside it.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    stage : Stage
        Where they are; its viewer's cursor.
    widget : QWidget
        A widget in the viewer's window.
    """

    def __init__(self, model: VotingModel, stage: Stage, widget: QWidget) -> None:
        self._model, self._stage, self._widget = model, stage, widget
        self._label: Figure | None = None
        self._moved = False  # until then the cursor is nowhere, and napari says 0, 0
        stage.viewer.mouse_move_callbacks.append(self._on_move)
        model.maps_changed.connect(self._write)

    @property
    def text(self) -> str:
        """What is written at present."""
        pixel = self._pixel()
        if pixel is None:
            return ""
        values = [f"{title(kind)} {m.values[pixel]:#.4g}" for kind, m in self._model.maps.items()]
        return "   ".join([f"row {pixel[0]}, col {pixel[1]}", *values])

    def close(self) -> None:
        """Write no longer."""
        callbacks = self._stage.viewer.mouse_move_callbacks
        if self._on_move in callbacks:
            callbacks.remove(self._on_move)
        if self._label is not None:
            with suppress(RuntimeError):  # Qt has deleted it with the window
                self._label.deleteLater()
            self._label = None

    def _pixel(self) -> tuple[int, int] | None:
        session = self._model.voted
        position = self._stage.viewer.cursor.position[-2:]
        if not self._moved or session is None or not self._model.maps or len(position) < 2:
            return None
        row, column = (round(x) for x in self._stage.pixel_at(position).tolist())
        rows, columns = session.votes.shape
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None

    def _on_move(self, viewer: Any, event: Any) -> None:
        self._moved = True
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
