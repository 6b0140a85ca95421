"""The dock widget: whose votes are seen, how wide they are, and what comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QCoreApplication

import mdn_cupy as mdn
from mdn_viewer.controls import Controls, once
from mdn_viewer.layers import first_part
from mdn_viewer.maps import MapLayers
from mdn_viewer.picker import FieldPicker, choices
from mdn_viewer.session import ALL, VoteMap, VotingSession
from mdn_viewer.worker import LatestWins

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["MassDisplacement"]

_WELCOME = "Open a field set (File > Open Sample, or a .mdn file), or choose layers above."
_REST_MS = 200  # after so long without a new frame the slider rests

Result = tuple[VotingSession, dict[str, VoteMap]]


class MassDisplacement(Controls):
    """Choose fields, drag sigma, and watch the noisy-or and the additive vote map.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers vote, and that shows the maps.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(lambda _: choices(napari_viewer))
        self._viewer = napari_viewer
        self._maps = MapLayers(napari_viewer)
        self._worker = LatestWins(self._show, self._refuse)
        self._session: VotingSession | None = None  # what is to be seen; None: nothing that fits
        self._shown: Result | None = None
        self._voters: Image | None = None  # the confidence layer of the last session
        self._step = -1  # of napari's slider for the parts
        self._rest = once(self._maps.settle, self.native)
        self._picker = FieldPicker(napari_viewer, self, self._begin)
        self._connect()
        self._picker.take_newest()

    @property
    def in_motion(self) -> bool:
        """Whether the maps have changed so lately that others have not been told yet."""
        return self._rest.isActive()

    @property
    def voted(self) -> bool:
        """Whether there are maps for what is chosen."""
        return self._shown is not None

    def wait(self) -> None:
        """Wait until the maps are those that the controls ask for."""
        while self._picker.soon.isActive():
            QCoreApplication.processEvents()
        self._worker.wait()

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now; napari calls this whenever they change."""
        self._picker.refresh()

    def _connect(self) -> None:
        self.part.changed.connect(self._on_part)
        self.sigma.changed.connect(self._vote)
        self.same_scale.changed.connect(self._draw)
        self._viewer.dims.events.current_step.connect(self._on_step)
        self.native.destroyed.connect(self._retire)
        self.native_parent_changed.connect(self._on_parent)

    def _begin(self) -> None:
        """Begin a session on what is chosen, or say what is missing or does not fit."""
        self._session = self._shown = None
        self.show_peaks({})
        try:
            fields = self._picker.fields()
            if fields is None:
                self.say(_WELCOME)
                return
            self._session = self._session_on(fields)
        except (TypeError, ValueError) as error:
            self._refuse(error)
            return
        self.offer(self._session)
        self.say(_complaint(fields), wrong=True)
        self._on_part(self._session.part)

    def _session_on(self, fields: mdn.Fields) -> VotingSession:
        """Where the same layer votes as before, stay with its part and sigma."""
        again, self._voters = self._voters, self.confidence.value
        session = VotingSession(fields, first_part(self.confidence.value), fields.sigma)
        if again is self._voters and self.part.value in dict(session.parts).values():
            return replace(session, part=self.part.value, sigma=self.sigma.value)
        return session

    def _on_part(self, part: int | str) -> None:
        dims = self._viewer.dims
        if part != ALL and dims.ndim > 2:
            dims.set_current_step(dims.ndim - 3, part)
        self._vote()

    def _on_step(self, *_: Any) -> None:
        """Follow napari's slider for the parts, by which one pages through the confidence."""
        steps = self._viewer.dims.current_step
        step = steps[-3] if len(steps) > 2 else -1
        if step != self._step and step in self.part.choices:
            self.part.value = step
        self._step = step

    def _vote(self, *_: Any) -> None:
        if self._session is not None:
            session = replace(self._session, part=self.part.value, sigma=self.sigma.value)
            self._session = session
            self._worker.submit(lambda: (session, session.vote()), session.work)

    def _show(self, result: Result) -> None:
        session, maps = result
        asked = None if self._picker.soon.isActive() else self._session
        if asked is None or session.fields is not asked.fields or session.part != asked.part:
            return  # the layers have gone, or something else has been chosen and is under way
        if self._shown is None:
            self._maps.lay_out(maps["noisy-or"].values.shape, *self._picker.layers)
        self._shown = result
        self._draw()

    def _draw(self, *_: Any) -> None:
        if self._shown is not None:
            maps = self._shown[1]
            self._maps.show(maps, same_scale=self.same_scale.value)
            self.show_peaks(maps)
            self._rest.start(_REST_MS)

    def _refuse(self, error: BaseException) -> None:
        self._session = None
        self.show_peaks({})
        self.say(str(error), wrong=True)

    def _on_parent(self, parent: Any) -> None:
        if parent is None:  # napari has taken the widget out of its dock for good
            self._retire()

    def _retire(self, *_: Any) -> None:
        self._worker.close()
        self._picker.close()
        self._viewer.dims.events.current_step.disconnect(self._on_step)


def _complaint(fields: mdn.Fields) -> str:
    """Say which values lie outside the domain of the votes; they vote all the same."""
    try:
        mdn.check_fields(fields.confidence, fields.offsets, fields.sigma)
    except ValueError as error:
        return str(error)
    return ""
