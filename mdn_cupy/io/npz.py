"""NPZ archives: `.mdn` files, and those of `numpy.savez` and `numpy.savez_compressed`."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.io.contents import PICKLED, Contents, RawArray, Refusal, expect_size, npy_header

__all__ = ["KIND", "SUFFIXES", "contents"]

KIND = ".mdn"
SUFFIXES = (".mdn", ".npz")

_LOCAL_HEADER = 30  # bytes, before the entry's name and extra field


class _PackedArray:
    """A compressed entry. Frames in order cost one pass over it; a step back reads it again."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._stream = archive.open(info)
        self.shape, self._fortran, self.dtype = npy_header(self._stream)  # type: ignore[arg-type]
        self._start = self._stream.tell()
        expect_size(info.filename, self.shape, self.dtype, info.file_size - self._start)

    def __getitem__(self, index: int | EllipsisType) -> npt.NDArray[Any]:
        if self.dtype.hasobject:
            raise Refusal(PICKLED)
        if self._fortran and len(self.shape) > 1:  # a frame's numbers lie apart from each other
            return np.array(self._read(0, self.shape[::-1]).T[index])
        if index is ...:
            return self._read(0, self.shape)
        return self._read(index, self.shape[1:])

    def _read(self, index: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        size = math.prod(shape) * self.dtype.itemsize
        self._stream.seek(self._start + index * size)
        return np.frombuffer(bytearray(self._stream.read(size)), self.dtype).reshape(shape)


def contents(path: Path) -> Contents:
    """Open an NPZ archive; only the headers of its arrays are read.

    Entries that are not compressed are read frame by frame from where they lie.
    """
    if not zipfile.is_zipfile(path):
        raise Refusal(f"not a readable {path.suffix.lower() or KIND} file (not an NPZ archive)")
    archive = zipfile.ZipFile(path)
    entries = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    return Contents(
        KIND,
        {i.filename.removesuffix(".npy"): _member(path, archive, i) for i in entries},
    )


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> RawArray | _PackedArray:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return _PackedArray(archive, info)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER:
            raise Refusal(f"cut off before {info.filename}")
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        begin = info.header_offset + _LOCAL_HEADER + name + extra
        file.seek(begin)
        shape, fortran, dtype = npy_header(file)
        start = file.tell()
    expect_size(info.filename, shape, dtype, info.file_size - (start - begin))
    return RawArray(path, start, shape, dtype, fortran)
