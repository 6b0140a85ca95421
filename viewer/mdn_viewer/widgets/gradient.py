"""See what a loss wants of the votes, and give it to them step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Points
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from mdn_viewer.canvas.gradient import show_gradient
from mdn_viewer.core.gradient_descent import GradientDescentController, TargetSpec
from mdn_viewer.core.losses import Loss
from mdn_viewer.core.optimizer import Descent, Rates
from mdn_viewer.core.targets import Instruction
from mdn_viewer.layers.targets import new_points, target_of, targets
from mdn_viewer.layers.transforms import Frame
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.gradient_controls import GradientControls
from mdn_viewer.widgets.loss_curve import LossCurve

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.canvas.comparison import Click, ComparisonCanvas
    from mdn_viewer.canvas.maps import MapView
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession

__all__ = ["GradientPanel"]

_WELCOME = "Choose a target, or add points to a new one: where should the votes go?"
_ADDING = "Click on a map to add a point; Ctrl+Z takes one back, Esc ends it."
_PAUSE_MS = 15  # between two steps, for the window to draw and to listen


class GradientPanel(QWidget):
    """A target and a loss; its gradient on the maps; steps along it, and the way back.

    Parameters
    ----------
    model : VotingModel
        What votes.
    canvas, maps
        Where to draw.
    viewer : napari.Viewer
        The viewer whose layers may be targets.
    frame : callable
        Returns where the pixels of the output are.
    """

    title = "Gradient"

    def __init__(
        self,
        model: VotingModel,
        canvas: ComparisonCanvas,
        maps: MapView,
        viewer: Viewer,
        frame: Callable[[], Frame],
    ) -> None:
        super().__init__()
        self._model, self._canvas, self._maps = model, canvas, maps
        self._viewer, self._frame = viewer, frame
        self._points: Points | None = None  # the layer that was made here
        self._loaded: Any = None  # the field set whose sigma the width began with
        self.descending = GradientDescentController(model)
        self.controls = GradientControls(lambda: targets(viewer))
        self.curve = LossCurve()
        self._soon = single_shot_timer(self._set_target, self)
        self._next = single_shot_timer(self._play_on, self)
        self._lay_out()
        self._connect()
        self._show(None)
        self._on_session(model.session)

    @property
    def playing(self) -> bool:
        """Whether step follows step."""
        return self.controls.play.isChecked()

    @property
    def settings(self) -> tuple[str, float, str]:
        """The name of the target or "", its width and the name of the loss."""
        target = self.controls.target.value
        name = "" if target is None else target.name
        return name, self.controls.width.value(), self.controls.loss.name

    def restore(self, target: Any, width: float, loss: str) -> None:
        """Choose a target, or None, its width and a loss by its name."""
        names = [each.name for each in Loss]
        if loss in names:
            self.controls.losses.setCurrentIndex(names.index(loss))
        self.controls.width.setValue(width)
        self.controls.target.value = target

    def end(self) -> None:
        """Stop; the points that were added are the user's."""
        if isalive(self):  # type: ignore[no-untyped-call]
            self._soon.stop()
            self.controls.play.setChecked(False)

    def hideEvent(self, event: Any) -> None:
        """Add no more points once another tab is open."""
        super().hideEvent(event)
        self.controls.add.setChecked(False)

    def wait(self) -> None:
        """Wait until the gradient is that of what is chosen; not for the end of a play."""
        if self._soon.isActive():
            self._soon.stop()
            self._set_target()
        self.descending.wait()
        self._canvas.finish()

    def take_back(self) -> None:
        """Remove the last point that was added."""
        if self._points is not None and len(self._points.data):
            self._points.selected_data = {len(self._points.data) - 1}
            self._points.remove_selected()

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
        controls.target.chosen.connect(self._on_target)
        controls.target.edited.connect(self._later)
        controls.add.toggled.connect(self._on_adding)
        controls.width.valueChanged.connect(self._on_width)
        controls.losses.currentIndexChanged.connect(self._later)
        controls.step.clicked.connect(self._step)
        controls.play.toggled.connect(self._on_play)
        controls.reset.clicked.connect(self._reset)
        self.descending.changed.connect(self._show)
        self.descending.refused.connect(self._refuse)
        model.session_changed.connect(self._on_session)
        for parent in (self, self._canvas):
            for keys, act in (
                ("Esc", lambda: controls.add.setChecked(False)),
                (QKeySequence.StandardKey.Undo, self.take_back),
            ):
                shortcut = QShortcut(QKeySequence(keys), parent, act)
                shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                shortcut.setEnabled(False)
                controls.add.toggled.connect(shortcut.setEnabled)

    def _on_target(self) -> None:
        if self.controls.target.value != self._points:
            self.controls.add.setChecked(False)  # it would add to a layer that is no target
        self._later()

    def _later(self, *_: Any) -> None:
        self._soon.start(0)

    def _on_width(self, width: float) -> None:
        if self._points is not None and self._points in self._viewer.layers:
            self._points.size = self._points.current_size = 2 * width
        self._later()

    def _set_target(self) -> None:
        controls, layer = self.controls, self.controls.target.value
        controls.message.say("" if layer is not None else _WELCOME)
        try:
            width, frame = controls.width.value(), self._frame()
            target = target_of(layer, width, frame) if layer else None
        except ValueError as error:
            self.descending.take(None)
            self._refuse(error)
            return
        self.descending.take(None if target is None else TargetSpec(target, controls.loss))

    def _on_adding(self, adding: bool) -> None:
        """Have clicks on the maps add points to a layer, or no longer."""
        self._canvas.set_tool(self._add_point if adding else None)
        if not adding:
            return
        if self._points is None or self._points not in self._viewer.layers:
            self._points = new_points(self.controls.width.value())
            self._frame().put(self._points)
            self._viewer.add_layer(self._points)
        self.controls.target.value = self._points
        self.controls.message.say(_ADDING)

    def _add_point(self, click: Click) -> None:
        if self._points is None or self._points not in self._viewer.layers:
            self.controls.add.setChecked(False)  # the layer was deleted
        else:
            self._points.add([click.row, click.column])

    def _on_session(self, session: VotingSession | None) -> None:
        # Without a target, too: what has been moved stays so until it is reset.
        moved = session is not None and session.fields is not self._model.loaded
        self.controls.reset.setEnabled(moved)
        self.controls.add.setEnabled(session is not None)
        if session is None:
            self.controls.play.setChecked(False)
            self.controls.add.setChecked(False)  # there is no map to click on
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
        show_gradient(self._canvas, self._maps, descent, self.descending.arrows)
        self.controls.show(descent)
        self.curve.draw_losses(() if descent is None else descent.losses)
        if descent is None or descent.at_rest:
            self.controls.play.setChecked(False)
        elif self.playing:
            self._next.start(_PAUSE_MS)

    def _refuse(self, error: BaseException) -> None:
        self.controls.play.setChecked(False)
        self.controls.message.say(str(error), wrong=not isinstance(error, Instruction))
