"""Names of files: of those to open, and of those to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton, QWidget

if TYPE_CHECKING:
    from mdn_viewer.core.model import VotingModel

__all__ = ["PICTURE", "TABLE", "FileKind", "SaveButton", "ask_files", "waiting"]


Save = Callable[[str], Any]


class FileKind(NamedTuple):
    """What a file is of, with "is" or "are", and the endings of its name by their formats."""

    what: str
    endings: Mapping[str, tuple[str, ...]]

    @property
    def patterns(self) -> str:
        """The formats, as Qt's dialogs read them."""
        return ";;".join(
            f"{name} ({' '.join(f'*{ending}' for ending in endings)})"
            for name, endings in self.endings.items()
        )

    def expect(self, path: str) -> None:
        """Raise ValueError if the name of a file has another ending."""
        endings = [ending for each in self.endings.values() for ending in each]
        if Path(path).suffix.lower() not in endings:
            raise ValueError(f"{path}: {self.what} saved as {' or '.join(endings)}")


TABLE = FileKind("a table is", {"CSV": (".csv",)})
PICTURE = FileKind("a picture is", {"PNG": (".png",)})


def ask_files(
    parent: QWidget,
    title: str,
    take: Callable[..., Any],
    patterns: str = "",
    *,
    several: bool = False,
    folders: tuple[str, ...] = (),
) -> None:
    """Ask which file to open, or which files, without holding up the window.

    Parameters
    ----------
    parent : QWidget
        Who asks.
    title : str
        What the dialog is called.
    take : callable
        Takes the paths, if any are chosen, an argument each.
    patterns : str
        Kinds of files, as Qt reads them.
    several : bool
        Whether more than one may be chosen.
    folders : tuple of str
        Endings of folders that are chosen by going into them.
    """
    dialog = QFileDialog(parent, title, "", patterns)
    modes = QFileDialog.FileMode
    dialog.setFileMode(modes.ExistingFiles if several else modes.ExistingFile)
    dialog.filesSelected.connect(lambda paths: take(*paths))

    def enter(folder: str) -> None:
        if folder.lower().endswith(folders):
            dialog.reject()
            take(folder)

    dialog.directoryEntered.connect(enter)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()


@contextmanager
def waiting() -> Iterator[None]:
    """Let the cursor say that the window waits: for a file, or for what reads it to be imported."""
    QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
    try:
        yield
    finally:
        QApplication.restoreOverrideCursor()


class SaveButton(QPushButton):
    """Asks for the name of a file, without holding up the window, and writes it.

    That it is written, or why not, is said where all is said that fails. The button can be pressed
    while there is something to write.

    Parameters
    ----------
    model : VotingModel
        Who says it.
    text, tooltip : str
        Of the button.
    name : str, or callable
        What to suggest; a name without an ending gets that of this one.
    kind : FileKind
        How the name must end.
    save : callable, optional
        As in `offer`.
    """

    def __init__(
        self,
        model: VotingModel,
        text: str,
        tooltip: str,
        name: str | Callable[[], str],
        kind: FileKind,
        save: Save | None = None,
    ) -> None:
        super().__init__(text)
        self.setToolTip(tooltip)
        self._model, self._name, self._kind = model, name, kind
        self.offer(save)
        self.clicked.connect(self._ask)

    def offer(self, save: Save | None) -> None:
        """Have something to write: a function that takes the path and writes it; None for nothing.

        A file is of what was offered when the button was pressed.
        """
        self._save = save
        if self.isEnabled() != (save is not None):  # Qt draws it again even if nothing changes
            self.setEnabled(save is not None)

    def write(self, path: str) -> None:
        """Write the file without asking for its name."""
        if self._save is not None:
            self._write(self._save, path)

    def _ask(self, *_: Any) -> None:
        save = self._save
        assert save is not None
        name = self._name if isinstance(self._name, str) else self._name()
        dialog = QFileDialog(self, "Save", name, self._kind.patterns)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(name.rpartition(".")[2])
        dialog.selectFile(name)
        dialog.fileSelected.connect(lambda path: self._write(save, path))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _write(self, save: Save, path: str) -> None:
        try:
            self._kind.expect(path)
            save(path)
        except (OSError, ValueError) as error:
            self._model.refuse(error)
        else:
            self._model.say(f"{path} written")
