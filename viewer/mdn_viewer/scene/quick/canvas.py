"""A canvas that is quick to change.

There are four places in which napari 0.9 freezes the window, for seconds if it has many layers:

- when the number of cells changes, it makes all viewboxes anew, and with them every shader;
- for every layer, it puts all names and colorbars in their places again, and looks for the cell of
  each through all layers, by a list whose every access is a check;
- before it builds the grid it collects garbage, even if nothing has been removed;
- it draws a frame right after the work that asks for it, and the user waits for both.

Here it does the same with the viewboxes that there are, once, if need be, and in turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mdn_viewer.scene.quick.meshes import keep_programs
from mdn_viewer.scene.turns import Breath

try:
    from napari._vispy.camera import VispyCamera
    from napari._vispy.canvas import VispyCanvas
    from napari.components.grid import GridCanvas
except ImportError:  # another napari
    VispyCamera, VispyCanvas, GridCanvas = None, object, object

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["QuickCanvas", "QuickGrid", "make_quick"]

_NEEDED = (
    "add_layer_visual_mapping",
    "on_draw",
    "_clean_and_update_scenegraph",
    "_create_or_update_vispy_overlay",
    "_font_info",
    "_init_or_update_grid",
    "_needs_overlay_position_update",
    "_pause_scene_graph",
    "_pause_scene_graph_update",
    "_remove_layer",
    "_scene_canvas",
    "_update_overlay_canvas_positions",
    "_update_scenegraph",
    "grid",
    "grid_cameras",
    "grid_views",
)
_MEASURED = " ÅÉÑŐjgpqy"  # letters by which vispy finds the height of every line


def make_quick(canvas: Any) -> None:
    """Make a canvas of napari's a quick one; where napari is built otherwise, leave it as it is."""
    if type(canvas) is VispyCanvas and all(hasattr(canvas, name) for name in _NEEDED):
        canvas.__class__ = QuickCanvas  # napari's events find its methods by their names
        canvas.take_turns()
        if type(canvas.viewer.canvas.grid) is GridCanvas:
            canvas.viewer.canvas.grid.__class__ = QuickGrid


class QuickGrid(GridCanvas):  # type: ignore[misc]
    """napari's grid, which looks for layers in a plain list."""

    def position(self, index: int, layers: Sequence[Layer]) -> tuple[int, int]:
        """Find the cell of a layer."""
        place: tuple[int, int] = super().position(index, list(layers))
        return place

    def contents_at(self, position: tuple[int, int], layers: Sequence[Layer]) -> tuple[int, ...]:
        """Find the layers of a cell."""
        there: tuple[int, ...] = super().contents_at(position, list(layers))
        return there

    def iter_viewboxes(self, layers: Sequence[Layer]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        """Go through the cells, with the layers of each."""
        yield from super().iter_viewboxes(list(layers))


class QuickCanvas(VispyCanvas):  # type: ignore[misc]
    """napari's canvas, quick to change."""

    _anything_removed = False
    _building = False
    _pause_scene_graph: bool
    _frame: Breath
    _batch_ends: Breath  # the batch of layers that come in one turn
    _in_batch = False

    def take_turns(self) -> None:
        """Draw every frame in a turn of its own, after whatever has asked for it."""
        native = self.native
        self._frame = Breath(native.update, native)
        self._batch_ends = Breath(self._end_batch, native)
        self._spelled: set[str] = set()
        if hasattr(native, "_vispy_update"):
            native._vispy_update = self._frame.start

    def draw_now(self) -> None:
        """Draw the next frame before anything else happens, if there is to be one."""
        if self._frame.stop():
            self.native.update()

    def spell(self, text: str) -> Iterator[None]:
        """Prepare what a text is written with: one character with each step, for 20 ms."""
        font = self._font_info.font_manager.get_font(self._font_info.face)
        for character in sorted({*_MEASURED, *text} - self._spelled):
            self._spelled.add(character)
            font[character]
            yield

    def add_layer_visual_mapping(self, layer: Layer, visual: Any) -> None:
        """Build the grid once for all layers that come in one turn: those of a file, say."""
        keep_programs(visual.node)
        if self.viewer.canvas.grid.enabled and not self._pause_scene_graph:
            self._pause_scene_graph = self._in_batch = True
            self._batch_ends.start()
        super().add_layer_visual_mapping(layer, visual)

    def _create_or_update_vispy_overlay(self, *args: Any, **keywords: Any) -> Any:
        overlay = super()._create_or_update_vispy_overlay(*args, **keywords)
        keep_programs(getattr(overlay, "box", None))
        return overlay

    def _end_batch(self) -> None:
        if self._in_batch:
            self._pause_scene_graph = self._in_batch = False
            self._clean_and_update_scenegraph()

    def _pause_scene_graph_update(self) -> None:
        self._in_batch = False  # whoever has begun a batch ends it
        super()._pause_scene_graph_update()

    def on_draw(self, event: Any = None) -> None:
        """Draw nothing without the layers that have come, in a screenshot, say."""
        self._end_batch()
        super().on_draw(event)

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
