"""A small plot of a loss against the steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

__all__ = ["LossCurve"]

_GRAY = "#8a8d93"  # readable on napari's dark theme and on its light one
_CURVE = "#5cff8f"
_STEPS = 20  # at first


class LossCurve(QWidget):
    """The losses so far; logarithmic, since the last steps gain little of what the first did."""

    def __init__(self) -> None:
        super().__init__()
        self._losses: Sequence[float] = ()
        self.setMinimumHeight(110)
        self.setToolTip("The loss after each step. It never rises: a step that would is shortened.")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def draw_losses(self, losses: Sequence[float]) -> None:
        """Draw a curve, or none; matplotlib is imported when it is first to be seen."""
        self._losses = losses
        if self.isVisible():
            self._draw()

    def showEvent(self, event: Any) -> None:
        """Draw what has changed meanwhile."""
        super().showEvent(event)
        self._draw()

    @cached_property
    def line(self) -> Any:
        """The curve, in axes of its own."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        from mdn_viewer.widgets.plot_canvas import PlotCanvas

        figure = Figure(figsize=(3.2, 1.5), dpi=100)
        figure.patch.set_alpha(0)
        canvas: Any = PlotCanvas(figure)  # type: ignore[no-untyped-call]
        canvas.setStyleSheet("background: transparent")
        self._layout.addWidget(canvas)
        axes = figure.add_axes((0.17, 0.24, 0.79, 0.7), facecolor="none")
        axes.tick_params(colors=_GRAY, labelsize=7, which="both")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_xlabel("step", fontsize=7, color=_GRAY, labelpad=1)
        for spine in axes.spines.values():
            spine.set_color(_GRAY)
        return axes.plot([], [], color=_CURVE, lw=1.2, marker=".", ms=3)[0]

    def _draw(self) -> None:
        losses, line = self._losses, self.line
        axes = line.axes
        line.set_data(range(len(losses)), losses)
        if losses:
            low, high = min(losses), max(losses)
            margin = 1.15 if low > 0 and len(losses) > 1 else 0
            axes.set_yscale("log" if margin else "linear")
            axes.yaxis.set_major_formatter("{x:g}")  # powers of ten take TeX, and 0.1 s to set
            axes.yaxis.set_minor_formatter("{x:g}" if margin and high < 10 * low else "")
            axes.set_ylim((low / margin, high * margin) if margin else (0, 1.15 * high or 1))
        axes.yaxis.set_visible(bool(losses))
        axes.set_xlim(-0.5, max(_STEPS, len(losses)) - 0.5)
        axes.figure.canvas.draw_idle()
