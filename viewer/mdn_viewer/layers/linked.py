"""Results as layers of napari's, which follow the votes until they are detached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from mdn_viewer.layers.conversion import mark_output
from mdn_viewer.layers.transforms import Frame

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["LinkedLayers", "write_image"]


@dataclass
class _Link:
    layer: Layer
    write: Callable[[Any], None]


class LinkedLayers:
    """Layers that were added from the canvas, by the names of what they show.

    A layer that is removed from the viewer is forgotten; one that is detached stays as it is.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    frame : callable
        Returns where the pixels of the output are.
    """

    def __init__(self, viewer: Viewer, frame: Callable[[], Frame]) -> None:
        self._viewer, self._frame = viewer, frame
        self._links: dict[str, _Link] = {}

    def __contains__(self, name: str) -> bool:
        link = self._links.get(name)
        return link is not None and link.layer in self._viewer.layers

    def add(self, name: str, layer: Layer, write: Callable[[Any], None]) -> None:
        """Add a layer in pixels of the output; `write` gives it the newest data, when asked."""
        if name in self:
            return
        mark_output(layer)
        self._frame().put(layer)
        self._links[name] = _Link(self._viewer.add_layer(layer), write)

    def update(self, name: str = "") -> None:
        """Write the newest data into the layer of a name, or into all."""
        for each in [n for n in self._links if not name or n == name]:
            if each in self:
                link = self._links[each]
                link.write(link.layer)
                self._frame().put(link.layer)
            else:
                del self._links[each]

    def detach(self, name: str) -> None:
        """Leave a layer as it is from now on."""
        self._links.pop(name, None)

    def detach_all(self) -> None:
        """Leave all layers as they are from now on."""
        self._links.clear()


def write_image(layer: Any, values: Any, limits: tuple[float, float]) -> None:
    """Write a map into an image layer, in place where it has the size."""
    if np.shape(layer.data) == values.shape:
        layer.data[...] = values
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    else:
        layer.data = np.array(values)
    if tuple(layer.contrast_limits) != limits:
        layer.contrast_limits_range = layer.contrast_limits = limits
