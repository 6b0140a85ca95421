"""Clicks on the maps: who voted for this pixel, and where does this source's vote land?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mdn_viewer.canvas.maps import CONFIDENCE
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.second import second_title
from mdn_viewer.core.session import ALL, KINDS, RULES, VotingSession, title

if TYPE_CHECKING:
    from mdn_viewer.canvas.comparison import Click, ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["Questions"]

_SECOND = {second_title(rule): rule for rule in RULES}
_KINDS = {title(kind): kind for kind in KINDS} | _SECOND
_RULE = {"noisy_or": "noisy_or", "evidence": "noisy_or", "additive": "additive"}
_SNAP = 5.0  # screen pixels around a click in which the highest pixel is meant


class Questions:
    """Tell a model which pixel, or with Shift on the confidence which source, is clicked on.

    A click means the highest pixel within five screen pixels; with Alt, the very pixel.

    Parameters
    ----------
    model : VotingModel
        The model.
    canvas : ComparisonCanvas
        The canvas.
    """

    def __init__(self, model: VotingModel, canvas: ComparisonCanvas) -> None:
        self._model, self._canvas = model, canvas
        canvas.clicked.connect(self._on_click)

    def ask_at(self, position: tuple[float, float] | None, cell: str = "") -> None:
        """Ask who voted for the pixel at (row, column), with fractions."""
        if position is not None:
            self._model.ask_pixel((round(position[0]), round(position[1])), self._rule(cell))

    def _on_click(self, click: Click) -> None:
        session = self._model.session
        if session is None:
            return
        if "Shift" in click.keys and click.cell == CONFIDENCE:
            self._model.ask_source(_source_at(click.row, click.column, session))
        elif not click.keys:
            self.ask_at(self._snapped(click), click.cell)
        elif click.keys == {"Alt"}:
            self.ask_at((click.row, click.column), click.cell)

    def _rule(self, cell: str) -> str | None:
        return _RULE.get(_KINDS.get(cell, ""))

    def _snapped(self, click: Click) -> tuple[float, float]:
        """Return the highest pixel near a click; the nearest of several."""
        position = click.row, click.column
        reach, shown = int(_SNAP / click.pixel), self._map_of(click.cell)
        if shown is None or not reach:
            return position
        values = np.abs(shown)
        row, column = (round(x) for x in position)
        top, left = max(0, row - reach), max(0, column - reach)
        near = values[top : row + reach + 1, left : column + reach + 1]
        if not near.size or not np.nanmax(near, initial=0) > 0:
            return position
        rows, columns = np.nonzero(near == np.nanmax(near))
        first = np.argmin((rows + top - click.row) ** 2 + (columns + left - click.column) ** 2)
        return float(rows[first] + top), float(columns[first] + left)

    def _map_of(self, cell: str) -> Any:
        """Return all pixels of the map that a click on a cell is about, or None."""
        if cell in _SECOND:
            picture = self._canvas.cells[cell].picture
            return None if picture is None else picture.values
        vote_map = self._model.maps.get(_KINDS.get(cell, "noisy_or"))
        return None if vote_map is None or vote_map.window is not None else vote_map.values


def _source_at(row: float, column: float, session: VotingSession) -> tuple[int, int, int]:
    """Return the source (part, row, column) seen at a place; of all parts, the surest there."""
    fields = session.fields
    i, j = (round(x) for x in Grid.of(fields).sources((row, column)).tolist())
    part = session.part
    _, rows, columns = fields.confidence.shape
    if part == ALL:
        inside = 0 <= i < rows and 0 <= j < columns
        part = int(np.argmax(fields.confidence[:, i, j])) if inside else 0
    return int(part), i, j
