"""From the layers that are chosen to a session, or to what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mdn_cupy as mdn
from mdn_viewer.logic.model import VotingModel
from mdn_viewer.logic.session import ALL, VotingSession
from mdn_viewer.panels.compare import ComparePanel
from mdn_viewer.panels.controls import Controls
from mdn_viewer.panels.inputs import InputControls
from mdn_viewer.panels.picker import FieldPicker
from mdn_viewer.scene.layers import fields_of, first_part, origin_of
from mdn_viewer.scene.maps import MapLayers
from mdn_viewer.settings import recall

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["Opening"]

_WELCOME = "Open a field set (File > Open Sample, or a .mdn file), or choose layers in Fields."


class Opening:
    """Begins a session on what is chosen.

    Parameters
    ----------
    model : VotingModel
        Whose session.
    maps : MapLayers
        Who shows what the maps are made of.
    controls : Controls
        The part, the width and who votes, which the same layers keep.
    inputs : InputControls
        Where to say what does not fit.
    compare : ComparePanel
        The kernel.
    """

    def __init__(
        self,
        model: VotingModel,
        maps: MapLayers,
        controls: Controls,
        inputs: InputControls,
        compare: ComparePanel,
    ) -> None:
        self._model, self._maps, self._compare = model, maps, compare
        self._controls, self._inputs = controls, inputs
        self._voters: Image | None = None  # the confidence layer of the last session

    def begin(self, picker: FieldPicker) -> None:
        """Begin a session on what is chosen, or say what is missing or does not fit."""
        model, misfit = self._model, self._inputs.misfit
        misfit.say("")
        self._controls.message.say("")
        try:
            fields = picker.fields()
            session = None if fields is None else self._session_on(fields, picker.layers.confidence)
        except (TypeError, ValueError) as error:
            model.show(None)
            misfit.say(str(error), wrong=True)
            model.refuse(error)
            return
        self._maps.set_inputs(picker.layers)
        model.show(session, origin_of(picker.layers.confidence))
        if session is None:
            self._maps.clear()
            model.say(_WELCOME)
            return
        complaint = _complaint(session.fields)
        misfit.say(complaint, wrong=True)
        if complaint:
            model.refuse(complaint)

    def _session_on(self, fields: mdn.Fields, confidence: Image) -> VotingSession:
        """Where the same layer votes as before, stay with its part, its sigma and the rest."""
        again, self._voters = self._voters, confidence
        normalized, truncate = self._compare.normalized.isChecked(), self._compare.truncate.value()
        part, sigma, cross = first_part(confidence), fields.typical_sigma, False
        controls = self._controls
        if fields_of(confidence) is None:  # plain layers know of no width
            sigma = recall("sigma")
        if again is self._voters and controls.part.value in (*range(len(fields.names)), ALL):
            part, sigma = controls.part.value, controls.sigma.value
            cross = controls.cross.value and fields.cross_offsets is not None
        return VotingSession(fields, part, sigma, normalized, truncate, cross)


def _complaint(fields: mdn.Fields) -> str:
    """Say which values lie outside the domain of the votes; they vote all the same."""
    try:
        mdn.check_fields(fields.confidence, fields.offsets, fields.sigma)
    except ValueError as error:
        return str(error)
    return ""
