"""What panels are put together from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton

__all__ = ["button", "line", "row"]


def button(text: str, tooltip: str, action: Callable[[], Any]) -> QPushButton:
    """Make a button that acts when it is clicked."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda: action())
    return made


def line(tooltip: str) -> QLabel:
    """Make a label for a sentence or two, which can be selected and copied."""
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def row(*buttons: QPushButton) -> QHBoxLayout:
    """Put buttons side by side."""
    layout = QHBoxLayout()
    for each in buttons:
        layout.addWidget(each)
    return layout
