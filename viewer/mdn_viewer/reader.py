"""Opens files of field sets and the samples in napari."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from mdn_cupy.io import SUFFIXES
from mdn_viewer.core.file_guess import guess
from mdn_viewer.core.opened import Opened, open_paths
from mdn_viewer.core.origin import Origin
from mdn_viewer.layers.conversion import LayerData, layer_data

__all__ = [
    "get_reader",
    "open_coins",
    "open_delta",
    "open_faces",
    "open_nuclei",
    "open_pose",
    "open_trained",
]

Paths = str | Sequence[str]


@runtime_checkable
class _TakesTurns(Protocol):
    """What the widget is here, where it is not imported."""

    def in_turns(self, layers: list[LayerData]) -> list[LayerData]:
        """Return the layers that napari is to add now; the others come in later turns."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader of field sets if that is what all of the paths are.

    Files of other kinds may be anybody's: there is a reader only if two of their arrays fit.
    """
    paths = [Path(p) for p in _each(path)]
    if all(p.suffix.lower() == ".mdn" for p in paths):
        return _read
    if not all(p.suffix.lower() in SUFFIXES for p in paths):
        return None
    try:
        for each in paths:
            guess(each)
    except (OSError, ValueError, ModuleNotFoundError):
        return None
    return _read_guessed


def _sample(name: str) -> list[LayerData]:
    return _in_turns(layer_data(open_paths([name]), name))


open_pose, open_faces, open_trained, open_coins, open_nuclei, open_delta = (
    partial(_sample, name) for name in ("pose", "faces", "trained", "coins", "nuclei", "delta")
)


def _read(path: Paths) -> list[LayerData]:
    return _layers([Origin.of([p], {}) for p in _each(path)])


def _read_guessed(path: Paths) -> list[LayerData]:
    """Open files as they are likely to be meant; the widget's tab Fields corrects it."""
    return _layers([guess(p).files() for p in _each(path)])


def _layers(files: Sequence[Origin]) -> list[LayerData]:
    return _in_turns(
        [
            layer
            for each in files
            for layer in layer_data(
                Opened(each.open(), each.moved(os.path.abspath)), Path(each.paths[0]).stem
            )
        ]
    )


def _in_turns(layers: list[LayerData]) -> list[LayerData]:
    """Return all layers, or the first if the widget in the current window adds the others."""
    from napari import current_viewer

    viewer = current_viewer()
    docks = () if viewer is None else viewer.window.dock_widgets.values()
    widgets = (widget for widget in docks if isinstance(widget, _TakesTurns))
    widget = next(widgets, None)
    return layers if widget is None else widget.in_turns(layers)


def _each(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path
