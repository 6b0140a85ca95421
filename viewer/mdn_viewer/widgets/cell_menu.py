"""The menu of a cell: its map as a layer of napari's, detached again, or saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Points, Vectors
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QMenu

from mdn_viewer.canvas.colormaps import DIVERGING
from mdn_viewer.canvas.overlays import Arrows
from mdn_viewer.core.session import KINDS, title
from mdn_viewer.layers.linked import LinkedLayers, write_image
from mdn_viewer.widgets.shortcuts import keys_of

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.canvas.maps import MapView
    from mdn_viewer.core.model import VotingModel

__all__ = ["ResultLayers"]

_PEAKS, _VOTES, _GRADIENT = "peaks", "votes", "gradient"
_KINDS = {title(kind): kind for kind in KINDS}


class ResultLayers:
    """Add what the canvas shows to napari's layers, and keep it up to date there.

    Parameters
    ----------
    model, maps, canvas
        What is shown.
    links : LinkedLayers
        Where it is added.
    """

    def __init__(
        self, model: VotingModel, maps: MapView, canvas: ComparisonCanvas, links: LinkedLayers
    ) -> None:
        self._model, self._maps, self._canvas, self._links = model, maps, canvas, links
        model.maps_changed.connect(self._on_maps)
        model.settled.connect(links.update)
        canvas.menu_requested.connect(self._on_menu)

    @property
    def offers(self) -> dict[str, tuple[str, Callable[[], None]]]:
        """What can be added now, by the names of the layers: what it is, and what adds it."""
        offers: dict[str, tuple[str, Callable[[], None]]] = {
            title(kind): (f"the {shown} map", partial(self.add_map, kind))
            for kind, shown in self._model.titles.items()
        }
        if self._model.maps:
            offers[_PEAKS] = "the peaks", self.add_peaks
        for overlay in (_VOTES, _GRADIENT):
            drawn = self._canvas.overlay(overlay)
            if drawn is not None and drawn.amount:
                offers[overlay] = f"the arrows of the {overlay}", partial(self.add_arrows, overlay)
        return offers

    def detach_all(self) -> None:
        """Leave all layers that were added as they are from now on."""
        self._links.detach_all()

    def add_map(self, kind: str) -> None:
        """Add the map of a kind as an image layer."""
        picture = self._maps.picture(kind)
        shown = picture.title
        layer = Image(
            np.array(self._model.maps[kind].values),
            name=shown,
            colormap=DIVERGING if kind == "difference" else picture.colormap,
            contrast_limits=picture.limits,
            blending="additive",
        )

        def write(layer: Any) -> None:
            nonlocal shown
            if kind in self._model.maps and self._model.exact:
                picture = self._maps.picture(kind)
                write_image(layer, picture.values, picture.limits)
                if picture.title != shown:
                    layer.name = layer.name.replace(shown, picture.title)
                    shown = picture.title

        self._links.add(title(kind), layer, write)

    def add_peaks(self) -> None:
        """Add the highest pixel of every map as points, with its values as features."""
        places, features = self._peaks()
        layer = Points(
            places,
            features=features,
            name=_PEAKS,
            ndim=2,
            face_color="#00000000",
            border_color="white",
        )

        def write(layer: Any) -> None:
            layer.data, layer.features = self._peaks()

        self._links.add(_PEAKS, layer, write)

    def add_arrows(self, overlay: str = _VOTES) -> None:
        """Add the arrows of the votes, or of the gradient, as vectors."""
        layer = Vectors(_vectors(self._canvas.overlay(overlay)), name=overlay, vector_style="arrow")

        def write(layer: Any) -> None:
            layer.data = _vectors(self._canvas.overlay(overlay))

        self._links.add(overlay, layer, write)

    def menu(self, cell: str) -> QMenu:
        """Return the menu of a cell."""
        menu = QMenu(self._canvas)
        for name, (what, add) in self.offers.items():
            if name in _KINDS and name != cell:
                continue
            if name in self._links:
                menu.addAction(f"Detach {what}", partial(self._links.detach, name))
            else:
                menu.addAction(f"Add {what} as a layer", add)
        menu.addSeparator()
        keys = ", ".join(key.toString() for key in keys_of("show_everything"))
        menu.addAction(f"Show everything\t{keys}", self._canvas.reset_view)
        return menu

    def _on_menu(self, cell: str, at: QPoint) -> None:
        menu = self.menu(cell)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(at)

    def _on_maps(self, maps: Any) -> None:
        for kind in maps:
            self._links.update(title(kind))

    def _peaks(self) -> tuple[Any, dict[str, Any]]:
        found = {k: m.peak for k, m in self._model.maps.items() if m.peak is not None}
        places = [(peak.row, peak.column) for peak in found.values()]
        names = [self._model.titles[kind] for kind in found]
        features = {"map": names, "value": [peak.value for peak in found.values()]}
        return np.array(places, float).reshape(-1, 2), features


def _vectors(overlay: Any) -> Any:
    if not isinstance(overlay, Arrows):
        return np.zeros((0, 2, 2))
    return np.stack([overlay.start, overlay.vector], axis=1)
