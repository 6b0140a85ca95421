"""The controls that are always there: whose votes, how wide, and a line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from html import escape
from typing import Any

from magicgui.widgets import ComboBox, Container, FloatSlider, Label
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QSizePolicy, QWidget

from mdn_viewer.logic.session import VotingSession

__all__ = ["RED", "Controls", "Figure", "Message", "once"]

RED = "#e5534b"  # readable on napari's dark theme and on its light one
_NARROW = "min-width: 44px; max-width: 44px; padding: 0; border: 0; background: transparent"
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
        self.sigma = FloatSlider(
            label="sigma (px)",
            min=0.3,
            max=24,
            value=2,
            tooltip="Width of every vote's Gaussian, in pixels of the output. Drag it.",
        )
        self.message = Message("What to do next, or what does not fit and why.")
        # napari's own style keeps 90 pixels for a number, at the expense of the slider.
        self.sigma.native.findChild(QDoubleSpinBox).setStyleSheet(_NARROW)
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
        if (self.sigma.min, self.sigma.max) != (low, high):
            self.sigma.max = max(high, self.sigma.value)  # magicgui insists on the order
            self.sigma.min = min(low, self.sigma.value)
            self.sigma.value = session.sigma
            self.sigma.min, self.sigma.max = low, high
        elif self.sigma.value != session.sigma:
            self.sigma.value = session.sigma


def once(action: Callable[[], None], parent: QWidget) -> QTimer:
    """Make a timer that acts once each time it is started, and no more when `parent` has gone."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(action)
    return timer
