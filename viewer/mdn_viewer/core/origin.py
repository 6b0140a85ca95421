"""Where fields come from, and how they were read: enough to read them again."""

from __future__ import annotations

import bisect
import inspect
import itertools
import math
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence, Inspected, Layout, inspect_file
from mdn_viewer.core import layout_guess

__all__ = [
    "MOST",
    "SINGLE",
    "UNKNOWN",
    "Changed",
    "Origin",
    "named",
    "paired",
    "thinned",
]

SINGLE = (".npy", ".tif", ".tiff")  # files of one array
MOST = 2**25  # sources of a plane that are opened whole: 0.4 GB, and 2 s a vote
_THINNED = 2**22  # so many are kept of more: what a drag of sigma bears
_SAMPLE = "sample:"
_OF_FIELDS = {"stride", "origin", "sigma", "names"}  # what may be said of a sample otherwise
_ARGUMENTS = inspect.signature(mdn.open_fields).parameters.keys() - {"path"}
_ADAPTERS = [name for name in mdn.adapters.__all__ if name.islower()]
PathLike = str | os.PathLike[str]
T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Files, or a sample, and the arguments with which they were opened; false if there are none.

    Parameters
    ----------
    paths : tuple of str
        Paths, whose frames follow each other; or one "sample:" and a name.
    reading : mapping
        Arguments of `mdn_cupy.open_fields`.
    image : str
        The path of an image that is put under the fields.

    Examples
    --------
    >>> Origin(("sample:delta",)).open()[0].names
    ('delta', 'agreement')
    >>> Origin(("sample:delta",)).expression()
    "mdn.samples.load('delta')"
    """

    paths: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""

    @staticmethod
    def of(paths: Sequence[PathLike], reading: Mapping[str, Any], image: str = "") -> Origin:
        """Take names as a user gives them: of one sample, or of files."""
        names = [os.fspath(path) for path in paths]
        found = [name for name in names if name in mdn.samples.names()]
        if len(names) == 1 and found:
            return Origin((_SAMPLE + names[0],), reading, image)
        if found and not Path(found[0]).exists():
            said = f"{found[0]} is a sample, and others are named too; one sample at a time"
            raise ValueError(said)
        return Origin(tuple(names), reading, image)

    def __bool__(self) -> bool:
        return bool(self.paths)

    @property
    def sample(self) -> str:
        """The name of the sample, if it is one."""
        name = self.paths[0] if self.paths else ""
        return name.removeprefix(_SAMPLE) if name.startswith(_SAMPLE) else ""

    def frames(self) -> Sequence[mdn.Fields]:
        """Open the frames, of which none is read; a field set is one.

        Raises
        ------
        OSError, TypeError, ValueError
            As `mdn_cupy.open_fields` does.
        """
        if self.sample:
            if strange := self.reading.keys() - _OF_FIELDS:
                said = " and no ".join(sorted(strange))
                raise ValueError(f"{self.sample} is a sample, which takes no {said}")
            found: Sequence[mdn.Fields] = [replace(mdn.samples.load(self.sample), **self.reading)]
        else:
            files = [mdn.open_fields(path, **options) for path, options in self._calls()]
            found = files[0] if len(files) == 1 else FieldsSequence(_Chained(files))
        if not self.image:
            return found
        put = partial(_with_image, image=_read_image(self.image), given=self.reading.keys())
        return FieldsSequence(Changed(found, put))

    def open(self) -> Sequence[mdn.Fields]:
        """Open the frames, and read the one if there is one only; raises as `frames` does."""
        frames = self.frames()
        return [frames[0]] if len(frames) == 1 else frames

    def expression(self, frame: int = 0) -> str:
        """Write the Python that reads one frame; it may need `partial`, `replace` and `imread`."""
        if self.sample:
            text = f"mdn.samples.load({self.sample!r})"
            return self._image_under(_replaced(text, self.reading) if self.reading else text)
        calls = self._calls()
        files = [mdn.open_fields(path, **options) for path, options in calls]
        number, rest = _Chained(files).place(frame)
        path, options = calls[number]
        said = "".join(f", {name}={_written(value)}" for name, value in options.items())
        if not said and len(files[number]) == 1:
            return self._image_under(f"mdn.load_fields({path!r})")
        return self._image_under(f"mdn.open_fields({path!r}{said})[{rest}]")

    def moved(self, move: Callable[[str], str]) -> Origin:
        """Return the same files in another place."""
        paths = self.paths if self.sample else tuple(map(move, self.paths))
        return replace(self, paths=paths, image=move(self.image) if self.image else "")

    def to_json(self) -> Any:
        """Return what `json` writes: a path alone as it is."""
        if len(self.paths) < 2 and not self.reading and not self.image:
            return "".join(self.paths)
        reading = {name: _plain(value) for name, value in self.reading.items()}
        return {"files": [*self.paths], "reading": reading, "image": self.image}

    @staticmethod
    def from_json(value: Any) -> Origin:
        """Take what `to_json` returned.

        Raises
        ------
        ValueError
            If it is something else.
        """
        if isinstance(value, str):
            return Origin((value,) if value else ())
        if not isinstance(value, dict) or value.keys() - {"files", "reading", "image"}:
            raise ValueError
        files, image = value.get("files"), value.get("image", "")
        reading = value.get("reading", {})
        texts = isinstance(files, list) and all(isinstance(x, str) for x in [*files, image])
        if not (texts and files and isinstance(reading, dict) and reading.keys() <= _ARGUMENTS):
            raise ValueError
        try:
            return Origin(tuple(files), {n: _meant(n, x) for n, x in reading.items()}, image)
        except TypeError as error:  # of settings that are none, a slice of four numbers
            raise ValueError from error

    def _calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Return path and arguments for each call of `mdn_cupy.open_fields`."""
        paths, given = [*self.paths], dict(self.reading)
        pair = None if {"confidence", "offsets"} & given.keys() else paired(paths)
        if pair is not None:
            paths = [str(pair[0])]
            given |= {"confidence": pair[1], "offsets": pair[2]}
        return [(path, thinned(path, _with_layout(path, given))) for path in paths]

    def _image_under(self, text: str) -> str:
        if not self.image:
            return text
        fields = self.frames()[0]
        grid = {"stride": fields.stride, "origin": fields.origin, "output_shape": None}
        return _replaced(text, grid, f"image=imread({self.image!r})")


UNKNOWN = Origin()
"""Where fields come from that are in no file."""


class _Chained:
    """The frames of several files, one after the other: a `mdn_cupy.io.sequence.Source`."""

    def __init__(self, files: Sequence[Sequence[mdn.Fields]]) -> None:
        self._files = files
        self._ends = list(itertools.accumulate(map(len, files)))

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, frame: int) -> tuple[int, int]:
        """Return the number of the file that has a frame, and the frame's number in it."""
        number = bisect.bisect(self._ends, frame)
        if number == len(self._files):
            raise IndexError(f"no frame {frame}; there are {len(self)}")
        return number, frame - (self._ends[number - 1] if number else 0)

    def read(self, frame: int) -> mdn.Fields:
        """Read one frame."""
        number, rest = self.place(frame)
        return self._files[number][rest]


class Changed(Generic[T]):
    """Frames that are made of others when they are read: a `mdn_cupy.io.sequence.Source`.

    Parameters
    ----------
    frames : sequence
        What the frames are made of.
    change : callable
        Makes one.
    """

    def __init__(self, frames: Sequence[T], change: Callable[[T], mdn.Fields]) -> None:
        self._frames, self._change = frames, change

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, frame: int) -> mdn.Fields:
        """Read one frame, changed."""
        return self._change(self._frames[frame])


def _read_image(path: str) -> Any:
    """Read a picture of any kind.

    Raises
    ------
    OSError, ValueError
        If it is not there, or no picture.
    """
    from imageio.v3 import imread

    try:
        return imread(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is not None:
            raise type(error)(f"{path}: {error.strerror or 'no such file'}") from error
        raise ValueError(f"{path}: not a readable image") from error


def named(found: Inspected) -> tuple[str, str] | None:
    """Return the names of the two arrays, if the usual names tell them."""
    if found.confidence is None or found.offsets is None or found.confidence == found.offsets:
        return None
    return found.confidence, found.offsets


def paired(paths: Sequence[PathLike]) -> tuple[Path, str, str] | None:
    """Return a path and the names of both arrays, of two files that hold one field set.

    Returns
    -------
    (path, confidence, offsets) or None
        The confidence's path, its name and the other's absolute path; None if they are no pair.
    """
    files = [Path(path).absolute() for path in paths]
    if len(files) != 2 or any(file.suffix.lower() not in SINGLE for file in files):
        return None
    if files[0].suffix.lower() != files[1].suffix.lower():
        return None
    found = inspect_file(files[0], str(files[1]))
    shapes: Mapping[str, Sequence[int]] = {n: a.shape for n, a in found.arrays.items()}
    pair = named(found) or layout_guess.find_pair(shapes)
    if pair is None:
        return None
    confidence, offsets = (files[0] if name == files[0].name else files[1] for name in pair)
    return confidence, confidence.name, str(offsets)


def thinned(path: PathLike, given: dict[str, Any]) -> dict[str, Any]:
    """Add a region of every n-th source to arguments of `mdn_cupy.open_fields`, of many sources.

    Parameters
    ----------
    path : path
        What is opened.
    given : dict
        The other arguments.

    Warns
    -----
    UserWarning
        If it adds one, since the others do not vote; it says how a part is opened with all.
    """
    if {"region", "adapter"} & given.keys():
        return given
    found = inspect_file(path, given.get("offsets"))
    name = str(given.get("confidence") or found.confidence)
    if name not in found.arrays:
        return given
    with suppress(ValueError):  # another layout, which is refused with what there is
        shape = found.arrays[name].shape
        height, width = Layout(given["layout"]).grid(shape) if "layout" in given else shape[-2:]
        if height * width > MOST:
            step = math.ceil(math.sqrt(height * width / _THINNED))
            warnings.warn(
                f"{path}: of {height} x {width} sources every {step}th votes here; --region "
                "1000:3000,4000:6000, or region=, opens all of a part",
                stacklevel=2,
            )
            return {**given, "region": (slice(None, None, step),) * 2}
    return given


def _with_layout(path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Add the layout that the arrays of a file fit in, if it is the only one."""
    if {"layout", "adapter"} & given.keys() or path.lower().endswith(".mdn"):
        return given
    found = inspect_file(path, given.get("offsets"))
    names = (given.get(n) or getattr(found, n) for n in ("confidence", "offsets"))
    shapes = [found.arrays[name].shape for name in names if name in found.arrays]
    return {**given, **layout_guess.only(*shapes)} if len(shapes) == 2 else given


def _with_image(fields: mdn.Fields, image: Any, given: Collection[str]) -> mdn.Fields:
    """Put an image under fields; its size gives stride and origin where they are not given."""
    said: dict[str, Any] = {}
    if "stride" not in given and fields.stride == 1 and fields.origin == 0:
        grid = layout_guess.grids(fields.confidence.shape[-2:], image.shape[:2])[0]
        said = {"stride": grid.stride, "origin": grid.origin}
        if "origin" in given:
            del said["origin"]
    return replace(fields, image=image, output_shape=None, **said)


def _replaced(text: str, values: Mapping[str, Any], *more: str) -> str:
    said = [*more, *(f"{name}={_written(value)}" for name, value in values.items())]
    return f"replace({text}, {', '.join(said)})"


def _written(value: Any) -> str:
    """Write an argument of `mdn_cupy.open_fields` in Python."""
    if isinstance(value, partial):
        said = "".join(f", {name}={_written(x)}" for name, x in value.keywords.items())
        return f"partial(mdn.adapters.{value.func.__name__}{said})"
    return repr(value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value)


def _plain(value: Any) -> Any:
    """Return an argument of `mdn_cupy.open_fields` as `json` has it."""
    if isinstance(value, partial):
        settings = {name: _plain(x) for name, x in value.keywords.items()}
        return {"name": value.func.__name__, "settings": settings}
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    if isinstance(value, (tuple, list)):
        return [_plain(x) for x in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _meant(name: str, value: Any) -> Any:
    """Return an argument of `mdn_cupy.open_fields` that `_plain` was made of."""
    if name == "adapter":
        if not isinstance(value, dict) or value.get("name") not in _ADAPTERS:
            raise ValueError
        settings = {n: _meant("", x) for n, x in dict(value.get("settings", {})).items()}
        return partial(getattr(mdn.adapters, value["name"]), **settings)
    if name == "region":
        if not isinstance(value, list) or not all(isinstance(x, list) for x in value):
            raise ValueError
        return tuple(slice(*x) for x in value)
    return tuple(_meant("", x) for x in value) if isinstance(value, list) else value
