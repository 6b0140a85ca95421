"""The controls that are always there: whose votes, how wide, and a line for what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from html import escape
from typing import Any

import psygnal
from magicgui.widgets import (
    ComboBox,
    Container,
    Label,
    LineEdit,
    PushButton,
    Slider,
)
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QLocale,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QSizePolicy, QSlider

from mdn_viewer.core.session import VotingSession
from mdn_viewer.widgets.common import searchable

__all__ = ["RED", "Controls", "Figure", "Message", "PixelPair", "WidthSlider"]

RED = "#e5534b"  # readable on napari's dark theme and on its light one
# napari's own style keeps 90 pixels for a number, at the expense of the slider.
_NARROW = "min-width: 44px; max-width: 44px; padding: 0; border: 0; background: transparent"
_A_FIGURE = "0.00000 "
_DIGITS = 2  # decimals of a width that a hand moves
_MILLIONTHS, _MOST = 6, 1e9  # decimals and pixels: what may be typed
_REACH = 2**31 - 1  # of a slider's units, which are millionths of a pixel as long as they fit
_STEP, _PAGE = 0.1, 1.0  # pixels, by a key; by PageUp, or a click beside the handle
_LINES = 3  # of text that notices keep room for; a button is as high as two
_VOTERS: list[tuple[str, bool]] = [("the part itself", False), ("all parts", True)]


class Message(Label):
    """Show a line of text, in red for an error; empty, it takes no space."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(label="", tooltip=tooltip, visible=False)
        self.said, self.wrong = "", False
        self.native.setWordWrap(True)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Show a line of text."""
        self.said, self.wrong = text, wrong and bool(text)
        formats = Qt.TextFormat  # set, since by default Qt reads < and & as HTML
        self.native.setTextFormat(formats.RichText if self.wrong else formats.PlainText)
        red = f'<span style="color: {RED}">{escape(text)}</span>'
        self.value = red if self.wrong else text
        self.visible = bool(text)

    def withdraw(self, text: str) -> None:
        """Show nothing, if it is still this text that is shown."""
        if self.said == text:
            self.say("")


class Figure(QLineEdit):
    """A text to read and to copy, which may change with every frame.

    A label would lay out the whole window again whenever its text changes, and draw it twice.

    Parameters
    ----------
    tooltip : str
        What the text is.
    """

    clicked = Signal()

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setReadOnly(True)
        self.setFrame(False)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # a dozen of them would each take a Tab
        self.setStyleSheet("background: transparent; padding: 0; border: 0")
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Emit `clicked`, unless text was selected."""
        super().mouseReleaseEvent(event)
        if not self.hasSelectedText():
            self.clicked.emit()

    def sizeHint(self) -> QSize:
        """As narrow as the layout likes; as high as a line."""
        return QSize(self.fontMetrics().horizontalAdvance(_A_FIGURE), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """See `sizeHint`."""
        return self.sizeHint()


class PixelPair(LineEdit):
    """Pixels along rows and columns: one number where they are the same, else two, as "4 × 3".

    A pair that is set keeps all its digits; what was typed and cannot be read is put back.
    """

    _pair: tuple[float, float]

    def __init__(self, least: float, pair: tuple[float, float], **keywords: Any) -> None:
        super().__init__(**keywords)
        self._least, self.pair = least, pair
        self.native.editingFinished.connect(lambda: setattr(self, "pair", self.pair))

    @property
    def pair(self) -> tuple[float, float]:
        """The numbers, rows first."""
        if self.value != _written(self._pair):
            with suppress(ValueError):
                words = re.split(r"\s*[×x,]\s*|\s+", self.value.strip())
                numbers = [float(word) for word in words]
                if len(numbers) <= 2 and all(self._least <= x <= _MOST for x in numbers):
                    self._pair = numbers[0], numbers[-1]
        return self._pair

    @pair.setter
    def pair(self, pair: tuple[float, float]) -> None:
        self._pair = pair
        self.value = _written(pair)


def _written(pair: tuple[float, float]) -> str:
    y, x = (f"{number:.{_MILLIONTHS}f}".rstrip("0").rstrip(".") for number in pair)
    return y if y == x else f"{y} × {x}"


class _Width(QDoubleSpinBox):
    """A box that takes a width of many decimals, and shows no zeros behind the second."""

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(QLocale.c())  # a point, and nothing between thousands
        self.setDecimals(_MILLIONTHS)
        self.setRange(10.0**-_MILLIONTHS, _MOST)
        self.setSingleStep(_STEP)
        self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setStyleSheet(_NARROW)
        self.setKeyboardTracking(False)  # a number is typed to its end

    def textFromValue(self, number: float) -> str:
        """Write four digits or two decimals, whichever is more."""
        size = math.floor(math.log10(number)) if number > 0 else 0
        text = f"{number:.{min(max(_DIGITS, 3 - size), self.decimals())}f}"
        whole, _, decimals = text.partition(".")
        return f"{whole}.{decimals[:_DIGITS]}{decimals[_DIGITS:].rstrip('0')}"

    def valueFromText(self, text: str | None) -> float:
        """Read a number; what has not been changed stands for what it was written from."""
        unchanged = text == self.textFromValue(self.value())
        return self.value() if unchanged else super().valueFromText(text)


class WidthSlider(Container[Any]):
    """A slider and a number for a width in pixels, by hundredths where it is moved by hand.

    A width that is typed or set by a program is kept with all its digits. It may be any positive
    one: where the slider does not reach, it is stretched.

    Parameters
    ----------
    limits : (float, float)
        The least and the largest width of the slider.
    value : float
        The width, between them.
    **keywords
        Those of a magicgui widget.
    """

    changed = psygnal.Signal(float)

    def __init__(self, limits: tuple[float, float], value: float, **keywords: Any) -> None:
        super().__init__(layout="horizontal", labels=False, **keywords)
        self.margins = (0, 0, 0, 0)
        self._typed = False
        self._slider, self._number = QSlider(Qt.Orientation.Horizontal), _Width()
        for widget in (self._slider, self._number):
            widget.setToolTip(self.tooltip)
            self.native.layout().addWidget(widget)
        line: Any = self._number.lineEdit()
        line.textEdited.connect(self._on_typing)
        self._number.valueChanged.connect(self._on_number)
        self._slider.valueChanged.connect(self._on_slider)
        self.set_limits(*limits, value)

    @property
    def value(self) -> float:
        """The width."""
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        low, high = self.limits
        self.set_limits(min(low, value), max(high, value), value)

    def scale(self, factor: float) -> None:
        """Multiply the width, at most to an end of the slider."""
        self.value = self._within(self.value * factor)

    def set_limits(self, low: float, high: float, value: float) -> None:
        """Set the least and the largest width, and one between."""
        before, self.limits, self._value = getattr(self, "_value", None), (low, high), float(value)
        slider = self._slider
        self._units = 10.0 ** min(_MILLIONTHS, math.floor(math.log10(_REACH / high)))
        with QSignalBlocker(slider), QSignalBlocker(self._number):
            slider.setRange(round(low * self._units), round(high * self._units))
            slider.setSingleStep(max(1, round(_STEP * self._units)))
            slider.setPageStep(max(1, round(_PAGE * self._units)))
            slider.setValue(round(value * self._units))
            self._number.setValue(value)
        if self._value != before:
            self.changed.emit(self._value)

    def _within(self, value: float) -> float:
        low, high = self.limits
        return min(max(value, low), high)

    def _on_slider(self, position: int) -> None:
        self.value = self._within(round(position / self._units, _DIGITS))

    def _on_typing(self, *_: Any) -> None:
        self._typed = True

    def _on_number(self, number: float) -> None:
        """Set the width that is typed, or that keys and wheel step to, at most to an end."""
        typed, self._typed = self._typed, False
        self.value = number if typed else self._within(round(number, _DIGITS))


class Controls(Container[Any]):
    """A frame, a part, who votes for it, and a sigma.

    `notices` holds what comes and goes: a line of text, a remedy, a button that stops. It is to be
    laid out below all else, and keeps room, so that nothing moves away from under the mouse.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part = ComboBox(
            label="part",
            tooltip="What is voted for; Alt+PgDown and Alt+PgUp page through, unless Preferences > "
            "Shortcuts has other keys; or type some letters of its name. All parts together vote "
            "into one map.",
        )
        searchable(self.part.native)
        self.frame = Slider(
            label="frame", max=0, visible=False, tooltip="Which frame; an asked pixel stays asked."
        )
        self.cross = ComboBox(
            label="voted by",
            choices=_VOTERS,
            tooltip="Let the part's own sources vote, or those of all parts by their cross "
            "offsets, where the fields carry some.",
        )
        self.sigma = WidthSlider(
            (0.3, 24.0),
            2.0,
            label="sigma (px)",
            tooltip="Width of every vote's Gaussian, in pixels of the output. Drag it or type it.",
        )
        self.message = Message("What to do next, or what does not fit and why.")
        self.remedy = PushButton(
            text="Scale",
            visible=False,
            tooltip="Do what mends what is said above.",
        )
        self.stop = PushButton(visible=False, tooltip="Stop the computation.")
        self._parts: list[tuple[str, int | str]] = []
        self._usual = (0.0, 0.0)
        self.margins = (0, 0, 0, 0)
        self.extend([self.frame, self.part, self.cross, self.sigma])
        self.notices = Container[Any](widgets=[self.message, self.remedy, self.stop], labels=False)
        self.notices.margins = (0, 0, 0, 0)
        line = self.notices.native.fontMetrics().lineSpacing()
        self.notices.native.setMinimumHeight(_LINES * line)

    def follow(self, session: VotingSession) -> None:
        """Set the choices and the values to those of a session, without emitting signals."""
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

    def show_long(self, title: str, stop: Callable[[], None] | None) -> None:
        """Offer to stop a job that takes long; None where it is over."""
        self.stop.changed.disconnect()
        self.stop.visible = stop is not None
        if stop is not None:
            self.stop.text = f"{title} … Stop"
            self.stop.changed.connect(lambda _: stop())

    def show_frame(self, frame: int, frames: int) -> None:
        """Set the frame, of so many; there is nothing to choose where there is one."""
        with self.frame.changed.blocked():
            self.frame.visible = frames > 1
            self.frame.max = max(0, frames - 1)
            self.frame.tooltip = f"Which of {frames} frames; an asked pixel stays asked."
            self.frame.value = min(frame, self.frame.max)

    def choose_part(self, part: int) -> None:
        """Choose a part by its number, if there is such a part."""
        if part in self.part.choices:
            self.part.value = part

    def leave_part(self) -> None:
        """Take the focus from the part box, unless its text has been edited."""
        box = self.part.native
        if box.hasFocus() and not box.lineEdit().isModified():
            box.clearFocus()

    def page(self, step: int) -> None:
        """Choose the next part, or the one before."""
        choices = list(self.part.choices)
        if choices:
            self.part.value = choices[(choices.index(self.part.value) + step) % len(choices)]

    def _set_sigma(self, session: VotingSession) -> None:
        low, high = session.sigma_limits
        if self._usual == session.usual_sigmas:  # a slider that has been stretched stays so
            low, high = min(low, self.sigma.limits[0]), max(high, self.sigma.limits[1])
        self._usual = session.usual_sigmas
        if self.sigma.limits != (low, high):
            self.sigma.set_limits(low, high, session.sigma)
        elif self.sigma.value != session.sigma:
            self.sigma.value = session.sigma
