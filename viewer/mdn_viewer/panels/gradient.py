"""See what a loss wants of the votes, and give it to them step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Points
from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from mdn_viewer.logic.descending import Aim, DescentModel
from mdn_viewer.logic.descent import Descent, Rates
from mdn_viewer.logic.instruction import Instruction
from mdn_viewer.panels.controls import once
from mdn_viewer.panels.gradient_controls import GradientControls
from mdn_viewer.panels.loss_curve import LossCurve
from mdn_viewer.scene.cells import disown
from mdn_viewer.scene.pull_layers import PullLayers
from mdn_viewer.scene.target_layers import CELL, new_points, target_of, targets

if TYPE_CHECKING:
    from mdn_viewer.logic.model import VotingModel
    from mdn_viewer.logic.session import VotingSession
    from mdn_viewer.scene.stage import Stage

__all__ = ["GradientPanel"]

_WELCOME = "Choose a target, or add points to a new one: where should the votes go?"
_PAUSE_MS = 15  # between two steps, for the window to draw and to listen


class GradientPanel(QWidget):
    """A target and a loss; its gradient on the maps; steps along it, and the way back.

    Parameters
    ----------
    model : VotingModel
        What votes.
    stage : Stage
        Where to draw.
    """

    title = "Gradient"

    def __init__(self, model: VotingModel, stage: Stage) -> None:
        super().__init__()
        self._model, self._stage = model, stage
        self._layers = PullLayers(stage)
        self._points: Points | None = None  # the layer that was made here
        self._target: Any = None  # the layer that is chosen
        self._loaded: Any = None  # the field set whose sigma the width began with
        self.descending = DescentModel(model)
        self.controls, self.curve = GradientControls(), LossCurve()
        self._soon = once(self._take_aim, self)
        self._next = once(self._play_on, self)
        self._lay_out()
        self._connect()
        self.reset_choices()
        self._show(None)

    @property
    def playing(self) -> bool:
        """Whether step follows step."""
        return self.controls.play.isChecked()

    def end(self) -> None:
        """Follow the layers no longer, and leave the points that were added to the user."""
        for event in self._list_events:
            event.disconnect(self.reset_choices)
        if self._target is not None:
            self._target.events.data.disconnect(self._on_data)
        if isalive(self):  # type: ignore[no-untyped-call]
            self._soon.stop()
            self.controls.play.setChecked(False)
        if self._points is not None:
            disown(self._points)

    def wait(self) -> None:
        """Wait until the gradient is that of what is chosen; not for the end of a play."""
        if self._soon.isActive():
            self._soon.stop()
            self._take_aim()
        self.descending.wait()
        self._stage.wait()

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now, under the names that they have."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        self.controls.offer(targets(self._stage.viewer, self._points), self._target)
        if self.controls.target is not self._target:
            self._choose()

    @property
    def _list_events(self) -> tuple[Any, ...]:
        events = self._stage.viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addLayout(self.controls.form)
        buttons = QHBoxLayout()
        for button in (self.controls.step, self.controls.play, self.controls.reset):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        for line in (self.controls.loss_now, self.controls.sigma_now, self.controls.message):
            layout.addWidget(line.native)
        layout.addWidget(self.curve, 1)

    def _connect(self) -> None:
        controls, model = self.controls, self._model
        controls.targets.currentIndexChanged.connect(self._choose)
        controls.add.clicked.connect(self._add_points)
        controls.width.valueChanged.connect(self._on_width)
        controls.losses.currentIndexChanged.connect(lambda *_: self._soon.start(0))
        controls.step.clicked.connect(self._step)
        controls.play.toggled.connect(self._on_play)
        controls.reset.clicked.connect(self._reset)
        self.descending.changed.connect(self._show)
        self.descending.refused.connect(self._refuse)
        model.session_changed.connect(self._on_session)
        for event in self._list_events:
            event.connect(self.reset_choices)

    def _choose(self, *_: Any) -> None:
        """Watch the layer that is chosen, and take aim at it."""
        if self._target is not None:
            self._target.events.data.disconnect(self._on_data)
        self._target = self.controls.target
        if self._target is not None:
            self._target.events.data.connect(self._on_data)
        self._soon.start(0)

    def _on_width(self, width: float) -> None:
        if self._points is not None:
            self._points.size = self._points.current_size = 2 * width
        self._soon.start(0)

    def _on_data(self, *_: Any) -> None:
        if isalive(self):  # type: ignore[no-untyped-call]
            self._soon.start(0)

    def _take_aim(self) -> None:
        controls = self.controls
        controls.message.say("" if self._target is not None else _WELCOME)
        try:
            width, frame = controls.width.value(), self._stage.frame
            target = target_of(self._target, width, frame) if self._target else None
        except ValueError as error:
            self.descending.take(None)
            self._refuse(error)
            return
        self.descending.take(None if target is None else Aim(target, controls.loss))

    def _add_points(self) -> None:
        """Make a layer for points in a cell of its own, and let a click on any map add one."""
        if self._points is None:
            self._points = new_points(self.controls.width.value())
        if not self._stage.shows(self._points):
            self._stage.add_cell(CELL, self._points)
        self._stage.then(self._begin_adding)

    def _begin_adding(self) -> None:
        layers = self._stage.viewer.layers
        if self._points is not None and self._points in layers:
            self.reset_choices()
            self.controls.target = self._points
            layers.selection.active = self._points
            self._points.mode = "add"

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:
            self.controls.play.setChecked(False)
        elif self._model.loaded is not self._loaded:
            self._loaded = self._model.loaded
            self.controls.play.setChecked(False)
            self.controls.width.setValue(session.sigma)

    def _step(self) -> None:
        self.descending.step(Rates(*self.controls.rates))

    def _on_play(self, playing: bool) -> None:
        self.controls.play.setText("Stop" if playing else "Play")
        if playing:
            self._play_on()

    def _play_on(self) -> None:
        if not self.playing:
            return
        if self._model.voted is self._model.session:
            self._step()
        else:  # the maps of the last step are still being counted
            self._next.start(_PAUSE_MS)

    def _reset(self) -> None:
        self.controls.play.setChecked(False)
        self.descending.reset()

    def _show(self, descent: Descent | None) -> None:
        self._layers.show(descent, self.descending.arrows)
        self.controls.show(descent)
        self.curve.draw_losses(() if descent is None else descent.losses)
        if descent is None or descent.at_rest:
            self.controls.play.setChecked(False)
        elif self.playing:
            self._next.start(_PAUSE_MS)

    def _refuse(self, error: BaseException) -> None:
        self.controls.play.setChecked(False)
        self.controls.message.say(str(error), wrong=not isinstance(error, Instruction))
