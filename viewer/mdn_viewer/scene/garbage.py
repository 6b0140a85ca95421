"""When Python looks for garbage among all objects: a window of many layers has half a million.

That takes tenths of a second, in which the window stands still. Python does it whenever a quarter
more objects are there, so in the midst of every larger change, and napari whenever layers go.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication

__all__ = ["SearchAtRest", "garbage_among_new_objects"]

_SELDOM = 1000  # for Python's 10: it still looks through all after some million new objects
_LOOK_MS, _AT_REST = 500, 6  # the user rests after so many looks


class SearchAtRest(QObject):
    """Has Python look for garbage among all objects when the user's hand rests, and not before.

    Parameters
    ----------
    busy : callable
        Whether something is under way.
    """

    _open = 0
    _usual = gc.get_threshold()

    def __init__(self, busy: Callable[[], bool]) -> None:
        super().__init__()
        self._busy = busy
        self._seen: Any = None
        self._looks = 0
        self._closed = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._count(1)

    @property
    def pending(self) -> bool:
        """Whether it waits for a rest."""
        return bool(isalive(self._timer) and self._timer.isActive())  # type: ignore[no-untyped-call]

    def soon(self) -> None:
        """Say that much has come or gone."""
        if not self._closed and isalive(self._timer):  # type: ignore[no-untyped-call]
            self._looks = 0
            self._timer.start(_LOOK_MS)

    def close(self) -> None:
        """Leave it to Python again."""
        if not self._closed:
            self._closed = True
            self._count(-1)
            if isalive(self._timer):  # type: ignore[no-untyped-call]
                self._timer.stop()

    def _look(self) -> None:
        new_objects, mouse = gc.get_count()[-1], QCursor.pos()
        moves = QApplication.mouseButtons() != Qt.MouseButton.NoButton or self._busy()
        still = not moves and (new_objects, mouse) == self._seen
        self._seen, self._looks = (new_objects, mouse), self._looks + 1 if still else 0
        if self._looks >= _AT_REST:
            self._timer.stop()
            gc.collect()

    @classmethod
    def _count(cls, more: int) -> None:
        """Set how seldom Python is to look by itself, as long as there is a window of ours."""
        if cls._open == 0:
            cls._usual = gc.get_threshold()
        cls._open += more
        young, middle, old = cls._usual
        gc.set_threshold(young, middle, _SELDOM if cls._open else old)


@contextmanager
def garbage_among_new_objects() -> Iterator[None]:
    """Have `gc.collect` look among new objects only.

    napari calls it whenever layers go; on Windows it has to find them. Objects are not frozen for
    it: Python would take them for new ones then, and soon look through all of them.
    """
    if sys.platform == "win32" or gc.collect is _collect_young:
        yield
        return
    gc.collect = _collect_young
    try:
        yield
    finally:
        gc.collect = _collect_all


_collect_all = gc.collect


def _collect_young(generation: int = 2) -> int:
    return _collect_all(min(generation, 1))
