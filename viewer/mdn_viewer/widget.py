"""The dock widget: what votes, how, and what comes of it, each in a tab of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from napari.layers import Image, Vectors
from napari.utils.theme import get_theme
from qtpy.QtCore import QCoreApplication, QEvent, QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import (
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from mdn_viewer.canvas.comparison import ComparisonCanvas
from mdn_viewer.canvas.maps import MapView
from mdn_viewer.canvas.placement import CentralArea
from mdn_viewer.canvas.questions import Questions
from mdn_viewer.canvas.user_layers import UserLayers
from mdn_viewer.core import compilation
from mdn_viewer.core.annotation_files import read_annotations
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.session_file import SUFFIX
from mdn_viewer.latest_worker import LatestOnlyWorker
from mdn_viewer.layers.conversion import LayerData, inputs_of, layer_data
from mdn_viewer.layers.linked import LinkedLayers
from mdn_viewer.layers.transforms import Frame
from mdn_viewer.settings import remember
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.cell_menu import ResultLayers
from mdn_viewer.widgets.common import leave_wheel
from mdn_viewer.widgets.compare import ComparePanel
from mdn_viewer.widgets.controls import Controls
from mdn_viewer.widgets.dims_slider import DimsSlider
from mdn_viewer.widgets.file_opener import FileOpener
from mdn_viewer.widgets.files import waiting
from mdn_viewer.widgets.frames import FramesPanel
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.inputs import InputControls
from mdn_viewer.widgets.layer_selection import LayerSelection
from mdn_viewer.widgets.parts import PartsPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.plot import Look
from mdn_viewer.widgets.save import SavePanel
from mdn_viewer.widgets.second import SecondPanel
from mdn_viewer.widgets.session_builder import SessionBuilder
from mdn_viewer.widgets.session_files import SessionFiles
from mdn_viewer.widgets.shortcuts import Shortcuts
from mdn_viewer.widgets.status_readout import StatusReadout
from mdn_viewer.widgets.sweep import SweepPanel
from mdn_viewer.widgets.tab_buttons import TabButtons
from mdn_viewer.widgets.truth import TruthPanel
from mdn_viewer.widgets.voters import VotersPanel

if TYPE_CHECKING:
    from napari import Viewer

    import mdn_cupy as mdn

__all__ = ["MassDisplacement", "widget_of"]

_PLUGIN, _TITLE = "mdn-cupy", "Mass displacement"
_REST_MS = 200  # after so long without a new frame the slider rests
# After so long without new values the layers get them: that takes as long as a frame.
_QUIET_MS = 2500
_WIDTH, _NARROWEST = 380, 250  # screen pixels: a peak can be read, a slider be dragged
# magicgui gives labels the width of the widest text, to which napari's style adds some pixels.
_ALIGNED = "QLabel { padding: 0 }"

Panel = TypeVar("Panel")


class MassDisplacement(QWidget):
    """Choose fields, drag sigma, and watch the noisy-or and the additive vote map.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers vote, and that shows the maps.
    """

    new_values = Signal()  # from any thread: `show_values` has something to show

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        compilation.begin()
        self._viewer = napari_viewer
        self._rested = False
        self._unwritten: list[mdn.Fields] | None = None  # shown, and not in the layers yet
        self.controls = Controls()
        self.model = VotingModel(partial(LatestOnlyWorker, on_long=self.controls.show_long))
        self.canvas = ComparisonCanvas()
        self.maps = MapView(self.model, self.canvas)
        self.inputs = InputControls(
            lambda _: inputs_of(napari_viewer, Image),
            lambda _: inputs_of(napari_viewer, Image, Vectors),
        )
        self.opener = FileOpener(napari_viewer, self.model, self)
        self.inputs.open_any.changed.connect(lambda *_: self.opener.ask())
        self.compare = ComparePanel(self.model, self.maps)
        links = LinkedLayers(napari_viewer, self._frame)
        peaks = PeaksPanel(self.model, self.canvas, links)
        self._truth = truth = TruthPanel(self.model, self.canvas, napari_viewer, self._frame)
        second = SecondPanel(self.model, self.canvas, self.maps, napari_viewer, self.opener)
        gradient = GradientPanel(self.model, self.canvas, self.maps, napari_viewer, self._frame)
        self._layer_boxes = gradient.controls.target, truth.layers, second.choice
        asked = self.compare, peaks, gradient, truth, second
        self.sessions = SessionFiles(napari_viewer, self.model, self.canvas, asked, self.wait)
        self.panels: list[Any] = [
            PartsPanel(self.model, self.maps),
            peaks,
            VotersPanel(self.model, self.canvas),
            SweepPanel(self.model),
            FramesPanel(self.model, lambda: truth.annotations),
            gradient,
            truth,
            second,
            SavePanel(self.model, self.canvas, napari_viewer, self.sessions),
        ]
        self.results = ResultLayers(self.model, self.maps, self.canvas, links)
        self._questions = Questions(self.model, self.canvas)
        self._readout = StatusReadout(self.model, self.canvas, self)
        self._rest = single_shot_timer(self.model.settle, self)
        self._write = single_shot_timer(self._write_values, self)
        builder = SessionBuilder(self.model, self.controls, self.compare)
        self._selection = LayerSelection(
            napari_viewer,
            self.inputs,
            self.model.cancel,
            lambda: builder.begin(self._selection),
        )
        chosen = self._selection
        self._part_slider = DimsSlider(
            napari_viewer, lambda: chosen.part_axis, self.controls.choose_part
        )
        self._frame_slider = DimsSlider(napari_viewer, lambda: chosen.frame_axis, self._go_to)
        self._user_layers = UserLayers(napari_viewer, self.canvas, self.model, self._frame)
        self._lay_out()
        self._connect()
        self._dress()
        self._selection.take_newest()

    @property
    def voted(self) -> bool:
        """Whether the votes of the chosen fields have been counted, even if no map is shown."""
        return self.model.voted is not None

    def wait(self) -> None:
        """Wait until the maps are those that the controls ask for, and everything is at rest."""
        QCoreApplication.processEvents()
        self.model.wait()
        while self.opener.busy or self._selection.soon.isActive():
            QCoreApplication.processEvents()
            self.model.wait()
        if self._rest.isActive():
            self._rest.stop()
            self.model.settle()
        self.canvas.finish()

    def in_turns(self, layers: list[LayerData]) -> list[LayerData]:
        """Return the layers that napari is to add now; the others come in later turns."""
        return self.opener.in_turns(layers)

    def show_values(self, frames: list[mdn.Fields]) -> None:
        """Show other values of the fields, or frames, that are open.

        They are read as the tab Fields has it. Those of another grid, or another number of frames,
        are opened, in place of those that were opened so before.
        """
        open_now = self.model.frames
        fits = self._selection.fits(frames[0], self.model.loaded)
        if not fits or (len(frames) > 1 and len(frames) != len(open_now)):
            self.opener.add_instead(layer_data(Opened(frames), "fields"))
            return
        self._unwritten = frames
        self._write.start(_QUIET_MS)
        read = [self._selection.as_read(each) for each in frames]
        if len(frames) > 1:
            self.model.show_frames(read)
        else:
            self.model.show_fields(read[0])

    def panel(self, kind: type[Panel]) -> Panel:
        """Return the panel of a class."""
        return next(panel for panel in self.panels if isinstance(panel, kind))

    def take_centre(self) -> None:
        """Show the maps in the centre of the window, as happens when the widget is shown.

        In a window that is still hidden this spares napari's canvas its first drawing, 60 ms.
        """
        self._central.enter(self.window())

    def open_tab(self, title: str) -> None:
        """Bring a tab to the front."""
        titles = [self.tabs.tabText(n) for n in range(self.tabs.count())]
        self.tabs.setCurrentIndex(titles.index(title))

    def _show_frames_tab(self, *_: Any) -> None:
        """Have a tab of frames where there are any."""
        self.tab_buttons.show_button(FramesPanel.title, len(self.model.frames) > 1)

    def ask_pixel(self) -> None:
        """Ask who voted for the pixel under the cursor."""
        if self._readout.position is None:
            self.model.say("put the cursor over a map, then ask")
        self._questions.ask_at(self._readout.position)

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now; napari calls this whenever they change."""
        self._selection.refresh()
        for box in self._layer_boxes:
            box.reset_choices()

    def event(self, event: Any) -> bool:
        """Follow the widget from dock to dock; end when napari has taken it out for good."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._end()
                self.deleteLater()  # napari deletes the dock only; 600 widgets would stay
            else:
                self.take_centre()
        elif event.type() == QEvent.Type.Show:
            self.take_centre()
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
        for form in (self.controls, self.inputs):
            form.native.setStyleSheet(_ALIGNED)
        self.open_tab(self.compare.title)
        self.tab_buttons = TabButtons(self.tabs)
        self._show_frames_tab()
        controls = QVBoxLayout()
        controls.addWidget(self.controls.native)
        controls.addWidget(self.tab_buttons)
        controls.addWidget(self.tabs, 1)
        controls.addWidget(self.controls.notices.native)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(controls)
        self._central = CentralArea(self.canvas, layout)
        self.setMinimumWidth(_NARROWEST)
        # To one that is no taller than it likes, napari adds a stretch: here beside the controls.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _connect(self) -> None:
        controls, model, canvas = self.controls, self.model, self.canvas
        controls.part.changed.connect(self._on_part)
        controls.cross.changed.connect(lambda cross: model.change(cross=cross))
        controls.sigma.changed.connect(self._on_sigma)
        model.session_changed.connect(self._follow)
        model.session_changed.connect(lambda _: self._rest.stop())  # until its maps are there
        model.session_changed.connect(self._show_frames_tab)
        model.maps_changed.connect(lambda _: self._rest.start(_REST_MS) if self.voted else None)
        model.settled.connect(self._on_rest)
        model.frame_changed.connect(self._on_frame)
        controls.frame.changed.connect(self._go_to)
        model.said.connect(controls.message.say)
        model.refused.connect(lambda text: controls.message.say(text, wrong=True))
        model.withdrawn.connect(controls.message.withdraw)
        self.compare.napari_canvas.toggled.connect(self._on_napari_canvas)
        canvas.dropped.connect(self._on_drop)
        self._viewer.events.theme.connect(self._dress)
        shortcuts = Shortcuts(
            canvas,
            {
                "next_part": lambda: controls.page(1),
                "previous_part": lambda: controls.page(-1),
                "ask_pixel": self.ask_pixel,
                "show_everything": canvas.reset_view,
            },
        )
        shortcuts.enable("ask_pixel", False)
        canvas.hovered.connect(lambda at: shortcuts.enable("ask_pixel", at is not None))
        canvas.hovered.connect(lambda _: controls.leave_part())
        self._end = _Ending(
            self._disconnect,
            shortcuts.close,
            self._part_slider.close,
            self._frame_slider.close,
            *(box.leave for box in self._layer_boxes),
            self.panel(GradientPanel).end,
            self._user_layers.close,
            self._readout.close,
            self._selection.close,
            self._central.leave,
            self.canvas.end,
            model.close,
        )
        self.destroyed.connect(self._end)

    def _on_napari_canvas(self, shown: bool) -> None:
        self._central.show_others(shown)
        if shown:
            QTimer.singleShot(0, self._viewer.reset_view)  # once it has its size

    def _disconnect(self) -> None:
        """Follow the viewer no longer; napari itself has connected `reset_choices`."""
        self._viewer.events.theme.disconnect(self._dress)
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.disconnect(self.reset_choices)

    def _frame(self) -> Frame:
        return self._selection.frame

    def _on_drop(self, paths: list[str]) -> None:
        """Open files that were dropped on the maps; Qt would keep a plain object alive.

        Sessions come after other fields, which would vote in their place, and before annotations,
        since a session has others or none.
        """
        sessions = [path for path in paths if path.endswith(SUFFIX)]
        tables = [path for path in paths if path.lower().endswith((".json", ".csv"))]
        others = [path for path in paths if path not in (*sessions, *tables)]
        self.model.withdraw(self)
        if others:
            self.opener.open(others)
        for path in sessions:
            self.wait()
            self.panel(SavePanel).open(path)
        tables = [path for path in tables if not self._take_annotations(path)]
        if tables:
            self.opener.open(tables)

    def _take_annotations(self, path: str) -> bool:
        """Open a file of annotations in its tab; napari has tables of its own."""
        try:
            annotations = read_annotations(path)
        except (OSError, ValueError) as error:
            if path.lower().endswith(".csv"):
                return False
            self.model.refuse(error, of=self)
        else:
            self._truth.take(annotations)
            self.open_tab(TruthPanel.title)
        return True

    def _dress(self, *_: Any) -> None:
        """Have the canvas' lines and the plots in the colours of napari's theme."""
        theme, palette = get_theme(self._viewer.theme), self.canvas.palette()
        look = Look(theme.background.as_hex(), theme.text.as_hex())
        palette.setColor(QPalette.ColorRole.Window, QColor(look.paper))
        palette.setColor(QPalette.ColorRole.WindowText, QColor(look.ink))
        self.canvas.setPalette(palette)
        for kind in (SweepPanel, FramesPanel):
            self.panel(kind).dress(look)

    def _follow(self, session: VotingSession | None) -> None:
        if session is not None:
            self.controls.follow(session)
            if session.part != ALL:
                self._part_slider.show(int(session.part))

    def _on_part(self, part: int | str) -> None:
        cross = self.controls.cross.value and part != ALL
        self.model.change(part=part, cross=cross)

    def _go_to(self, frame: int) -> None:
        if frame < len(self.model.frames):
            with waiting():  # for a step back in a compressed file it is read from its beginning
                self.model.go_to(frame)

    def _on_frame(self, frame: int) -> None:
        self.controls.show_frame(frame, len(self.model.frames))
        if self.model.frames:
            self._frame_slider.show(frame)

    def _on_sigma(self, sigma: float) -> None:
        self.model.change(sigma=sigma)
        self.canvas.draw_now()

    def _write_values(self) -> None:
        if self._unwritten is not None:
            self._selection.write(self._unwritten)
            self._unwritten = None

    def _on_rest(self) -> None:
        if not self._rested:
            self._rested = True
            Thread(target=_import_soon_needed, daemon=True).start()
        if self.model.session is not None:
            remember("sigma", self.model.session.sigma)


def widget_of(viewer: Viewer) -> MassDisplacement:
    """Return the widget in a viewer's window; open it where there is none."""
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, MassDisplacement):
            return widget
    opened: MassDisplacement = viewer.window.add_plugin_dock_widget(_PLUGIN, _TITLE)[1]
    return opened


def _import_soon_needed() -> None:
    """Import what napari's first points layer, and the first plot, would wait for: 0.4 s each."""
    for name in ("pandas", "matplotlib.figure", "mdn_viewer.widgets.plot_canvas"):
        import_module(name)


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
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # nothing would show that it has the focus
    area.setWidget(page)
    return area
