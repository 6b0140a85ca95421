"""Opens `.mdn` files and the samples in napari."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import mdn_cupy as mdn
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.session_file import SavedSession
from mdn_viewer.layers.conversion import LayerData, layer_data

__all__ = [
    "Chain",
    "Opened",
    "get_reader",
    "open_coins",
    "open_delta",
    "open_faces",
    "open_nuclei",
    "open_paths",
    "open_pose",
    "open_saved",
    "opening_part",
]

_SAMPLE = "sample:"

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader of `.mdn` files if that is what all of the paths are."""
    return _read if all(Path(p).suffix.lower() == ".mdn" for p in _each(path)) else None


def open_pose() -> list[LayerData]:
    """Open what PoseNet makes of a photograph."""
    return _sample("pose")


def open_faces() -> list[LayerData]:
    """Open what CenterFace makes of a photograph."""
    return _sample("faces")


def open_coins() -> list[LayerData]:
    """Open Hough votes for the centres of coins, a map per radius."""
    return _sample("coins")


def open_nuclei() -> list[LayerData]:
    """Open votes for the nuclei of a stained tissue."""
    return _sample("nuclei")


def open_delta() -> list[LayerData]:
    """Open the two fields of the paper's section 2."""
    return _sample("delta")


def opening_part(sample: str) -> int | str:
    """Return the part of a sample to look at first: coins' radii make sense together."""
    return ALL if sample == "coins" else 0


class Opened(NamedTuple):
    """A field set or its frames, where it comes from, and the part to look at first."""

    fields: mdn.Fields | Sequence[mdn.Fields]
    origin: str = ""
    part: int | str = 0


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
    name = os.fspath(paths[0])
    if len(paths) == 1 and name in mdn.samples.names():
        return Opened(
            replace(mdn.samples.load(name), **given), f"sample:{name}", opening_part(name)
        )
    try:
        files = [mdn.open_fields(path, **given) for path in paths]
    except FileNotFoundError as error:
        names = ", ".join(mdn.samples.names())
        raise FileNotFoundError(f"{error}; the samples are {names}") from error
    frames = files[0] if len(files) == 1 else Chain(files)
    origin = str(Path(paths[0]).absolute()) if len(paths) == 1 else ""
    return Opened(frames[0] if len(frames) == 1 else frames, origin)


def open_saved(saved: SavedSession) -> Opened:
    """Open the fields of a session; what does not fit them is refused.

    Raises
    ------
    OSError, ValueError
        If they are not there, or have no such frame or part.
    """
    fields, origin, _ = open_paths([saved.fields.removeprefix(_SAMPLE)])
    count = 1 if isinstance(fields, mdn.Fields) else len(fields)
    if not 0 <= saved.frame < count:
        raise ValueError(f"{saved.fields}: there is no frame {saved.frame}, it has {count}")
    one = fields if isinstance(fields, mdn.Fields) else fields[saved.frame]
    session = VotingSession(one, **saved.settings)
    return Opened(fields, origin, session.part)


class Chain(Sequence[mdn.Fields]):
    """The frames of several sequences, one after the other; none is read before it is asked for.

    Parameters
    ----------
    parts : sequence of sequences
        The sequences.
    """

    def __init__(self, parts: Sequence[Sequence[mdn.Fields]]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> mdn.Fields: ...

    @overload
    def __getitem__(self, index: slice) -> list[mdn.Fields]: ...

    def __getitem__(self, index: int | slice) -> mdn.Fields | list[mdn.Fields]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        part = bisect.bisect(self._ends, number)
        return self._parts[part][number - (self._ends[part - 1] if part else 0)]


def _sample(name: str) -> list[LayerData]:
    return layer_data(mdn.samples.load(name), name, opening_part(name), f"sample:{name}")


def _read(path: Paths) -> list[LayerData]:
    return [
        layer
        for p in map(Path, _each(path))
        for layer in layer_data(mdn.load_fields(p), p.stem, origin=str(p.absolute()))
    ]


def _each(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path
