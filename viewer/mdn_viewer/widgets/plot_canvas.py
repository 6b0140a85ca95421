"""A figure of matplotlib's in a window; a module of its own, since matplotlib takes a second."""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

__all__ = ["PlotCanvas"]


class PlotCanvas(FigureCanvasQTAgg):
    """A figure that is drawn only while it is to be seen: matplotlib draws hidden ones, too."""

    def draw_idle(self) -> None:
        """Draw soon, unless it is hidden."""
        if self.isVisible():
            super().draw_idle()  # type: ignore[no-untyped-call]

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to who scrolls: a curve has no use for it."""
        event.ignore()

    def showEvent(self, event: Any) -> None:
        """Draw what has changed meanwhile."""
        super().showEvent(event)  # type: ignore[no-untyped-call]
        self.draw_idle()
