"""Votes drawn over the maps: where they come from, where they land, and what one of them adds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer
from napari.utils.colormaps import Colormap

from mdn_viewer.logic.provenance import Landing, Provenance
from mdn_viewer.scene.contrast import reach_of, upward
from mdn_viewer.scene.marks import Points, Vectors

if TYPE_CHECKING:
    from mdn_viewer.scene.stage import Stage

__all__ = ["MOST_ARROWS", "VoteOverlays", "arrows", "colours"]

Array = npt.NDArray[Any]

MOST_ARROWS = 300
"""So many votes are drawn at most, the strongest: more would hide the map."""

_WEAK, _STRONG = np.array([0.15, 0.35, 1.0, 0.2]), np.array([0.55, 1.0, 0.9, 1.0])  # RGBA
_ASKED, _LANDS = np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([[1.0, 0.35, 1.0, 1.0]])
_RIM = {"disc": 0.0, "cross": 0.1, "x": 0.1}  # black, so that marks stand out; of their size
_FEW = 30  # arrows hide nothing
_SCREEN = 400  # pixels of the screen that a map has, about
_ARROW, _SOURCE, _MARK = 1.2, 4.5, 13.0  # of them, thick or wide


class VoteOverlays:
    """Arrows, points and a footprint in every cell of a stage.

    Each kind comes when it is first asked for, since napari takes long for a layer, and stays for
    the same reason, empty or not.

    Parameters
    ----------
    stage : Stage
        Where to draw.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._asked: Provenance | None = None
        self._landing: Landing | None = None
        self._kinds: dict[str, tuple[Callable[[], Layer], Callable[[Any], None]]] = {
            "footprint": (_empty_footprint, self._draw_footprint),
            "votes": (_empty_arrows, self._draw_arrows),
            "voters": (_empty_points, self._draw_points),
        }
        for name, (new, draw) in self._kinds.items():  # from the bottom up
            stage.overlay(name, partial(_made, new, draw))

    def show(self, asked: Provenance | None, landing: Landing | None) -> None:
        """Draw the voters of a pixel and the vote of a source; nothing for what is None."""
        other_asked, other_landing = asked is not self._asked, landing is not self._landing
        self._asked, self._landing = asked, landing
        self._stage.lay_over(  # and what has been deleted comes back
            *(() if landing is None else ("footprint", "voters")),
            *(() if asked is None else ("votes", "voters")),
        )
        for name, other in (
            ("footprint", other_landing),
            ("votes", other_asked),
            ("voters", other_asked or other_landing),
        ):
            for layer in self._stage.overlays(name) if other else ():
                self._kinds[name][1](layer)

    def wait(self) -> None:
        """Wait until everything is drawn."""
        self._stage.wait()

    def _draw_arrows(self, layer: Any) -> None:
        asked = self._asked
        self._stage.draw(layer, np.zeros((0, 2, 2)) if asked is None else arrows(asked))
        if asked is not None and len(asked.voters):
            layer.edge_color = colours(asked)
            layer.edge_width = _ARROW * _pixel(asked)

    def _draw_points(self, layer: Any) -> None:
        """Draw the voters, a cross on the asked pixel, and an x where the asked source lands."""
        marks: list[_Marks] = []
        if self._asked is not None:
            asked, pixel = self._asked, _pixel(self._asked)
            voters = asked.positions[:MOST_ARROWS]
            marks.append(_Marks(voters, colours(asked), "disc", _SOURCE * pixel))
            marks.append(_Marks(np.array([asked.pixel]), _ASKED, "cross", _MARK * pixel))
        if self._landing is not None and self._landing.lands:
            landing, pixel = self._landing, _pixel(self._landing)
            lands = np.array([landing.footprint.landing[::-1]])
            marks.append(_Marks(lands, _LANDS, "x", _MARK * pixel))
            marks.append(_Marks(landing.position[None], _LANDS, "disc", _SOURCE * pixel))
        layer.selected_data = set()  # other points, of which some may be fewer
        self._stage.draw(layer, np.concatenate([np.zeros((0, 2)), *(mark.at for mark in marks)]))
        if marks:
            layer.face_color = np.concatenate([mark.colour for mark in marks])
            layer.symbol = [mark.symbol for mark in marks for _ in mark.at]
            layer.size = [mark.size for mark in marks for _ in mark.at]
            layer.border_width = [_RIM[mark.symbol] for mark in marks for _ in mark.at]

    def _draw_footprint(self, layer: Any) -> None:
        landing = self._landing
        if landing is None or not landing.lands:
            self._stage.draw(layer, np.zeros((1, 1), np.float32))
            return
        vote = landing.footprint
        self._stage.draw(layer, (vote.weight * vote.confidence).astype(np.float32))
        layer.translate = [window.start for window in vote.window[-2:]]
        layer.contrast_limits = upward(reach_of(np.asarray(vote.confidence)))


class _Marks(NamedTuple):
    """Points that look alike but for their colours."""

    at: Array  # [n, 2]: row and column
    colour: Array  # [n, 4]
    symbol: str
    size: float  # in pixels of the output


def _made(new: Callable[[], Layer], draw: Callable[[Any], None], cell: str) -> Layer:
    layer = new()
    draw(layer)
    return layer


def arrows(asked: Provenance) -> Array:
    """Return the strongest votes as napari's vectors: (row, column) and the way, [n, 2, 2]."""
    way = asked.voters.offsets[:MOST_ARROWS, ::-1]
    return np.stack([asked.positions[:MOST_ARROWS], way], axis=1)


def colours(asked: Provenance) -> Array:
    """Return a colour for each of the strongest votes, the brighter the more it adds: [n, 4]."""
    terms = np.abs(asked.voters.terms[:MOST_ARROWS, None])
    strongest = np.nanmax(terms, initial=0) or 1.0
    with np.errstate(invalid="ignore"):  # a NaN spoils the whole pixel, and so does ∞
        part = np.nan_to_num(np.sqrt(terms / strongest), nan=1.0)
    # Where many add as much as each other, the map is to be seen between them.
    many = terms.sum() ** 2 / (terms**2).sum() if np.isfinite(terms).all() and terms.any() else 1
    clear = np.array([1, 1, 1, min(1, (_FEW / many) ** 0.5)])
    return np.asarray((_WEAK + part * (_STRONG - _WEAK)) * clear)


def _pixel(shown: Provenance | Landing) -> float:
    """About how many pixels of the output a pixel of the screen is wide."""
    return max(shown.session.votes.shape) / _SCREEN


def _empty_arrows() -> Layer:
    return Vectors(np.zeros((0, 2, 2)), ndim=2, vector_style="arrow", opacity=1)


def _empty_points() -> Layer:
    return Points(np.zeros((0, 2)), ndim=2, border_color="black")


def _empty_footprint() -> Layer:
    green = Colormap([[0.1, 1.0, 0.1, 0.0], [0.1, 1.0, 0.1, 0.8]], name="footprint")
    empty = np.zeros((1, 1), np.float32)
    return Image(empty, colormap=green, blending="translucent", contrast_limits=(0, 1))
