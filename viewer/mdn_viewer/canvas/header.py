"""The line above a cell: its name, and a colour bar with the values at both ends."""

from __future__ import annotations

from typing import Any

from napari.utils.colormaps import Colormap
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QPainter, QPen
from qtpy.QtWidgets import QWidget

from mdn_viewer.canvas.colormaps import as_gradient

__all__ = ["HEIGHT", "Header"]

HEIGHT = 18
"""Of a header, in screen pixels."""

_BAR, _LEAST_BAR, _THICK, _GAP = 72, 24, 8, 4  # screen pixels
_SMALL = 8  # points


class Header(QWidget):
    """Paint a name and a colour bar. Nothing is laid out again when the numbers change.

    Parameters
    ----------
    parent : QWidget
        The widget that it lies on.
    name : str
        What the cell is called.
    """

    def __init__(self, parent: QWidget, name: str) -> None:
        super().__init__(parent)
        self.name, self.ends = name, ("", "")
        self._gradient: Any = None
        self._colormap: str | Colormap | None = None
        self.setFixedHeight(HEIGHT)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # or the maps are drawn below it
        font = self.font()
        font.setPointSize(_SMALL)
        self.setFont(font)

    def show_name(self, name: str) -> None:
        """Show another name."""
        if name != self.name:
            self.name = name
            self.update()

    def show_scale(self, colormap: str | Colormap, limits: tuple[float, float]) -> None:
        """Show a colormap and the values at its ends."""
        ends = f"{limits[0]:.3g}", f"{limits[1]:.3g}"
        if colormap is not self._colormap:
            self._colormap, self._gradient = colormap, as_gradient(colormap)
        elif ends == self.ends:
            return
        self.ends = ends
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Paint both on the theme's background; a narrow cell keeps the name."""
        painter = QPainter(self)
        palette, metrics = self.palette(), self.fontMetrics()
        painter.fillRect(self.rect(), palette.window())
        painter.setPen(QPen(palette.windowText().color()))
        middle = Qt.AlignmentFlag.AlignVCenter
        low, high = (metrics.horizontalAdvance(text) for text in self.ends)
        name = metrics.horizontalAdvance(self.name) + 2 * _GAP
        bar = min(_BAR, self.width() - name - low - high - 4 * _GAP)
        right = self.width()
        if self._gradient is not None and bar >= _LEAST_BAR:
            right -= high + _GAP
            painter.drawText(QRectF(right, 0, high, HEIGHT), middle, self.ends[1])
            right -= bar + _GAP
            rectangle = QRectF(right, (HEIGHT - _THICK) / 2, bar, _THICK)
            painter.fillRect(rectangle, self._gradient)
            right -= low + _GAP
            painter.drawText(QRectF(right, 0, low, HEIGHT), middle, self.ends[0])
        room = max(0, int(right) - 2 * _GAP)
        text = metrics.elidedText(self.name, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRectF(_GAP, 0, room, HEIGHT), middle, text)
        painter.end()
