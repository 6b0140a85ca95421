"""What keeps layers from being seen until it is their turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from mdn_viewer.scene.canvas import conceal, reveal, reveal_upon
from mdn_viewer.scene.cells import is_empty, set_data

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Curtain"]


class Curtain:
    """Layers of a viewer that are in their places, but not drawn yet, since each takes its time.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._behind: list[Layer] = []
        self._visible: dict[Layer, bool] = {}

    def __len__(self) -> int:
        return len(self._behind)

    @property
    def waits(self) -> bool:
        """Whether layers are to be shown or hidden."""
        return bool(self._visible)

    def hold_back(self, layer: Layer) -> None:
        """Hide a layer until `show_and_hide`."""
        if layer.visible:
            self._visible[layer], layer.visible = True, False

    def hide(self, layer: Layer) -> None:
        """Hide a layer for good, also one that has been held back."""
        self._visible.pop(layer, None)
        if layer.visible:
            layer.visible = False

    def later(self, visible: Mapping[Layer, bool]) -> None:
        """Say which layers `show_and_hide` is to show, and which to hide."""
        self._visible.update(visible)

    def show_and_hide(self) -> None:
        """Show layers, behind the curtain, and hide others."""
        for layer, visible in self._visible.items():
            if layer in self._viewer.layers and layer.visible != visible:
                layer.visible = visible
                if visible:
                    self.draw_later(layer)
        self._visible.clear()

    def draw_later(self, layer: Layer) -> None:
        """Keep a layer behind the curtain."""
        conceal(self._viewer, layer)
        self._behind.append(layer)

    def draw_upon(self, overlay: Layer, picture: Layer) -> None:
        """Draw a layer above another at once, if that is drawn."""
        if not (is_empty(overlay) or reveal_upon(self._viewer, overlay, picture)):
            self._behind.append(overlay)

    def set_data(self, overlay: Layer, data: Any) -> None:
        """Set the data of an overlay; one without any would take as long to draw as another."""
        set_data(overlay, data)
        if overlay not in self._behind:
            (conceal if is_empty(overlay) else reveal)(self._viewer, overlay)

    def draw_next(self) -> None:
        """Draw the layer that has been behind the curtain for longest."""
        reveal(self._viewer, self._behind.pop(0))
