"""The process of a window, started by `mdn_viewer.process`: values come in on a pipe."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
from typing import IO, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from mdn_viewer.reader import Opened
from mdn_viewer.values import newer
from mdn_viewer.window import MassDisplacementWindow, open_window

__all__ = ["main"]

_LOWEST_PRIORITY = 19  # nice: 1/68 of the share of a process that has not been made nice


def main() -> None:
    """Open a window, and show what comes on the standard input until it ends."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the replies
    opened, name = pickle.load(requests)
    try:
        window = open_window(opened if isinstance(opened, Opened) else opened(), name)
    except (OSError, TypeError, ValueError) as error:
        _reply(replies, str(error))
        return
    import napari

    values = _Values(window, replies)
    threading.Thread(target=values.receive, args=[requests], daemon=True).start()
    window.widget.wait()
    _reply(replies, None)
    _give_way()
    napari.run()
    os._exit(0)  # the thread is reading, and holds the lock of the standard input


class _Values(QObject):
    """Bring values from the pipe's thread into the window's.

    Parameters
    ----------
    window : MassDisplacementWindow
        What shows them.
    replies : file
        Where to say that they were taken.
    """

    _came = Signal(object)

    def __init__(self, window: MassDisplacementWindow, replies: IO[bytes]) -> None:
        super().__init__()
        self._window, self._replies = window, replies
        self._came.connect(self._show)

    def receive(self, requests: IO[bytes]) -> None:
        """Read until the pipe ends; in a thread."""
        try:
            while True:
                self._came.emit(pickle.load(requests))
        except (EOFError, OSError, pickle.UnpicklingError):  # cut off in the middle of a value
            os._exit(0)  # with the window, however busy its thread is

    def _show(self, fields: Any) -> None:
        widget = self._window.widget
        widget.show_values(newer(widget.model.loaded, fields, None, None))
        with contextlib.suppress(OSError):  # the other side has gone
            _reply(self._replies, None)


def _reply(replies: IO[bytes], refused: str | None) -> None:
    pickle.dump(refused, replies)
    replies.flush()


def _give_way() -> None:
    """Let every other process go first: Linux has a priority for each thread."""
    tasks = "/proc/self/task"
    if os.path.isdir(tasks):
        for thread in os.listdir(tasks):
            os.setpriority(os.PRIO_PROCESS, int(thread), _LOWEST_PRIORITY)
    elif hasattr(os, "nice"):
        os.nice(_LOWEST_PRIORITY)


if __name__ == "__main__":
    main()
