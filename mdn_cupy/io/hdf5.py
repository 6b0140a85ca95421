"""HDF5 files: datasets by their paths, attributes as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdn_cupy.io.contents import Contents, missing

__all__ = ["KIND", "SUFFIXES", "contents", "of_group"]

KIND = "HDF5"
SUFFIXES = (".h5", ".hdf5", ".hdf")


def contents(path: Path) -> Contents:
    """Open an HDF5 file; a frame is read as one hyperslab. What is `h5py.Empty` is not there."""
    try:
        import h5py
    except ModuleNotFoundError:
        missing(path, KIND, "h5py", "io")
    return of_group(h5py.File(path, "r"))


def of_group(group: Any) -> Contents:
    """Return what an open group holds, in groups of its own too."""
    import h5py

    arrays: dict[str, Any] = {}
    values: dict[str, Any] = dict(group.attrs)

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            values.update({f"{name}/{key}": value for key, value in item.attrs.items()})
        elif item.shape is not None:
            arrays[name] = item

    group.visititems(visit)
    values = {name: value for name, value in values.items() if not isinstance(value, h5py.Empty)}
    return Contents(KIND, arrays, values)
