"""Colormaps for the canvas and for its colour bars."""

from __future__ import annotations

from functools import cache
from typing import Any

from napari.utils.colormaps import Colormap, ensure_colormap
from qtpy.QtGui import QColor, QLinearGradient
from vispy.color import Colormap as VispyColormap

__all__ = ["DIVERGING", "FOOTPRINT", "as_gradient", "as_vispy"]

DIVERGING = Colormap([(0.25, 0.6, 1.0), (0, 0, 0), (1.0, 0.55, 0.1)], name="blue-black-orange")
"""For maps with two signs: black at 0, so that with additive blending the image shows through."""

FOOTPRINT = Colormap([[0.1, 1.0, 0.1, 0.0], [0.1, 1.0, 0.1, 0.8]], name="footprint")
"""Transparent to green: what one vote adds, over a map."""

_STOPS = 17


def as_vispy(colormap: str | Colormap) -> VispyColormap:
    """Return a napari colormap, or one of its names, as vispy's."""
    return _as_vispy(colormap) if isinstance(colormap, str) else _converted(colormap)


def as_gradient(colormap: str | Colormap) -> QLinearGradient:
    """Return a horizontal Qt gradient of unit length with the colours of a colormap."""
    gradient = QLinearGradient(0, 0, 1, 0)
    gradient.setCoordinateMode(QLinearGradient.CoordinateMode.ObjectMode)
    places = [n / (_STOPS - 1) for n in range(_STOPS)]
    for place, colour in zip(places, ensure_colormap(colormap).map(places), strict=True):
        gradient.setColorAt(place, QColor.fromRgbF(*map(float, colour)))
    return gradient


@cache  # vispy compiles a shader for each colormap object
def _as_vispy(name: str) -> VispyColormap:
    return _converted(ensure_colormap(name))


def _converted(colormap: Any) -> VispyColormap:
    return VispyColormap(colormap.colors, controls=colormap.controls)
