"""Short ways through napari's canvas, without which a grid of many layers is slow to change.

The only module that reaches into napari where nothing is public. There are three places in which
napari 0.9 freezes the window, for seconds where there are many layers:

- when the number of cells changes, it makes all viewboxes anew, and with them every shader;
- for every layer, it puts all names and colorbars in their places again, and looks for the cell of
  each through all layers, by a list whose every access is a check;
- before it builds the grid it collects garbage, even if nothing has been removed.

`quicken` has a canvas do the same with the viewboxes that there are, once, and if need be. Where
napari is built otherwise, everything stays as napari has it, and takes longer.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Points

try:
    from napari._vispy.camera import VispyCamera
    from napari._vispy.canvas import VispyCanvas
    from napari.components.grid import GridCanvas
except ImportError:  # another napari
    VispyCamera, VispyCanvas, GridCanvas = None, object, object

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

__all__ = ["garbage_among_new_objects", "insert", "place_labels", "quicken", "reveal", "warm_up"]

_NEEDED = (
    "_clean_and_update_scenegraph",
    "_init_or_update_grid",
    "_needs_overlay_position_update",
    "_remove_layer",
    "_scene_canvas",
    "_update_overlay_canvas_positions",
    "_update_scenegraph",
    "grid",
    "grid_cameras",
    "grid_views",
)


def quicken(viewer: Viewer) -> bool:
    """Have a viewer's canvas build its grid quickly, from now on.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, with a window or without.

    Returns
    -------
    bool
        Whether it does: False without a window, and where napari is built otherwise.
    """
    canvas = _canvas(viewer)
    if type(canvas) is VispyCanvas and all(hasattr(canvas, name) for name in _NEEDED):
        canvas.__class__ = _QuickCanvas  # napari's events find its methods by their names
        if type(canvas.viewer.canvas.grid) is GridCanvas:
            canvas.viewer.canvas.grid.__class__ = _QuickGrid
    return isinstance(canvas, _QuickCanvas)


def insert(viewer: Viewer, index: int, layer: Layer) -> None:
    """Insert a layer that a quick canvas does not draw until it is revealed.

    What is selected stays so: napari would show the controls of every new layer for a moment.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    index : int
        Before which of them.
    layer : napari.layers.Layer
        The layer.
    """
    layers = viewer.layers
    bare, active = _bare(layers), layers.selection.active
    selects = getattr(bare, "_activate_on_insert", None)
    if selects is not None:
        bare._activate_on_insert = False
    try:
        layers.insert(index, layer)
    finally:
        if selects is not None:
            bare._activate_on_insert = selects
        else:
            layers.selection.active = active
    canvas = _canvas(viewer)
    if isinstance(canvas, _QuickCanvas):
        canvas.layer_to_visual[layer].node.visible = False


def reveal(viewer: Viewer, layer: Layer) -> None:
    """Draw a layer from now on, if it is visible; the first time takes long, for its shaders."""
    canvas = _canvas(viewer)
    if isinstance(canvas, _QuickCanvas) and layer in canvas.layer_to_visual:
        canvas.layer_to_visual[layer].node.visible = layer.visible


def place_labels(viewer: Viewer) -> None:
    """Put colorbars whose numbers have changed in their places before the next frame.

    napari does it when that frame has been drawn, and then draws it again.
    """
    canvas = _canvas(viewer)
    if isinstance(canvas, _QuickCanvas) and canvas._needs_overlay_position_update:
        canvas._update_overlay_canvas_positions()


@contextmanager
def garbage_among_new_objects() -> Iterator[None]:
    """Have Python look for garbage among new objects only: among all it takes tenths of a second.

    napari has it look whenever layers go, which on Windows has to find them. Objects are not
    frozen for it: Python would take them for new ones then, and soon look through all of them.
    """
    if sys.platform == "win32" or gc.collect is _collect_young:
        yield
        return
    gc.collect = _collect_young
    try:
        yield
    finally:
        gc.collect = _collect_all


_collect_all = gc.collect


def _collect_young(generation: int = 2) -> int:
    return _collect_all(min(generation, 1))


def warm_up() -> None:
    """Have napari import now what it puts off until the first layers: pandas, tables of units."""
    Image(np.zeros((2, 2), np.float32))
    Points(ndim=2)


def _canvas(viewer: Viewer) -> Any:
    try:
        return _bare(viewer).window._qt_viewer.canvas
    except AttributeError:  # there is no window, or napari is built otherwise
        return None


def _bare(thing: Any) -> Any:
    """Return what is behind the proxy by which napari keeps plugins off its private parts."""
    return getattr(thing, "__wrapped__", thing)


class _QuickGrid(GridCanvas):  # type: ignore[misc]
    """napari's grid, which looks for layers in a plain list."""

    def position(self, index: int, layers: Sequence[Layer]) -> tuple[int, int]:
        place: tuple[int, int] = super().position(index, list(layers))
        return place

    def contents_at(self, position: tuple[int, int], layers: Sequence[Layer]) -> tuple[int, ...]:
        there: tuple[int, ...] = super().contents_at(position, list(layers))
        return there

    def iter_viewboxes(self, layers: Sequence[Layer]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        yield from super().iter_viewboxes(list(layers))


class _QuickCanvas(VispyCanvas):  # type: ignore[misc]
    """napari's canvas, quick to change."""

    _anything_removed = False
    _building = False

    def _remove_layer(self, event: Any) -> None:
        self._anything_removed = True
        super()._remove_layer(event)

    def _clean_and_update_scenegraph(self) -> None:
        """Collect garbage, as drivers on Windows need it, where there is some."""
        removed, self._anything_removed = self._anything_removed, False
        if removed:
            super()._clean_and_update_scenegraph()
        else:
            self._update_scenegraph()

    def _update_scenegraph(self, event: Any = None) -> None:
        self._building = True
        try:
            super()._update_scenegraph(event)
        finally:
            self._building = False
        self._needs_overlay_position_update = True

    def _update_overlay_canvas_positions(self, event: Any = None) -> None:
        """While the grid is being built, leave it to the frame that shows it."""
        if not self._building:
            super()._update_overlay_canvas_positions(event)

    def _init_or_update_grid(self) -> None:
        """Put the viewboxes that there are in their new places, with the layers that they show."""
        layers, grid = list(self.viewer.layers), self.viewer.canvas.grid  # a list is quick
        places = dict(grid.iter_viewboxes(layers))
        homes = dict(zip(self.grid_views, self.grid_cameras, strict=True))
        views: list[Any] = []
        for there in places.values():
            views.append(self._home({*homes} - {*views}, [layers[i] for i in there]))
        free = [view for view in homes if view not in views]
        views = [view or (free.pop(0) if free else None) for view in views]
        if views == self.grid_views and self.grid.grid_size == grid.actual_shape(layers):
            return
        for view in homes:
            self.grid.remove_widget(view)
        self.grid._cells.clear()  # which vispy forgets
        for view in free:
            _take_away(self._scene_canvas, view, homes[view])
        for place, view in zip(places, views, strict=True):
            if view is not None:
                self.grid.add_widget(view, *place)
        self.grid_views[:] = [self._view_at(*place) for place in places]
        self.grid_cameras[:] = [homes.get(view) or self._camera(view) for view in self.grid_views]

    def _home(self, views: set[Any], layers: list[Layer]) -> Any:
        """Return the viewbox in which most of some layers are, or None."""
        scenes = [self.layer_to_visual[layer].node.parent for layer in layers]
        count = {view: sum(scene is view.scene for scene in scenes) for view in views}
        most = max(count, key=lambda view: count[view], default=None)
        return most if most is not None and count[most] else None

    def _view_at(self, row: int, column: int) -> Any:
        view = self.grid[row, column]  # which makes it if need be
        view.border_width, view.border_color = 0, None
        return view

    def _camera(self, view: Any) -> Any:
        return VispyCamera(view, self.viewer.scene.camera, self.viewer.dims)


def _take_away(scene_canvas: Any, view: Any, camera: Any) -> None:
    with suppress(RuntimeError, ValueError):  # it was never drawn
        scene_canvas.events.draw.disconnect(camera.on_draw)
    for node in (*view.scene.children, *view.children):  # of hidden layers, which nobody moves
        node.parent = None
    view.parent = None
