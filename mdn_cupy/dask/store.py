"""Zarr stores that are written by whole shards, and go on where a run was stopped.

A shard is one object of the store and put there by one call, of one task: it is whole or not there.
So the shards that are there are those that are done, and no other book is kept.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph
from zarr.core.sync import sync

from mdn_cupy.arrays import to_numpy
from mdn_cupy.dask.reading import lazily, read

__all__ = ["stored", "to_zarr"]

_LEAST = 512  # pixels of a side: the pyramid ends where a level is no larger
_INNER = 512  # pixels of a side of the chunks in a shard, at most
_NAME = "mdn_cupy"

Progress = Callable[[str, int, int], None]


def to_zarr(
    array: da.Array,
    url: str | Path,
    *,
    fingerprint: dict[str, Any] | None = None,
    pyramid: bool = True,
    kind: str = "image",
    progress: Progress | None = None,
) -> int:
    """Write maps as OME-Zarr 0.5, a shard for each of their chunks, with a pyramid of maxima.

    A store that the same call has begun is completed: the shards that are there are read to see
    that they are whole, and not computed again.

    Parameters
    ----------
    array : dask array [..., H, W]
        Its chunks are all of one size but for the last ones, and become the shards.
    url : str or path
        A folder, or any URL that fsspec knows.
    fingerprint : dict, optional
        Texts and numbers on which the values depend, as JSON has them; by default the array's name,
        which is a hash of its graph. A store of another fingerprint is not touched.
    pyramid : bool
        Write levels of half the size, each pixel the maximum of four, down to 512 pixels.
    kind : {'image', 'labels'}
        What the array is called in the metadata; of labels a pyramid takes every second pixel.
    progress : callable, optional
        Called with the name of a level, the shards done and the shards there are.

    Returns
    -------
    int
        How many shards were computed, those of the pyramid too.

    Raises
    ------
    ValueError
        If the chunks are no shards, or there is a store of other arguments or inputs.
    OSError
        If the store cannot be written; what was written stays, and the same call goes on from it.
    """
    shard = _shard(array)
    said = {"name": array.name} if fingerprint is None else fingerprint
    said = json.loads(json.dumps({**said, "chunks": shard, "shape": array.shape}))
    shapes = _levels(array.shape) if pyramid else [array.shape]
    _begin(url, said, shapes, shard, array.dtype, kind)
    computed = 0
    for level, shape in enumerate(shapes):
        if level:
            below = zarr.open_array(str(url), path=str(level - 1), mode="r", zarr_format=3)
            source = _halved(below, shape, shard, kind)
        else:
            source = array
        computed += _complete(source, url, level, progress)
    return computed


def stored(url: str | Path, fingerprint: dict[str, Any] | None = None) -> da.Array | None:
    """Return maps that `to_zarr` has written with a fingerprint, as they lie there.

    Parameters
    ----------
    url : str or path
        Of the store.
    fingerprint : dict, optional
        What was given to `to_zarr`; any, if left out.

    Returns
    -------
    dask array [..., H, W] or None
        In the store's shards; None where it is not there or not complete.
    """
    try:
        group = zarr.open_group(str(url), mode="r", zarr_format=3)
    except FileNotFoundError:
        return None
    said = dict(group.attrs).get(_NAME)
    wanted = json.loads(json.dumps(fingerprint or {}))
    if not isinstance(said, dict) or any(said.get(n) != x for n, x in wanted.items()):
        return None
    levels: list[Any] = [group[str(n)] for n in range(len(list(group.array_keys())))]
    arrays = [lazily(each, each.shards, said) for each in levels]
    for each, array in zip(levels, arrays, strict=True):
        if not all(_is_whole(each, array, n) for n in np.ndindex(*array.numblocks)):
            return None
    return arrays[0]


def _shard(array: da.Array) -> tuple[int, ...]:
    """The size of the chunks, which have one size but for the last ones."""
    for axis, chunks in enumerate(array.chunks):
        if len({*chunks[:-1]}) > 1 or chunks[-1] > chunks[0]:
            raise ValueError(
                f"chunks must be of one size, and the last one no larger, to be shards; got "
                f"{chunks} along axis {axis}; vote with chunks={chunks[0]}, or rechunk"
            )
    return tuple(int(max(chunks[0], 1)) for chunks in array.chunks)


def _inner(shard: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of at most 512 pixels a side that divide a shard."""
    rows = []
    for size in shard[-2:]:
        parts = next(n for n in range(-(-size // _INNER), size + 1) if size % n == 0)
        rows.append(size // parts)
    return (1,) * (len(shard) - 2) + tuple(rows)


def _levels(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    found = [tuple(shape)]
    while max(found[-1][-2:]) > _LEAST:
        *leading, height, width = found[-1]
        found.append((*leading, -(-height // 2), -(-width // 2)))
    return found


def _begin(
    url: str | Path,
    said: dict[str, Any],
    shapes: list[tuple[int, ...]],
    shard: tuple[int, ...],
    dtype: Any,
    kind: str,
) -> None:
    """Create the store, or see that it is of the same fingerprint."""
    try:
        before = dict(zarr.open_group(str(url), mode="r", zarr_format=3).attrs).get(_NAME)
    except FileNotFoundError:
        _refuse_others(url)
    else:
        if before != said:
            raise ValueError(f"{url}: {_difference(before, said)}; name another output")
        return
    for level, shape in enumerate(shapes):
        zarr.create_array(
            str(url),
            name=str(level),
            shape=shape,
            shards=shard,
            chunks=_inner(shard),
            dtype=dtype,
            fill_value=0,
            overwrite=True,
            dimension_names=_axes(len(shape)),
        )
    # The group comes last: a store that has a fingerprint has all its arrays.
    attributes = {"ome": _ome(shapes, kind), _NAME: said}
    group = zarr.open_group(str(url), mode="a", zarr_format=3)
    group.attrs.update(attributes)


def _refuse_others(url: str | Path) -> None:
    """Raise ValueError for a file, or a folder of something else, where a store is to be."""
    if "://" not in str(url):
        path = Path(url)
        if path.is_file() or (path.is_dir() and {*os.listdir(path)} - {"zarr.json", "0"}):
            raise ValueError(f"{url}: there is something else; name another output")


def _difference(before: Any, said: dict[str, Any]) -> str:
    if not isinstance(before, dict):
        return "there is a store that was not written by mdn-cupy"
    names = [n for n in {**before, **said} if before.get(n) != said.get(n)]
    shown = ", ".join(f"{n} {before.get(n)!r} instead of {said.get(n)!r}" for n in names[:3])
    return f"there is a result of other arguments or inputs ({shown})"


def _axes(count: int) -> list[str]:
    names = ["t", "c", "z"]
    return [*names[max(0, 3 - (count - 2)) :][: count - 2], "y", "x"]


def _ome(shapes: list[tuple[int, ...]], kind: str) -> dict[str, Any]:
    """The metadata of OME-Zarr 0.5: a pixel of level n is the size of 2ⁿ, and so is its centre."""
    count = len(shapes[0])
    types = {"t": "time", "c": "channel"}
    leading = [1.0] * (count - 2)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*leading, 2.0**level, 2.0**level]},
                {
                    "type": "translation",
                    "translation": [*(0.0 for _ in leading), *[(2.0**level - 1) / 2] * 2],
                },
            ],
        }
        for level in range(len(shapes))
    ]
    scales = {
        "name": kind,
        "axes": [{"name": name, "type": types.get(name, "space")} for name in _axes(count)],
        "datasets": datasets,
        "type": "nearest" if kind == "labels" else "maximum",
    }
    labels: dict[str, Any] = {"image-label": {}} if kind == "labels" else {}
    return {"version": "0.5", "multiscales": [scales], **labels}


def _halved(below: Any, shape: tuple[int, ...], shard: tuple[int, ...], kind: str) -> Any:
    """The next level of a pyramid, lazily, in shards."""
    chunks = tuple(
        tuple(min(size, n - start) for start in range(0, n, size))
        for n, size in zip(shape, shard, strict=True)
    )
    name = f"mdn-pyramid-{dask.base.tokenize(str(below.store_path), shape)}"
    layer = {}
    for block in np.ndindex(*map(len, chunks)):
        start = [n * size for n, size in zip(block, shard, strict=True)]
        stop = [s + c[n] for s, c, n in zip(start, chunks, block, strict=True)]
        index = tuple(map(slice, start[:-2], stop[:-2]))
        rows = (slice(2 * a, 2 * b) for a, b in zip(start[-2:], stop[-2:], strict=True))
        layer[(name, *block)] = (partial(_reduced, below, (*index, *rows), kind),)
    return da.Array(
        HighLevelGraph({name: layer}, {name: set()}),
        name,
        chunks=chunks,
        meta=np.empty((0,) * len(shape), below.dtype),
        dtype=below.dtype,
    )


def _reduced(below: Any, index: tuple[slice, ...], kind: str) -> Any:
    values = read(below, index)
    if kind == "labels":
        return values[..., ::2, ::2]
    margin = [(0, 0)] * (values.ndim - 2) + [(0, n % 2) for n in values.shape[-2:]]
    values = np.pad(values, margin, mode="edge")
    rows = np.maximum(values[..., ::2, :], values[..., 1::2, :])
    return np.maximum(rows[..., ::2], rows[..., 1::2])


def _complete(array: da.Array, url: str | Path, level: int, progress: Progress | None) -> int:
    """Compute the shards of a level that are missing or damaged, and say how many."""
    target = zarr.open_array(
        str(url), path=str(level), mode="r+", zarr_format=3, config={"write_empty_chunks": True}
    )
    _sweep(url, level)
    missing = [n for n in np.ndindex(*array.numblocks) if not _is_whole(target, array, n)]
    if progress is not None:
        progress(str(level), array.npartitions - len(missing), array.npartitions)
    if not missing:
        return 0
    name = f"mdn-shard-{level}-{array.name}"
    layer = {
        (name, *number): (partial(_write, target, _region(array, number)), (array.name, *number))
        for number in missing
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[array])
    count = itertools.count(array.npartitions - len(missing) + 1)

    def done() -> None:
        if progress is not None:
            progress(str(level), next(count), array.npartitions)

    _compute(graph, list(layer), done)
    return len(missing)


def _region(array: da.Array, number: tuple[int, ...]) -> tuple[slice, ...]:
    starts = [sum(c[:n]) for c, n in zip(array.chunks, number, strict=True)]
    sizes = [c[n] for c, n in zip(array.chunks, number, strict=True)]
    return tuple(slice(s, s + n) for s, n in zip(starts, sizes, strict=True))


def _write(target: Any, region: tuple[slice, ...], block: Any) -> None:
    target[region] = to_numpy(block)


def _is_whole(target: Any, array: da.Array, number: tuple[int, ...]) -> bool:
    """Say whether a shard is there with its index, its last bytes; delete one that is cut off."""
    place = target.store_path / target.metadata.encode_chunk_key(number)
    if not sync(place.exists()):
        return False
    corner = tuple(slice(s.start, s.start + 1) for s in _region(array, number))
    try:
        read(target, corner)
    except ValueError:
        if not target.read_only:
            sync(place.delete())
        return False
    return True


def _sweep(url: str | Path, level: int) -> None:
    """Delete what a killed process left of shards that it was writing."""
    folder = Path(str(url)) / str(level)
    if "://" not in str(url) and folder.is_dir():
        for left in folder.rglob("*.partial"):
            left.unlink(missing_ok=True)


def _compute(graph: HighLevelGraph, keys: list[Any], done: Callable[[], None]) -> None:
    """Compute keys with the scheduler in force, and call after each."""
    client = _client()
    if client is not None:
        distributed = sys.modules["distributed"]
        futures = client.get(da.Array.__dask_optimize__(graph, keys), keys, sync=False)
        try:
            for future in distributed.as_completed(futures):
                future.result()
                done()
        finally:
            client.cancel(futures)
        return
    wanted = set(keys)

    def after(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        if key in wanted:
            done()

    with Callback(posttask=after):
        dask.base.compute_as_if_collection(da.Array, graph, keys)


def _client() -> Any:
    """The cluster to which Dask sends its work, if there is one."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in (None, "dask.distributed"):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None
