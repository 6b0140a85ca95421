"""Fields in a Zarr store as Dask arrays: nothing is read before it is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from mdn_cupy.dask.lazy import lazily, read
from mdn_cupy.io import naming
from mdn_cupy.io.contents import Refusal, explained
from mdn_cupy.io.zarr import contents
from mdn_cupy.validation import per_axis

__all__ = ["LazyFields", "fingerprint_of", "open_fields", "zarr_array"]

_BESIDE = ("stride", "origin", "sigma", "output_shape")


@dataclass(frozen=True)
class LazyFields:
    """Fields that were not read yet: what `open_fields` returns.

    Attributes
    ----------
    confidence : dask array [..., H, W]
        Confidences.
    offsets : dask array [..., 2, H, W]
        Offsets, in the same chunks.
    sigma : float
        A width that suits them.
    geometry : dict
        The options stride, origin and output_shape of the functions of `mdn_cupy.dask`.
    fingerprint : dict
        Which files these are: another content has another one.
    """

    confidence: da.Array
    offsets: da.Array
    sigma: float
    geometry: Mapping[str, Any]
    fingerprint: Mapping[str, Any]


def open_fields(
    url: str | Path,
    *,
    chunks: int | Sequence[int] | None = None,
    confidence: str | None = None,
    offsets: str | None = None,
) -> LazyFields:
    """Open the fields in a Zarr group, of version 2 or 3, as Dask arrays.

    Parameters
    ----------
    url : str or path
        A folder, or any URL that fsspec knows.
    chunks : int or (int, int), optional
        Rows and columns of the chunks; by default the shards of the confidence, or its chunks.
    confidence, offsets : str, optional
        Names of the two arrays, [..., H, W] and [..., 2, H, W]; by default found as
        `mdn_cupy.open_fields` finds them.

    Returns
    -------
    LazyFields
        With the numbers stride, origin, sigma and output_shape of the group, where it has them.

    Raises
    ------
    OSError
        If there is nothing there, or it cannot be read.
    ValueError
        If it is no Zarr group or holds no such fields; the message begins with the URL.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import zarr
    >>> import mdn_cupy as mdn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     group = zarr.open_group(f"{folder}/slide.zarr")
    ...     _ = group.create_array("confidence", data=np.full((300, 400), 0.5, np.float16))
    ...     _ = group.create_array("offsets", data=np.zeros((2, 300, 400), np.float16))
    ...     fields = mdn.dask.open_fields(f"{folder}/slide.zarr", chunks=256)
    ...     m = mdn.dask.noisy_or(fields.confidence, fields.offsets, 2.0, **fields.geometry)
    ...     m.chunks, bool(m.compute().min() > 0.9)
    (((256, 44), (256, 144)), True)
    """
    with explained(Path(str(url)), "Zarr"):
        found = contents(url)
        names = {
            role: naming.chosen(found, role, given)
            for role, given in (("confidence", confidence), ("offsets", offsets))
        }
        c, o = (found.arrays[name] for name in names.values())
        for name, array in zip(names.values(), (c, o), strict=True):
            if np.dtype(array.dtype).kind != "f":
                raise Refusal(f"{name} must be of a floating dtype, got {array.dtype}")
        if len(c.shape) < 2 or tuple(o.shape) != (*c.shape[:-2], 2, *c.shape[-2:]):
            raise Refusal(
                f"offsets ({names['offsets']}) must have the shape (..., 2, H, W) for the "
                f"confidence {tuple(c.shape)}, got {tuple(o.shape)}"
            )
        group = names["confidence"].rpartition("/")[0]
        beside: dict[str, Any] = {}
        for name in _BESIDE:
            member = found.beside(group, name)
            if member is not None:
                values = np.asarray(member[...], np.float64).reshape(-1).tolist()
                beside[name] = values[0] if len(values) == 1 else tuple(values)
        if not isinstance(beside.get("sigma", 2.0), float):
            raise Refusal("sigma must be a number; give --sigma or sigma=")
        geometry: dict[str, Any]
        geometry = {n: per_axis(n, beside.get(n, x)) for n, x in (("stride", 1.0), ("origin", 0.0))}
        if "output_shape" in beside:
            geometry["output_shape"] = tuple(map(int, beside["output_shape"]))
    own: Any = getattr(c, "shards", None) or getattr(c, "chunks", c.shape)
    grid = own[-2:] if chunks is None else np.broadcast_to(chunks, 2).tolist()
    leading = own[:-2]
    said = fingerprint_of(url, [*names.values()])
    return LazyFields(
        zarr_array(c, (*leading, *grid), said),
        zarr_array(o, (*leading, 2, *grid), said),
        float(beside.get("sigma", 2.0)),
        geometry,
        said,
    )


def zarr_array(array: Any, chunks: Sequence[int], said: Mapping[str, Any]) -> da.Array:
    """Return a Zarr array as a Dask array in chunks, with a fingerprint of what it holds."""
    meta = np.empty((0,) * array.ndim, array.dtype)
    named = {"array": str(array.store_path), **said}
    return lazily(partial(read, array), array.shape, chunks, meta, named)


def fingerprint_of(url: str | Path, names: list[str]) -> dict[str, Any]:
    """Describe arrays of a store so that another content has another description.

    Parameters
    ----------
    url : str or path
        Of the store.
    names : list of str
        Of the arrays in it.

    Returns
    -------
    dict
        The path, and of all files of the arrays the number, the bytes and the time of the last
        change.
    """
    import fsspec

    filesystem, root = fsspec.url_to_fs(str(url))
    count = size = 0
    latest = ""
    for name in names:
        for found in filesystem.find(f"{root}/{name}", detail=True).values():
            count, size = count + 1, size + int(found.get("size") or 0)
            changed = found.get("mtime") or found.get("LastModified") or found.get("ETag") or ""
            latest = max(latest, str(changed))
    return {"input": str(root), "files": count, "bytes": size, "changed": latest}
