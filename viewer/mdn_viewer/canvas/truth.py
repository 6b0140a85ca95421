"""Annotations on the canvas, and the sources that pull a peak away from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mdn_viewer.canvas.overlays import Arrows, Marks, Outlines
from mdn_viewer.core.annotations import Errors, Influence
from mdn_viewer.core.grid import Grid

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas

__all__ = ["show_influence", "show_truth"]

_GREEN, _RED, _GRAY = np.array([[0.3, 1.0, 0.4], [1.0, 0.25, 0.2], [0.7, 0.7, 0.7]])
_SIZE, _RIM = 11.0, 1.0  # screen pixels
_NOTHING = 0.05  # pixels of error: less is drawn gray


def show_truth(canvas: ComparisonCanvas, errors: Errors | None) -> None:
    """Draw where parts truly are, each with a line to its peak; None removes them."""
    if errors is None or not errors.names:
        canvas.set_overlay("points:truth", None)
        canvas.set_overlay("shapes:truth", None)
        return
    colour = np.tile([*_GREEN, 1.0], (len(errors.names), 1))
    canvas.set_overlay("points:truth", Marks(errors.truth, colour, "cross", _SIZE, _RIM))
    pairs = np.stack([errors.truth, errors.found], axis=1)
    lines = [pair for pair in pairs if np.isfinite(pair).all()]
    canvas.set_overlay("shapes:truth", Outlines(lines, (*_GREEN.tolist(), 0.9)))


def show_influence(canvas: ComparisonCanvas, influence: Influence | None) -> None:
    """Draw votes red that pull the peak away, green that hold it; None removes them."""
    if influence is None:
        canvas.set_overlay("votes:influence", None)
        return
    change = influence.change
    start = Grid.of(influence.session.fields).places(influence.sources[:, 1:])
    way = influence.voters.offsets[influence.order][:, ::-1]
    worst = max(np.abs(change).max(initial=0), _NOTHING)
    colour = np.where(
        change[:, None] > _NOTHING, _RED, np.where(change[:, None] < -_NOTHING, _GREEN, _GRAY)
    )
    alpha = 0.15 + 0.85 * np.abs(change[:, None]) / worst
    canvas.set_overlay("votes:influence", Arrows(start, way, np.hstack([colour, alpha])))
