"""Plots: curves that are drawn once, and a cursor that moves over them."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from mdn_cupy.files import replacing
from mdn_viewer.core.frame_curve import FrameCurve
from mdn_viewer.core.session import title
from mdn_viewer.core.sigma_sweep import Sweep

__all__ = ["CurvePlot", "FramePlot", "Look", "SweepPlot"]

_COLOURS = {"noisy_or": "#ff9f1c", "additive": "#4cc2ff"}  # told apart on dark and on light
_OTHERS = {"error": "#ff5c8a", "share": "#8fd14f"}
_FEW = 60  # frames that get a dot each
_LOWEST = 1e-6  # of the highest value: below is what hardly reaches a pixel
_PLAIN_DOWN_TO = 1e-4  # smaller numbers are written as powers of ten
_SMALL = 8  # points
_MARGINS = {"left": 52, "right": 12, "top": 10, "bottom": 44}  # screen pixels
_LINE = 18  # screen pixels of a line of the legend
_DOTS_PER_INCH = 200  # of a picture that is saved


class Look(NamedTuple):
    """Colours of a theme."""

    paper: Any = "#262930"
    ink: Any = "#f0f1f2"


class CurvePlot(QWidget):
    """Curves that are drawn once, and a cursor that moves over them.

    Drawing takes matplotlib a fifth of a second, moving the cursor a tenth of that. A hidden plot
    draws nothing until it is shown; matplotlib is imported with the first one.
    """

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self._x: float | None = None
        self._background: Any = None
        self._lines = 1  # of the legend
        self._cursor: Any = None
        self._look = Look()
        self._plotted: Any = None
        self._drawn = False  # whether the axes have what is plotted
        self.setMinimumHeight(260)
        self.setToolTip(tooltip)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    @cached_property
    def canvas(self) -> Any:
        """The figure, as a widget."""
        from matplotlib.figure import Figure

        from mdn_viewer.widgets.plot_canvas import PlotCanvas

        figure = Figure()
        figure.add_subplot()
        canvas: Any = PlotCanvas(figure)  # type: ignore[no-untyped-call]
        self._layout.addWidget(canvas)
        canvas.mpl_connect("resize_event", self._place)
        canvas.mpl_connect("draw_event", self._on_draw)
        canvas.mpl_connect("button_press_event", self._on_mouse)
        canvas.mpl_connect("motion_notify_event", self._on_mouse)
        return canvas

    @property
    def figure(self) -> Any:
        """The figure."""
        return self.canvas.figure

    @property
    def axes(self) -> Any:
        """The axes of the figure."""
        return self.figure.axes[0]

    def draw_curves(self, found: Any) -> None:
        """Draw what was found on the axes."""
        raise NotImplementedError

    def choose(self, x: float) -> None:
        """Act on a click, or on a mouse dragged with its button down."""
        raise NotImplementedError

    def plot(self, found: Any, look: Look | None = None) -> None:
        """Draw curves, or empty axes.

        Parameters
        ----------
        found : object or None
            What to draw.
        look : Look, optional
            Its colours; as before if not given.
        """
        self._plotted, self._look = found, look or self._look
        self._drawn = False
        if self.isVisible():
            self.draw()

    def draw(self) -> None:
        """Draw what is plotted, unless that has been done."""
        if self._drawn:
            return
        self._drawn = True
        self.axes.clear()
        if self._plotted is not None:
            self.draw_curves(self._plotted)
        self._cursor = self.axes.axvline(1, color=self._look.ink, linewidth=1, animated=True)
        self.axes.set_visible(self._plotted is not None)
        self._dress()
        self._place()
        self._background = None
        self.canvas.draw_idle()

    def showEvent(self, event: Any) -> None:
        """Draw what has been plotted meanwhile."""
        super().showEvent(event)
        self.draw()

    def move_cursor(self, x: float) -> None:
        """Move the cursor."""
        self._x = x
        if self._background is not None and self.isVisible():
            self.canvas.restore_region(self._background)
            self._draw_cursor()
            self.canvas.blit(self.figure.bbox)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a picture of the plot, the cursor too, to a PNG file.

        Raises
        ------
        OSError
            If the file cannot be written there.
        """
        self.draw()
        with replacing(path) as file:
            self._cursor.set_animated(False)
            self._set_cursor()
            try:
                self.figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
            finally:
                self._cursor.set_animated(True)
                self.canvas.draw_idle()

    @property
    def ink(self) -> Any:
        """The colour of text and lines."""
        return self._look.ink

    def _dress(self) -> None:
        axes, (paper, ink) = self.axes, self._look
        self.figure.set_facecolor(paper)
        axes.set_facecolor(paper)
        axes.tick_params(colors=ink, which="both", labelsize=_SMALL)
        axes.xaxis.label.set_color(ink)
        axes.grid(visible=True, color=ink, alpha=0.15, linewidth=0.5)
        for spine in axes.spines.values():
            spine.set_color(ink)
        handles, labels = axes.get_legend_handles_labels()
        self._lines = len(handles)
        self.figure.legends.clear()
        if handles:
            self.figure.legend(
                handles, labels, loc="lower left", fontsize=_SMALL, frameon=False, labelcolor=ink
            )

    def _place(self, *_: Any) -> None:
        """Keep the margins: they hold text, which does not grow with the plot."""
        width, height = self.figure.bbox.width, self.figure.bbox.height
        scale = self.canvas.device_pixel_ratio
        bottom = _MARGINS["bottom"] + _LINE * self._lines
        room = {
            "left": _MARGINS["left"] * scale / width,
            "right": 1 - _MARGINS["right"] * scale / width,
            "bottom": bottom * scale / height,
            "top": 1 - _MARGINS["top"] * scale / height,
        }
        if room["left"] < room["right"] and room["bottom"] < room["top"]:
            self.figure.subplots_adjust(**room)

    def _on_draw(self, _: Any) -> None:
        self._background = self.canvas.copy_from_bbox(self.figure.bbox)
        self._draw_cursor()

    def _draw_cursor(self) -> None:
        self._set_cursor()
        self.axes.draw_artist(self._cursor)

    def _set_cursor(self) -> None:
        if self._x is not None:
            self._cursor.set_xdata([self._x, self._x])

    def _on_mouse(self, event: Any) -> None:
        dragged = event.name == "motion_notify_event" and event.buttons != {1}
        if self._plotted is None or event.inaxes is not self.axes or dragged:
            return
        self.choose(float(event.xdata))


class SweepPlot(CurvePlot):
    """Values against sigma, both on logarithmic axes: there 1/(2πσ²) is a straight line."""

    sigma_chosen = Signal(float)

    def __init__(self) -> None:
        super().__init__(
            "Click, or drag, to set sigma. Both axes are logarithmic; the dotted line is the most "
            "that a single source can add to the sum."
        )

    def choose(self, x: float) -> None:
        """Choose a sigma."""
        self.sigma_chosen.emit(x)

    def draw_curves(self, found: Sweep) -> None:
        """Draw the curves of a sweep."""
        from matplotlib.ticker import LogLocator, NullFormatter

        axes, sigmas, name = self.axes, found.sigmas, found.session.title
        for rule, colour in _COLOURS.items():
            axes.plot(sigmas, found.peaks[rule], color=colour, label=f"{name(rule)}: peak")
        for rule, values in found.values.items():
            at = "at row {}, column {}".format(*found.pixel or ())
            axes.plot(sigmas, values, "--", color=_COLOURS[rule], label=f"{name(rule)}: {at}")
        one = "1/(2πσ²)" if found.session.sum_rule == "additive" else "1"
        label = f"{one}: the most that one source adds"
        axes.plot(sigmas, found.bound, ":", color=self.ink, label=label)
        every = np.concatenate([*found.peaks.values(), *found.values.values(), found.bound])
        shown = every[np.isfinite(every) & (every > 0)]
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(sigmas[0], sigmas[-1])
        axes.set_ylim(max(shown.min() / 1.5, shown.max() * _LOWEST), shown.max() * 1.6)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(_plain)
        axes.xaxis.set_minor_formatter(NullFormatter())
        if shown.min() > _PLAIN_DOWN_TO:
            axes.yaxis.set_major_formatter(_plain)
        axes.set_xlabel("sigma (px)", fontsize=_SMALL)


class FramePlot(CurvePlot):
    """Values against frames, each divided by its highest: only so peaks and errors fit one axis."""

    frame_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(
            "Click, or drag, to go to a frame. Every curve is drawn as parts of its highest value, "
            "which the legend says."
        )

    def choose(self, x: float) -> None:
        """Choose the nearest frame."""
        self.frame_chosen.emit(min(max(0, round(x)), self._plotted.frames - 1))

    def draw_curves(self, found: FrameCurve) -> None:
        """Draw the curves over the frames."""
        from matplotlib.ticker import MaxNLocator

        colours = {found.session.rule_of(rule): colour for rule, colour in _COLOURS.items()}
        for name, values in found.curves.items():
            finite = values[np.isfinite(values)]
            highest = float(finite.max()) if len(finite) else 0.0
            rule = next((rule for rule in colours if name.startswith(rule)), None)
            self.axes.plot(
                values / highest if highest > 0 else values,
                "--" if " at " in name else "-",
                color=_OTHERS.get(name.split()[0]) if rule is None else colours[rule],
                marker="." if found.frames <= _FEW else None,
                label=f"{name if rule is None else name.replace(rule, title(rule))}: "
                f"1 is {highest:.4g}",
            )
        self.axes.set_xlim(-0.5, found.frames - 0.5)
        self.axes.set_ylim(-0.05, 1.1)
        self.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.axes.set_xlabel("frame", fontsize=_SMALL)


def _plain(value: float, _: float) -> str:
    return f"{value:g}"
