"""What the measurements of the viewer share: a display, a clock, a heartbeat, a table."""

from __future__ import annotations

import os
import subprocess
import time
from itertools import pairwise
from typing import Any

__all__ = ["WINDOW", "heading", "heartbeat", "longest_gap", "now", "run_for", "start_display"]

WINDOW, SCREEN = (1400, 850), "1600x1000x24"


def start_display() -> subprocess.Popen[bytes]:
    """Start an X server without a screen (Xvfb), and use it."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, pass_fds=[write], **quiet)
    os.close(write)
    with os.fdopen(read) as pipe:
        os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
    return server


def run_for(seconds: float) -> None:
    """Let the window run."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def heartbeat() -> Any:
    from qtpy.QtCore import QTimer

    timer = QTimer()
    timer.start(5)
    return timer


def longest_gap(beats: list[float]) -> float:
    """The longest time between two heartbeats, in ms."""
    return 1e3 * max(after - before for before, after in pairwise(beats))


def now() -> float:
    """The X server's clock: seconds since the machine started."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def heading(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}", flush=True)
