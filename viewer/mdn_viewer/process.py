"""A window in a process of its own: neither votes nor drawing take the caller's interpreter."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mdn_cupy as mdn
from mdn_viewer.display import obstacle
from mdn_viewer.reader import Opened
from mdn_viewer.values import newer

__all__ = ["WindowProcess"]

_PATIENCE = 10  # seconds for a window to close


class WindowProcess:
    """A window in a process of its own, as ``show(…, process=True)`` returns it.

    The values go through a pipe, and the next ones only when the window has taken the last. The end
    of the pipe is the end of the window: it closes with this process, however that ends, and no
    shared memory or file is left.

    Parameters
    ----------
    opened : Opened, or callable
        What to show; or what returns it, called in the window's process.
    name : str
        What the layers' names begin with.
    first : mdn_cupy.Fields
        The first frame: what `update` does not say is as in it.

    Raises
    ------
    TypeError
        If it cannot be sent to another process.
    OSError
        If no window can open; the message says why.
    """

    def __init__(self, opened: Opened | Callable[[], Opened], name: str, first: mdn.Fields) -> None:
        try:
            message = pickle.dumps((opened, name))
        except Exception as error:  # pickle raises whatever an object's own code raises
            raise TypeError(
                f"the frames cannot be sent to another process ({error}); "
                "show a path, or arrays, or leave process=False"
            ) from error
        self._first = first
        self._changed = threading.Condition()
        self._newest: mdn.Fields | None = None
        self._closed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mdn_viewer.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl+C in the terminal is for the caller; a session of its own would have a share of
            # the processor of its own, whatever its priority (sched(7), autogroup).
            process_group=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        try:
            self._requests.write(message)
            self._requests.flush()
            refused = pickle.load(self._replies)
        except (EOFError, OSError):
            refused = obstacle() or "its process ended; the reason is on the standard error"
        except BaseException:
            self.close()
            raise
        if refused is not None:
            self.close()
            raise OSError(f"the window cannot open: {refused}")
        threading.Thread(target=self._send, name="mdn-viewer", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether the window is gone."""
        return self._process.poll() is not None

    def update(self, confidence: Any, offsets: Any = None, image: Any = None) -> None:
        """Show other values of the same fields, from any thread.

        The call copies the arrays and returns; it waits neither for the window nor for the pipe. If
        it is called again before they were sent, the newest values win. Once the window is closed,
        it does nothing.

        Parameters
        ----------
        confidence, offsets, image
            As in `show`: arrays or tensors, or one `mdn_cupy.Fields`.

        Raises
        ------
        TypeError, ValueError
            If they are no fields; the message says why.
        """
        if self._closed:
            return
        fields = newer(self._first, confidence, offsets, image)
        if fields.image is self._first.image:  # the window has it
            fields = replace(fields, image=None)
        with self._changed:
            self._newest = fields
            self._changed.notify()

    def close(self) -> None:
        """Close the window, and wait until its process has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        with contextlib.suppress(OSError):  # it was closed from the other side
            self._requests.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait until the user closes the window."""
        self._process.wait()

    def _send(self) -> None:
        """Send the newest values whenever the window has taken the last; in a thread."""
        try:
            while (fields := self._next()) is not None:
                pickle.dump(fields, self._requests, pickle.HIGHEST_PROTOCOL)
                self._requests.flush()
                pickle.load(self._replies)
        except (OSError, EOFError, ValueError):  # the window is closed; ValueError: from this side
            self._closed = True

    def _next(self) -> mdn.Fields | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest is not None)
            newest, self._newest = self._newest, None
            return None if self._closed else newest
