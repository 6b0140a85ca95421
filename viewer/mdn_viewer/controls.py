"""The controls of the dock widget: what they are called and explain, not what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from html import escape
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSlider, FloatSpinBox, Label
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy, QWidget

from mdn_viewer.session import RULES, VoteMap, VotingSession

__all__ = ["Controls", "once"]

_WIDTH = 340  # screen pixels: a peak can be read, a slider be dragged
_NARROW = "min-width: 44px; max-width: 44px; padding: 0; border: 0; background: transparent"
_RED = "#e5534b"  # readable on napari's dark theme and on its light one
_NO_PEAK = "–"


class Controls(Container[Any]):
    """Three layers and their grid, a part and a sigma; the peaks, and a line for what is wrong.

    Parameters
    ----------
    layers : callable
        Returns the layers there are to choose from.
    """

    def __init__(self, layers: Callable[[Any], list[Any]]) -> None:
        super().__init__()

        def layer_box(label: str, tooltip: str) -> ComboBox:
            return ComboBox(label=label, choices=layers, nullable=True, tooltip=tooltip)

        self.confidence = layer_box(
            "confidence", "Image layer (H, W) or (P, H, W): how sure each source is, from 0 to 1."
        )
        self.offsets = layer_box(
            "offsets",
            "Image layer (2, H, W) or (P, 2, H, W): how far each source's vote goes, to the right "
            "and down, in pixels of the output.",
        )
        self.image = layer_box(
            "image", "Image layer to show the maps over. Its pixels are the pixels of the output."
        )
        self.stride = FloatSpinBox(
            label="stride (px)",
            min=0.01,
            max=1e9,
            value=1,
            tooltip="From one source to the next, in pixels of the output.",
        )
        self.origin = FloatSpinBox(
            label="origin (px)",
            min=-1e9,
            max=1e9,
            value=0,
            tooltip="Where the first source is, along both axes, in pixels of the output.",
        )
        self.part = ComboBox(
            label="part", tooltip="Whose votes to see. All parts together vote into one map."
        )
        self.sigma = FloatSlider(
            label="sigma (px)",
            min=0.3,
            max=24,
            value=2,
            tooltip="Width of every vote's Gaussian, in pixels of the output. Drag it.",
        )
        self.same_scale = CheckBox(
            label="",
            text="same scale for both",
            tooltip="Show the additive map from 0 to 1 too, and not from 0 to its own peak.",
        )
        self.peaks = {
            rule: Label(
                label=f"{rule} peak",
                value=_NO_PEAK,
                tooltip=f"Highest value of the {rule} map, and the pixel of the output it is in.",
            )
            for rule in RULES
        }
        self.message = Label(label="", tooltip="What to do next, or what does not fit and why.")
        self.message.native.setWordWrap(True)
        for label in (*self.peaks.values(), self.message):  # in line with the other rows
            label.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        # napari's own style keeps 90 pixels for a number, at the expense of the slider.
        self.sigma.native.findChild(QDoubleSpinBox).setStyleSheet(_NARROW)
        self.native.setMinimumWidth(_WIDTH)
        self._inputs = (self.confidence, self.offsets, self.image, self.stride, self.origin)
        votes = (self.part, self.sigma, self.same_scale, *self.peaks.values(), self.message)
        self.extend([*self._inputs, *votes])

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Set values without anybody acting on it."""
        with ExitStack() as stack:
            for control in (*self._inputs, self.part, self.sigma):
                stack.enter_context(control.changed.blocked())
            yield

    def offer(self, session: VotingSession) -> None:
        """Set the choice of parts and the range of sigma to those of a session."""
        with self.silent():
            self.part.choices = []  # or those that stay would come first
            self.part.choices = session.parts
            self.part.value = session.part
            low, high = session.sigma_limits
            self.sigma.max = max(high, self.sigma.value)  # magicgui insists on the order
            self.sigma.min = min(low, self.sigma.value)
            self.sigma.value = session.sigma
            self.sigma.min, self.sigma.max = low, high

    def show_peaks(self, maps: dict[str, VoteMap]) -> None:
        """Write the peaks of the maps; none for rules that have no map."""
        for rule, label in self.peaks.items():
            peak = maps[rule].peak if rule in maps else _NO_PEAK
            label.value = str(peak or "no vote lands here")

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Show a line of text, in red if it says what is wrong."""
        self.said = text
        red = wrong and text
        self.message.value = f'<span style="color: {_RED}">{escape(text)}</span>' if red else text


def once(action: Callable[[], None], parent: QWidget) -> QTimer:
    """Make a timer that acts once each time it is started, and no more when `parent` has gone."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(action)
    return timer
