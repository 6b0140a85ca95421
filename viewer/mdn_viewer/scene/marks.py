"""Marks over the maps, which take no room: a world has the extent of its pictures.

napari slices every layer anew when the world's extent changes, as it would with each arrow that
points beyond an image, and fits the view to it. The classes have napari's names, by which it knows
what a layer is when it saves it.
"""

from __future__ import annotations

import napari.layers
import numpy as np
import numpy.typing as npt

__all__ = ["Points", "Vectors"]


class Vectors(napari.layers.Vectors):  # type: ignore[misc]
    """Arrows, over a picture."""

    @property
    def _extent_data(self) -> npt.NDArray[np.floating]:
        return _nowhere(self)

    def _update_thumbnail(self) -> None:
        """Leave it black: it shows arrows within their extent."""


class Points(napari.layers.Points):  # type: ignore[misc]
    """Points, over a picture."""

    _highlighted = False

    @property
    def _extent_data(self) -> npt.NDArray[np.floating]:
        return _nowhere(self)

    @property
    def _extent_data_augmented(self) -> npt.NDArray[np.floating]:
        return _nowhere(self)

    def _update_thumbnail(self) -> None:
        """Leave it black: it shows points within their extent."""

    def _set_highlight(self, force: bool = False) -> None:
        """Tell nobody that no point is highlighted, as napari does at every change of layers."""
        highlighted = bool(self.selected_data) or self.mode != "pan_zoom"
        if highlighted or self._highlighted:
            super()._set_highlight(force)
        self._highlighted = highlighted


def _nowhere(layer: napari.layers.Layer) -> npt.NDArray[np.floating]:
    """Return the extent of a layer without data."""
    return np.full((2, layer.ndim), np.nan)
