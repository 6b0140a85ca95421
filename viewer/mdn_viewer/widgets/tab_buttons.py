"""Buttons in rows that choose a tab: a row of titles would be wider than a dock."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QWidget,
)

__all__ = ["TabButtons"]

_SPACE, _LEAST = 2, 240  # screen pixels
_GROUPS = (
    {
        "Fields": "What votes, and how it is read.",
        "Save": "Fields, maps, pictures, programs and sessions, to files.",
    },
    {
        "Compare": "Which maps to show, and their peaks.",
        "Parts": "All parts at a glance.",
        "Peaks": "All peaks: a table, layers, files.",
        "Sweep": "Peaks at every sigma.",
        "Frames": "Peaks and errors at every frame.",
    },
    {
        "Voters": "Who voted for a pixel, and where a source's vote lands.",
        "Truth": "Annotations, and who pulled a peak away from them.",
        "Second": "Another network beside this one.",
        "Gradient": "How a loss would move the votes.",
    },
)
"""What is opened and taken away, what is seen, what can be asked; each group begins a row."""


class TabButtons(QWidget):
    """Show a button for each tab instead of the tab bar, in groups.

    Parameters
    ----------
    tabs : QTabWidget
        The tabs, with their titles.
    """

    def __init__(self, tabs: QTabWidget) -> None:
        super().__init__()
        self._columns = 0
        self._left_out: set[str] = set()  # titles
        bar = tabs.tabBar()
        if bar is not None:
            bar.hide()
        tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the key Tab would not get past the hidden bar
        self._grid, self._group = QGridLayout(self), QButtonGroup(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(_SPACE)
        hints = {title: hint for group in _GROUPS for title, hint in group.items()}
        for n in range(tabs.count()):
            button = QPushButton(tabs.tabText(n), self)
            button.setToolTip(hints[button.text()])
            button.setStyleSheet("padding: 2px")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(tabs.setCurrentIndex, n))
            self._group.addButton(button, n)
        tabs.currentChanged.connect(self._check)
        self._check(tabs.currentIndex())
        self._arrange()

    def button(self, title: str) -> QPushButton:
        """Return the button of a tab."""
        found = next(each for each in self._group.buttons() if each.text() == title)
        assert isinstance(found, QPushButton)
        return found

    def show_button(self, title: str, shown: bool) -> None:
        """Show the button of a tab, or leave it out."""
        (self._left_out.discard if shown else self._left_out.add)(title)
        self.button(title).setVisible(shown)
        self._columns = 0
        self._arrange()

    def resizeEvent(self, event: Any) -> None:
        """Put as many buttons into a row as have room for their titles."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        widest = max(each.sizeHint().width() for each in self._group.buttons()) + _SPACE
        columns = max(1, max(self.width(), _LEAST) // widest)
        if columns == self._columns:
            return
        self._columns, row = columns, 0
        for group in _GROUPS:
            shown = [title for title in group if title not in self._left_out]
            rows = -(-len(shown) // columns)
            for n, title in enumerate(shown):
                at, column = divmod(n, -(-len(shown) // rows))  # rows of equal length
                self._grid.addWidget(self.button(title), row + at, column)
            row += rows

    def _check(self, n: int) -> None:
        for each in self._group.buttons():
            chosen = each is self._group.button(n)
            each.setChecked(chosen)
            # As in a group of radio buttons: Tab goes to the one that is chosen, arrows to others.
            policy = Qt.FocusPolicy.StrongFocus if chosen else Qt.FocusPolicy.ClickFocus
            each.setFocusPolicy(policy)
