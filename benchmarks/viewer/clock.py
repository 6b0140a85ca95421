"""What the measurements of the viewer share: a display, a clock, a heartbeat, a table."""

from __future__ import annotations

import os
import subprocess
import time
from itertools import pairwise
from typing import Any

__all__ = [
    "WINDOW",
    "Frames",
    "Heartbeat",
    "heading",
    "now",
    "run_for",
    "start_display",
]

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


class Heartbeat:
    """Beat every 5 ms, as long as the window handles events."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._beats = [(now(), time.thread_time())]
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def stop(self) -> None:
        """Beat no more."""
        self._timer.stop()

    @property
    def longest(self) -> tuple[float, float]:
        """The longest time between two beats, and the most that the thread computed in one, ms."""
        gaps = [
            [1e3 * (b - a) for a, b in zip(*pair, strict=True)] for pair in pairwise(self._beats)
        ]
        clock, processor = (max(each) for each in zip(*gaps, strict=True))
        return clock, processor

    def _beat(self) -> None:
        self._beats.append((now(), time.thread_time()))

    def __str__(self) -> str:
        return " | ".join(f"{milliseconds:.0f} ms" for milliseconds in self.longest)


def now() -> float:
    """Return the X server's time: seconds since the machine started."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def heading(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}", flush=True)


class Frames:
    """Call a function whenever a new frame of the maps is on the screen.

    Qt also swaps buffers when another widget of the window changes; those frames are not counted.

    Parameters
    ----------
    canvas : mdn_viewer.canvas.comparison.ComparisonCanvas
        The maps.
    on_frame : callable
        Called after the swap that shows a drawing.
    """

    def __init__(self, canvas: Any, on_frame: Any) -> None:
        self._canvas, self._on_frame, self._drawn = canvas, on_frame, False
        canvas.drawn.connect(self._on_drawn)
        canvas.native.frameSwapped.connect(self._on_swapped)

    def stop(self) -> None:
        self._canvas.drawn.disconnect(self._on_drawn)
        self._canvas.native.frameSwapped.disconnect(self._on_swapped)

    def _on_drawn(self) -> None:
        self._drawn = True

    def _on_swapped(self) -> None:
        if self._drawn:
            self._drawn = False
            self._on_frame()
