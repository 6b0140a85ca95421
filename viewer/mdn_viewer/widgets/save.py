"""Take it away: fields, maps, a picture of the window, and a program that computes the maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

import mdn_cupy as mdn
from mdn_viewer.core.code_export import loading, snippet
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session_file import SUFFIX
from mdn_viewer.export import save_fields, save_map, save_picture, save_text
from mdn_viewer.widgets.common import ask_where, button
from mdn_viewer.widgets.controls import Message

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession
    from mdn_viewer.widgets.session_files import SessionFiles

__all__ = ["SavePanel"]

_SESSIONS = f"Sessions (*{SUFFIX})"
_WINDOW, _CANVAS = "whole window", "maps only"
_STEPPED = "moved along a gradient"  # said in the source of fields that are no longer those opened


class SavePanel(QWidget):
    """A button for each thing that can be taken away, and the program that computes the maps.

    Parameters
    ----------
    model : VotingModel
        What is being looked at.
    canvas : ComparisonCanvas
        The maps.
    viewer : napari.Viewer
        The whole window.
    sessions : SessionFiles
        What saves and opens all that is open and asked.
    """

    title = "Save"

    def __init__(
        self,
        model: VotingModel,
        canvas: ComparisonCanvas,
        viewer: Viewer,
        sessions: SessionFiles,
    ) -> None:
        super().__init__()
        self._model, self._canvas, self._viewer = model, canvas, viewer
        self._sessions = sessions
        self._of = model.loaded  # what the message is about
        # The fields that were saved last, and those whose program was written last.
        self._saved: tuple[mdn.Fields | None, Origin] = None, UNKNOWN
        self._found: tuple[mdn.Fields | None, Origin, str | None] = None, UNKNOWN, None
        self._build()
        model.session_changed.connect(self._on_session)
        model.maps_changed.connect(self._on_maps)
        model.settled.connect(self._write)
        self._on_session(model.session)
        self._on_maps(model.maps)

    def showEvent(self, event: Any) -> None:
        """Catch up with what has happened behind the other tabs."""
        super().showEvent(event)
        self._write()

    def fields(self) -> mdn.Fields:
        """Return the fields that are being looked at, with the sigma of the moment."""
        session = self._model.session
        if session is None:
            raise ValueError("there are no fields to save")
        fields = replace(session.fields, sigma=session.sigma)
        if session.fields is self._model.loaded:
            return fields
        return replace(fields, source=", ".join(filter(None, (fields.source, _STEPPED))))

    def _build(self) -> None:
        self.save_fields = button(
            "Fields…",
            "Save confidences, offsets, image and sigma as they are now, steps along the gradient "
            "included, to a .mdn file.",
            lambda: self._ask("fields.mdn", "Field sets (*.mdn)", self._save_fields),
        )
        self.kind, self.extent = QComboBox(), QComboBox()
        self.kind.setToolTip("Which of the maps to save.")
        self.extent.addItems([_WINDOW, _CANVAS])
        self.extent.setToolTip("What to take a picture of.")
        self.save_map = button(
            "Map…",
            "Save a map with all its digits: to .npy, or to .tif by napari's own writer.",
            lambda: self._ask(
                f"{self.kind.currentData()}.npy",
                "NumPy (*.npy);;TIFF (*.tif *.tiff)",
                self._save_map,
            ),
        )
        self.save_picture = button(
            "Screenshot…",
            "Save a picture to a .png file.",
            lambda: self._ask("mdn-viewer.png", "PNG (*.png)", self._save_picture),
        )
        self.save_session = button(
            "Session…",
            "Save all that is open and asked; fields that are in no file are saved beside it.",
            lambda: self._ask(f"votes{SUFFIX}", _SESSIONS, self._sessions.save),
        )
        self.open_session = button(
            "Open session…", "Open all that was open and asked.", self._ask_session
        )
        self.copy = button("Copy program", "Put the program below on the clipboard.", self._copy)
        self.save_program = button(
            "Program…",
            "Save the program below to a .py file.",
            lambda: self._ask("maps.py", "Python (*.py)", self._save_program),
        )
        self.program = QPlainTextEdit()
        self.program.setReadOnly(True)
        self.program.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.program.setTabChangesFocus(True)
        self.program.setToolTip("Python that computes the maps that are shown, to the bit.")
        self.message = Message("What was written where, or why it was not.")
        layout = QVBoxLayout(self)
        for row in (
            (self.save_fields,),
            (self.kind, self.save_map),
            (self.extent, self.save_picture),
            (self.save_session, self.open_session),
            (self.copy, self.save_program),
        ):
            line = QHBoxLayout()
            for widget in row:
                line.addWidget(widget, 1)
            layout.addLayout(line)
        layout.addWidget(self.message.native)
        layout.addWidget(self.program, 1)

    def _on_session(self, session: VotingSession | None) -> None:
        for each in (self.save_fields, self.save_session):
            _enable(each, session is not None)
        if self._model.loaded is not self._of:
            self._of = self._model.loaded
            self.message.say("")  # it was about others

    def _on_maps(self, maps: dict[str, Any]) -> None:
        kinds = [self.kind.itemData(n) for n in range(self.kind.count())]
        if kinds != [*maps]:
            self.kind.clear()
            for kind in maps:
                self.kind.addItem("", kind)
        for n, title in enumerate(self._model.titles.values()):
            self.kind.setItemText(n, title)
        for each in (self.save_map, self.copy, self.save_program):
            _enable(each, bool(maps))
        if not maps:
            self._write()

    def _write(self) -> None:
        """Write the program again; this reads the file that the fields are said to be in."""
        session = self._model.session
        if session is None or not self._model.kinds:
            self.program.setPlainText("")
        elif self.isVisible():
            found = self._loading(session.fields)
            self.program.setPlainText(snippet(session, self._model.kinds, found))

    def _loading(self, fields: mdn.Fields) -> str | None:
        """Write how to load fields, if they are in a file; it is read once."""
        origin, frame = UNKNOWN, self._model.frame
        if fields is self._saved[0]:
            origin, frame = self._saved[1], 0
        elif fields is self._model.loaded:
            origin = self._model.origin
        if self._found[:2] != (fields, origin):
            self._found = fields, origin, loading(fields, origin, frame)
        return self._found[2]

    def _ask(self, name: str, patterns: str, save: Callable[[str], None]) -> None:
        """Ask for a name, without holding up the window, and save under it."""
        ask_where(self, name, patterns, lambda path: self._try(save, path))

    def _ask_session(self) -> None:
        dialog = QFileDialog(self, "Open a session", "", _SESSIONS)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.open)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def open(self, path: str) -> None:
        """Open a session file, or say why not."""
        try:
            self._sessions.open(path)
        except (OSError, TypeError, ValueError) as error:
            self.message.say(str(error), wrong=True)
        else:
            self.message.say(f"{path} opened")

    def _try(self, save: Callable[[str], None], path: str) -> None:
        try:
            save(path)
        except (OSError, ValueError) as error:
            self.message.say(str(error), wrong=True)
        else:
            self.message.say(f"{path} written")
            self._write()

    def _save_fields(self, path: str) -> None:
        fields, session = self.fields(), self._model.session
        save_fields(path, fields)
        if session is not None:
            self._saved = session.fields, Origin((path,))

    def _save_map(self, path: str) -> None:
        kind = self.kind.currentData()
        if kind not in self._model.maps:
            raise ValueError("there is no map to save")
        save_map(path, self._model.maps[kind].values)

    def _save_picture(self, path: str) -> None:
        maps_only = self.extent.currentText() == _CANVAS
        save_picture(path, self._canvas.screenshot() if maps_only else _window(self._viewer))

    def _save_program(self, path: str) -> None:
        save_text(path, self.program.toPlainText())

    def _copy(self) -> None:
        self.program.selectAll()
        self.program.copy()
        self.message.say("the program is on the clipboard")


def _window(viewer: Viewer) -> Any:
    return viewer.screenshot(canvas_only=False, flash=False)


def _enable(widget: QWidget, enabled: bool) -> None:
    """Enable a widget or not; Qt draws it again even if nothing changes."""
    if widget.isEnabled() != enabled:
        widget.setEnabled(enabled)
