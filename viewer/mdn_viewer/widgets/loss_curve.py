"""A small plot of a loss against the steps."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdn_viewer.widgets.plot import PlotCanvas

__all__ = ["LossCurve"]

_GRAY = "#8a8d93"  # readable on napari's dark theme and on its light one
_CURVE = "#5cff8f"
_STEPS = 20  # at first


class LossCurve(PlotCanvas):
    """The losses so far; logarithmic, since the last steps gain little of what the first did."""

    def __init__(self) -> None:
        figure = Figure(figsize=(3.2, 1.5), dpi=100)
        super().__init__(figure)  # type: ignore[no-untyped-call]
        figure.patch.set_alpha(0)
        self.setStyleSheet("background: transparent")
        self.setMinimumHeight(110)
        self.setToolTip("The loss after each step. It never rises: a step that would is shortened.")
        self._axes = figure.add_axes((0.17, 0.24, 0.79, 0.7), facecolor="none")
        self._axes.tick_params(colors=_GRAY, labelsize=7, which="both")
        self._axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        self._axes.set_xlabel("step", fontsize=7, color=_GRAY, labelpad=1)
        for spine in self._axes.spines.values():
            spine.set_color(_GRAY)
        (self._line,) = self._axes.plot([], [], color=_CURVE, lw=1.2, marker=".", ms=3)

    def draw_losses(self, losses: Sequence[float]) -> None:
        """Draw a curve, or none."""
        self._line.set_data(range(len(losses)), losses)
        if losses:
            low, high = min(losses), max(losses)
            margin = 1.15 if low > 0 and len(losses) > 1 else 0
            self._axes.set_yscale("log" if margin else "linear")
            self._axes.set_ylim((low / margin, high * margin) if margin else (0, 1.15 * high or 1))
        self._axes.set_xlim(-0.5, max(_STEPS, len(losses)) - 0.5)
        self.draw_idle()
