"""Long work that only the window's thread may do, in steps between which the window lives."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

__all__ = ["Breath", "EventTurns"]

_ROUNDS = 2  # of the event loop: the user may be heard after what is done in one
_NEXT_ROUND_MS = 1  # not 0, for which Qt need not have looked for the user
_LATE_S = 0.05  # a round that took so long was somebody else's: the user is heard first
_PATIENCE = 4  # such rounds


class Breath(QObject):
    """Calls a function when the window has drawn, and has heard its user.

    Parameters
    ----------
    act : callable
        The function; what it returns is ignored.
    parent : QObject, optional
        With whom it ends.
    """

    def __init__(self, act: Callable[[], Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._act = act
        self._rounds = 0
        self._begun = 0.0  # the last round
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_round)

    def start(self) -> None:
        """Call the function soon: once, however often this is said meanwhile."""
        if isalive(self._timer) and not self._timer.isActive():  # type: ignore[no-untyped-call]
            self._rounds = _ROUNDS
            self._next_round()

    def stop(self) -> bool:
        """Do not call it, and say whether it would have been."""
        awaited = isalive(self._timer) and self._timer.isActive()  # type: ignore[no-untyped-call]
        if awaited:
            self._timer.stop()
        return bool(awaited)

    def _on_round(self) -> None:
        self._rounds -= 1
        late = monotonic() - self._begun > _LATE_S and self._rounds > -_PATIENCE
        if self._rounds > 0 or late:
            self._next_round()
        else:
            self._act()

    def _next_round(self) -> None:
        self._begun = monotonic()
        self._timer.start(_NEXT_ROUND_MS)


class EventTurns:
    """Takes a step in each turn of the event loop: in between, the window draws and listens."""

    def __init__(self) -> None:
        self._step: Callable[[], bool] | None = None
        self._breath = Breath(self._turn)

    def take(self, step: Callable[[], bool]) -> None:
        """Call a function, from the next turn on, until it says that nothing is left to do."""
        self._step = step
        self._breath.start()

    def finish(self) -> None:
        """Do now what is left."""
        while self._step is not None:
            self._take_step()

    def close(self) -> None:
        """Do nothing more."""
        self._step = None
        self._breath.stop()

    def _turn(self) -> None:
        self._breath.start()
        self._take_step()

    def _take_step(self) -> None:
        step = self._step
        if step is not None and not step() and step is self._step:
            self._step = None  # unless it has been given another
        if self._step is None:
            self._breath.stop()
