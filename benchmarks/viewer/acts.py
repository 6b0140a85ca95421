"""How long the viewer's window stands still in single acts, and when all is there; `latency.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from clock import WINDOW, Frames, heading, heartbeat, longest_gap, now, run_for
from fields import crowd

__all__ = ["measure_acts"]

QUIET = 1.0  # seconds without a new frame: all is there

Act = tuple[str, Callable[[], Any]]


def measure_acts() -> None:
    """Print what a person does first, in this order, in a window like that of `mdn-viewer pose`."""
    import gc

    import napari
    from mdn_viewer import show
    from napari.settings import get_settings

    heading("act", "longest freeze", "all there after")
    get_settings().application.first_time = False  # else napari takes a size of its own
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*WINDOW)
    widget = show("pose", viewer=viewer).widget
    gc.freeze()  # as `mdn-viewer` does
    measure("open the pose sample", viewer.window.show, widget)
    for name, act in acts(viewer, widget):
        measure(name, act, widget)
    viewer.close()


def measure(name: str, act: Callable[[], Any], widget: Any) -> None:
    """Print the longest freeze of an act, and when its last frame was on the screen."""
    beats, frames, timer = [now()], [now()], heartbeat()
    timer.timeout.connect(lambda: beats.append(now()))
    watch = Frames(widget.canvas, lambda: frames.append(now()))
    act()
    done, model = now(), widget.model
    while (
        now() - max(done, frames[-1]) < QUIET or model.voted is not model.session or not model.exact
    ):
        run_for(0.05)
    watch.stop()
    timer.stop()
    print(f"| {name} | {longest_gap(beats):.0f} ms | {frames[-1] - beats[0]:.2f} s |", flush=True)


def acts(viewer: Any, widget: Any) -> Iterator[Act]:
    """Yield the acts after the opening."""
    from mdn_viewer.layers.conversion import layer_data
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

    def open_crowd() -> None:
        for data, looks, _ in layer_data(crowd(), "crowd"):
            viewer.add_image(data, **looks)

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
    yield "open the coins sample too", lambda: viewer.open_sample("mdn-cupy", "coins")
    yield "open 512 × 512 sources too", open_crowd
    widget.open_tab("Voters")
    run_for(QUIET)
    yield "ask a pixel with 4,600 voters", lambda: model.ask_pixel((256, 256))
    voters = len(widget.panel(VotersPanel).asked.voters)
    assert 4500 < voters < 4700, voters
