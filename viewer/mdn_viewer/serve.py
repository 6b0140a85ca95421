"""The process of a window, started by `mdn_viewer.process`: values come in by a `Mailbox`."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from typing import IO, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

import mdn_cupy as mdn
from mdn_viewer.core.opened import Opened
from mdn_viewer.mailbox import take
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.values import newer
from mdn_viewer.window import MassDisplacementWindow, open_window

__all__ = ["Values", "main"]

_LOWEST_PRIORITY = 19  # nice: 1/68 of the share of a process that has not been made nice
_SHARE = 0.1  # of a processor's time, for values that follow each other
_SLOWEST = 2.0  # seconds between two of them, however long they take


def main() -> None:
    """Open a window, and show what comes on the standard input until it ends."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the replies
    opened, name, file = pickle.load(requests)
    mdn.set_num_threads(1)  # the other processors are the caller's
    try:
        window = open_window(opened if isinstance(opened, Opened) else opened(), name)
    except (OSError, TypeError, ValueError) as error:
        _reply(replies, str(error))
        return
    import napari

    values = Values(window, replies)
    threading.Thread(target=values.receive, args=[requests, file], daemon=True).start()
    window.widget.wait()
    _reply(replies, None)
    _give_way()
    napari.run()
    os._exit(0)  # the thread is reading, and holds the lock of the standard input


class Values(QObject):
    """Bring values from the pipe's thread into the window's, as many as there is time for.

    Parameters
    ----------
    window : MassDisplacementWindow
        What shows them.
    replies : file
        Where to say that the next one is awaited.

    Attributes
    ----------
    pause : QTimer
        Active until then.
    """

    _came = Signal(object)

    def __init__(self, window: MassDisplacementWindow, replies: IO[bytes]) -> None:
        super().__init__()
        self._window, self._replies = window, replies
        self._first = window.widget.model.loaded
        self._spent = time.process_time()  # when the last values came
        self.pause = single_shot_timer(self._await_next, self)
        self._came.connect(self.show_values)

    def receive(self, requests: IO[bytes], file: int | None) -> None:
        """Read until the pipe ends; in a thread."""
        try:
            while True:
                self._came.emit(take(requests, file))
        except (EOFError, OSError, pickle.UnpicklingError):  # cut off in the middle of a value
            os._exit(0)  # with the window, however busy its thread is

    def show_values(self, values: Any) -> None:
        """Copy and show fields, or confidence, offsets and image; then rest as long as that takes.

        All together takes no more than a share of a processor's time, unless it is very slow.
        """
        spent = time.process_time()
        of_the_last, self._spent = spent - self._spent, spent  # all threads, with its drawing
        self.pause.start(int(1000 * min(of_the_last / _SHARE, _SLOWEST)))
        widget = self._window.widget
        frames = newer(self._first, *values) if isinstance(values, tuple) else values
        widget.show_values(newer(widget.model.loaded, frames, None, None))

    def _await_next(self) -> None:
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
