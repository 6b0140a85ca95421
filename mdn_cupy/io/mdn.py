"""`.mdn` files: field sets as NPZ archives that are never pickled.

A file of one field set is compressed. Of many, the arrays have one more leading axis, `frames` is
its length, and nothing is compressed: so a frame is read from where it lies, `numpy.load` still
gives whole arrays, and a video of 100,000 frames is five entries, not 200,000. Deflate would save
8 % of a pose network's confidences and 7 % of its offsets, and cost a pass over all that lies
before a frame.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mdn_cupy.arrays import kind_of
from mdn_cupy.fields import Fields
from mdn_cupy.files import local_path, replacing
from mdn_cupy.io.opening import is_folder, open_fields
from mdn_cupy.io.reading import BESIDE

__all__ = ["load_fields", "save_fields"]

_CHUNK = 1 << 20


def save_fields(path: str | os.PathLike[str], fields: Fields | Iterable[Fields]) -> None:
    """Write a field set, or one for each frame of a batch or video, to a `.mdn` file.

    The file is an NPZ, never pickled. It is written beside its place and then renamed, so that an
    interrupted write leaves neither half a file nor less than there was.

    Parameters
    ----------
    path : path
        Where to write; the name should end in `.mdn`.
    fields : Fields or iterable of Fields
        What to write. Frames are taken and written one by one, and never held in memory together;
        they pass through temporary files in the same folder. All have the same names and the same
        shapes; where those differ, write a file for each, in one folder.

    Raises
    ------
    TypeError
        If it is no field set.
    ValueError
        If there is no frame, or one does not fit the first.
    OSError
        If the file cannot be written there.
    """
    if isinstance(fields, Fields):
        with replacing(path) as file:
            np.savez_compressed(file, **_entries(fields))
        return
    if isinstance(fields, (str, bytes, Mapping)) or not isinstance(fields, Iterable):
        raise TypeError(f"fields must be a field set{_expected(fields)}")
    with replacing(path) as file:
        _write_frames(file, fields, local_path(path).resolve().parent)


def load_fields(path: str | os.PathLike[str]) -> Fields:
    """Read a field set from a `.mdn` file, or any other of one frame that `open_fields` opens.

    Parameters
    ----------
    path : path
        A file that `save_fields` wrote, or any NPZ with `confidence` (P, H, W) and `offsets`
        (P, 2, H, W), and optionally the other names of `Fields`.

    Returns
    -------
    Fields
        The field set. Values are not looked at: see `check_fields`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no file there.
    ValueError
        If it is not one field set; the message says why.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> mdn.load_fields("hand.mdn")
    Traceback (most recent call last):
        ...
    FileNotFoundError: hand.mdn: no such file
    """
    path = local_path(path)
    if is_folder(path):
        raise IsADirectoryError(
            f"{path}: is a directory, not a .mdn file; mdn_cupy.open_fields opens folders"
        )
    frames = open_fields(path)
    if len(frames) != 1:
        raise ValueError(
            f"{path}: holds {len(frames)} frames; mdn_cupy.open_fields(path)[t] reads one of them"
        )
    return frames[0]


def _entries(fields: Fields) -> dict[str, Any]:
    """Return what a file holds of one field set, by name."""
    fields = fields.to_numpy()
    arrays: dict[str, Any] = {
        member.name: value
        for member in dataclasses.fields(fields)
        if (value := getattr(fields, member.name)) is not None
    }
    arrays["names"] = np.array(fields.names, dtype=np.str_)
    arrays["source"] = np.array(fields.source, dtype=np.str_)
    return arrays


def _write_frames(file: BinaryIO, sequence: Iterable[Fields], folder: Path) -> None:
    """Write frames in one pass: each array to a file of its own, then one after the other."""
    spools: dict[str, Any] = {}
    settings: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    with ExitStack() as stack:
        for number, fields in enumerate(sequence):
            if not isinstance(fields, Fields):
                raise TypeError(f"frame {number} must be a field set{_expected(fields)}")
            entries = {name: np.asarray(value) for name, value in _entries(fields).items()}
            arrays = {name: entries.pop(name) for name, x in list(entries.items()) if x.ndim > 1}
            described: dict[str, Any] = dict.fromkeys(entries, "one value")
            described.update({name: (x.shape, x.dtype) for name, x in arrays.items()})
            described["names"] = fields.names
            if not settings:
                first = described
                for name in arrays:
                    spools[name] = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            elif described != first:
                raise ValueError(_misfit(number, described, first))
            for name, array in arrays.items():
                spools[name].write(np.ascontiguousarray(array))
            same = settings and all(np.array_equal(settings[-1][n], x) for n, x in entries.items())
            settings.append(settings[-1] if same else entries)
        if not settings:
            raise ValueError("fields must hold at least one frame, got none")
        with zipfile.ZipFile(file, "w") as archive:
            for name, value in {"frames": np.array(len(settings)), **_common(settings)}.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, value, allow_pickle=False)
            for name, spool in spools.items():
                shape, dtype = first[name]
                shape = (len(settings), *shape)
                header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array_header_1_0(entry, header)
                    spool.seek(0)
                    shutil.copyfileobj(spool, entry, _CHUNK)


def _common(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return numbers and text of all frames: one value where they agree, else one per frame."""
    common = {}
    for name, first in settings[0].items():
        values = [entries[name] for entries in settings]
        if all(value is first or np.array_equal(value, first) for value in values):
            common[name] = first
        else:  # with so many axes that one more is known for that of the frames
            padded = (x.reshape((1,) * (BESIDE[name] - x.ndim) + x.shape) for x in values)
            common[name] = np.stack(np.broadcast_arrays(*padded))
    return common


def _misfit(number: int, described: dict[str, Any], first: dict[str, Any]) -> str:
    differing = [n for n in {**first, **described} if first.get(n) != described.get(n)]
    what = " and ".join(f"{n} is {described.get(n)}, not {first.get(n)}" for n in differing)
    return (
        f"frame {number} differs from the first: {what}; write a file for each frame, in one folder"
    )


def _expected(value: object) -> str:
    return f", mdn_cupy.Fields(confidence, offsets, ...), got {kind_of(value)}"
