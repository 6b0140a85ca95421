"""The dock widget: what votes, how, and what comes of it, each in a tab of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from napari.layers import Image
from qtpy.QtCore import QCoreApplication, QEvent, QSize
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QScrollArea, QTabWidget, QVBoxLayout, QWidget

from mdn_viewer.logic.model import VotingModel
from mdn_viewer.logic.session import ALL, VotingSession
from mdn_viewer.panels.compare import ComparePanel
from mdn_viewer.panels.controls import Controls, once
from mdn_viewer.panels.gradient import GradientPanel
from mdn_viewer.panels.inputs import InputControls
from mdn_viewer.panels.opening import Opening
from mdn_viewer.panels.part_slider import PartSlider
from mdn_viewer.panels.parts import leave_wheel
from mdn_viewer.panels.picker import FieldPicker, images, offset_layers
from mdn_viewer.panels.readout import Readout
from mdn_viewer.panels.save import SavePanel
from mdn_viewer.panels.sweep import SweepPanel
from mdn_viewer.panels.voters import VotersPanel
from mdn_viewer.scene.canvas import draw_now, quicken, warm_up
from mdn_viewer.scene.clicks import Clicks
from mdn_viewer.scene.garbage import SearchAtRest
from mdn_viewer.scene.maps import MapLayers
from mdn_viewer.scene.stage import Stage
from mdn_viewer.scene.turns import EventTurns
from mdn_viewer.settings import remember
from mdn_viewer.worker import LatestWins

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["PANELS", "MassDisplacement"]

PANELS: tuple[type[Any], ...] = (VotersPanel, SweepPanel, GradientPanel, SavePanel)
"""The panels, each made of the model and the stage, in the order of their tabs."""

_OPENING = "Laying out the maps…"
_REST_MS = 200  # after so long without a new frame the slider rests
_WIDTH = 380  # screen pixels: a peak can be read, a slider be dragged

Panel = TypeVar("Panel")


class MassDisplacement(QWidget):
    """Choose fields, drag sigma, and watch the noisy-or and the additive vote map.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers vote, and that shows the maps.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        quicken(napari_viewer)
        warm_up()
        self.model = VotingModel(LatestWins)
        self.stage = Stage(napari_viewer, EventTurns())
        self.maps = MapLayers(self.model, self.stage)
        self.controls = Controls()
        self.inputs = InputControls(
            lambda _: images(napari_viewer), lambda _: offset_layers(napari_viewer), self._open
        )
        self.compare = ComparePanel(self.model, self.maps)
        self.panels = [panel(self.model, self.stage) for panel in PANELS]
        self._clicks = Clicks(self.model, self.stage)
        self._readout = Readout(self.model, self.stage, self)
        self._slider = PartSlider(napari_viewer, self.controls)
        self._rest = once(self.model.settle, self)
        opening = Opening(self.model, self.maps, self.controls, self.inputs, self.compare)
        self._picker = FieldPicker(
            napari_viewer,
            self.inputs,
            self.model.cancel,
            lambda: opening.begin(self._picker),
            self.stage.hold_back,
            self.stage.hide,
        )
        self._garbage = SearchAtRest(lambda: self.stage.busy or self.in_motion)
        self._lay_out()
        self._connect()
        self._picker.take_newest()

    @property
    def in_motion(self) -> bool:
        """Whether the maps have changed so lately that others have not been told yet."""
        return self._rest.isActive()

    @property
    def voted(self) -> bool:
        """Whether the votes for what is chosen have been counted, be it into no map at all."""
        return self.model.voted is not None

    def wait(self) -> None:
        """Wait until the maps are those that the controls ask for."""
        QCoreApplication.processEvents()
        self.model.wait()
        while self._picker.soon.isActive():
            QCoreApplication.processEvents()
            self.model.wait()
        self.stage.wait()

    def panel(self, kind: type[Panel]) -> Panel:
        """Return the panel of a class."""
        return next(panel for panel in self.panels if isinstance(panel, kind))

    def open_tab(self, title: str) -> None:
        """Bring a tab to the front."""
        titles = [self.tabs.tabText(n) for n in range(self.tabs.count())]
        self.tabs.setCurrentIndex(titles.index(title))

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now; napari calls this whenever they change."""
        self._picker.refresh()

    def event(self, event: Any) -> bool:
        """End when napari has taken the widget out of its dock for good."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._end()
        return bool(super().event(event))

    def sizeHint(self) -> QSize:
        """As wide as a slider and a table of peaks need; wider tables scroll."""
        return QSize(_WIDTH, super().sizeHint().height())

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for title, page in [
            (self.inputs.title, self.inputs.native),
            *((panel.title, panel) for panel in (self.compare, *self.panels)),
        ]:
            self.tabs.addTab(_scrollable(page), title)
        self.open_tab(self.compare.title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.controls.native)
        layout.addWidget(self.tabs, 1)
        self.setMinimumWidth(_WIDTH)
        for keys, step in (("Alt+PgDown", 1), ("Alt+PgUp", -1)):
            QShortcut(QKeySequence(keys), self, lambda step=step: self.controls.page(step))

    def _connect(self) -> None:
        controls, model = self.controls, self.model
        controls.part.changed.connect(self._on_part)
        controls.cross.changed.connect(lambda cross: model.change(cross=cross))
        controls.sigma.changed.connect(self._on_sigma)
        model.session_changed.connect(self._follow)
        model.maps_changed.connect(lambda _: self._rest.start(_REST_MS) if self.voted else None)
        model.settled.connect(self._on_rest)
        model.said.connect(controls.message.say)
        self.stage.busy_changed.connect(self._on_stage)
        model.refused.connect(self._on_refused)
        self._end = _Ending(
            self._slider.close,
            self._garbage.close,
            *(panel.end for panel in self.panels if hasattr(panel, "end")),
            self.stage.busy_changed.disconnect,  # the widgets that would say so may have gone
            self.stage.close,
            self._readout.close,
            self._clicks.close,
            self._picker.close,
            model.close,
        )
        self.destroyed.connect(self._end)

    def _open(self, confidence: Any, offsets: Any, *names: str) -> None:
        """Make layers of two arrays, and let them vote."""
        layers = [
            Image(array, rgb=False, name=name, visible=False)
            for array, name in zip((confidence, offsets), names, strict=True)
        ]  # both, before either is added
        for layer in layers:
            self._viewer.add_layer(layer)
        self._picker.take(*layers)

    def _on_stage(self, busy: bool) -> None:
        """Say that the maps are being laid out, unless something else is said."""
        self._garbage.soon()
        message = self.controls.message
        if message.said == ("" if busy else _OPENING):
            message.say(_OPENING if busy and not self.stage.viewer.canvas.grid.enabled else "")

    def _on_refused(self, text: str) -> None:
        self.controls.message.say(text, wrong=True)
        self.stage.arrange()  # what waits for maps is to be seen without them

    def _follow(self, session: VotingSession | None) -> None:
        if session is not None:
            self.controls.follow(session)
            self._slider.show(session.part)

    def _on_part(self, part: int | str) -> None:
        cross = self.controls.cross.value and part != ALL
        self.model.change(part=part, cross=cross)

    def _on_sigma(self, sigma: float) -> None:
        self.model.change(sigma=sigma)
        draw_now(self._viewer)

    def _on_rest(self) -> None:
        if self.model.session is not None:
            remember("sigma", self.model.session.sigma)


class _Ending:
    """What ends with the widget, at once or when Qt deletes it; no QObject, or it would go first.

    Parameters
    ----------
    actions : callables
        What to do, in this order.
    """

    def __init__(self, *actions: Callable[[], Any]) -> None:
        self._actions = list(actions)

    def __call__(self, *_: Any) -> None:
        """Do it, once."""
        while self._actions:
            self._actions.pop(0)()


def _scrollable(page: QWidget) -> QScrollArea:
    leave_wheel(page)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setWidget(page)
    return area
