"""The vote maps as layers of a viewer: side by side in its grid, with what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from mdn_viewer.layers import backdrop, values_of
from mdn_viewer.session import RULES, VoteMap

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["MapLayers", "is_map"]

_KIND = "mdn_map"  # the key in a layer's metadata that says which of ours it is
_MAP_LOOKS = {"colormap": "inferno", "blending": "additive", "contrast_limits": (0, 1)}
_BACKDROP_LOOKS = {"colormap": "gray", "contrast_limits": (0, 2)}  # half as bright: votes stand out


class MapLayers:
    """The layers in which a viewer shows vote maps: one for every rule, over the image in gray.

    They are looked up each time they are written to. What happens to them does no harm: a deleted
    one comes back with the next vote, a copy stays what it was, and a widget that is closed and
    opened again finds them.

    napari's grid fills its cells from the bottom of the list. So that is where they stand, and the
    fields behind them; what is opened later comes on top and puts no cell out of step.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._wanted: dict[str, tuple[npt.NDArray[Any], dict[str, Any]]] = {}  # from the bottom up
        self._inputs: list[Image] = []  # behind them

    def lay_out(
        self,
        shape: tuple[int, ...],
        confidence: Image | None,
        offsets: Image | None,
        image: Image | None,
    ) -> None:
        """Make room for maps over an image, and show beside them what they are made of.

        Parameters
        ----------
        shape : (int, int)
            Size of the maps.
        confidence, offsets : layer
            What they are made of.
        image : layer, optional
            What they are shown over.
        """
        self._wanted.clear()
        gray = None if image is None else backdrop(values_of(image))
        for rule in RULES:
            if gray is not None:
                self._wanted[f"image ({rule})"] = gray, _BACKDROP_LOOKS
            self._wanted[rule] = np.zeros(shape, np.float32), _MAP_LOOKS
        self._restore()
        inputs = [layer for layer in (image, confidence, offsets) if layer is not None]
        if inputs != self._inputs:
            self._arrange(inputs)

    def show(self, maps: dict[str, VoteMap], *, same_scale: bool) -> None:
        """Write the maps into their layers in place, which is what keeps up with a slider.

        Parameters
        ----------
        maps : dict of VoteMap
            One for every rule.
        same_scale : bool
            Show the additive map from 0 to 1, as the noisy-or always is; else from 0 to its peak.
        """
        layers = self._layers()
        if [*map(layers.get, self._wanted)] != self._viewer.layers[: len(self._wanted)]:
            layers = self._restore()
        for rule, (values, _) in maps.items():
            _write(layers[rule], values)
        peak = maps["additive"].peak
        layers["additive"].contrast_limits = (0, 1 if same_scale or peak is None else peak.value)

    def settle(self) -> None:
        """Let all who look at the layers know of their new data, once it has come to rest."""
        for kind, layer in self._layers().items():
            if kind in RULES:
                layer.data = layer.data

    def _arrange(self, inputs: list[Image]) -> None:
        """Put the fields behind the maps, instead of those that were there."""
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        for layer in self._inputs:
            layer.visible = False
        for index, layer in enumerate(inputs, start=len(self._wanted)):
            self._move(layer, index)
            layer.visible = True
            layer.name_overlay.visible = layer in inputs[-2:]  # not the image
        self._inputs = inputs
        grid.stride = len(self._wanted) // len(RULES)
        grid.enabled = True
        self._viewer.reset_view(layers=layers[: len(self._wanted) + len(inputs)])

    def _layers(self) -> dict[str, Image]:
        """Find those that are there, in their order; of copies, the lowest."""
        found: dict[str, Image] = {}
        for layer in filter(is_map, self._viewer.layers):
            found.setdefault(layer.metadata[_KIND], layer)
        return found

    def _restore(self) -> dict[str, Image]:
        """Make the layers that are missing, remove what is not wanted, put all in their places."""
        present, layers = self._layers(), self._viewer.layers
        for kind in present.keys() - self._wanted.keys():
            layers.remove(present[kind])
        for index, (kind, (data, looks)) in enumerate(self._wanted.items()):
            if kind in present:
                present[kind].data = data
                self._move(present[kind], index)
            else:
                layers.insert(index, self._new(kind, data, looks))
        return self._layers()

    def _move(self, layer: Image, index: int) -> None:
        layers = self._viewer.layers
        if layers[index] is not layer:  # a move costs napari as much as a new layer
            layers.move(layers.index(layer), index)

    def _new(self, kind: str, data: npt.NDArray[Any], looks: dict[str, Any]) -> Image:
        layer = Image(data, name=kind, metadata={_KIND: kind}, **looks)
        if kind in RULES:
            layer.name_overlay.visible = layer.colorbar.visible = True
            layer.colorbar.size, layer.colorbar.font_size = (12, 100), 8
        return layer


def is_map(layer: Any) -> bool:
    """Whether a layer is one of those that `MapLayers` makes."""
    return _KIND in layer.metadata


def _write(layer: Image, values: npt.NDArray[Any]) -> None:
    data = layer.data
    if isinstance(data, np.ndarray) and data.shape == values.shape and data.dtype == values.dtype:
        data[...] = values
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    else:
        layer.data = values
