"""Can a window open here? Asked before Qt is, which ends the process where it cannot."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["obstacle"]

_NOT_INSTALLED = 'napari is not installed: pip install "mdn-cupy[viewer]"'

_NO_QT = 3
_PROBE = f"""
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # Qt aborts; no core file is written
try:
    from qtpy.QtGui import QGuiApplication
except ImportError:
    raise SystemExit({_NO_QT})
application = QGuiApplication([])
raise SystemExit(application.platformName() in ("offscreen", "minimal"))  # without OpenGL
"""


def obstacle() -> str | None:
    """Say in a line why no window can open here, or None if one can.

    Whether a display answers, and lets this user in, only opening it tells; so another process
    does. On macOS and Windows there always is one.
    """
    if find_spec("napari") is None:
        return _NOT_INSTALLED
    if not sys.platform.startswith("linux"):
        return None
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        return _no_display()
    if probe.returncode == 0:
        return None
    return _NOT_INSTALLED if probe.returncode == _NO_QT else _no_display()


def _no_display() -> str:
    """Say what to do instead, by a command that this shell finds."""
    found, beside = shutil.which("mdn-cupy"), Path(sys.executable).with_name("mdn-cupy")
    ours = found is not None and Path(found).resolve() == beside.resolve()
    command = "mdn-cupy" if ours else f"{shlex.quote(sys.executable)} -m mdn_cupy"
    return f"there is no display here; without one: {command} compare pose -o compare.png"
