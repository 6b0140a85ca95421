"""Opening files of any kind as a lazy sequence of field sets."""

from __future__ import annotations

import bisect
import glob
import itertools
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdn_cupy.fields import Fields
from mdn_cupy.io import hdf5, npy, npz, pairs, pt, tiff, zarr
from mdn_cupy.io.contents import PICKLED, Contents, Member, Refusal, explained
from mdn_cupy.io.layout import OWN, Layout
from mdn_cupy.io.naming import chosen
from mdn_cupy.io.sequence import FieldsSequence

__all__ = ["BESIDE", "is_folder", "open_fields"]

Order = Literal["xy", "yx"]

_WHOLE = {suffix: kind for kind in (npz, hdf5, zarr, pt) for suffix in kind.SUFFIXES}
_SINGLE = {suffix: kind for kind in (npy, tiff) for suffix in kind.SUFFIXES}
_SUFFIXES = (*_WHOLE, *_SINGLE)
_PICKLES = (".pkl", ".pickle", ".p", ".joblib")

# Axes of what a file may hold beside the two fields, for one frame; with one more, it is per frame.
BESIDE = {"cross_offsets": 5, "stride": 1, "origin": 1, "sigma": 3, "source": 0, "names": 1}


def open_fields(
    path: str | os.PathLike[str],
    *,
    confidence: str | None = None,
    offsets: str | None = None,
    order: Order = "xy",
    layout: str = OWN,
    stride: float | Sequence[float] | None = None,
    origin: float | Sequence[float] | None = None,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    sigmoid: bool = False,
    scale: float = 1.0,
) -> FieldsSequence:
    """Open a file of any kind, or a folder of files, as a sequence of `Fields`, a frame each.

    Nothing but headers is read before a frame is asked for, and then only that frame.

    Parameters
    ----------
    path : path
        What to open. A file: `.mdn`, `.npz`, HDF5 (`.h5`, `.hdf5`, `.hdf`), torch (`.pt`, `.pth`;
        tensors only, nothing else is unpickled), or `.npy` or TIFF (`.tif`, `.tiff`), which lie in
        pairs beside each other, `hand_heatmap.npy` and `hand_offsets.npy`. A Zarr group. A folder
        or a pattern such as `run/*.h5`: the frames of all its files, in the order of their names,
        2 before 10.
    confidence, offsets : str, optional
        Names of the two arrays in the file, `group/name` where there are groups; of `.npy` and TIFF
        files the files' names. By default they are found by the names that networks give them, such
        as heatmap, scoremap and locref, part_offsets.
    order : {"xy", "yx"}
        Which component of the offsets comes first.
    layout : str
        Axes of the offsets: P parts, C components, H rows, W columns. "(PC)HW" has two channels of
        each part in turn, "(CP)HW" first one component of all parts, then the other; without P
        there is one map. The confidence has the same axes without C; frames come before all.
    stride, origin, sigma, names : optional
        As in `Fields`, instead of what the file says.
    sigmoid : bool
        Take the confidence for logits: its logistic function is used.
    scale : float
        Multiplies the offsets; the stride, where they are in cells.

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
        begins with the path, lists what there is and names the remedy.
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
    """
    if order not in ("xy", "yx"):
        raise ValueError(f"order must be 'xy' or 'yx', got {order!r}")
    if not np.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")
    given = {"stride": stride, "origin": origin, "sigma": sigma, "names": names}
    reading = _Reading(
        confidence,
        offsets,
        Layout(layout),
        order,
        sigmoid,
        scale,
        {name: value for name, value in given.items() if value is not None},
    )
    return FieldsSequence(_source(Path(path), reading))


@dataclass(frozen=True)
class _Reading:
    """How the arrays of a file become fields: the arguments of `open_fields`."""

    confidence: str | None
    offsets: str | None
    layout: Layout
    order: Order
    sigmoid: bool
    scale: float
    given: dict[str, Any] = field(default_factory=dict)

    def vectors(self, array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Bring offsets [..., 2, H, W] to (x, y), in output pixels."""
        if self.order == "yx":
            array = array[..., ::-1, :, :]
        if self.scale != 1:
            array = array * self.scale
        return _plain(array)

    def scores(self, array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Bring a confidence to [0, 1]."""
        if self.sigmoid:
            small = np.exp(-np.abs(array, dtype=np.result_type(array, np.float32)))  # no overflow
            array = np.where(array >= 0, 1, small) / (1 + small)
        return _plain(array)


def _plain(array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Bring an array to C order and this machine's byte order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder of files, and not a Zarr group."""
    return os.path.isdir(path) and path.suffix.lower() != ".zarr" and not zarr.is_zarr(path)


def _source(path: Path, reading: _Reading) -> _File | _Folder:
    """Find out what is at a path."""
    pattern = glob.has_magic(str(path)) and not os.path.exists(path)
    return _Folder(path, reading) if pattern or is_folder(path) else _File(path, reading)


class _File:
    """The frames of one file. It opens again where it is unpickled, and in a forked process."""

    def __init__(self, path: Path, reading: _Reading) -> None:
        self._path, self._reading = path, reading
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return _File, (self._path, self._reading)

    def __repr__(self) -> str:
        return repr(str(self._path))

    def __len__(self) -> int:
        return 1 if self._frames is None else self._frames

    def read(self, frame: int) -> Fields:
        """Read a frame's fields, and nothing else."""
        if os.getpid() != self._process:
            self._open()
        with self._lock, explained(self._path, self._contents.kind):
            return self._fields(None if self._frames is None else frame)

    def _open(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        with explained(self._path, _kind(self._path)):
            self._contents = _contents(self._path, self._reading)
            self._names = self._chosen()
            self._group = self._names["confidence"].rpartition("/")[0]
            self._frames = self._expect_match()

    def _chosen(self) -> dict[str, str]:
        given = {"confidence": self._reading.confidence, "offsets": self._reading.offsets}
        if self._path.suffix.lower() in _SINGLE and given["offsets"] and not given["confidence"]:
            given["confidence"] = self._path.name
        return {role: chosen(self._contents, role, name) for role, name in given.items()}

    def _expect_match(self) -> int | None:
        """Return the number of frames; None where the arrays have no axis of frames."""
        arrays = {role: self._contents.arrays[name] for role, name in self._names.items()}
        for role, array in arrays.items():
            if np.dtype(array.dtype).hasobject:
                raise Refusal(f"{role} ({self._names[role]}) {PICKLED}")
            if np.dtype(array.dtype).kind != "f":
                raise Refusal(
                    f"{role} must be of a floating dtype, got {array.dtype} "
                    f"({self._names[role]}); save it as float32"
                )
        shapes = {role: tuple(array.shape) for role, array in arrays.items()}
        layout = self._reading.layout
        leading = layout.leading(*shapes.values())
        if leading is None:
            seen = ", ".join(f"{self._names[role]} {shape}" for role, shape in shapes.items())
            raise Refusal(
                f"wants {layout}, or both with one more leading axis of frames; got {seen}: "
                f"{Layout.suggestion(*shapes.values())}"
            )
        frames = leading[0] if leading else None
        stored = self._beside("frames")
        self._stacked = stored is not None and stored.shape == ()  # else they are pictures
        if stored is not None and self._stacked and stored[...] != frames:
            raise Refusal(
                f"frames is {stored[...]}, but confidence has "
                f"{'no axis of frames' if frames is None else f'{frames} frames'}"
            )
        if frames == 0:
            raise Refusal(f"holds no frame; {self._contents.listed()}")
        return frames

    def _beside(self, name: str) -> Member | None:
        """Return what stands beside the fields under a name, in their group or at the top."""
        for place in (f"{self._group}/{name}".lstrip("/"), name):
            if place in self._contents.arrays:
                return self._contents.arrays[place]
            if place in self._contents.values:
                return np.asarray(self._contents.values[place])
        return None

    def _fields(self, frame: int | None) -> Fields:
        index = ... if frame is None else frame
        reading = self._reading
        confidence, offsets = (
            np.asarray(self._contents.arrays[name][index]) for name in self._names.values()
        )
        members: dict[str, Any] = {
            "confidence": reading.scores(reading.layout.confidence(confidence)),
            "offsets": reading.vectors(reading.layout.offsets(offsets, confidence.shape)),
        }
        for name, axes in BESIDE.items():
            if name not in reading.given and (stored := self._beside(name)) is not None:
                several = frame is not None and len(stored.shape) > axes
                members[name] = np.asarray(stored[index if several else ...])
        if (image := self._beside("image")) is not None:
            members["image"] = np.asarray(image[index if self._has_frames(image) else ...])
        if "cross_offsets" in members:
            members["cross_offsets"] = reading.vectors(members["cross_offsets"])
        try:
            return Fields(**{**_settled(members), **reading.given})
        except (TypeError, ValueError) as error:
            raise Refusal(str(error)) from error

    def _has_frames(self, image: Member) -> bool:
        """Say whether there is an image of each frame."""
        if self._frames is None or len(image.shape) < 3:
            return False
        plain = image.shape[0] == self._frames and image.shape[2] not in (3, 4)
        return len(image.shape) > 3 or self._stacked or plain


def _settled(members: dict[str, Any]) -> dict[str, Any]:
    """Turn stored numbers and text into those of `Fields`."""
    for name in {"stride", "origin", "sigma"} & members.keys():
        numbers = members[name]
        if numbers.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be a real number, got {numbers.dtype}")
        if numbers.size == 1:
            members[name] = float(numbers.item())
        elif name != "sigma":
            if numbers.size != 2:
                wanted = "one number, or two (y, x)"
                raise ValueError(f"{name} must be {wanted}, got the shape {numbers.shape}")
            members[name] = numbers.ravel().tolist()
    if "output_shape" in members:
        members["output_shape"] = members["output_shape"].tolist()
    for name in {"names", "source"} & members.keys():
        texts = members[name].ravel().tolist()
        if not all(isinstance(text, (str, bytes)) for text in texts):
            raise TypeError(f"{name} must be text, got {members[name].dtype}")
        members[name] = tuple(t.decode() if isinstance(t, bytes) else t for t in texts)
    if "source" in members:
        members["source"] = " ".join(members["source"])
    return members


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return str((_WHOLE.get(suffix) or _SINGLE.get(suffix) or npz).KIND)


def _contents(path: Path, reading: _Reading) -> Contents:
    suffix = path.suffix.lower()
    path.stat()  # for an error of the system in its own words
    if suffix in _PICKLES:
        raise Refusal("pickles are never opened, for they can run code; save arrays as .npz")
    if path.is_dir():
        return zarr.contents(path)
    if not path.is_file():
        raise Refusal("not a regular file")
    path.open("rb").close()
    if suffix in _SINGLE:
        kind = _SINGLE[suffix]
        return pairs.contents(
            path, kind.KIND, kind.read_array, (reading.confidence, reading.offsets)
        )
    opener: Callable[[Path], Contents] = _WHOLE.get(suffix, npz).contents
    return opener(path)


class _Folder:
    """The frames of several files, of which few are open at a time."""

    def __init__(self, path: Path, reading: _Reading) -> None:
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
    files = [file for file in found if file.suffix.lower() in _SUFFIXES]
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) != 1:
        what = f"files of several kinds, {' and '.join(kinds)}" if kinds else "no file to open"
        raise Refusal(
            f"holds {what}; give a pattern of one kind, such as '*.h5', of {', '.join(_SUFFIXES)}"
        )
    files.sort(key=lambda file: [(n.zfill(20), n) for n in re.split(r"(\d+)", str(file))])
    return pairs.grouped(files) if files[0].suffix.lower() in _SINGLE else files
