"""What panels are put together from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)

from mdn_viewer.timers import single_shot_timer

__all__ = ["button", "leave_wheel", "line", "row", "searchable"]

_VISIBLE = 20  # entries of a box that is open


def button(text: str, tooltip: str, action: Callable[[], Any]) -> QPushButton:
    """Make a button that acts when it is clicked."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda: action())
    return made


def leave_wheel(page: QWidget) -> None:
    """Have the wheel scroll a page, and turn only that of its boxes which has been clicked into."""
    patience = _Patience(page)
    for box in (*page.findChildren(QComboBox), *page.findChildren(QAbstractSpinBox)):
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # which the wheel does not give
        box.installEventFilter(patience)


def line(tooltip: str) -> QLabel:
    """Make a label for a sentence or two, which can be selected and copied."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)  # whatever people call their parts
    label.setToolTip(tooltip)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def row(*buttons: QWidget) -> QHBoxLayout:
    """Put buttons side by side."""
    layout = QHBoxLayout()
    for each in buttons:
        layout.addWidget(each)
    return layout


def searchable(box: QComboBox) -> None:
    """Let an entry be found by typing any of its letters; Return takes the first that fits."""
    box.setEditable(True)
    box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
    box.setMaxVisibleItems(_VISIBLE)
    edit, completer = box.lineEdit(), box.completer()
    assert edit is not None
    assert completer is not None
    completer.setCompletionMode(completer.CompletionMode.PopupCompletion)
    completer.setFilterMode(Qt.MatchFlag.MatchContains)

    typed = ""

    def keep(text: str) -> None:
        nonlocal typed
        typed = text

    def take() -> None:
        flags = (Qt.MatchFlag.MatchFixedString, Qt.MatchFlag.MatchContains)
        found = [n for flag in flags if (n := box.findText(typed, flag)) >= 0]
        if typed and found:
            box.setCurrentIndex(found[0])
        forget()

    def forget() -> None:
        keep("")
        box.setEditText(box.itemText(box.currentIndex()))

    # When Qt has done with the key: it crashes if the entry changes before.
    later = single_shot_timer(take, box)
    edit.textEdited.connect(keep)
    completer.activated.connect(lambda *_: keep(""))  # an entry was chosen from the list
    edit.returnPressed.connect(lambda: later.start(0))
    edit.editingFinished.connect(lambda: None if later.isActive() else forget())


class _Patience(QObject):
    """Keeps the wheel from widgets without the focus; what lies behind them gets it."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a wheel's turn away, and let Qt carry it on."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if isinstance(watched, QWidget) and watched.hasFocus():
            return False
        event.ignore()
        return True
