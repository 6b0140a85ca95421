"""A figure of matplotlib's in a window. Import it when needed: matplotlib takes a second."""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from qtpy.QtCore import QSize

__all__ = ["PlotCanvas"]


class PlotCanvas(FigureCanvasQTAgg):
    """Draw a figure only while it is visible; matplotlib draws hidden ones, too."""

    def draw_idle(self) -> None:
        """Draw soon, unless it is hidden."""
        if self.isVisible():
            super().draw_idle()  # type: ignore[no-untyped-call]

    def sizeHint(self) -> QSize:
        """As small as may be: a page gives it what there is, and does not scroll for more."""
        return self.minimumSizeHint()  # type: ignore[no-untyped-call, no-any-return]

    def wheelEvent(self, event: Any) -> None:
        """Ignore the wheel, so that the page scrolls."""
        event.ignore()

    def showEvent(self, event: Any) -> None:
        """Draw what changed while it was hidden."""
        super().showEvent(event)  # type: ignore[no-untyped-call]
        self.draw_idle()
