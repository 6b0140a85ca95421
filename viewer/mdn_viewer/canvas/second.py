"""A second field set on the canvas: its map, the difference, and its voters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mdn_viewer.canvas.cell import Picture
from mdn_viewer.canvas.colormaps import DIVERGING
from mdn_viewer.canvas.maps import CONFIDENCE
from mdn_viewer.canvas.votes import arrows_of, marks_of
from mdn_viewer.core.contrast import reach_of, symmetric, upward
from mdn_viewer.core.second import DIFFERENCE, Comparison, second_title
from mdn_viewer.core.session import KINDS, RULES, title

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.canvas.maps import MapView
    from mdn_viewer.core.provenance import Provenance

__all__ = ["show_second", "show_second_votes"]

_BARE = frozenset({*map(title, KINDS), CONFIDENCE, DIFFERENCE})  # cells with other votes


def show_second(maps: MapView, comparison: Comparison | None) -> None:
    """Show the second map and the difference in cells of their own; None removes them."""
    pictures: dict[str, Picture] = {}
    if comparison is not None:
        rule, difference = comparison.search.rule, comparison.difference
        values = [vote_map.values for vote_map in comparison.maps]
        # One scale for both maps' peaks: else a map half as high looks the same.
        reach = max(reach_of(np.maximum(v, 0)) for v in values)
        limits = (0.0, 1.0) if rule == "noisy_or" else upward(reach)
        title = f"{comparison.second.title(rule)} (B)"
        pictures[second_title(rule)] = Picture(values[1], limits, maps.colormap, title=title)
        pictures[DIFFERENCE] = Picture(difference, symmetric(reach_of(difference)), DIVERGING)
    for name in (*map(second_title, RULES), DIFFERENCE):
        maps.show_extra(name, pictures.get(name))


def show_second_votes(canvas: ComparisonCanvas, asked: Provenance | None) -> None:
    """Draw the second voters of a pixel over the second map; None removes them."""
    arrows = None if asked is None else arrows_of(asked)
    canvas.set_overlay("votes:second", arrows, bare=_BARE)
    canvas.set_overlay("voters:second", marks_of(asked), bare=_BARE)
