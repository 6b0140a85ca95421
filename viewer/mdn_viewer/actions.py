"""The commands of napari's palette: what a person can do with the plugin, by name.

`napari.yaml` gives each a title, and names it as an attribute of this module. It is a function that
takes the viewer, and acts on its widget, which it opens where it is not open yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mdn_viewer.canvas.maps import CONFIDENCE
from mdn_viewer.core.session import ALL, KINDS, title
from mdn_viewer.widget import MassDisplacement, widget_of
from mdn_viewer.widgets.compare import ComparePanel
from mdn_viewer.widgets.frames import FramesPanel
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.inputs import InputControls
from mdn_viewer.widgets.parts import PartsPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.save import SavePanel
from mdn_viewer.widgets.second import SecondPanel
from mdn_viewer.widgets.sweep import SweepPanel
from mdn_viewer.widgets.truth import TruthPanel
from mdn_viewer.widgets.voters import VotersPanel

if TYPE_CHECKING:
    from napari import Viewer
    from qtpy.QtWidgets import QPushButton

__all__ = ["ACTIONS"]

Act = Callable[[MassDisplacement], Any]

_WIDER = 1.1  # a tenth: as many commands from 1 to 2 pixels as from 10 to 20
_NO_VOTES = "nothing votes yet: open a .mdn file, or one of File > Open Sample > mdn-cupy"
_MISSING = {
    VotersPanel: "click on a map first, to ask a pixel",
    SweepPanel: "the sweep is not done yet",
    PeaksPanel: "no peaks are found yet",
    TruthPanel: "choose or open annotations first",
    FramesPanel: "no frames are measured yet",
    GradientPanel: "choose a target first, or add points to a new one",
    SavePanel: "the maps are not there yet",
}
_NOT_OFFERED = {
    "peaks": "show a map first, under Compare",
    "votes": "click on a map first, to ask a pixel",
    "gradient": "choose a target first, under Gradient",
}


def _voting(act: Act) -> Act:
    """Act where something votes, and else say what to open."""

    def act_or_say(widget: MassDisplacement) -> None:
        if widget.model.session is None:
            widget.model.say(_NO_VOTES)
        else:
            act(widget)

    return act_or_say


def _tab(name: str) -> Act:
    """Bring a tab to the front, and the dock that it is in."""

    def open_tab(widget: MassDisplacement) -> None:
        dock = widget.parentWidget()
        if dock is not None:
            dock.show()
            dock.raise_()
        if name == FramesPanel.title and len(widget.model.frames) < 2:
            widget.model.say("there is one frame only: open several files, or a batch")
            return
        widget.open_tab(name)

    return open_tab


def _press(
    kind: type[Any], button: Callable[[Any], QPushButton], *, missing: str = "", voting: bool = True
) -> Act:
    """Press a button of a panel, in sight; say what is missing where it cannot be pressed."""

    def press(widget: MassDisplacement) -> None:
        _tab(kind.title)(widget)
        _click(widget, button(widget.panel(kind)), missing or _MISSING.get(kind, ""))

    return _voting(press) if voting else press


def _click(widget: MassDisplacement, button: QPushButton, missing: str) -> None:
    """Click on a button that can be pressed, wherever it is; say else what is missing."""
    if button.isEnabled() and not button.isHidden():
        button.click()
    else:
        widget.model.say(missing)


def _add(kind: str) -> Act:
    """Add a map or what else the canvas shows to napari's layers."""

    def add(widget: MassDisplacement) -> None:
        offered, session = widget.results.offers.get(title(kind)), widget.model.session
        if offered is not None:
            offered[1]()
        elif session is not None:
            hint = f"show the {session.title(kind)} map first, under Compare"
            widget.model.say(_NOT_OFFERED.get(kind, hint))

    return _voting(add)


def _show_all_parts(widget: MassDisplacement) -> None:
    if ALL in widget.controls.part.choices:
        widget.controls.part.value = ALL
    else:
        widget.model.say("these fields have one part only")


def _vote_by(*, all_parts: bool) -> Act:
    def choose(widget: MassDisplacement) -> None:
        if widget.controls.cross.enabled:
            widget.controls.cross.value = all_parts
        else:
            widget.model.say("all parts vote for a part only where fields carry cross offsets")

    return _voting(choose)


def _toggle_map(kind: str) -> Act:
    return lambda widget: widget.compare.shown[kind].toggle()


def _exchange_channels(widget: MassDisplacement) -> None:
    _tab(InputControls.title)(widget)
    offered = widget.inputs.other_order.native
    _click(widget, offered, "no other order of the channels is offered")


def _toggle_sum(widget: MassDisplacement) -> None:
    box = widget.compare.sum_rule
    box.setCurrentIndex((box.currentIndex() + 1) % box.count())


ACTIONS: dict[str, Act] = {
    "next_part": _voting(lambda widget: widget.controls.page(1)),
    "previous_part": _voting(lambda widget: widget.controls.page(-1)),
    "show_all_parts": _voting(_show_all_parts),
    "vote_by_all_parts": _vote_by(all_parts=True),
    "vote_by_part_itself": _vote_by(all_parts=False),
    "widen_sigma": _voting(lambda widget: widget.controls.sigma.scale(_WIDER)),
    "narrow_sigma": _voting(lambda widget: widget.controls.sigma.scale(1 / _WIDER)),
    "show_everything": lambda widget: widget.canvas.reset_view(),
    "show_napari_canvas": lambda widget: widget.compare.napari_canvas.toggle(),
    **{f"toggle_{kind}": _toggle_map(kind) for kind in (*KINDS, CONFIDENCE)},
    "toggle_same_scale": lambda widget: widget.compare.same_scale.toggle(),
    "toggle_sum": _toggle_sum,
    "remedy": lambda widget: _click(
        widget, widget.controls.remedy.native, "there is no complaint with a remedy"
    ),
    "stop": lambda widget: _click(widget, widget.controls.stop.native, "nothing is computed"),
    "exchange_channels": _voting(_exchange_channels),
    "ask_pixel": _voting(MassDisplacement.ask_pixel),
    "clear_question": _press(VotersPanel, lambda panel: panel.clear),
    "export_voters": _press(VotersPanel, lambda panel: panel.export_csv),
    "export_sweep": _press(SweepPanel, lambda panel: panel.export_csv),
    "save_sweep": _press(SweepPanel, lambda panel: panel.save_png),
    "add_found_peaks": _press(PeaksPanel, lambda panel: panel.buttons["points"]),
    "add_labels": _press(PeaksPanel, lambda panel: panel.buttons["labels"]),
    "export_peaks": _press(PeaksPanel, lambda panel: panel.buttons["csv"]),
    "export_coco": _press(PeaksPanel, lambda panel: panel.buttons["json"]),
    "export_movement": _press(PeaksPanel, lambda panel: panel.buttons["move"]),
    "load_annotations": _press(TruthPanel, lambda panel: panel.open_file),
    "export_errors": _press(TruthPanel, lambda panel: panel.export_csv),
    "load_second": _press(SecondPanel, lambda panel: panel.open_file),
    "export_frames": _press(FramesPanel, lambda panel: panel.export_csv),
    "save_frames": _press(FramesPanel, lambda panel: panel.save_png),
    "stop_frames": _press(
        FramesPanel, lambda panel: panel.stop, missing="no frames are being measured"
    ),
    "add_points": _press(GradientPanel, lambda panel: panel.controls.add),
    "take_back_point": lambda widget: widget.panel(GradientPanel).take_back(),
    "step": _press(GradientPanel, lambda panel: panel.controls.step),
    "play": _press(GradientPanel, lambda panel: panel.controls.play),
    "reset_fields": _press(GradientPanel, lambda panel: panel.controls.reset),
    **{f"add_{kind}": _add(kind) for kind in KINDS},
    "add_peaks": _add("peaks"),
    "add_votes": _add("votes"),
    "add_gradient": _add("gradient"),
    "detach_all": lambda widget: widget.results.detach_all(),
    "save_fields": _press(SavePanel, lambda panel: panel.save_fields),
    "save_map": _press(SavePanel, lambda panel: panel.save_map),
    "save_picture": _press(SavePanel, lambda panel: panel.save_picture),
    "save_session": _press(SavePanel, lambda panel: panel.save_session),
    "open_session": _press(SavePanel, lambda panel: panel.open_session, voting=False),
    "open_files": lambda widget: widget.opener.ask(),
    "save_program": _press(SavePanel, lambda panel: panel.save_program),
    "copy_program": _press(SavePanel, lambda panel: panel.copy),
    **{
        f"open_{kind.title.lower()}": _tab(kind.title)
        for kind in (
            InputControls,
            ComparePanel,
            PartsPanel,
            PeaksPanel,
            VotersPanel,
            SweepPanel,
            FramesPanel,
            GradientPanel,
            TruthPanel,
            SecondPanel,
            SavePanel,
        )
    },
}
"""What each command does with the widget."""


def __getattr__(name: str) -> Callable[[Viewer], None]:
    """Return the command of a name in `ACTIONS`, as `napari.yaml` asks for it."""
    if name not in ACTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def command(viewer: Viewer) -> None:
        ACTIONS[name](widget_of(viewer))

    return command
