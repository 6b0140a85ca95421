"""Follows a folder or a file: reads what is newest as soon as it is written whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QFileSystemWatcher, QObject, QTimer, Signal  # type: ignore[attr-defined]

from mdn_cupy.io import SUFFIXES

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["NewestFile", "follow", "is_file"]

_POLL_MS = 250  # network drives tell of no change; and a file that has rested so long is whole

Stamp = tuple[Path, int, int]  # path, time of the last change in ns, bytes


class NewestFile(QObject):
    """Reads the newest file of a folder, or one file, in a thread of its own; the last of several.

    A file is read once it has not changed from one look to the next. One that cannot be read is
    read again when it has changed.

    Parameters
    ----------
    path : Path
        The folder, which may be empty, or come later; or the file, whose folder is watched, as a
        file that is replaced is another one.
    open : callable
        Takes a path and returns what is emitted. Called in the thread.
    parent : QObject
        With whom it ends.
    """

    read = Signal(object)
    refused = Signal(str)

    def __init__(self, path: Path, open: Callable[[Path], Any], parent: QObject) -> None:
        super().__init__(parent)
        one = is_file(path)
        folder = path.absolute().parent if one else path
        self._name = path.name if one else None
        self._folder, self._open = folder, open
        self._seen: Stamp | None = None  # at the last look
        self._taken: Stamp | None = None  # is being read, or has been
        self._busy = False
        self._pool = ThreadPoolExecutor(1)
        self._watcher = QFileSystemWatcher([str(folder)], self)
        self._watcher.directoryChanged.connect(self.look)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        self._timer.start(_POLL_MS)
        self.read.connect(self._on_done)
        self.refused.connect(self._on_done)
        self.destroyed.connect(lambda *_, pool=self._pool: pool.shutdown(wait=False))

    @property
    def newest(self) -> str:
        """The name of the file that was read last."""
        return "" if self._taken is None else self._taken[0].name

    def look(self, *_: Any) -> None:
        """Look at the folder, and have its newest file read if it is new and rests."""
        newest, before = _newest(self._folder, self._name), self._seen
        self._seen = newest
        rests = newest == before and self.sender() is not self._watcher
        if newest is not None and rests and newest != self._taken and not self._busy:
            self._taken, self._busy = newest, True
            self._pool.submit(self._read, newest[0])

    def _read(self, path: Path) -> None:
        try:
            values = self._open(path)
        except Exception as error:  # whatever a file that is still written makes its reader raise
            self.refused.emit(str(error))
        else:
            self.read.emit(values)

    def _on_done(self, *_: Any) -> None:
        self._busy = False


def follow(viewer: Viewer, widget: Any, path: Path, open: Callable[[Path], Any]) -> NewestFile:
    """Show what is newest, with its name in the title, or why it cannot be read.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose title.
    widget : MassDisplacement
        Where to show it.
    path, open
        As in `NewestFile`.
    """
    title = viewer.title
    newest = NewestFile(path, open, widget)

    def show(values: Any) -> None:
        widget.model.withdraw(newest)
        viewer.title = f"{title}: {newest.newest}"
        widget.show_values(values)

    newest.read.connect(show)
    newest.refused.connect(lambda reason: widget.model.refuse(reason, of=newest))
    return newest


def is_file(path: Path) -> bool:
    """Whether a path to watch is that of a file; it need not be there yet."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def _newest(folder: Path, name: str | None) -> Stamp | None:
    """Return the file that was changed last, of those that may hold fields, or of a name."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if name is not None and entry.name != name:
                    continue
                if not entry.name.startswith(".") and entry.name.lower().endswith(SUFFIXES):
                    stat = entry.stat()  # gone meanwhile, where it raises
                    found.append((stat.st_mtime_ns, stat.st_size, Path(entry.path)))
    except OSError:
        return None
    if not found:
        return None
    time, size, path = max(found)
    return path, time, size
