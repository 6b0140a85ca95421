"""The vote maps of a model on the canvas: one cell for every kind, and one for the confidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mdn_viewer.canvas.cell import Picture
from mdn_viewer.canvas.colormaps import DIVERGING
from mdn_viewer.core.contrast import backdrop, reach_of, symmetric, upward
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.session import ALL, VoteMap, VotingSession, title
from mdn_viewer.core.window import Window

if TYPE_CHECKING:
    import mdn_cupy as mdn
    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["CONFIDENCE", "MapView", "confidence_of"]

CONFIDENCE = "confidence"
"""The name of the confidence's cell."""

_NOTHING = "No map is to be shown; choose some in Compare."
_SEQUENTIAL, _OF_CONFIDENCE = "inferno", "magma"
_SLACK = 0.7  # how far below its colormap's end a peak may move while the slider does
_ROOM = 1.15  # how far above the peak its end is then put, for the peak to rise into
_MARGIN = 0.1  # of what is seen, on every side: a small pan needs no other votes
_WORTH = 0.5  # of all pixels: if more are seen, all are computed


class MapView:
    """Show a model's maps on a canvas, and tell the model which pixels are seen.

    Parameters
    ----------
    model : VotingModel
        The model.
    canvas : ComparisonCanvas
        The canvas.
    """

    def __init__(self, model: VotingModel, canvas: ComparisonCanvas) -> None:
        self._model, self._canvas = model, canvas
        self._extra: dict[str, Picture] = {}
        self._limits: dict[str, tuple[float, float]] = {}
        self._image: npt.NDArray[Any] | None = None
        self._fields: mdn.Fields | None = None
        self._confidence: tuple[mdn.Fields, int | str, Picture] | None = None
        self._same_scale = False
        self._confidence_shown = True
        self.colormap = _SEQUENTIAL
        model.session_changed.connect(self._on_session)
        model.maps_changed.connect(self._on_maps)
        model.settled.connect(self._on_settled)
        model.said.connect(canvas.say)
        model.refused.connect(canvas.say)
        model.refused.connect(self._on_refused)
        canvas.view_changed.connect(self._on_view)

    def set_colormap(self, name: str) -> None:
        """Choose the colormap of all maps but the difference."""
        self.colormap = name
        self._show()

    def set_same_scale(self, same: bool) -> None:
        """Show the sum from 0 to 1 as the noisy-or, or from 0 to its own peak."""
        self._same_scale = same
        self._set_limits(exactly=True)
        self._show()

    def show_confidence(self, shown: bool) -> None:
        """Show the confidence in a cell of its own, or not."""
        self._confidence_shown = shown
        self._show()

    def show_extra(self, name: str, picture: Picture | None) -> None:
        """Show another picture in a cell behind the others; None removes it."""
        if picture is not None:
            self._extra[name] = picture
        elif self._extra.pop(name, None) is None:
            return
        if self._model.voted is not None:  # else what is seen stays until there are other maps
            self._show()

    def picture(self, kind: str) -> Picture:
        """Return how the map of a kind is shown."""
        vote_map = self._model.maps[kind]
        colormap = DIVERGING if kind == "difference" else self.colormap
        window = vote_map.window or Window(0, 0, 0, 0)
        step = float(window.step)
        return Picture(
            vote_map.values,
            self._limits[kind],
            colormap,
            (step, step),
            (float(window.top), float(window.left)),
            title=self._model.titles[kind],
        )

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None and not self._model.maps:
            self._show()

    def _on_refused(self, _: str) -> None:
        """Show no maps of other fields than those that cannot be voted with."""
        if self._model.voted is None:
            self._show()

    def _on_maps(self, maps: dict[str, VoteMap]) -> None:
        voted = self._model.voted
        if voted is None:
            if self._model.session is None:
                self._show()
            return  # others come, and what is seen stays until then
        other = voted.fields is not self._fields
        self._fields = voted.fields
        self._canvas.set_extent(voted.votes.shape)
        self._set_limits(exactly=other or {*maps} != {*self._limits})
        self._show()

    def _on_settled(self) -> None:
        self._set_limits(exactly=True)
        self._show()

    def _show(self) -> None:
        voted = self._model.voted
        if voted is None:
            self._canvas.set_backdrop(None)
            self._canvas.show_pictures({})
            return
        self._canvas.set_backdrop(self._gray(voted.fields.image))
        pictures = {title(kind): self.picture(kind) for kind in self._model.maps}
        if self._confidence_shown:
            pictures[CONFIDENCE] = self._confidence_picture(voted)
        if not pictures:
            self._canvas.say(_NOTHING)
        self._canvas.show_pictures(pictures | self._extra)

    def _on_view(self) -> None:
        """Tell the model which pixels are seen, and have more of them voted for if need be."""
        model, voted = self._model, self._model.voted
        if voted is None:
            model.window = None
            return
        model.window = self._window(voted.votes.shape)
        shown = next(iter(model.maps.values()), None)
        if (
            shown is not None
            and shown.window is not None
            and not _covers(shown.window, model.window)
        ):
            model.refresh()

    def _window(self, shape: tuple[int, ...]) -> Window | None:
        """Return the pixels that are seen, at the screen's resolution; None where that is all."""
        seen, zoom = self._canvas.seen, self._canvas.camera.zoom
        step = max(1, math.floor(1 / zoom))
        spare_rows = _MARGIN * (seen.bottom - seen.top)
        spare_columns = _MARGIN * (seen.right - seen.left)
        top, left = (
            max(0, math.floor(x)) // step * step
            for x in (seen.top - spare_rows, seen.left - spare_columns)
        )
        bottom = min(shape[0], math.ceil(seen.bottom + spare_rows) + 1)
        right = min(shape[1], math.ceil(seen.right + spare_columns) + 1)
        if bottom <= top or right <= left:
            return None
        window = Window(top, left, bottom, right, step)
        return window if math.prod(window.shape) < _WORTH * math.prod(shape) else None

    def _confidence_picture(self, session: VotingSession) -> Picture:
        """Return how the confidence is shown: the same array as long as it is the same part's."""
        of = self._confidence
        if of is None or of[0] is not session.fields or of[1] != session.part:
            of = self._confidence = session.fields, session.part, _confidence_picture(session)
        return of[2]

    def _gray(self, image: npt.NDArray[Any] | None) -> npt.NDArray[np.float32] | None:
        """Return the image in gray: the same array as long as it is the same image."""
        if image is not self._image:
            self._image, self._backdrop = image, None if image is None else backdrop(image)
        return None if image is None else self._backdrop

    def _set_limits(self, *, exactly: bool) -> None:
        """Show every map up to its peak; while it moves, about so."""
        maps, before = self._model.maps, self._limits
        self._limits = {}
        for kind, vote_map in maps.items():
            low, high = _limits(kind, vote_map, same_scale=self._same_scale)
            lowest, highest = before.get(kind, (0.0, 0.0))
            if exactly or kind not in before:
                self._limits[kind] = low, high
            elif _SLACK * highest <= high <= highest and bool(low) == bool(lowest):
                self._limits[kind] = lowest, highest
            else:
                self._limits[kind] = low * _ROOM, high * _ROOM


def confidence_of(session: VotingSession) -> npt.NDArray[np.floating]:
    """Return the confidence [H, W] that is shown for a session.

    It is the part's own; where all parts vote, the highest of all parts.
    """
    confidence = session.fields.confidence
    if session.part == ALL:
        highest: npt.NDArray[np.floating] = np.max(confidence, axis=0)
        return highest
    own: npt.NDArray[np.floating] = confidence[int(session.part)]
    return own


def _confidence_picture(session: VotingSession) -> Picture:
    grid = Grid.of(session.fields)
    return Picture(confidence_of(session), (0.0, 1.0), _OF_CONFIDENCE, *grid, covers=True)


def _covers(shown: Window, wanted: Window | None) -> bool:
    """Whether a window holds another at its resolution, but for a margin."""
    if wanted is None or wanted.step < shown.step:
        return False
    rows = _MARGIN * (wanted.bottom - wanted.top)
    columns = _MARGIN * (wanted.right - wanted.left)
    return (
        shown.top <= wanted.top + rows
        and shown.left <= wanted.left + columns
        and shown.bottom >= wanted.bottom - rows
        and shown.right >= wanted.right - columns
    )


def _limits(kind: str, vote_map: VoteMap, *, same_scale: bool) -> tuple[float, float]:
    if kind == "noisy_or" or (kind == "additive" and same_scale):
        return 0.0, 1.0
    peak = 0.0 if vote_map.peak is None else vote_map.peak.value
    if not np.isfinite(peak):  # neither are those of other pixels that no color stands for
        values = vote_map.values
        peak = reach_of(values if kind == "difference" else np.maximum(values, 0))
    return symmetric(abs(peak)) if kind == "difference" else upward(peak)
