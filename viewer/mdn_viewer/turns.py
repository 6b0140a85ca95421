"""Long work that only the window's thread may do, in steps between which the window lives."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

__all__ = ["EventTurns"]


class EventTurns(QObject):
    """Takes a step in each turn of the event loop: in between, the window draws and listens."""

    def __init__(self) -> None:
        super().__init__()
        self._step: Callable[[], bool] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._turn)

    def take(self, step: Callable[[], bool]) -> None:
        """Call a function, from the next turn on, until it says that nothing is left to do."""
        self._step = step
        self._timer.start(0)

    def finish(self) -> None:
        """Do now what is left."""
        while self._step is not None:
            self._take_step()

    def close(self) -> None:
        """Do nothing more."""
        self._step = None
        if isalive(self._timer):  # type: ignore[no-untyped-call]
            self._timer.stop()

    def _turn(self) -> None:
        self._take_step()
        if self._step is not None:
            self._timer.start(0)

    def _take_step(self) -> None:
        step = self._step
        if step is not None and not step() and step is self._step:
            self._step = None  # unless it has been given another
            self._timer.stop()
