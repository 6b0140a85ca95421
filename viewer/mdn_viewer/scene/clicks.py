"""Clicks on the maps: who voted for this pixel, and where does this source's vote land?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mdn_viewer.logic.session import title
from mdn_viewer.scene.maps import CONFIDENCE

if TYPE_CHECKING:
    import mdn_cupy as mdn
    from mdn_viewer.logic.model import VotingModel
    from mdn_viewer.scene.stage import Stage

__all__ = ["Clicks"]

_RULE = {title("noisy_or"): "noisy_or", "evidence": "noisy_or", "additive": "additive"}


class Clicks:
    """Tells a model which pixel, or with Shift on the confidence which source, is clicked on.

    A mouse that moves while its button is down pans, and asks nothing. Where the layer that is
    selected has a tool at work (to add points, say), the click is the tool's.

    Parameters
    ----------
    model : VotingModel
        Whom to tell.
    stage : Stage
        Where the maps are.
    """

    def __init__(self, model: VotingModel, stage: Stage) -> None:
        self._model, self._stage = model, stage
        stage.viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """Listen no longer."""
        callbacks = self._stage.viewer.mouse_drag_callbacks
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or not _pans(viewer):
            return
        cell, position = self._stage.cell_at(event.viewbox), np.array(event.position)
        shifted = "Shift" in event.modifiers
        yield
        if event.type == "mouse_move" or cell is None:
            return
        session = self._model.session
        if shifted and cell == CONFIDENCE and session is not None:
            self._model.ask_source(self._source_at(position, session.fields))
        elif not event.modifiers:
            row, column = np.rint(self._stage.pixel_at(position)).astype(int)
            self._model.ask_pixel((int(row), int(column)), _RULE.get(cell))

    def _source_at(self, position: Any, fields: mdn.Fields) -> tuple[int, int, int]:
        layer = self._stage.pictures[CONFIDENCE]
        part = layer.world_to_data(position[-layer.ndim :])[-3] if layer.ndim > 2 else 0
        row, column = (self._stage.pixel_at(position) - fields.origin) / fields.stride
        return round(part), round(row), round(column)


def _pans(viewer: Any) -> bool:
    active = viewer.layers.selection.active
    return active is None or str(getattr(active, "mode", "pan_zoom")) == "pan_zoom"
