"""Output and exit status of a command line, also with a broken standard output or after Ctrl+C.

A failure to print must not lose an output file. So commands write their files first, and `say`
raises nothing: characters that the encoding lacks are escaped, a closed pipe is no failure, and any
other failure is named on standard error.
"""

from __future__ import annotations

import _thread
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["INTERRUPTED", "NOT_PRINTED", "REFUSED", "complain", "run", "say"]

NOT_PRINTED = 1  # standard output failed, and nothing else was written
REFUSED = 2
INTERRUPTED = 130  # as shells have it: 128 and the number of the signal

_CLOSED = (errno.EPIPE, errno.EINVAL)  # the second on Windows
_RAISING = ("strict", "surrogateescape", "surrogatepass")  # of the handlers of unknown characters
_AGAIN = 0.1  # seconds


def run(program: str, work: Callable[[], int], refusals: tuple[type[Exception], ...] = ()) -> int:
    """Run a program, and turn its exceptions into messages and an exit status.

    Parameters
    ----------
    program : str
        Its name, which messages begin with.
    work : callable
        Returns the exit status.
    refusals : tuple of exception types
        What bad input raises: one line on standard error and the status 2.

    Returns
    -------
    int
        The exit status; 130 after Ctrl+C.

    Examples
    --------
    >>> from mdn_cupy import console
    >>> console.run("mdn-cupy", lambda: 0 if console.say("mdn-cupy", "a map") else 1)
    a map
    0
    """
    with _escaping(sys.stdout), _escaping(sys.stderr), _no_lost_interrupt():
        try:
            return work()
        except KeyboardInterrupt:
            return INTERRUPTED
        except refusals as error:
            complain(program, str(error) or type(error).__name__)
            return REFUSED
        except SystemExit:  # of argparse; its help may still be in the buffer
            if say(program, "", end=""):
                raise
            return NOT_PRINTED


def say(program: str, text: str, end: str = "\n") -> bool:
    """Print to standard output; return whether that succeeded.

    Parameters
    ----------
    program : str
        Name of the program, before the message of a failure.
    text, end : str
        What to print.

    Returns
    -------
    bool
        False after a failure that standard error now names, such as a full disk. True also if
        the reader of the pipe has gone.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        _discard(sys.stdout)
        if error.errno not in _CLOSED:
            complain(program, f"standard output: {error.strerror or error}")
            return False
    return True


def complain(program: str, message: str) -> None:
    """Print one line to standard error; a failure is ignored."""
    try:
        print(f"{program}: {' '.join(message.splitlines())}", file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: Any) -> None:
    """Redirect a stream to the null device: its buffer would be written, and fail, at exit."""
    with suppress(OSError, ValueError, AttributeError):  # a stream without a file holds nothing
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def _escaping(stream: Any) -> Iterator[None]:
    """Let a text stream escape what its encoding does not have, as `\\xb5`, instead of raising."""
    errors = getattr(stream, "errors", None)
    if errors not in _RAISING or not hasattr(stream, "reconfigure"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # it holds what it could not write, or is closed
            stream.reconfigure(errors=errors)


@contextmanager
def _no_lost_interrupt() -> Iterator[None]:
    """Raise a KeyboardInterrupt again that came where Python drops and prints exceptions.

    That is in callbacks from C and in finalizers, of which compiling a kernel has many.
    """
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(_AGAIN, _thread.interrupt_main).start()
        else:
            usual(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual
