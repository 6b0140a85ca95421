"""Buttons in rows that choose a tab: a row of titles would be wider than a dock."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QGridLayout,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QWidget,
)

__all__ = ["TabButtons"]

_IN_A_ROW = 5


class TabButtons(QWidget):
    """Show a button for each tab instead of the tab bar.

    Parameters
    ----------
    tabs : QTabWidget
        The tabs, with their titles.
    """

    def __init__(self, tabs: QTabWidget) -> None:
        super().__init__()
        bar = tabs.tabBar()
        if bar is not None:
            bar.hide()
        layout, self._group = QGridLayout(self), QButtonGroup(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for n in range(tabs.count()):
            button = QPushButton()
            button.setText(tabs.tabText(n))
            button.setStyleSheet("padding: 2px")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(tabs.setCurrentIndex, n))
            self._group.addButton(button, n)
            layout.addWidget(button, *divmod(n, _IN_A_ROW))
        tabs.currentChanged.connect(self._check)
        self._check(tabs.currentIndex())

    def button(self, title: str) -> QAbstractButton:
        """Return the button of a tab."""
        return next(button for button in self._group.buttons() if button.text() == title)

    def _check(self, n: int) -> None:
        button = self._group.button(n)
        if button is not None:
            button.setChecked(True)
