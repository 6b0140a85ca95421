"""The controls that are always there: whose votes, how wide, and a line for what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from html import escape
from typing import Any

from magicgui.widgets import ComboBox, Container, FloatSlider, Label
from qtpy.QtCore import QSignalBlocker, QSize, Qt, QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QSizePolicy, QSlider, QWidget

from mdn_viewer.logic.session import VotingSession

__all__ = ["RED", "Controls", "Figure", "Message", "WidthSlider", "once"]

RED = "#e5534b"  # readable on napari's dark theme and on its light one
# napari's own style keeps 90 pixels for a number, at the expense of the slider.
_NARROW = "min-width: 44px; max-width: 44px; padding: 0; border: 0; background: transparent"
_DIGITS, _HUNDREDTH = 2, 0.01  # of a width, which are shown
_STEP, _PAGE = 0.1, 1.0  # pixels, by a key; by PageUp, or a click beside the handle
_VOTERS: list[tuple[str, bool]] = [("the part itself", False), ("all parts", True)]


class Message(Label):
    """A line of text, in red if it says what is wrong; it takes no room while it says nothing."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(label="", tooltip=tooltip)
        self.said, self.wrong = "", False
        self.native.setWordWrap(True)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Show a line of text."""
        self.said, self.wrong = text, wrong and bool(text)
        formats = Qt.TextFormat  # told, since Qt would guess by what looks like HTML
        self.native.setTextFormat(formats.RichText if self.wrong else formats.PlainText)
        red = f'<span style="color: {RED}">{escape(text)}</span>'
        self.value = red if self.wrong else text


class Figure(QLineEdit):
    """A text to read and to copy, which may change with every frame.

    A label would have the whole window laid out anew whenever its text changes, and drawn twice.

    Parameters
    ----------
    tooltip : str
        What the text is.
    """

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setReadOnly(True)
        self.setFrame(False)
        self.setStyleSheet("background: transparent; padding: 0; border: 0")
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def sizeHint(self) -> QSize:
        """As narrow as the layout likes; as high as a line."""
        return QSize(20, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """See `sizeHint`."""
        return self.sizeHint()


class WidthSlider(FloatSlider):
    """A slider and a number for a width in pixels, by hundredths where it is moved by hand.

    A width that is set by a program is kept with all its digits, as long as what is shown is it.
    """

    _exact = math.nan

    def __init__(self, **keywords: Any) -> None:
        super().__init__(step=_STEP, **keywords)
        self._slider = self.native.findChild(QSlider)
        self._number = self.native.findChild(QDoubleSpinBox)
        self._number.setStyleSheet(_NARROW)
        self._number.setToolTip(self.tooltip)
        self._number.setKeyboardTracking(False)  # a number is typed to its end
        self._number.valueChanged.connect(self._on_number)
        self.limits = self.min, self.max
        self._set_steps()

    def get_value(self) -> float:
        """Return the width that was set, or the one that is shown."""
        shown = round(super().get_value(), _DIGITS)
        if shown == round(self._exact, _DIGITS):
            return self._exact
        return float(min(max(shown, self.min), self.max))

    def set_value(self, value: Any) -> None:
        """Set a width; the limits are as exact as what is shown."""
        self._exact = float(value)
        within = min(max(self._exact, self.min), self.max)
        super().set_value(within if abs(within - value) <= _HUNDREDTH else value)

    def set_limits(self, low: float, high: float, value: float) -> None:
        """Set the least and the largest width, and one between."""
        with QSignalBlocker(self._number):  # magicgui goes by values between
            self.max = max(high, self.max)  # and insists on the order
            self.min = min(low, self.min)
            self.value = value
            self.min, self.max = self.limits = low, high
        self._set_steps()

    def _set_steps(self) -> None:
        """Tell the slider, which counts in units of its own: they depend on the limits."""
        units = self._slider.maximum() / self.max  # to a pixel
        self._slider.setSingleStep(max(1, round(_STEP * units)))
        self._slider.setPageStep(max(1, round(_PAGE * units)))

    def _on_number(self, number: float) -> None:
        """Move the slider where keys and wheel step the number; magicgui waits for its end."""
        if abs(number - self.get_value()) > _STEP / 2:
            self.value = number

    def _on_value_change(self, value: float | None = None) -> None:
        super()._on_value_change(self.get_value())


class Controls(Container[Any]):
    """A part, who votes for it, and a sigma; and a line of text."""

    def __init__(self) -> None:
        super().__init__()
        self.part = ComboBox(
            label="part",
            tooltip="What is voted for; Alt+PgDown and Alt+PgUp page through. All parts together "
            "vote into one map.",
        )
        self.cross = ComboBox(
            label="voted by",
            choices=_VOTERS,
            tooltip="Let the part's own sources vote, or those of all parts by their cross "
            "offsets, where the fields carry some.",
        )
        self.sigma = WidthSlider(
            label="sigma (px)",
            min=0.3,
            max=24,
            value=2,
            tooltip="Width of every vote's Gaussian, in pixels of the output. Drag it.",
        )
        self.message = Message("What to do next, or what does not fit and why.")
        self._parts: list[tuple[str, int | str]] = []
        self.margins = (0, 0, 0, 0)
        self.extend([self.part, self.cross, self.sigma, self.message])

    def follow(self, session: VotingSession) -> None:
        """Set the choices and the values to those of a session, without anybody acting on it."""
        with ExitStack() as stack:
            for control in (self.part, self.sigma, self.cross):
                stack.enter_context(control.changed.blocked())
            if self._parts != session.parts:
                self._parts = session.parts
                self.part.choices = []  # or those that stay would come first
                self.part.choices = self._parts
            self.part.value = session.part
            self.cross.enabled = session.crossable
            self.cross.value = session.cross
            self._set_sigma(session)

    def page(self, step: int) -> None:
        """Choose the next part, or the one before."""
        choices = list(self.part.choices)
        if choices:
            self.part.value = choices[(choices.index(self.part.value) + step) % len(choices)]

    def _set_sigma(self, session: VotingSession) -> None:
        low, high = session.sigma_limits
        if self.sigma.limits != (low, high):
            self.sigma.set_limits(low, high, session.sigma)
        elif self.sigma.value != session.sigma:
            self.sigma.value = session.sigma


def once(action: Callable[[], None], parent: QWidget) -> QTimer:
    """Make a timer that acts once each time it is started, and no more when `parent` has gone."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(action)
    return timer
