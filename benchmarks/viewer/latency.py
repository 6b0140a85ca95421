"""Measure how the viewer follows its slider, and how long it stands still in single acts.

Prints two tables in Markdown. For the first, the slider is dragged with the X server's own mouse.

A latency is the time from a mouse movement, as the X server stamps it, to the end of the first
frame that shows the votes for it or for a later one. An update is a frame with new votes; its
processor time is that of all threads, which does not grow when other programs run. A freeze is the
longest time for which the window handled no event. The second table has the freezes of single acts,
the first of their kind in a new window, the most that the window's thread computed in one turn, and
when their last frame was on the screen; at its end, freezes of napari's window without the plugin.

Needs xdotool. Where there is no display it starts Xvfb, which draws by llvmpipe, on the CPU.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from acts import measure_acts
from clock import WINDOW, Frames, Heartbeat, heading, now, run_for, start_display
from fields import dense

import mdn_cupy as mdn

MOVES_PER_SECOND = 60  # as a mouse has them
ACTS = "acts"
GOAL = "p90 at most 150 ms, 8 updates/s or more, no freeze beyond 200 ms"


@dataclass(frozen=True)
class Case:
    """A field set, a part of it, and how far its slider is dragged."""

    name: str
    fields: mdn.Fields
    part: int | str
    widest: float = float("inf")  # in pixels; by default to the slider's end
    zoom: float = 0.0  # screen pixels of an output pixel; 0: the output is seen whole


@dataclass
class Trace:
    """What happened when during a drag: seconds of the X server's clock, and sessions by number."""

    moves: list[tuple[float, int]] = field(default_factory=list)  # and the session it asked for
    frames: list[tuple[float, int]] = field(default_factory=list)  # and the session it showed
    freeze: str = ""  # and the most that the window's thread computed in a turn
    processor: float = 0.0  # seconds, of all threads
    renderer: str = ""

    def latencies(self) -> np.ndarray:
        """From every move to the frame that answers it, in ms."""
        times = np.array([t for t, _ in self.frames])
        shown = np.maximum.accumulate([n for _, n in self.frames])
        answers = (times[(shown >= n) & (times > t)] for t, n in self.moves)
        pairs = zip(self.moves, answers, strict=True)
        return np.array([1e3 * (times[0] - t) for (t, _), times in pairs if len(times)])

    def updates(self) -> int:
        """How many frames with new votes there were while the mouse moved."""
        begin, end = self.moves[0][0], self.moves[-1][0]
        return len({n for t, n in self.frames if begin <= t <= end})


def main() -> int:
    arguments = parser().parse_args()
    known = cases()
    unknown = set(arguments.cases) - {*known, ACTS}
    if unknown:
        parser().error(f"no case {', '.join(unknown)}; there are {', '.join(known)}, {ACTS}")
    names = arguments.cases or [*known, ACTS]
    chosen = [known[name] for name in names if name != ACTS]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CONFIG"] = str(Path(folder, "settings.yaml"))  # napari's own defaults
        server = None if os.environ.get("DISPLAY") else start_display()
        try:
            measure(chosen, arguments.seconds)
            if ACTS in names:
                measure_acts()
            print(f"\nGoal: {GOAL}. {platform.processor() or platform.machine()}, ", end="")
            print(f"{os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}.")
            return 0
        finally:
            if server is not None:
                server.terminate()
                server.wait()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases())}, {ACTS}; all by default"
    )
    made.add_argument("--seconds", type=float, default=8, help="how long to drag (%(default)g)")
    return made


def cases() -> dict[str, Case]:
    pose, coins = mdn.samples.load("pose"), mdn.samples.load("coins")
    return {
        "pose": Case("pose, one part", pose, "nose"),
        "pose-all": Case("pose, 17 parts in one map", pose, "all"),
        "coins": Case("coins, all radii in one map", coins, "all"),
        "coins-one": Case("coins, one radius", coins, 3),
        "dense": Case("dense 1024 × 1024, σ ≤ 1.5", dense(1024), 0, 1.5),
        "large": Case("dense 2048 × 2048, seen whole, σ ≤ 1.5", dense(2048), 0, 1.5),
        "large-near": Case("dense 2048 × 2048, zoomed in, σ ≤ 1.5", dense(2048), 0, 1.5, zoom=4),
    }


def measure(chosen: list[Case], seconds: float) -> None:
    """Print how the window follows the slider."""
    import napari

    if not chosen:
        return
    drags = (
        "moves",
        "latency p50",
        "p90",
        "max",
        "updates/s",
        "processor time",
        "longest freeze",
        "in a turn",
    )
    heading("field", *drags)
    renderer = ""
    for case in chosen:
        viewer = napari.Viewer()
        viewer.window.resize(*WINDOW)
        trace = drag(viewer, case, seconds)
        renderer = renderer or trace.renderer
        viewer.close()
        print(row(case.name, trace), flush=True)
    print(f"\nDrawn by {renderer}.\n")


def row(name: str, trace: Trace) -> str:
    latencies = trace.latencies()
    p50, p90, longest = np.percentile(latencies, [50, 90, 100])
    updates, lasted = trace.updates(), trace.moves[-1][0] - trace.moves[0][0]
    cells = [
        name,
        str(len(trace.moves)),
        *(f"{ms:.0f} ms" for ms in (p50, p90, longest)),
        f"{updates / lasted:.1f}",
        f"{1e3 * trace.processor / updates:.0f} ms",
        trace.freeze,
    ]
    return f"| {' | '.join(cells)} |"


def drag(viewer: Any, case: Case, seconds: float) -> Trace:
    """Open a field set and drag its slider to and fro."""
    from mdn_viewer.core.opened import Opened
    from mdn_viewer.layers.conversion import layer_data
    from vispy.gloo import gl

    for data, looks, _ in layer_data(Opened([case.fields], part=case.part), "fields"):
        viewer.add_image(data, **looks)
    widget = viewer.window.add_plugin_dock_widget("mdn-cupy", "Mass displacement")[1]
    run_for(1.0)
    widget.wait()
    gc.freeze()  # as `mdn-viewer` does: a full collection takes 0.2 s
    if case.zoom:
        look_into_the_middle(widget.canvas, case.zoom)
    let_settle(widget.controls.sigma.native)
    trace, script = Trace(), mouse_script(widget.controls.sigma, case.widest, seconds)
    watch = Watch(widget, trace)
    process, begun = subprocess.Popen(["xdotool", *script]), time.process_time()
    while process.poll() is None:
        run_for(0.1)
    trace.processor = time.process_time() - begun
    run_until_exact(widget.model)
    run_for(0.5)
    watch.stop()
    widget.canvas.native.makeCurrent()
    trace.renderer = str(gl.glGetParameter(gl.GL_RENDERER))
    widget.canvas.native.doneCurrent()
    return trace


def run_until_exact(model: Any) -> None:
    """Let the window run until the maps have all pixels.

    In `model.wait` it handles no events: what is counted as a freeze would be the wait's own.
    """
    while not (model.voted is model.session and model.exact):
        run_for(0.1)


def let_settle(slider: Any) -> None:
    """Let the window run until the slider has stayed where it is for a second."""
    from qtpy.QtCore import QPoint

    since, place = now(), None
    while now() - since < 1:
        run_for(0.1)
        if slider.mapToGlobal(QPoint()) != place:
            since, place = now(), slider.mapToGlobal(QPoint())


def look_into_the_middle(canvas: Any, zoom: float) -> None:
    from mdn_viewer.canvas.camera import Camera

    extent = canvas.extent
    middle = (extent.top + extent.bottom) / 2, (extent.left + extent.right) / 2
    canvas.look_at(Camera(*middle, zoom))


def mouse_script(sigma: Any, widest: float, seconds: float) -> list[str]:
    """Return commands for xdotool: press on the slider's handle, and move it to and fro."""
    from qtpy.QtWidgets import QSlider, QStyle, QStyleOptionSlider

    slider = sigma.native.findChild(QSlider)

    def place(value: float) -> tuple[int, int]:
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        option.sliderPosition = option.sliderValue = round(value)
        handle = QStyle.SubControl.SC_SliderHandle
        control = QStyle.ComplexControl.CC_Slider
        centre = slider.style().subControlRect(control, option, handle, slider).center()
        point = slider.mapToGlobal(centre)
        return point.x(), point.y()

    low, high = sigma.limits
    share = min(1.0, (widest - low) / (high - low))
    left, y = place(slider.minimum())
    right, _ = place(slider.minimum() + share * (slider.maximum() - slider.minimum()))
    start, _ = place(slider.value())
    steps = round(seconds * MOVES_PER_SECOND)
    phase = np.linspace(0, 2 * np.pi * max(1, seconds / 4), steps)
    xs = np.rint(left + (right - left) * (1 - np.cos(phase)) / 2).astype(int)
    script = ["mousemove", str(start), str(y), "sleep", "0.3", "mousedown", "1", "sleep", "0.3"]
    for x in xs:
        script += ["mousemove", str(x), str(y), "sleep", f"{1 / MOVES_PER_SECOND:.4f}"]
    return [*script, "sleep", "0.3", "mouseup", "1"]


class Watch:
    """Notes the mouse's movements, the sessions they ask for, and the frames that show them."""

    def __init__(self, widget: Any, trace: Trace) -> None:
        from qtpy.QtCore import QEvent, QObject
        from qtpy.QtWidgets import QSlider

        self._trace, self._model = trace, widget.model
        self._asked: list[Any] = [widget.model.session]
        self._shown = 0  # the session of the newest maps
        self._beats = Heartbeat()
        slider = widget.controls.sigma.native.findChild(QSlider)

        class Filter(QObject):
            stamp = 0.0

            def eventFilter(self, watched: Any, event: Any) -> bool:
                if event.type() == QEvent.Type.MouseMove:
                    self.stamp = event.timestamp() / 1e3
                return False

        self._filter = Filter()
        slider.installEventFilter(self._filter)
        widget.model.session_changed.connect(self._on_session)
        widget.model.maps_changed.connect(self._on_maps)
        self._frames = Frames(widget.canvas, lambda: trace.frames.append((now(), self._shown)))

    def stop(self) -> None:
        self._beats.stop()
        self._trace.freeze = str(self._beats)
        self._frames.stop()
        self._model.session_changed.disconnect(self._on_session)
        self._model.maps_changed.disconnect(self._on_maps)

    def _on_session(self, session: Any) -> None:
        self._asked.append(session)
        if self._filter.stamp:
            self._trace.moves.append((self._filter.stamp, len(self._asked) - 1))

    def _on_maps(self, maps: Any) -> None:
        if maps:
            self._shown = next(
                n for n, s in reversed([*enumerate(self._asked)]) if s is self._model.voted
            )


if __name__ == "__main__":
    sys.exit(main())
