"""Take it away: fields, maps, a picture of the window, and a program that computes the maps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

import mdn_cupy as mdn
from mdn_viewer.core.code_export import loading, snippet
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session_file import SUFFIX
from mdn_viewer.export import save_map, save_picture, save_text
from mdn_viewer.widgets.common import button
from mdn_viewer.widgets.files import PICTURE, FileKind, SaveButton, ask_files

if TYPE_CHECKING:
    from napari import Viewer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession
    from mdn_viewer.widgets.session_files import SessionFiles

__all__ = ["SavePanel"]

_FIELDS = FileKind("fields are", {"Field sets": (".mdn",)})
_MAP = FileKind("a map is", {"NumPy": (".npy",), "TIFF": (".tif", ".tiff")})
_PROGRAM = FileKind("a program is", {"Python": (".py",)})
_SESSION = FileKind("a session is", {"Sessions": (SUFFIX,)})
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

    def _build(self) -> None:
        self.save_fields = SaveButton(
            self._model,
            "Fields…",
            "Save confidences, offsets, image and sigma as they are now, steps along the gradient "
            "included, to a .mdn file.",
            "fields.mdn",
            _FIELDS,
        )
        self.kind, self.extent = QComboBox(), QComboBox()
        self.kind.setToolTip("Which of the maps to save.")
        self.extent.addItems([_WINDOW, _CANVAS])
        self.extent.setToolTip("What to take a picture of.")
        self.save_map = SaveButton(
            self._model,
            "Map…",
            "Save a map with all its digits: to .npy, or to .tif by napari's own writer.",
            lambda: f"{self.kind.currentData()}.npy",
            _MAP,
        )
        self.save_picture = SaveButton(
            self._model,
            "Screenshot…",
            "Save a picture to a .png file.",
            "mdn-viewer.png",
            PICTURE,
            self._save_picture,
        )
        self.save_session = SaveButton(
            self._model,
            "Session…",
            "Save all that is open and asked; fields that are in no file are saved beside it.",
            f"votes{SUFFIX}",
            _SESSION,
        )
        self.open_session = button(
            "Open session…",
            "Open all that was open and asked.",
            lambda: ask_files(self, "Open a session", self.open, _SESSION.patterns),
        )
        self.copy = button("Copy program", "Put the program below on the clipboard.", self._copy)
        self.save_program = SaveButton(
            self._model, "Program…", "Save the program below to a .py file.", "maps.py", _PROGRAM
        )
        self.program = QPlainTextEdit()
        self.program.setReadOnly(True)
        self.program.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.program.setTabChangesFocus(True)
        self.program.setToolTip("Python that computes the maps that are shown, to the bit.")
        self.kind.currentIndexChanged.connect(self._offer_map)
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
        layout.addWidget(self.program, 1)

    def _on_session(self, session: VotingSession | None) -> None:
        loaded = self._model.loaded
        self.save_fields.offer(partial(self._save_fields, session, loaded) if session else None)
        self.save_session.offer(self._sessions.save if session else None)

    def _on_maps(self, maps: dict[str, Any]) -> None:
        kinds = [self.kind.itemData(n) for n in range(self.kind.count())]
        if kinds != [*maps]:
            self.kind.clear()
            for kind in maps:
                self.kind.addItem("", kind)
        for n, title in enumerate(self._model.titles.values()):
            self.kind.setItemText(n, title)
        self._offer_map()
        if not maps:
            self._write()

    def _write(self) -> None:
        """Write the program again; this reads the file that the fields are said to be in."""
        session = self._model.session
        if session is None or not self._model.kinds:
            self._show_program("")
        elif self.isVisible():
            found = self._loading(session.fields)
            self._show_program(snippet(session, self._model.kinds, found))

    def _show_program(self, text: str) -> None:
        self.program.setPlainText(text)
        self.save_program.offer(partial(save_text, text=text) if text else None)
        self.copy.setEnabled(bool(text))

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

    def open(self, path: str) -> None:
        """Open a session file, or say why not."""
        try:
            self._sessions.open(path)
        except (OSError, TypeError, ValueError) as error:
            self._model.refuse(error)
        else:
            self._model.say(f"{path} opened")

    def _save_fields(self, session: VotingSession, loaded: mdn.Fields | None, path: str) -> None:
        """Write the fields of a session with its sigma, and whether they are those opened."""
        fields = replace(session.fields, sigma=session.sigma)
        if session.fields is not loaded:
            fields = replace(fields, source=", ".join(filter(None, (fields.source, _STEPPED))))
        mdn.save_fields(path, fields)
        self._saved = session.fields, Origin((path,))
        self._write()

    def _offer_map(self, *_: Any) -> None:
        """Have the chosen map to write, once it has all pixels."""
        maps = self._model.maps if self._model.exact else {}
        vote_map = maps.get(self.kind.currentData())
        self.save_map.offer(partial(save_map, values=vote_map.values) if vote_map else None)

    def _save_picture(self, path: str) -> None:
        if self.extent.currentText() == _CANVAS:
            save_picture(path, self._canvas.screenshot())
        else:
            save_picture(path, self._viewer.screenshot(canvas_only=False, flash=False))

    def _copy(self) -> None:
        self.program.selectAll()
        self.program.copy()
        self._model.say("the program is on the clipboard")
