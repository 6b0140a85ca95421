"""Opens files of field sets and the samples in napari."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import mdn_cupy as mdn
from mdn_cupy.io import SUFFIXES
from mdn_viewer.core.file_guess import guess
from mdn_viewer.core.origin import SINGLE, UNKNOWN, Origin
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.session_file import SavedSession
from mdn_viewer.layers.conversion import LayerData, layer_data

__all__ = [
    "Opened",
    "get_reader",
    "open_coins",
    "open_delta",
    "open_faces",
    "open_nuclei",
    "open_paths",
    "open_pose",
    "open_saved",
    "open_trained",
    "opened",
    "opening_part",
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


def opening_part(sample: str) -> int | str:
    """Return the part of a sample to look at first.

    Coins' radii make sense together; the trained network's first part, an ankle, is out of sight.
    """
    parts: dict[str, int | str] = {"coins": ALL, "trained": 13}
    return parts.get(sample, 0)


class Opened(NamedTuple):
    """A field set or its frames, where it comes from, and the part to look at first."""

    fields: mdn.Fields | Sequence[mdn.Fields]
    origin: Origin = UNKNOWN
    part: int | str = 0

    @property
    def name(self) -> str:
        """The name of the first file."""
        return Path(self.origin.paths[0]).name

    @property
    def newest(self) -> mdn.Fields:
        """The last frame."""
        return self.fields if isinstance(self.fields, mdn.Fields) else self.fields[-1]


def open_paths(paths: Sequence[str | os.PathLike[str]], **given: Any) -> Opened:
    """Open a sample by its name, or files of any kind as one sequence of frames.

    Parameters
    ----------
    paths : sequence of path
        The files; or the name of one sample.
    **given
        As in `mdn_cupy.open_fields`.

    Raises
    ------
    OSError, ValueError
        As `mdn_cupy.open_fields` does; of a name, it lists the samples.
    """
    return opened(Origin.of(paths, given))


def opened(origin: Origin) -> Opened:
    """Open a sample, or files of any kind as one sequence of frames; as `open_paths`."""
    paths = origin.paths
    try:
        fields = origin.open()
    except ValueError as error:
        suffix = Path(paths[0]).suffix
        alone = len(paths) == 1 and suffix.lower() in SINGLE and not Path(paths[0]).is_dir()
        if not alone or {"confidence", "offsets", "adapter"} & origin.reading.keys():
            raise
        raise ValueError(
            f"{error}; or name the offsets' file too: {paths[0]} OFFSETS{suffix}"
        ) from error
    except FileNotFoundError as error:
        names = ", ".join(mdn.samples.names())
        raise FileNotFoundError(f"{error}; the samples are {names}") from error
    return Opened(fields, origin.moved(os.path.abspath), opening_part(origin.sample))


def open_saved(saved: SavedSession) -> Opened:
    """Open the fields of a session; what does not fit them is refused.

    Raises
    ------
    OSError, ValueError
        If they are not there, or have no such frame or part.
    """
    fields, origin, _ = opened(saved.fields)
    count = 1 if isinstance(fields, mdn.Fields) else len(fields)
    if not 0 <= saved.frame < count:
        name = " ".join(saved.fields.paths)
        raise ValueError(f"{name}: there is no frame {saved.frame}, it has {count}")
    one = fields if isinstance(fields, mdn.Fields) else fields[saved.frame]
    session = VotingSession(one, **saved.settings)
    return Opened(fields, origin, session.part)


def _sample(name: str) -> list[LayerData]:
    origin = Origin((f"sample:{name}",))
    return _in_turns(layer_data(mdn.samples.load(name), name, opening_part(name), origin))


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
                each.open(), Path(each.paths[0]).stem, origin=each.moved(os.path.abspath)
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
