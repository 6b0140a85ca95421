"""Where the canvas is shown: in the centre of a main window, by Qt's own public means."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QMainWindow, QWidget

__all__ = ["CentralArea"]


class CentralArea:
    """Show a widget in the central area of a main window, in place of or beside what is there.

    What was there is hidden and not touched otherwise. `QMainWindow.centralWidget` is Qt's; where
    it has no layout to share, the widget goes to another layout.

    Parameters
    ----------
    widget : QWidget
        What is shown there.
    fallback : QHBoxLayout
        Where it is shown in a window without such a central area.
    """

    def __init__(self, widget: QWidget, fallback: QHBoxLayout) -> None:
        self._widget, self._fallback = widget, fallback
        self._others: list[QWidget] = []
        self.others_shown = False

    def enter(self, window: QWidget | None) -> None:
        """Go to the central area of a window, and stay there: a dock may float for a while.

        An OpenGL widget that moves to another window loses what it has drawn with.
        """
        if self._widget.parentWidget() is not None:
            return
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        layout = None if centre is None else centre.layout()
        if layout is not None:
            places = (layout.itemAt(n) for n in range(layout.count()))
            widgets = (None if place is None else place.widget() for place in places)
            self._others = [widget for widget in widgets if widget is not None]
            layout.addWidget(self._widget)
        elif window is not None and window.isVisible():
            self._fallback.insertWidget(0, self._widget, 1)
        else:
            return  # not in a window yet
        self._widget.show()
        self.show_others(self.others_shown)

    def show_others(self, shown: bool) -> None:
        """Show what else is in the central area beside the widget, or hide it."""
        self.others_shown = shown
        for other in self._others:
            if isalive(other):  # type: ignore[no-untyped-call]
                other.setVisible(shown)

    def leave(self) -> None:
        """Leave the central area as it was."""
        self.show_others(True)
        self._others = []
        if isalive(self._widget):  # type: ignore[no-untyped-call]
            self._widget.setParent(None)
