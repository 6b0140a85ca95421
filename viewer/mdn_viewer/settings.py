"""What the widget remembers from one day to the next, in napari's settings of this plugin."""

from __future__ import annotations

import json
from typing import Any

from napari.settings import get_plugin_settings

from mdn_viewer.canvas.maps import CONFIDENCE
from mdn_viewer.core.session import KINDS

__all__ = [
    "recall",
    "recall_reading",
    "recall_shown",
    "remember",
    "remember_reading",
    "remember_shown",
]

_MOST = 30  # kinds of files whose reading is kept
_SHOWN = {name: f"show_{name}" for name in (*KINDS, CONFIDENCE)}


def recall(name: str) -> Any:
    """Return a setting; `napari.yaml` declares them, and File > Preferences shows them."""
    return getattr(_maps(), name)


def remember(name: str, value: Any) -> None:
    """Keep a setting; napari writes it to a file beside its own settings."""
    if recall(name) != value:
        setattr(_maps(), name, value)


def recall_shown() -> set[str]:
    """Return which of `KINDS` and the confidence are to be shown."""
    return {name for name, key in _SHOWN.items() if recall(key)}


def remember_shown(shown: set[str]) -> None:
    """Keep which of `KINDS` and the confidence are shown."""
    for name, key in _SHOWN.items():
        remember(key, name in shown)


def recall_reading(key: str) -> dict[str, Any]:
    """Return how files of a kind were read the last time; nothing if they never were."""
    found = _readings().get(key, {})
    return found if isinstance(found, dict) else {}


def remember_reading(key: str, reading: dict[str, Any]) -> None:
    """Keep how files of a kind are read."""
    kept = {**_readings(), key: reading}
    kept = dict(list(kept.items())[-_MOST:])
    get_plugin_settings("mdn-cupy").files.readings = json.dumps(kept)


def _readings() -> dict[str, Any]:
    try:
        found = json.loads(get_plugin_settings("mdn-cupy").files.readings)
    except ValueError:  # a user may have edited it
        return {}
    return found if isinstance(found, dict) else {}


def _maps() -> Any:
    return get_plugin_settings("mdn-cupy").maps
