"""A window in a process of its own: neither votes nor drawing take the caller's interpreter."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core.opened import Opened
from mdn_viewer.display import obstacle
from mdn_viewer.mailbox import Mailbox
from mdn_viewer.values import newer

__all__ = ["WindowProcess"]

_PATIENCE = 10  # seconds for a window to close


class WindowProcess:
    """A window in a process of its own, as ``show(…, process=True)`` returns it.

    Values go through shared memory, and the next ones only when the window has copied the last. A
    pipe announces them. When this process ends, for whatever reason, the pipe closes and so does
    the window; no shared memory or file is left.

    Parameters
    ----------
    opened : Opened, or callable
        What to show; or what returns it, called in the window's process.
    name : str
        What the layers' names begin with.
    first : mdn_cupy.Fields
        The first frame: it gives whatever `update` leaves out.
    reading : dict
        Layout and order of the arrays of `update`, where `show` was given them.

    Raises
    ------
    TypeError
        If it cannot be sent to another process.
    OSError
        If no window can open; the message says why.
    """

    def __init__(
        self,
        opened: Opened | Callable[[], Opened],
        name: str,
        first: mdn.Fields,
        reading: dict[str, Any],
    ) -> None:
        self._mailbox = Mailbox()
        try:
            message = pickle.dumps((opened, name, self._mailbox.file))
        except Exception as error:  # pickle raises whatever an object's own code raises
            raise TypeError(
                f"the frames cannot be sent to another process ({error}); "
                "show a path, or arrays, or leave process=False"
            ) from error
        self._first, self._reading = first, reading
        self._closed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mdn_viewer.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl+C in the terminal is for the caller; a session of its own would have a share of
            # the processor of its own, whatever its priority (sched(7), autogroup).
            process_group=0,
            pass_fds=() if self._mailbox.file is None else (self._mailbox.file,),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self._mailbox.pipe = self._requests
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
        threading.Thread(target=self._send_newest, name="mdn-viewer", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether the window is gone."""
        return self._process.poll() is not None

    def update(self, confidence: Any, offsets: Any = None, image: Any = None) -> None:
        """Show other values of the same fields, from any thread.

        As `MassDisplacementWindow.update`; it never waits for the window, and does nothing once the
        window is closed.
        """
        if self._closed:
            return
        try:
            self._mailbox.put(_sent(self._first, confidence, offsets, image, self._reading))
        except OSError:  # the window has been closed
            self._closed = True

    def close(self) -> None:
        """Close the window, and wait until its process has ended."""
        self._closed = True
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

    def _send_newest(self) -> None:
        """Send the newest values whenever the window has replied to the last; runs in a thread."""
        try:
            while True:
                self._mailbox.on_taken()
                pickle.load(self._replies)
        except (OSError, EOFError, ValueError):  # the window is closed; ValueError: from this side
            self._closed = True
            self._mailbox.close()


def _sent(
    first: mdn.Fields, confidence: Any, offsets: Any, image: Any, reading: dict[str, Any]
) -> Any:
    """Return what the window does not know of new values: two arrays and an image, or fields.

    Raises
    ------
    TypeError, ValueError
        As `newer`.
    """
    if image is None and offsets is not None and not reading:
        c, o = mdn.to_numpy(confidence, "confidence"), mdn.to_numpy(offsets, "offsets")
        if (c.shape, o.shape) == (first.confidence.shape, first.offsets.shape) and (
            c.dtype.kind == o.dtype.kind == "f"
        ):  # as a rule; checking everything takes a loop 0.2 ms
            return np.ascontiguousarray(c), np.ascontiguousarray(o), None
    frames = newer(first, confidence, offsets, image, reading, copy=False)
    fields = frames[0]
    if len(frames) > 1 or fields.confidence.shape != first.confidence.shape:
        return frames
    return fields.confidence, fields.offsets, None if fields.image is first.image else fields.image
