"""The user's own points, labels and shapes, drawn over every map."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Points, Shapes

from mdn_viewer.canvas.overlays import Marks, Outlines, Overlay, Patch
from mdn_viewer.core.session import ALL
from mdn_viewer.layers.conversion import is_output
from mdn_viewer.layers.transforms import Frame, grid_of
from mdn_viewer.timers import single_shot_timer

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["UserLayers"]

_KINDS = {Points: "points", Labels: "labels", Shapes: "shapes"}
_EVENTS = ("set_data", "data", "visible", "opacity", "scale", "translate", "affine")
_SOON_MS = 30  # painting labels tells of every stroke
_SIZE, _RIM = 9.0, 1.5  # screen pixels
_SYMBOLS = {"o": "disc", "+": "cross"}


class UserLayers:
    """Draw the visible points, labels and shapes of a viewer over all cells.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    canvas : ComparisonCanvas
        The canvas.
    model : VotingModel
        Points of several parts are shown for the part that is voted for.
    frame : callable
        Returns where the pixels of the output are.
    """

    def __init__(
        self,
        viewer: Viewer,
        canvas: ComparisonCanvas,
        model: VotingModel,
        frame: Callable[[], Frame],
    ) -> None:
        self._viewer, self._canvas, self._model, self._frame = viewer, canvas, model, frame
        self._watched: list[Layer] = []
        self._drawn: set[str] = set()
        self._soon = single_shot_timer(self.update, canvas)
        for event in self._list_events:
            event.connect(self._later)
        model.session_changed.connect(self._later)
        self._later()

    def update(self) -> None:
        """Draw what there is now."""
        layers = [x for x in self._viewer.layers if type(x) in _KINDS and not is_output(x)]
        self._watch(layers)
        drawn = {}
        for layer in layers:
            if layer.visible:
                with suppress(ValueError):  # rotated as seen from the output: not drawn
                    name = f"{_KINDS[type(layer)]}:{layer.unique_id}"
                    drawn[name] = self._overlay(layer)
        for name in self._drawn - {*drawn}:
            self._canvas.set_overlay(name, None)
        for name, overlay in drawn.items():
            self._canvas.set_overlay(name, overlay)
        self._drawn = {*drawn}

    def close(self) -> None:
        """Follow the layers no longer."""
        for event in self._list_events:
            event.disconnect(self._later)
        self._watch([])

    @property
    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _later(self, *_: Any) -> None:
        self._soon.start(_SOON_MS)

    def _watch(self, layers: list[Layer]) -> None:
        for connect, those in (("disconnect", self._watched), ("connect", layers)):
            for layer in those:
                for name in _EVENTS:
                    getattr(getattr(layer.events, name), connect)(self._later)
        self._watched = layers

    def _overlay(self, layer: Any) -> Overlay | None:
        frame = self._frame()
        if isinstance(layer, Points):
            return _marks(layer, frame, self._shown(layer))
        grid = grid_of(layer, frame)
        if isinstance(layer, Labels):
            values = np.asarray(layer.data)
            if values.ndim != 2:
                return None
            colours = layer.colormap.map(values).astype(np.float32)
            colours[..., 3] *= layer.opacity
            return Patch(colours, grid.origin, grid.stride)
        outlines = [np.asarray(p)[:, -2:] * grid.stride + grid.origin for p in layer.data]
        return Outlines(
            [_closed(p, kind) for p, kind in zip(outlines, layer.shape_type, strict=True)]
        )

    def _shown(self, layer: Any) -> npt.NDArray[np.bool_]:
        """Which points are of the part that is voted for; all, where all parts vote."""
        session, data = self._model.session, np.asarray(layer.data)
        shown = np.asarray(layer.shown)
        if session is None or session.part == ALL or layer.ndim < 3:
            return shown
        mine: npt.NDArray[np.bool_] = shown & (np.rint(data[:, -3]) == session.part)
        return mine


def _marks(layer: Any, frame: Frame, shown: npt.NDArray[np.bool_]) -> Marks:
    at = frame.points_of(layer)[shown][:, -2:]
    border = np.asarray(layer.border_color)[shown]
    symbols = [str(getattr(s, "value", s)) for s in np.asarray(layer.symbol)[shown]]
    return Marks(
        at,
        np.asarray(layer.face_color)[shown],
        np.array([_SYMBOLS.get(symbol, symbol) for symbol in symbols] or ["disc"]),
        _SIZE,
        _RIM,
        border if len(border) else "black",
    )


def _closed(points: npt.NDArray[Any], kind: Any) -> npt.NDArray[Any]:
    """Return the corners of a shape; of an ellipse, points on it."""
    if str(kind) != "ellipse" or len(points) != 4:
        return points
    middle, turn = points.mean(axis=0), np.linspace(0, 2 * np.pi, 49)[:-1, None]
    down, across = (points[3] - points[0]) / 2, (points[1] - points[0]) / 2
    around: npt.NDArray[Any] = middle + np.cos(turn) * across + np.sin(turn) * down
    return around
