"""From the layers that are chosen to a session, or to what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.layout_guess import GridGuess, grids
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.origin import UNKNOWN
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.layers.conversion import opened_of
from mdn_viewer.layers.remedies import apply, remedy_for
from mdn_viewer.settings import recall
from mdn_viewer.widgets.compare import ComparePanel
from mdn_viewer.widgets.controls import Controls
from mdn_viewer.widgets.layer_selection import LayerSelection

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["SessionBuilder"]

_WELCOME = (
    "Drop a file of fields on the window, open a sample (File > Open Sample > mdn-cupy), or choose "
    "layers in Fields."
)


class SessionBuilder:
    """Begins a session on what is chosen.

    Parameters
    ----------
    model : VotingModel
        Whose session.
    controls : Controls
        The part, the width and who votes, which the same layers keep.
    compare : ComparePanel
        The kernel.
    """

    def __init__(
        self,
        model: VotingModel,
        controls: Controls,
        compare: ComparePanel,
    ) -> None:
        self._model, self._compare = model, compare
        self._controls = controls
        self._voters: Image | None = None  # the confidence layer of the last session
        self._remedy: Callable[[], None] | None = None
        self._checked: mdn.Fields | None = None
        controls.remedy.changed.connect(self._on_remedy)
        model.session_changed.connect(self._check)

    def begin(self, picker: LayerSelection) -> None:
        """Begin a session on what is chosen, or say what is missing or does not fit."""
        model = self._model
        self._controls.message.say("")
        self._checked = None  # whose complaint that may have been
        self._offer("")
        if picker.layers.confidence is not self._voters and not model.frames:
            picker.show_first_frame()
        try:
            fields = picker.fields()
            session = None if fields is None else self._session_on(fields, picker.layers.confidence)
        except (TypeError, ValueError) as error:
            model.show(None)
            model.refuse(error)
            self._offer_confidences(picker.layers.confidence)
            return
        opened = opened_of(picker.layers.confidence)
        origin = UNKNOWN if opened is None else opened.origin
        model.show(session, origin, picker.frames, picker.frame_number)
        if session is None:
            model.say(_WELCOME)
            return
        note, grid = _note(session.fields), _other_grid(session.fields)
        if _complaint(session.fields):
            self._offer_confidences(picker.layers.confidence)
        elif grid is not None and opened is not None:
            model.say(f"The sources lie in a corner of the image; {grid.why}")
            text = f"Take stride {grid.stride}, origin {grid.origin}"
            self._offer(text, lambda: picker.take_grid(Grid.of(grid)))
        elif note:
            model.say(note)

    def _check(self, session: VotingSession | None) -> None:
        """Complain of values outside the domain of the votes, in every frame and of new values."""
        fields = None if session is None else session.fields
        if fields is self._checked:
            return
        self._checked = fields
        self._model.withdraw(self)
        complaint = "" if fields is None else _complaint(fields)
        if complaint:
            self._model.refuse(complaint, of=self)

    def _offer_confidences(self, layer: Image | None) -> None:
        """Offer to make confidences of what a layer holds, if there is a way to."""
        if layer is not None and not layer.rgb:
            with suppress(ValueError):  # of values that cannot be computed, which has been said
                remedy = remedy_for(layer)
                if remedy is not None:  # the layer then votes with its new values
                    self._offer(f"{remedy.text}: {layer.name}", partial(apply, remedy, layer))

    def _offer(self, text: str, remedy: Callable[[], None] | None = None) -> None:
        """Show the button that mends what has been said, or none."""
        self._remedy, button = remedy, self._controls.remedy
        button.text = text
        button.visible = remedy is not None

    def _on_remedy(self, *_: Any) -> None:
        if self._remedy is not None:
            self._remedy()

    def _session_on(self, fields: mdn.Fields, confidence: Image) -> VotingSession:
        """Where the same layer votes as before, stay with its part, its sigma and the rest."""
        again, self._voters = self._voters, confidence
        sum_rule, truncate = self._compare.sum_rule.currentData(), self._compare.truncate.value()
        controls, opened = self._controls, opened_of(confidence)
        # Plain layers know of no width.
        sigma = recall("sigma") if opened is None else fields.typical_sigma
        part, cross = 0 if opened is None else opened.part, False
        if again is self._voters and controls.part.value in (*range(len(fields.names)), ALL):
            part, sigma = controls.part.value, controls.sigma.value
            cross = controls.cross.value and fields.cross_offsets is not None
        return VotingSession(fields, part, sigma, sum_rule, truncate, cross)


def _complaint(fields: mdn.Fields) -> str:
    """Say which confidences lie outside the domain of the votes; they vote all the same."""
    nowhere = np.broadcast_to(fields.offsets.dtype.type(0), fields.offsets.shape)
    try:
        mdn.check_fields(fields.confidence, nowhere, fields.sigma)
    except ValueError as error:
        return str(error)
    return ""


def _note(fields: mdn.Fields) -> str:
    """Say how many sources cast no vote, which is nothing wrong."""
    silent = int((~np.isfinite(fields.offsets)).any(axis=1).sum())
    if not silent:
        return ""
    return f"{silent} of {fields.confidence.size} sources have no finite offset and cast no vote"


def _other_grid(fields: mdn.Fields) -> GridGuess | None:
    """Propose a grid for sources that lie side by side in a corner of their image."""
    rows, columns = fields.confidence.shape[1:]
    image = fields.image
    if image is None or (fields.stride, fields.origin) != (1, 0):
        return None
    if image.shape[0] < 2 * rows or image.shape[1] < 2 * columns:
        return None
    return grids((rows, columns), image.shape[:2])[0]
