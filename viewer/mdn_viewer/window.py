"""From Python to the window: arrays, fields, votes or a file, and new values while it is open."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core import compilation
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.process import WindowProcess
from mdn_viewer.values import newer, opened_from, paths_of

if TYPE_CHECKING:
    from napari import Viewer
    from qtpy.QtWidgets import QWidget

    from mdn_viewer.widget import MassDisplacement

__all__ = ["MassDisplacementWindow", "show"]

_DOCKED = "Mass displacement (mdn-cupy)"  # so napari's menu shows and hides the same widget
_SIZE = (1400, 850)  # of the window, in screen pixels
_FRAME = 0.05  # seconds between two frames that a loop in the window's own thread waits for


class MassDisplacementWindow:
    """A napari window on votes, as `show` returns it.

    Attributes
    ----------
    viewer : napari.Viewer
        The viewer.
    widget : MassDisplacement
        The dock widget.
    """

    def __init__(
        self, viewer: Viewer, widget: MassDisplacement, reading: dict[str, Any] | None = None
    ) -> None:
        self.viewer, self.widget = viewer, widget
        self._reading = reading or {}  # the layout and the order of arrays
        self._lock = threading.Lock()
        self._newest: list[mdn.Fields] | None = None
        self._drawn = 0.0  # when the window last had the time of its own thread
        self._widget_gone = False
        widget.new_values.connect(self._take)
        widget.destroyed.connect(self._on_destroyed)

    def update(self, confidence: Any, offsets: Any = None, image: Any = None) -> None:
        """Show other values of the same fields, from any thread.

        The call copies the arrays and returns; it never waits for votes or for drawing. If it is
        called again before they were shown, the newest values win. Called from the window's own
        thread, it also lets the window draw and react.

        Parameters
        ----------
        confidence, offsets, image
            As in `show`: arrays or tensors, `mdn_cupy.Fields`, or a batch of either, whose frames
            then take the place of those that are open.

        Raises
        ------
        TypeError, ValueError
            If they are no fields; the message says why.
        """
        if self._widget_gone:
            return
        frames = newer(self.widget.model.loaded, confidence, offsets, image, self._reading)
        with self._lock:
            waiting, self._newest = self._newest is not None, frames
        if not waiting:
            self.widget.new_values.emit()
        now = time.monotonic()
        if threading.current_thread() is threading.main_thread() and now - self._drawn > _FRAME:
            from qtpy.QtWidgets import QApplication

            QApplication.processEvents()
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Close the window."""
        self.viewer.close()

    def _take(self) -> None:
        """Show the newest values; in the window's thread."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            self.widget.show_values(newest)

    def _on_destroyed(self, *_: Any) -> None:
        self._widget_gone = True


def show(
    confidence: Any,
    offsets: Any = None,
    image: Any = None,
    *,
    sigma: float | None = None,
    stride: float | Sequence[float] | None = None,
    origin: float | Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    layout: str | None = None,
    order: str | None = None,
    part: int | str | None = None,
    name: str = "fields",
    viewer: Viewer | None = None,
    block: bool | None = None,
    process: bool = False,
) -> MassDisplacementWindow | WindowProcess:
    """Open a window on votes.

    Parameters
    ----------
    confidence : array, Fields, Votes, sequence of Fields, path, or list of paths
        Confidences (H, W), (P, H, W), or (N, P, H, W) of N frames: NumPy, CuPy or torch, on any
        device, with or without a graph. Or what else says everything: an `mdn_cupy.Fields`, an
        `mdn_cupy.Votes`, frames such as `mdn_cupy.open_fields` returns, or the name of a sample or
        of files that `open_fields` reads.
    offsets : array, optional
        Offsets (x, y) in pixels of the output, of the confidence's shape with an axis of 2 before
        the rows: (2, H, W), (P, 2, H, W), (N, P, 2, H, W). Arrays of one frame, or of each, whose
        sizes fit in only one other layout, such as (P, H, W, 2), are read so; where several fit,
        they are named.
    image : array, optional
        What the fields were computed from: (Hi, Wi), (Hi, Wi, 3 or 4), or one for each frame.
    sigma, stride, origin, names : optional
        As in `mdn_cupy.Fields`.
    layout, order : str, optional
        As in `mdn_cupy.open_fields`, for arrays, here and in `update`, or a path: "HW(PC)" for
        confidences (H, W, P) and offsets (H, W, 2P) with two channels of each part in turn; "yx"
        where y comes first.
    part : int or str, optional
        The part to look at first; "all" for all in one map.
    name : str
        What the layers' names begin with.
    viewer : napari.Viewer, optional
        Where to show it; by default in a new window.
    block : bool, optional
        Whether to return only when the window is closed. By default in a script, and not in
        IPython, Jupyter, where a Qt event loop runs already, or with `process`.
    process : bool
        Whether the window gets a process of its own, of low priority, which ends with this one:
        for loops that must not wait for votes and drawing.

    Returns
    -------
    MassDisplacementWindow or WindowProcess
        The window; its `update` shows new values, its `close` closes it.

    Raises
    ------
    TypeError, ValueError, OSError
        If it is no field set; the message says why.

    Examples
    --------
    In a training loop, which the window's own process does not slow down:

    >>> window = mdn_viewer.show(confidence, offsets, stride=8, process=True)  # doctest: +SKIP
    >>> for batch in loader:                                                   # doctest: +SKIP
    ...     train(batch)
    ...     window.update(confidence, offsets)
    """
    reading = {"layout": layout, "order": order}
    reading = {key: value for key, value in reading.items() if value is not None}
    given = {"sigma": sigma, "stride": stride, "origin": origin, "names": names}
    given = {key: value for key, value in given.items() if value is not None} | reading
    if process and viewer is not None:
        raise ValueError("viewer is in this process; leave it out, or process=False")
    opened = opened_from(confidence, offsets, image, given)
    if part is not None:
        opened = replace(opened, part=part if part == ALL else opened.first.part(part))
    if process:
        return _show_in_process(opened, name, confidence, given, reading, block)
    window = open_window(opened, name, viewer, reading)
    if block or (block is None and viewer is None and not _ipython_runs_qt()):
        import napari

        napari.run()  # which returns at once where an event loop runs
    return window


def _ipython_runs_qt() -> bool:
    """Whether IPython runs Qt's event loop between its inputs, as napari has it do.

    napari 0.9.2 looks for the name "qt", and would wait; IPython 9 calls it "qt6".
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return str(getattr(shell, "active_eventloop", None)).startswith("qt")


def _show_in_process(
    opened: Opened,
    name: str,
    source: Any,
    given: dict[str, Any],
    reading: dict[str, Any],
    block: bool | None,
) -> WindowProcess:
    sent: Opened | partial[Opened] = opened
    if paths := paths_of(source):  # frames of a file stay in it
        sent = partial(_open_paths, paths, given, opened.part)
    window = WindowProcess(sent, name, opened.first, reading)
    if block:
        window.wait()
    return window


def _open_paths(paths: list[str], given: dict[str, Any], part: int | str) -> Opened:
    return replace(opened_from(paths, None, None, given), part=part)


def open_window(
    opened: Opened | None,
    name: str,
    viewer: Viewer | None = None,
    reading: dict[str, Any] | None = None,
) -> MassDisplacementWindow:
    """Open a window on what has been opened, if anything has, or show it in a viewer."""
    compilation.begin()  # while napari is imported
    layers = []
    if opened is not None:
        layers = layer_data(opened, name)
    _load_kernels(0 if opened is None else opened.part)
    _load_triton()

    import napari

    from mdn_viewer.widget import MassDisplacement

    new = viewer is None
    viewer = napari.Viewer(title=f"mdn-viewer: {name}", show=False) if viewer is None else viewer
    for data, keywords, _ in layers:
        viewer.add_image(data, **keywords)
    docked = viewer.window.dock_widgets.values()
    widget = next((w for w in docked if isinstance(w, MassDisplacement)), None)
    if widget is None:
        widget = MassDisplacement(viewer)
        viewer.window.add_dock_widget(widget, name=_DOCKED)
        widget.take_centre()
    if new:
        viewer.window.show()
        _resize(viewer, widget)  # now: napari gives a new window the size of the last one
    return MassDisplacementWindow(viewer, widget, reading)


def _load_kernels(part: int | str) -> None:
    """Vote with one source, before there is a window: Numba and its kernels take 0.8 s to load.

    While another thread loads them, the window's thread waits up to 5 ms for the interpreter after
    each of its OpenGL calls; a new window stood still for 0.37 s.
    """
    if not compilation.under_way():
        one = mdn.Fields(np.full((1, 1, 1), 0.5, np.float32), np.zeros((1, 2, 1, 1), np.float32))
        with suppress(Exception):  # the window says why votes fail
            VotingSession(one, ALL if part == ALL else 0, 1.0).vote()


def _load_triton() -> None:
    """Import Triton, before Mesa's OpenGL, where torch is used: behind it, Triton ends the process.

    Both have symbols of LLVM, of other versions, and Triton takes those that were there first. It
    is torch.compile and torchvision that import it, which may be long after the window was opened.
    """
    used = "torch" in sys.modules and "triton" not in sys.modules and find_spec("triton")
    mapped = Path("/proc/self/maps")
    if used and mapped.exists() and "libLLVM" not in mapped.read_text():
        import_module("triton")


def _resize(viewer: Viewer, widget: QWidget) -> None:
    """Give a new window a size that fits its screen, and the dock the width that it asks for."""
    from qtpy.QtCore import QSize, Qt
    from qtpy.QtGui import QGuiApplication
    from qtpy.QtWidgets import QDockWidget, QMainWindow

    screen = QGuiApplication.primaryScreen()
    space = QSize(*_SIZE) if screen is None else screen.availableSize()
    size = QSize(*_SIZE).boundedTo(space)
    viewer.window.resize(size.width(), size.height())
    main, dock = widget.window(), widget.parentWidget()
    if isinstance(main, QMainWindow) and isinstance(dock, QDockWidget):
        main.resizeDocks([dock], [widget.sizeHint().width()], Qt.Orientation.Horizontal)
