"""Opens files that were dropped or chosen, after a dialog if something is not known."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from mdn_cupy.io import SUFFIXES
from mdn_viewer.core.file_guess import FileReading, guess
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.origin import SINGLE, Origin, paired
from mdn_viewer.layers.conversion import LayerData, layer_data
from mdn_viewer.settings import recall_reading, remember_reading
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.files import ask_files
from mdn_viewer.widgets.open_dialog import OpenDialog

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["FileOpener"]

_PATTERNS = f"Field sets ({' '.join(f'*{suffix}' for suffix in SUFFIXES)});;All files (*)"


class FileOpener:
    """Opens field sets of any kind, and leaves what holds none to napari's readers.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers they become.
    model : VotingModel
        Who says what cannot be opened.
    parent : QWidget
        Over which to ask.
    """

    def __init__(self, viewer: Viewer, model: VotingModel, parent: QWidget) -> None:
        self._viewer, self._model, self._parent = viewer, model, parent
        self._waiting: deque[LayerData] = deque()
        self._next = single_shot_timer(self._add_next, parent)

    @property
    def busy(self) -> bool:
        """Whether there are layers yet to be added."""
        return bool(self._waiting)

    def ask(self) -> None:
        """Ask for files, without holding up the window."""
        ask_files(
            self._parent,
            "Open a field set",
            lambda *paths: self.open(paths),
            _PATTERNS,
            several=True,
        )

    def open(self, paths: Sequence[str]) -> None:
        """Open files, or say in a line why not; nothing is left of what cannot be opened."""
        self._model.withdraw(self)
        try:
            self._open([Path(path) for path in paths])
        except Exception as error:  # whatever a reader of any plugin raises
            reason = str(error).partition("\n")[0] or type(error).__name__
            said = any(os.fspath(path) in reason for path in paths)
            self._model.refuse(reason if said else f"{', '.join(paths)}: {reason}", of=self)

    def _open(self, paths: list[Path]) -> None:
        if not all(p.is_dir() or p.suffix.lower() in SUFFIXES for p in paths):
            self._leave(paths)
            return
        if all(path.suffix.lower() == ".mdn" for path in paths):
            self._show(Origin.of(paths, {}).moved(os.path.abspath))
            return
        try:
            pair = paired(paths)
            reading = guess(paths[0]) if pair is None else guess(pair[0], pair[2])
        except ValueError:
            if any(path.suffix.lower() not in SINGLE for path in paths):
                raise
            self._leave(paths)  # an image, perhaps
            return
        others = [] if pair is not None else paths[1:]
        if reading.certain:
            self._take(reading, others)
            return
        dialog = OpenDialog(reading.like(recall_reading(reading.key)), self._parent)
        dialog.chosen.connect(lambda chosen: self._on_chosen(chosen, others))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _leave(self, paths: list[Path]) -> None:
        """Leave files to napari and its plugins."""
        self._viewer.open([os.fspath(path) for path in paths], stack=False, plugin=None)

    def _on_chosen(self, reading: FileReading, others: list[Path]) -> None:
        try:
            self._take(reading, others)
        except (OSError, TypeError, ValueError) as error:
            self._model.refuse(error)
        else:
            remember_reading(reading.key, reading.remembered())

    def _take(self, reading: FileReading, others: list[Path]) -> None:
        self._show(reading.files(others))

    def _show(self, files: Origin) -> None:
        """Make layers of all frames of all files."""
        self.add(layer_data(files.open(), Path(files.paths[0]).stem, origin=files))

    def add(self, layers: Sequence[LayerData]) -> None:
        """Add layers, one in a turn of the event loop: each takes napari a tenth of a second."""
        self._waiting.extend(layers)
        self._next.start(0)

    def in_turns(self, layers: list[LayerData]) -> list[LayerData]:
        """Return the layers that napari is to add now, and `add` the others.

        It is the first in a window that runs; in a script, and with others waiting, it is all.
        """
        thread = self._parent.thread()
        if self.busy or thread is None or not thread.loopLevel():
            layers = [*self._waiting, *layers]
            self._waiting.clear()
            return layers
        self.add(layers[1:])
        return layers[:1]

    def _add_next(self) -> None:
        if self._waiting:
            data, keywords, _ = self._waiting.popleft()
            self._viewer.add_image(data, **keywords)
            self._next.start(0)
