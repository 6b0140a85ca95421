"""A gradient on the canvas: ∂loss/∂c in a cell of its own, arrows on every map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mdn_viewer.canvas.cell import Picture
from mdn_viewer.canvas.colormaps import DIVERGING
from mdn_viewer.canvas.maps import CONFIDENCE
from mdn_viewer.canvas.overlays import Arrows
from mdn_viewer.core.contrast import symmetric
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.optimizer import Descent

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.canvas.maps import MapView

__all__ = ["show_gradient"]

FloatArray = npt.NDArray[np.floating]

_CELL = "∂loss/∂c"
_BARE = frozenset({CONFIDENCE})  # no vote lands there
_GREEN, _FAINT = np.array([0.36, 1.0, 0.56]), 0.12  # RGB; alpha of the shortest arrow
_USUAL = 90  # percentile of what is seen in full; the few steepest would dwarf all else


def show_gradient(
    canvas: ComparisonCanvas,
    maps: MapView,
    descent: Descent | None,
    arrows: npt.NDArray[np.float32] | None,
) -> None:
    """Show a gradient beside the maps, and where it moves votes; None for either removes it."""
    maps.show_extra(_CELL, None if descent is None else _picture(descent))
    drawn = None
    if arrows is not None:
        drawn = Arrows(arrows[:, 0], arrows[:, 1], _colours(arrows[:, 1]))
    canvas.set_overlay("gradient", drawn, bare=_BARE)


def _picture(descent: Descent) -> Picture:
    votes, values = descent.session.votes, descent.pull.confidence
    if values.ndim > 2:  # several parts vote: the steepest of them is shown
        steepest = np.nanargmax(np.abs(np.nan_to_num(values)), axis=0)
        values = np.take_along_axis(values, steepest[None], axis=0)[0]
    return Picture(values, _limits(values), DIVERGING, *Grid.of(votes), covers=True)


def _colours(vectors: npt.NDArray[np.float32]) -> FloatArray:
    """Return a colour for each arrow: short ones are faint, or their heads would hide the map."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = length / length.max(initial=np.finfo(np.float32).tiny)
    return np.hstack([np.tile(_GREEN, (len(length), 1)), _FAINT + (1 - _FAINT) * strength])


def _limits(values: FloatArray) -> tuple[float, float]:
    """Symmetric, and such that a few steep sources do not leave the others in the dark."""
    slope = np.abs(values[np.isfinite(values) & (values != 0)])
    return symmetric(float(np.percentile(slope, _USUAL)) if slope.size else 0.0)
