"""Zarr groups, version 2 or 3, in a folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from mdn_cupy.io.contents import Contents, Refusal, missing

__all__ = ["KIND", "SUFFIXES", "contents", "is_zarr"]

KIND = "Zarr"
SUFFIXES = (".zarr",)

_METADATA = ("zarr.json", ".zgroup", ".zarray")


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a Zarr group or array."""
    return any(os.path.isfile(path / name) for name in _METADATA)


def contents(path: Path | str) -> Contents:
    """Open a Zarr group in a folder or at a URL; only the chunks that hold a frame are read."""
    try:
        import zarr
    except ModuleNotFoundError:
        missing(Path(path), KIND, "zarr", "io")
    local = "://" not in str(path)
    if local:
        Path(path).stat()
    if local and not is_zarr(Path(path)):
        raise Refusal(f"not a Zarr group: it has none of {', '.join(_METADATA)}")
    group = zarr.open(store=path, mode="r")
    if not isinstance(group, zarr.Group):
        return Contents(KIND, {Path(path).name: group}, dict(group.attrs))
    values: dict[str, Any] = dict(group.attrs)
    arrays: dict[str, Any] = {}
    with warnings.catch_warnings(action="ignore"):  # about files that are not Zarr's
        members = group.members(max_depth=None)
    for name, item in members:
        if isinstance(item, zarr.Array):
            arrays[name] = item
        else:
            values.update({f"{name}/{key}": value for key, value in item.attrs.items()})
    return Contents(KIND, arrays, values)
