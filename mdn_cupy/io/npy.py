"""One array in a `.npy` file."""

from __future__ import annotations

from pathlib import Path

from mdn_cupy.io.contents import RawArray, expect_size, npy_header

__all__ = ["KIND", "SUFFIXES", "read_array"]

KIND = ".npy"
SUFFIXES = (".npy",)


def read_array(path: Path) -> RawArray:
    """Open a `.npy` file; only its header is read."""
    with path.open("rb") as file:
        shape, fortran, dtype = npy_header(file)
        start = file.tell()
    expect_size("the array", shape, dtype, path.stat().st_size - start, more=True)
    return RawArray(path, start, shape, dtype, fortran)
