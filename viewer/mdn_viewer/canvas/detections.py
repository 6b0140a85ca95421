"""Detections on the canvas: peaks with their spread, and the sources of each in a colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import label_colormap

from mdn_viewer.canvas.overlays import Marks, Outlines, Patch
from mdn_viewer.core.detections import Detections
from mdn_viewer.core.grid import Grid

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas

__all__ = ["MOST_ELLIPSES", "instance_colours", "show_detections"]

_YELLOW, _CLEAR = np.array([1.0, 0.9, 0.2, 1.0]), np.array([0.0, 0.0, 0.0, 0.0])
_SIZE, _RIM = 9.0, 1.5  # screen pixels
_SEEN = 0.6  # opacity of the sources' colours
MOST_ELLIPSES = 1000  # of 15,000 the lines took seconds to draw, and none could be told apart


def show_detections(
    canvas: ComparisonCanvas, found: Detections | None, labels: npt.NDArray[Any] | None
) -> None:
    """Draw peaks with their ellipses, and labels of sources; None removes either."""
    marks = outlines = patch = None
    if found is not None and len(found):
        marks = Marks(
            found.places, np.tile(_CLEAR, (len(found), 1)), "disc", _SIZE, _RIM, tuple(_YELLOW)
        )
        outlines = Outlines([*found.ellipses(MOST_ELLIPSES)], tuple(_YELLOW.tolist()))
    if found is not None and labels is not None:
        grid = Grid.of(found.session.fields)
        patch = Patch(instance_colours(labels), grid.origin, grid.stride)
    canvas.set_overlay("labels:instances", patch)
    canvas.set_overlay("shapes:spread", outlines)
    canvas.set_overlay("points:peaks", marks)


def instance_colours(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a colour for every label, [H, W, 4]; none for 0."""
    colours = np.asarray(label_colormap(seed=0.5).map(labels), np.float32)
    colours[..., 3] = np.where(labels > 0, _SEEN, 0)
    return colours
