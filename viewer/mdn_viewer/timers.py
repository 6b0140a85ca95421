"""Timers that act once."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

__all__ = ["single_shot_timer"]


def single_shot_timer(action: Callable[[], object], parent: QObject) -> QTimer:
    """Make a timer that acts once each time it is started, and no more when `parent` has gone."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(action)
    return timer
