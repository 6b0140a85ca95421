"""Keys of the canvas, which napari lists and lets the user change in Preferences > Shortcuts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from app_model.backends.qt import QKeyBindingSequence
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeymapProvider
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["KEYS", "CanvasKeys", "Shortcuts", "keys_of", "register"]

_PACKAGE = "mdn-cupy"
_WINDOW = Qt.ShortcutContext.WindowShortcut
_CANVAS = Qt.ShortcutContext.WidgetWithChildrenShortcut


class _Key(NamedTuple):
    description: str  # in napari's list, among those of napari
    default: str
    context: Qt.ShortcutContext  # where the keyboard focus must be


KEYS = {
    "next_part": _Key("Show the votes for the next part.", "Alt-PageDown", _WINDOW),
    "previous_part": _Key("Show the votes for the previous part.", "Alt-PageUp", _WINDOW),
    "ask_pixel": _Key("Ask who voted for the pixel under the cursor.", "A", _WINDOW),
    "show_everything": _Key("Show the whole output in every vote map.", "Home", _CANVAS),
}
"""What has a key, by the names of the commands in `napari.yaml`."""


class CanvasKeys(KeymapProvider):  # type: ignore[misc]
    """The keys of the maps; napari keeps the user's in its `class_keymap`.

    None of napari's own canvases looks into it, so a key means there what it meant before.
    """


@cache
def register() -> None:
    """Enter `KEYS` into napari's list, once, under the keys that the user has chosen before."""
    # napari 0.9.2 has no symbol for these keys (utils/interactions.py), and writes out their names.
    unknown = r"`.*(PageUp|PageDown|Home)` does not seem to be a valid shortcut Key"
    warnings.filterwarnings("ignore", unknown, UserWarning)
    chosen = get_settings().shortcuts.shortcuts
    for name, key in KEYS.items():
        listed = f"{_PACKAGE}:{name}"
        action_manager.register_action(
            listed, _command(name), f"{key.description} ({_PACKAGE})", CanvasKeys
        )
        if listed not in chosen:
            action_manager.bind_shortcut(listed, key.default)


def keys_of(name: str) -> list[QKeyBindingSequence]:
    """Return the keys of one of `KEYS` at present."""
    keymap: dict[Any, Any] = CanvasKeys.class_keymap
    return [QKeyBindingSequence(key) for key, act in keymap.items() if act.__name__ == name]


class Shortcuts:
    """Have the keys of `KEYS` act in a window, and follow the user's changes of them.

    Parameters
    ----------
    canvas : QWidget
        The maps.
    acts : dict
        What each of `KEYS` does.
    """

    def __init__(self, canvas: QWidget, acts: dict[str, Callable[[], Any]]) -> None:
        register()
        self._canvas, self._acts = canvas, acts
        self._shortcuts: dict[str, list[QShortcut]] = {}
        self._disabled: set[str] = set()
        for name in KEYS:
            self._bind(name)
        action_manager.events.shortcut_changed.connect(self._on_change)

    def enable(self, name: str, enabled: bool) -> None:
        """Have the keys of one of `KEYS` act, or leave them to the rest of the window."""
        (self._disabled.discard if enabled else self._disabled.add)(name)
        for shortcut in self._shortcuts[name]:
            shortcut.setEnabled(enabled)

    def close(self) -> None:
        """Follow no changes any more; the keys end with the canvas."""
        action_manager.events.shortcut_changed.disconnect(self._on_change)

    def _on_change(self, event: Any) -> None:
        package, _, name = event.name.partition(":")
        if package == _PACKAGE and name in KEYS:
            for shortcut in self._shortcuts[name]:
                shortcut.setEnabled(False)  # until Qt deletes it
                shortcut.deleteLater()
            self._bind(name)

    def _bind(self, name: str) -> None:
        self._shortcuts[name] = []
        for keys in keys_of(name):
            shortcut = QShortcut(keys, self._canvas)
            shortcut.setContext(KEYS[name].context)
            shortcut.setEnabled(name not in self._disabled)
            shortcut.activated.connect(self._acts[name])
            self._shortcuts[name].append(shortcut)


def _command(name: str) -> Callable[[Viewer], None]:
    def command(viewer: Viewer) -> None:
        PluginManager.instance().commands.execute(f"{_PACKAGE}.{name}", (viewer,))

    command.__name__ = name
    return command
