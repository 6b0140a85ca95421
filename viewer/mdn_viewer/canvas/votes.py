"""Votes drawn over the maps: where they come from, where they land, and what one of them adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mdn_viewer.canvas.colormaps import FOOTPRINT
from mdn_viewer.canvas.overlays import Arrows, Marks, Patch
from mdn_viewer.core.contrast import reach_of, upward
from mdn_viewer.core.provenance import Landing, Provenance
from mdn_viewer.core.second import second_title
from mdn_viewer.core.session import RULES

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import ComparisonCanvas

__all__ = ["MOST_ARROWS", "arrows_of", "colours", "marks_of", "show_votes"]

Array = npt.NDArray[Any]

MOST_ARROWS = 300
"""So many votes are drawn at most, the strongest: more would hide the map."""

_WEAK, _STRONG = np.array([0.15, 0.35, 1.0, 0.2]), np.array([0.55, 1.0, 0.9, 1.0])  # RGBA
_ASKED, _LANDS = np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([[1.0, 0.35, 1.0, 1.0]])
_BARE = frozenset(map(second_title, RULES))  # cells with other votes
_FEW = 30  # arrows hide nothing
_SOURCE, _CROSS, _X, _RIM = 4.5, 13.0, 9.0, 1.0  # screen pixels


def show_votes(canvas: ComparisonCanvas, asked: Provenance | None, landing: Landing | None) -> None:
    """Draw the voters of a pixel and the vote of a source; nothing for what is None."""
    footprint = None if landing is None else _footprint(landing)
    canvas.set_overlay("footprint", footprint, bare=_BARE)
    canvas.set_overlay("votes", None if asked is None else arrows_of(asked), bare=_BARE)
    canvas.set_overlay("voters", marks_of(asked, landing), bare=_BARE)


def arrows_of(asked: Provenance) -> Arrows:
    """Return the strongest votes as arrows from their sources to where they land."""
    way = asked.voters.offsets[:MOST_ARROWS, ::-1]
    return Arrows(asked.positions[:MOST_ARROWS], way, colours(asked))


def colours(asked: Provenance) -> Array:
    """Return a colour for each of the strongest votes, the brighter the more it adds: [n, 4]."""
    terms = np.abs(asked.voters.terms[:MOST_ARROWS, None])
    strongest = np.nanmax(terms, initial=0) or 1.0
    with np.errstate(invalid="ignore"):  # a NaN spoils the whole pixel, and so does ∞
        part = np.nan_to_num(np.sqrt(terms / strongest), nan=1.0)
    # Arrows of many equally strong votes are fainter, so that the map stays visible.
    many = terms.sum() ** 2 / (terms**2).sum() if np.isfinite(terms).all() and terms.any() else 1
    clear = np.array([1, 1, 1, min(1, (_FEW / many) ** 0.5)])
    return np.asarray((_WEAK + part * (_STRONG - _WEAK)) * clear)


def marks_of(asked: Provenance | None, landing: Landing | None = None) -> Marks | None:
    """Return the voters, a cross on the asked pixel, and an x where the asked source lands."""
    found: list[tuple[Array, Array, str, float, float]] = []
    if asked is not None:
        found.append((asked.positions[:MOST_ARROWS], colours(asked), "disc", _SOURCE, 0.0))
        found.append((np.array([asked.pixel], float), _ASKED, "cross", _CROSS, _RIM))
    if landing is not None and landing.lands:
        found.append((np.array([landing.footprint.landing[::-1]]), _LANDS, "x", _X, _RIM))
        found.append((landing.position[None], _LANDS, "disc", _SOURCE, 0.0))
    if not found:
        return None
    counts = [len(at) for at, *_ in found]
    return Marks(
        np.concatenate([at for at, *_ in found]),
        np.concatenate([colour for _, colour, *_ in found]),
        np.repeat([symbol for *_, symbol, _, _ in found], counts),
        np.repeat([size for *_, size, _ in found], counts),
        np.repeat([rim for *_, rim in found], counts),
    )


def _footprint(landing: Landing) -> Patch | None:
    if not landing.lands:
        return None
    vote = landing.footprint
    top, left = (float(window.start) for window in vote.window[-2:])
    return Patch(
        (vote.weight * vote.confidence).astype(np.float32),
        (top, left),
        limits=upward(reach_of(np.asarray(vote.confidence))),
        colormap=FOOTPRINT,
    )
