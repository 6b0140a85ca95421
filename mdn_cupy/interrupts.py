"""Ctrl+C while a program is imported: its first module, so it imports next to nothing itself."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import ModuleType
else:
    import _signal as signal  # the other, with enum and functools, takes 5 ms of a start of 25

__all__ = ["load"]


def load(name: str) -> ModuleType:
    """Import the module of a program; Ctrl+C meanwhile ends the process, which has begun nothing.

    As a KeyboardInterrupt it would be printed with a traceback, or be lost: NumPy makes an
    ImportError of it. Where a program ignores Ctrl+C already, as in the background, it goes on to.

    Examples
    --------
    >>> from mdn_cupy.interrupts import load
    >>> load("mdn_cupy.program").__name__
    'mdn_cupy.program'
    """
    loaded = name in sys.modules
    if loaded or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return import_module(name)
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # not the main thread, which alone is interrupted
        return import_module(name)
    try:
        return import_module(name)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
