"""How long the viewer's window stands still in single acts, and when all is there; `latency.py`."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from clock import WINDOW, Frames, Heartbeat, heading, now, run_for
from fields import crowd

import mdn_cupy as mdn

__all__ = ["measure_acts"]

QUIET = 2.0  # seconds without a new frame: all is there

Act = tuple[str, Callable[[], Any]]


def measure_acts() -> None:
    """Print what a person does first, in this order, in a window like that of `mdn-viewer pose`.

    A second sample is opened in another such window. The last row is what napari's own window
    needs for three layers, without this plugin.
    """
    from napari.settings import get_settings
    from qtpy.QtCore import QTimer

    heading("act", "longest freeze", "processor time in a turn", "all there after")
    get_settings().application.first_time = False  # else napari takes a size of its own
    viewer, widget = window()
    measure("open the pose sample", viewer.window.show, widget)
    for name, act in acts(viewer, widget):
        measure(name, act, widget)
    viewer.close()
    viewer, widget = window()
    viewer.window.show()
    run_for(2 * QUIET)
    second = "open the coins sample, when the pose is there"
    open_it = partial(viewer.open_sample, "mdn-cupy", "coins")
    measure(second, lambda: QTimer.singleShot(0, open_it), widget)  # as a menu does
    viewer.close()
    measure_napari()


def window() -> tuple[Any, Any]:
    """Make a window with the pose sample, not shown yet, and its dock widget."""
    import napari
    from mdn_viewer import show

    viewer = napari.Viewer(show=False)
    viewer.window.resize(*WINDOW)
    widget = show("pose", viewer=viewer).widget
    gc.freeze()  # as `mdn-viewer` does
    return viewer, widget


def measure(name: str, act: Callable[[], Any], widget: Any) -> None:
    """Print the longest freeze of an act, and when its last frame was on the screen."""
    frames, beats = [now()], Heartbeat()
    watch = Frames(widget.canvas, lambda: frames.append(now()))
    act()
    done, model = now(), widget.model
    while (
        now() - max(done, frames[-1]) < QUIET
        or widget.opener.busy
        or model.voted is not model.session
        or not model.exact
    ):
        run_for(0.05)
    watch.stop()
    beats.stop()
    print(f"| {name} | {beats} | {frames[-1] - frames[0]:.2f} s |", flush=True)


def measure_napari() -> None:
    """Print how long napari's own window stands still for the layers of the coins sample."""
    import napari
    from mdn_viewer.core.opened import open_paths
    from mdn_viewer.layers.conversion import layer_data

    viewer = napari.Viewer(show=False)
    viewer.window.resize(*WINDOW)
    for data, looks, _ in layer_data(open_paths(["pose"]), "pose"):
        viewer.add_image(data, **looks)
    viewer.window.show()
    run_for(2 * QUIET)
    gc.freeze()  # as in our window
    layers = layer_data(open_paths(["coins"]), "coins")
    for name, some in (("three layers", layers), ("one layer more", layers[:1])):
        beats = Heartbeat()
        for data, looks, _ in some:
            viewer.add_image(data, **looks)
        run_for(2 * QUIET)
        beats.stop()
        print(f"| napari without this plugin: {name} | {beats} | |", flush=True)
    viewer.close()


def acts(viewer: Any, widget: Any) -> Iterator[Act]:
    """Yield the acts after the opening."""
    from mdn_viewer.widgets.gradient import GradientPanel
    from mdn_viewer.widgets.voters import VotersPanel
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    model, shown = widget.model, widget.compare.shown
    gradient = widget.panel(GradientPanel).controls

    def click(row: int, column: int) -> None:
        canvas = widget.canvas
        place = canvas.native.mapFromGlobal(canvas.screen_position("noisy-or", row, column))
        QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=place)

    folder = tempfile.TemporaryDirectory()
    many = str(Path(folder.name, "crowd.mdn"))
    mdn.save_fields(many, crowd())

    yield "ask a pixel", lambda: model.ask_pixel((95, 166))
    yield "ask a source", lambda: model.ask_source((0, 6, 10))

    def ask_no_more() -> None:
        model.ask_source(None)
        model.ask_pixel(None)

    yield "ask no more", ask_no_more
    yield "show the evidence", shown["evidence"].toggle
    yield "hide the evidence", shown["evidence"].toggle
    yield "hide the difference", shown["difference"].toggle
    yield "show the difference", shown["difference"].toggle
    widget.open_tab("Gradient")
    run_for(QUIET)
    yield "add a target's points", gradient.add.click
    yield "the first point", lambda: click(150, 220)
    yield "a step", gradient.step.click
    yield "another part", lambda: widget.controls.page(1)
    yield "drop a file of 512 × 512 sources", lambda: widget.canvas.dropped.emit([many])
    folder.cleanup()
    widget.open_tab("Voters")
    run_for(QUIET)
    yield "ask a pixel with 4,600 voters", lambda: model.ask_pixel((256, 256))
    voters = len(widget.panel(VotersPanel).asked.voters)
    assert 4500 < voters < 4700, voters
