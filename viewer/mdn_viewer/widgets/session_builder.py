"""From the layers that are chosen to a session, or to what is wrong with them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.layers.conversion import fields_of, first_part, origin_of
from mdn_viewer.layers.remedies import Remedy, apply, remedy_for
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
        self._remedy: tuple[Remedy, Image] | None = None
        controls.remedy.changed.connect(self._on_remedy)

    def begin(self, picker: LayerSelection) -> None:
        """Begin a session on what is chosen, or say what is missing or does not fit."""
        model = self._model
        self._controls.message.say("")
        self._offer(None)
        if picker.layers.confidence is not self._voters and not model.frames:
            picker.show_first_frame()
        try:
            fields = picker.fields()
            session = None if fields is None else self._session_on(fields, picker.layers.confidence)
        except (TypeError, ValueError) as error:
            model.show(None)
            model.refuse(error)
            self._offer(picker.layers.confidence)
            return
        model.show(session, origin_of(picker.layers.confidence), picker.frames, picker.frame_number)
        if session is None:
            model.say(_WELCOME)
            return
        complaint, note = _complaint(session.fields), _note(session.fields)
        if complaint:
            model.refuse(complaint)
            self._offer(picker.layers.confidence)
        elif note:
            model.say(note)

    def _offer(self, confidence: Image | None) -> None:
        """Show the button that makes confidences of what a layer holds, if there is a way to."""
        self._remedy, button = None, self._controls.remedy
        if confidence is not None and not confidence.rgb:
            with suppress(ValueError):  # of values that cannot be computed, which has been said
                remedy = remedy_for(confidence)
                if remedy is not None:
                    self._remedy = remedy, confidence
                    button.text = f"{remedy.text}: {confidence.name}"
        button.visible = self._remedy is not None

    def _on_remedy(self, *_: Any) -> None:
        if self._remedy is not None:
            apply(*self._remedy)  # the layer then votes with its new values

    def _session_on(self, fields: mdn.Fields, confidence: Image) -> VotingSession:
        """Where the same layer votes as before, stay with its part, its sigma and the rest."""
        again, self._voters = self._voters, confidence
        sum_rule, truncate = self._compare.sum_rule.currentData(), self._compare.truncate.value()
        part, sigma, cross = first_part(confidence), fields.typical_sigma, False
        controls = self._controls
        if fields_of(confidence) is None:  # plain layers know of no width
            sigma = recall("sigma")
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
