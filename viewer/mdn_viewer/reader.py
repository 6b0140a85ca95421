"""Opens files of field sets and the samples in napari."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import mdn_cupy as mdn
from mdn_cupy.io import SUFFIXES, Layout, inspect_file
from mdn_viewer.core import layout_guess
from mdn_viewer.core.file_guess import SINGLE, guess, paired, thinned
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.session_file import SavedSession
from mdn_viewer.layers.conversion import LayerData, layer_data

__all__ = [
    "Chain",
    "Mapped",
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
    "opening_part",
    "with_image",
]

_SAMPLE = "sample:"

Paths = str | Sequence[str]
_OF_FIELDS = {"stride", "origin", "sigma", "names"}  # what may be said of a sample otherwise


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


def open_pose() -> list[LayerData]:
    """Open what PoseNet makes of a photograph."""
    return _sample("pose")


def open_faces() -> list[LayerData]:
    """Open what CenterFace makes of a photograph."""
    return _sample("faces")


def open_trained() -> list[LayerData]:
    """Open what a trained Mass Displacement Network makes of a photograph."""
    return _sample("trained")


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
    """Return the part of a sample to look at first.

    Coins' radii make sense together; the trained network's first part, an ankle, is out of sight.
    """
    parts: dict[str, int | str] = {"coins": ALL, "trained": 13}
    return parts.get(sample, 0)


class Opened(NamedTuple):
    """A field set or its frames, where it comes from, and the part to look at first."""

    fields: mdn.Fields | Sequence[mdn.Fields]
    origin: str = ""
    part: int | str = 0

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
    name = os.fspath(paths[0])
    if len(paths) == 1 and name in mdn.samples.names():
        if strange := given.keys() - _OF_FIELDS:
            raise ValueError(
                f"{name} is a sample, which takes no {' and no '.join(sorted(strange))}"
            )
        return Opened(
            replace(mdn.samples.load(name), **given), f"sample:{name}", opening_part(name)
        )
    named = next((str(path) for path in paths if str(path) in mdn.samples.names()), None)
    if named is not None and not Path(named).exists():
        raise ValueError(f"{named} is a sample, and others are named too; one sample at a time")
    try:
        pair = None if {"confidence", "offsets"} & given.keys() else paired(paths)
        if pair is not None:
            paths, given = [pair[0]], {**given, "confidence": pair[1], "offsets": pair[2]}
        files = [
            mdn.open_fields(path, **thinned(path, _with_layout(path, given))) for path in paths
        ]
    except ValueError as error:
        suffix = Path(paths[0]).suffix
        alone = len(paths) == 1 and suffix.lower() in SINGLE and not Path(paths[0]).is_dir()
        if not alone or {"confidence", "offsets", "adapter"} & given.keys():
            raise
        raise ValueError(
            f"{error}; or name the offsets' file too: {name} OFFSETS{suffix}"
        ) from error
    except FileNotFoundError as error:
        names = ", ".join(mdn.samples.names())
        raise FileNotFoundError(f"{error}; the samples are {names}") from error
    frames = files[0] if len(files) == 1 else Chain(files)
    origin = str(Path(paths[0]).absolute()) if len(paths) == 1 and not given else ""
    return Opened(frames[0] if len(frames) == 1 else frames, origin)


def with_image(opened: Opened, image: Any, given: Collection[str] = ()) -> Opened:
    """Put an image under fields; where stride and origin are not given, its size gives them.

    Parameters
    ----------
    opened : Opened
        The fields.
    image : array
        The image.
    given : collection of str
        Names of what has been said: the stride and the origin stay.
    """

    def put(fields: mdn.Fields) -> mdn.Fields:
        said: dict[str, Any] = {}
        if "stride" not in given and fields.stride == 1 and fields.origin == 0:
            size = fields.confidence.shape[-2:]
            grid = layout_guess.grids(size, image.shape[:2])[0]
            said = {"stride": grid.stride, "origin": grid.origin}
            if "origin" in given:
                del said["origin"]
        return replace(fields, image=image, output_shape=None, **said)

    fields = opened.fields
    done = put(fields) if isinstance(fields, mdn.Fields) else Mapped(fields, put)
    return opened._replace(fields=done, origin="")


def _with_layout(path: str | os.PathLike[str], given: dict[str, Any]) -> dict[str, Any]:
    """Add the layout that the arrays of a file fit in, if it is the only one."""
    if {"layout", "adapter"} & given.keys() or Path(path).suffix.lower() == ".mdn":
        return given
    found = inspect_file(path, given.get("offsets"))
    names = (given.get(n) or getattr(found, n) for n in ("confidence", "offsets"))
    shapes = [found.arrays[name].shape for name in names if name in found.arrays]
    fitting = Layout.fitting(*shapes) if len(shapes) == 2 else []
    return {**given, "layout": fitting[0].text} if len(fitting) == 1 else given


class Mapped(Sequence[mdn.Fields]):
    """Frames with something done to each when it is asked for.

    Parameters
    ----------
    frames : sequence of Fields
        The frames.
    change : callable
        What is done to one.
    """

    def __init__(
        self, frames: Sequence[mdn.Fields], change: Callable[[mdn.Fields], mdn.Fields]
    ) -> None:
        self._frames, self._change = frames, change

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> mdn.Fields: ...

    @overload
    def __getitem__(self, index: slice) -> Mapped: ...

    def __getitem__(self, index: int | slice) -> mdn.Fields | Mapped:
        if isinstance(index, slice):
            return Mapped(self._frames[index], self._change)
        return self._change(self._frames[index])


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
        for layer in layer_data(mdn.open_fields(p), p.stem, origin=str(p.absolute()))
    ]


def _read_guessed(path: Paths) -> list[LayerData]:
    """Open files as they are likely to be meant; the widget's tab Fields corrects it."""
    return [
        layer
        for p in map(Path, _each(path))
        for layer in layer_data(guess(p).open(), p.stem, origin=str(p.absolute()))
    ]


def _each(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path
