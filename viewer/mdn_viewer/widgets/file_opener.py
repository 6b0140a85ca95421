"""Opens files that were dropped or chosen, after a dialog if something is not known."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from mdn_cupy.io import SUFFIXES
from mdn_viewer.core.file_guess import FileReading, guess
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.origin import SINGLE, Origin, paired
from mdn_viewer.layers.conversion import LayerData, layer_data
from mdn_viewer.settings import recall_reading, remember_reading
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.files import ask_files, waiting
from mdn_viewer.widgets.open_dialog import OpenDialog

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

__all__ = ["FileOpener"]

Take = Callable[[Origin], None]

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
        self._waiting: deque[tuple[LayerData, bool]] = deque()  # and whether `add_instead` adds it
        self._replaceable: list[Layer] = []  # which `add_instead` has added
        self._outdated: list[Layer] = []  # to be removed when those in their place are there
        self._next = single_shot_timer(self._add_next, parent)

    @property
    def busy(self) -> bool:
        """Whether there are layers yet to be added."""
        return bool(self._waiting or self._outdated)

    def ask(self, title: str = "Open a field set", take: Take | None = None) -> None:
        """Ask for files, without holding up the window; `take` is that of `open`."""
        ask_files(
            self._parent,
            title,
            lambda *paths: self.open(paths, take),
            _PATTERNS,
            several=True,
            folders=(".zarr",),
        )

    def open(self, paths: Sequence[str], take: Take | None = None) -> None:
        """Open files, or say in a line why not; nothing is left of what cannot be opened.

        Parameters
        ----------
        paths : sequence of str
            The files.
        take : callable, optional
            Takes the `Origin` of a field set. By default it becomes layers, and napari's readers
            open what is none.
        """
        self._model.withdraw(self)
        try:
            with waiting():
                self._open([Path(path) for path in paths], take)
        except Exception as error:  # whatever a reader of any plugin raises
            reason = str(error).partition("\n")[0] or type(error).__name__
            said = any(os.fspath(path) in reason for path in paths)
            self._model.refuse(reason if said else f"{', '.join(paths)}: {reason}", of=self)

    def _open(self, paths: list[Path], take: Take | None) -> None:
        strange = [p for p in paths if not (p.is_dir() or p.suffix.lower() in SUFFIXES)]
        if strange and take is not None:
            raise ValueError(f"{strange[0]}: field sets are read from {', '.join(SUFFIXES)}")
        if strange:
            self._leave(paths)
            return
        accept = take or self._show
        if all(path.suffix.lower() == ".mdn" for path in paths):
            accept(Origin.of(paths, {}).moved(os.path.abspath))
            return
        try:
            pair = paired(paths)
            reading = guess(paths[0]) if pair is None else guess(pair[0], pair[2])
        except ValueError:
            if take is not None or any(path.suffix.lower() not in SINGLE for path in paths):
                raise
            self._leave(paths)  # an image, perhaps
            names = ", ".join(path.name for path in paths)
            self._model.say(f"{names}: no field set alone; open as a layer, to be chosen in Fields")
            return
        others = [] if pair is not None else paths[1:]
        if reading.certain:
            accept(reading.files(others))
            return
        dialog = OpenDialog(reading.like(recall_reading(reading.key)), self._parent)
        dialog.chosen.connect(lambda chosen: self._on_chosen(chosen, others, accept))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _leave(self, paths: list[Path]) -> None:
        """Leave files to napari and its plugins."""
        self._viewer.open([os.fspath(path) for path in paths], stack=False, plugin=None)

    def _on_chosen(self, reading: FileReading, others: list[Path], accept: Take) -> None:
        try:
            with waiting():
                accept(reading.files(others))
        except (OSError, TypeError, ValueError) as error:
            self._model.refuse(error, of=self)
        else:
            remember_reading(reading.key, reading.remembered())

    def _show(self, files: Origin) -> None:
        """Make layers of all frames of all files."""
        self.add(layer_data(Opened(files.open(), files), Path(files.paths[0]).stem))

    def add(self, layers: Sequence[LayerData]) -> None:
        """Add layers, one in a turn of the event loop: each takes napari a tenth of a second."""
        self._waiting.extend((layer, False) for layer in layers)
        self._next.start(0)

    def add_instead(self, layers: Sequence[LayerData]) -> None:
        """Add layers in place of those that the last such call added."""
        self._outdated += self._replaceable
        self._replaceable = []
        stay = [(layer, instead) for layer, instead in self._waiting if not instead]
        self._waiting = deque([*stay, *((layer, True) for layer in layers)])
        self._next.start(0)

    def in_turns(self, layers: list[LayerData]) -> list[LayerData]:
        """Return the layers that napari is to add now, and `add` the others.

        It is the first in a window that runs; in a script, beside a console, and with others
        waiting, it is all.
        """
        thread, ipython = self._parent.thread(), sys.modules.get("IPython")
        typed = ipython is not None and ipython.get_ipython() is not None  # in napari's console
        if self.busy or typed or thread is None or not thread.loopLevel():
            layers = [*(layer for layer, _ in self._waiting), *layers]
            self._waiting.clear()
            return layers
        self.add(layers[1:])
        return layers[:1]

    def _add_next(self) -> None:
        if self._waiting:
            (data, keywords, _), instead = self._waiting.popleft()
            added = self._viewer.add_image(data, **keywords)
            if instead:
                self._replaceable.append(added)
            self._next.start(0)
            return
        gone, self._outdated = self._outdated, []
        for layer in gone:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
