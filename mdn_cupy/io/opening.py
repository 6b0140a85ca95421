"""Opening files of any kind as a lazy sequence of field sets."""

from __future__ import annotations

import bisect
import glob
import itertools
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mdn_cupy.arrays import Array, kind_of
from mdn_cupy.axes import Layout
from mdn_cupy.fields import Fields
from mdn_cupy.files import local_path
from mdn_cupy.io import hdf5, memory, npy, npz, pairs, pt, tiff, zarr
from mdn_cupy.io.adapted import AdaptedReading
from mdn_cupy.io.contents import Contents, Member, Refusal, explained
from mdn_cupy.io.naming import chosen
from mdn_cupy.io.reading import BESIDE, ArrayReading, Order
from mdn_cupy.io.sequence import FieldsSequence, Source

__all__ = ["SUFFIXES", "Inspected", "inspect_file", "is_folder", "open_fields"]

_WHOLE = {suffix: kind for kind in (npz, hdf5, zarr, pt) for suffix in kind.SUFFIXES}
_SINGLE = {suffix: kind for kind in (npy, tiff) for suffix in kind.SUFFIXES}
SUFFIXES = (*_WHOLE, *_SINGLE)
Reading = ArrayReading | AdaptedReading
"""What a caller says of a file: how its arrays become fields."""

_PICKLES = (".pkl", ".pickle", ".p", ".joblib")


def open_fields(
    path: str | os.PathLike[str] | Mapping[str, Any],
    *,
    confidence: str | None = None,
    offsets: str | None = None,
    order: Order = "xy",
    layout: str | None = None,
    stride: float | Sequence[float] | None = None,
    origin: float | Sequence[float] | None = None,
    sigma: Array | float | None = None,
    names: Sequence[str] | None = None,
    output_shape: Sequence[int] | None = None,
    sigmoid: bool = False,
    scale: float | Sequence[float] = 1.0,
    region: tuple[slice, slice] | None = None,
    adapter: Callable[..., Fields | list[Fields]] | None = None,
) -> FieldsSequence:
    """Open a file of any kind, a folder of files or arrays as a sequence of `Fields`, a frame each.

    Nothing but headers is read before a frame is asked for, and then only that frame.

    Parameters
    ----------
    path : path or mapping
        What to open. A file: `.mdn`, `.npz`, HDF5 (`.h5`, `.hdf5`, `.hdf`), torch (`.pt`, `.pth`;
        tensors only, nothing else is unpickled), or `.npy` or TIFF (`.tif`, `.tiff`), which lie in
        pairs beside each other, `hand_heatmap.npy` and `hand_offsets.npy`. A Zarr group. A folder
        or a pattern such as `run/*.h5`: the frames of all its files, in the order of their names,
        2 before 10. Or arrays by name, as such a file would hold them: a dict of NumPy or CuPy
        arrays, tensors or anything with shape, dtype and indexing, such as those of dask, h5py and
        Zarr, which read a frame when it is asked for; an open HDF5 group or NPZ archive.
    confidence, offsets : str, optional
        Names of the two arrays in the file, `group/name` where there are groups; of `.npy` and TIFF
        files the files' names. By default they are found by the names that networks give them, such
        as heatmap, scoremap and locref, part_offsets.
    order : {"xy", "yx"}
        Which component of the offsets comes first.
    layout : str, optional
        Axes of the offsets: P parts, C components, H rows, W columns; by default "PCHW", or "CHW"
        where the confidence has no axis but rows and columns. "(PC)HW" has two channels of
        each part in turn, "(CP)HW" first one component of all parts, then the other; without P
        there is one map. The confidence has the same axes without C, or those of a first word,
        "PHW HWPC"; frames come before all.
    stride, origin, sigma, names, output_shape : optional
        As in `Fields`, instead of what the file says.
    sigmoid : bool
        Take the confidence for logits: its logistic function is used.
    scale : float or (float, float)
        Multiplies the offsets, or their components (y, x); the stride, where they are in cells.
    region : (slice, slice), optional
        Rows and columns of the sources to read, which may be every n-th; of Zarr and HDF5 nothing
        else is read. Positions then count from the first of them, and there is no image.
    adapter : callable, optional
        One of `mdn_cupy.adapters`, with its settings bound by `functools.partial`. It takes the
        arrays, numbers and texts of the file that are called as its parameters; `confidence` and
        `offsets` name the first two, if they are called otherwise.

    Returns
    -------
    FieldsSequence
        A sequence of `Fields` of NumPy arrays. Values are not looked at: see `check_fields`.

    Raises
    ------
    OSError
        If there is nothing there, or it may not be read.
    ValueError
        If it is no file of these kinds, is damaged, or holds no fields or several; the message
        begins with the path, lists what there is and names the remedy. What indexing the arrays of
        a mapping raises is not changed.
    ModuleNotFoundError
        If the package that reads such files is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     heatmap, locref = np.zeros((9, 4, 30, 40)), np.zeros((9, 8, 30, 40))
    ...     np.savez(f"{folder}/hand.npz", heatmap=heatmap, locref=locref)
    ...     frames = mdn.open_fields(f"{folder}/hand.npz", layout="(PC)HW", stride=8, origin=4)
    ...     len(frames), len(frames[2:4]), frames[8].offsets.shape
    (9, 2, (4, 2, 30, 40))

    The same in memory:

    >>> frames = mdn.open_fields({"heatmap": heatmap, "locref": locref}, layout="(PC)HW", stride=8)
    >>> frames, frames[8].stride
    (FieldsSequence(9 frames of arrays), 8.0)

    A network that has an adapter:

    >>> from functools import partial
    >>> deeplabcut = partial(mdn.adapters.deeplabcut, stride=8, apply_sigmoid=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/hand.npz", scoremap=heatmap, locref=locref)
    ...     frames = mdn.open_fields(f"{folder}/hand.npz", adapter=deeplabcut)
    ...     len(frames), frames[8].origin
    (9, 4.0)
    """
    settings = {
        "stride": stride,
        "origin": origin,
        "sigma": sigma,
        "names": names,
        "output_shape": output_shape,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    axes = None if layout is None else Layout(layout)
    arrays = ArrayReading((confidence, offsets), axes, order, sigmoid, scale, given, region)
    if adapter is None:
        return FieldsSequence(_source(path, arrays))
    if not callable(adapter):
        raise TypeError(
            "adapter must be a function, such as mdn_cupy.adapters.posenet with its settings bound "
            f"by functools.partial, got {adapter!r}"
        )
    if given or region or (order, layout, sigmoid, scale) != ("xy", None, False, 1):
        raise ValueError(
            "adapter settles layout, order, sigmoid, scale, what Fields has, and takes no region: "
            "give its own arguments to it: functools.partial(mdn_cupy.adapters.posenet, stride=16)"
        )
    return FieldsSequence(_source(path, AdaptedReading((confidence, offsets), adapter)))


class Inspected(NamedTuple):
    """What a file holds, with nothing of it read: arrays by name, and which are the two fields.

    `arrays[name]` has a shape and a dtype; `arrays[name][t]` reads one frame, `[...]` all of it.
    `confidence` and `offsets` are names of arrays, or None where the usual names tell nothing;
    `settings` are the names of what else `Fields` has and the file says: "stride", "image".
    """

    path: Path
    kind: str
    arrays: Mapping[str, Member]
    confidence: str | None
    offsets: str | None
    settings: tuple[str, ...]


def inspect_file(path: str | os.PathLike[str], partner: str | None = None) -> Inspected:
    """Say what is in a file that `open_fields` opens; of a folder or pattern, in its first file.

    Parameters
    ----------
    path : path
        As in `open_fields`.
    partner : str, optional
        Of a `.npy` or TIFF file: the other file, by its name beside it or its absolute path.

    Raises
    ------
    OSError, ValueError, ModuleNotFoundError
        As `open_fields` does, but not for arrays that are no fields.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/hand.npz", scoremap=np.zeros((4, 30, 40)), x=np.zeros((8, 30, 40)))
    ...     found = inspect_file(f"{folder}/hand.npz")
    >>> found.confidence, found.offsets, found.arrays["x"].shape
    ('scoremap', None, (8, 30, 40))
    """
    file = local_path(path)
    if (glob.has_magic(str(file)) and not os.path.exists(file)) or is_folder(file):
        with explained(file, "folder"):
            file = _files(file)[0]
    with explained(file, _called(file)):
        contents = _contents(file, [partner])
    confidence, offsets = (_usual(contents, role) for role in ("confidence", "offsets"))
    group = (confidence or "").rpartition("/")[0]
    said = [name for name in (*BESIDE, "image") if contents.beside(group, name) is not None]
    return Inspected(file, contents.kind, contents.arrays, confidence, offsets, tuple(said))


def _usual(contents: Contents, role: str) -> str | None:
    with suppress(Refusal):
        return chosen(contents, role, None)
    return None


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder of files, and not a Zarr group."""
    return os.path.isdir(path) and path.suffix.lower() != ".zarr" and not zarr.is_zarr(path)


def _source(given: str | os.PathLike[str] | Mapping[str, Any], reading: Reading) -> Source:
    """Find out what is at a path, or in a mapping."""
    if isinstance(given, Mapping):
        return reading.frames(memory.contents(given), reading.names)
    if not isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(
            f"path must be a path, or arrays by their names in a dict, got {kind_of(given)}"
        )
    path = local_path(given)
    pattern = glob.has_magic(str(path)) and not os.path.exists(path)
    return _Folder(path, reading) if pattern or is_folder(path) else _File(path, reading)


class _File:
    """The frames of one file. It opens again where it is unpickled, and in a forked process."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path, self._reading = path, reading
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return _File, (self._path, self._reading)

    def __repr__(self) -> str:
        return repr(str(self._path))

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, frame: int) -> Fields:
        """Read a frame's fields, and nothing else."""
        if os.getpid() != self._process:
            self._open()
        with self._lock, explained(self._path, self._kind):
            return self._frames.read(frame)

    def _open(self) -> None:
        self._process, self._lock, self._kind = os.getpid(), threading.Lock(), _called(self._path)
        names = self._reading.names
        if self._path.suffix.lower() in _SINGLE and names[1] and not names[0]:
            names = (self._path.name, names[1])
        with explained(self._path, self._kind):
            self._frames = self._reading.frames(_contents(self._path, self._reading.names), names)


def _called(path: Path) -> str:
    """Return what to call a file in messages."""
    return ".npz" if path.suffix.lower() == ".npz" else _kind(path)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return str((_WHOLE.get(suffix) or _SINGLE.get(suffix) or npz).KIND)


_FIRST_BYTES = {
    b"\x89HDF\r\n\x1a\n": hdf5.KIND,
    b"\x93NUMPY": npy.KIND,
    b"II*\0": tiff.KIND,
    b"MM\0*": tiff.KIND,
    b"II+\0": tiff.KIND,
    b"MM\0+": tiff.KIND,
}

_ENTRIES = {".npy": npz.KIND, "/data.pkl": pt.KIND, "zarr.json": zarr.KIND, ".zgroup": zarr.KIND}


def _look(path: Path) -> str | None:
    """Return the kind of a file by its first bytes, or of an archive by its entries."""
    with path.open("rb") as file:
        first = file.read(8)
    if first.startswith(b"PK\3\4"):
        if not zipfile.is_zipfile(path):
            raise Refusal(f"not a readable {_called(path)} file (cut off?)")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        return next(
            (kind for end, kind in _ENTRIES.items() for n in names if n.endswith(end)), None
        )
    return next((kind for start, kind in _FIRST_BYTES.items() if first.startswith(start)), None)


def _contents(path: Path, names: Iterable[str | None]) -> Contents:
    suffix = path.suffix.lower()
    path.stat()  # for an error of the system in its own words
    if suffix in _PICKLES:
        raise Refusal("pickles are never opened, for they can run code; save arrays as .npz")
    if path.is_dir():
        return zarr.contents(path)
    if not path.is_file():
        raise Refusal("not a regular file")
    looks = _look(path)
    if looks is not None and looks != _kind(path):
        if looks == zarr.KIND:
            raise Refusal("a Zarr group in an archive; unpack it to a folder")
        named = next(name for name in (".npz", *SUFFIXES) if _kind(Path(f"a{name}")) == looks)
        raise Refusal(f"by its content a {named} file; rename it to *{named}")
    if suffix in _SINGLE:
        kind = _SINGLE[suffix]
        return pairs.contents(path, kind.KIND, kind.read_array, names)
    opener: Callable[[Path], Contents] = _WHOLE.get(suffix, npz).contents
    return opener(path)


class _Folder:
    """The frames of several files, of which few are open at a time."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path, self._reading = path, reading
        with explained(path, "folder"):
            self._files = _files(path)
        self._open = lru_cache(maxsize=4)(partial(_File, reading=reading))
        self._ends = list(itertools.accumulate(len(self._open(file)) for file in self._files))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Folder, (self._path, self._reading)

    def __repr__(self) -> str:
        return repr(str(self._path))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, frame: int) -> Fields:
        """Read a frame of the file that holds it."""
        number = bisect.bisect(self._ends, frame)
        return self._open(self._files[number]).read(
            frame - (self._ends[number - 1] if number else 0)
        )


def _files(path: Path) -> list[Path]:
    """List the files that can be opened, one of each pair, in the order of their numbers."""
    if path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith(".")]
    elif not (found := [Path(file) for file in glob.iglob(str(path), recursive=True)]):
        raise FileNotFoundError
    files = [file for file in found if file.suffix.lower() in SUFFIXES]
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) != 1:
        what = f"files of several kinds, {' and '.join(kinds)}" if kinds else "no file to open"
        raise Refusal(
            f"holds {what}; give a pattern of one kind, such as '*.h5', of {', '.join(SUFFIXES)}"
        )
    files.sort(key=lambda file: [(n.zfill(20), n) for n in re.split(r"(\d+)", str(file))])
    return pairs.grouped(files) if files[0].suffix.lower() in _SINGLE else files
