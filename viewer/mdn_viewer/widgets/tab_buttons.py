"""Buttons in rows that choose a tab: a row of titles would be wider than a dock."""

from __future__ import annotations

from functools import partial
from typing import Any

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


class TabButtons(QWidget):
    """Show a button for each tab instead of the tab bar.

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
        self._grid, self._group = QGridLayout(self), QButtonGroup(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(_SPACE)
        self._buttons = [QPushButton(tabs.tabText(n), self) for n in range(tabs.count())]
        for n, button in enumerate(self._buttons):
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
        return next(button for button in self._buttons if button.text() == title)

    def show_button(self, title: str, shown: bool) -> None:
        """Show the button of a tab, or leave it out."""
        (self._left_out.discard if shown else self._left_out.add)(title)
        self.button(title).setVisible(shown)
        self._arrange()

    def resizeEvent(self, event: Any) -> None:
        """Put as many buttons into a row as have room for their titles."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        shown = [b for b in self._buttons if b.text() not in self._left_out]
        widest = max(button.sizeHint().width() for button in shown) + _SPACE
        columns = max(1, min(len(shown), max(self.width(), _LEAST) // widest))
        rows = -(-len(shown) // columns)
        columns = -(-len(shown) // rows)  # rows of equal length
        if columns == self._columns and len(shown) == self._grid.count():
            return
        self._columns = columns
        for button in self._buttons:
            self._grid.removeWidget(button)
        for n, button in enumerate(shown):
            self._grid.addWidget(button, *divmod(n, columns))

    def _check(self, n: int) -> None:
        if n >= 0:
            self._buttons[n].setChecked(True)
