"""How long the viewer's window stands still where layers come or go; see `latency.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clock import WINDOW, heading, heartbeat, longest_gap, now, run_for

import mdn_cupy as mdn

__all__ = ["measure_acts"]


def measure_acts() -> None:
    """Print how long the window of `mdn-viewer pose` stands still where layers come and go."""
    import gc

    import napari
    from mdn_viewer.__main__ import warm_up

    heading("act", "longest freeze", "all there after")
    warm_up()
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    gc.freeze()
    widgets: list[Any] = []
    for name, act in acts(viewer, widgets):
        beats, timer = [now()], heartbeat()
        timer.timeout.connect(lambda beats=beats: beats.append(now()))
        act()
        run_for(0.1)
        while busy(widgets[0]):
            run_for(0.02)
        done = beats[-1] - beats[0]
        run_for(0.5)  # what comes at rest
        timer.stop()
        print(f"| {name} | {longest_gap(beats):.0f} ms | {done:.1f} s |", flush=True)
    viewer.close()


def acts(viewer: Any, widgets: list[Any]) -> list[tuple[str, Callable[[], Any]]]:
    """What a person does first, in this order; the first act puts the widget into the list."""
    from mdn_viewer.__main__ import opening
    from mdn_viewer.layers.conversion import layer_data
    from mdn_viewer.canvas.turns import EventTurns

    def open_pose() -> None:
        layers = layer_data(mdn.samples.load("pose"), "pose", "nose", "sample:pose")
        turns.take(opening(viewer, layers, widgets))
        while not widgets:
            run_for(0.02)

    turns = EventTurns()

    def panel(title: str) -> Any:
        return next(panel for panel in widgets[0].panels if panel.title == title)

    def toggle(kind: str) -> Callable[[], None]:
        return lambda: widgets[0].compare.shown[kind].toggle()

    return [
        ("open the pose sample", open_pose),
        ("ask a pixel", lambda: widgets[0].model.ask_pixel((95, 166))),
        ("ask a source", lambda: widgets[0].model.ask_source((0, 6, 10))),
        ("ask no more", lambda: panel("Voters")._on_clear()),
        ("show the evidence", toggle("evidence")),
        ("hide the evidence", toggle("evidence")),
        ("hide the difference", toggle("difference")),
        ("add a target's points", lambda: panel("Gradient").controls.add.click()),
        ("the first point", lambda: viewer.layers["target"].add([[150, 220]])),
        ("a step", lambda: panel("Gradient").controls.step.click()),
        ("another part", lambda: widgets[0].controls.page(1)),
        ("open the coins sample too", lambda: viewer.open_sample("mdn-cupy", "coins")),
    ]


def busy(widget: Any) -> bool:
    """Whether there is more to come."""
    model = widget.model
    working = any(worker.busy for worker in model._workers)
    return working or widget.stage.busy or widget.in_motion or model.voted is not model.session
