"""Zarr stores that are written by whole shards, and go on where a run was stopped.

A shard is one object of the store and put there by one call, of one task: it is whole or not there.
So the shards that are there are those that are done, and no other book is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import zarr
from dask.highlevelgraph import HighLevelGraph
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.core.sync import sync
from zarr.errors import BaseZarrError, ContainsArrayError, ContainsGroupError

from mdn_cupy.arrays import to_numpy
from mdn_cupy.dask.blocks import check_dask
from mdn_cupy.dask.graph import promises
from mdn_cupy.dask.lazy import lazily, local, read
from mdn_cupy.dask.reading import zarr_array
from mdn_cupy.dask.scheduling import Progress, computed
from mdn_cupy.files import explained_full

__all__ = ["stored", "to_zarr"]

_LEAST = 512  # pixels of a side: the pyramid ends where a level is no larger
_INNER = 512  # pixels of a side of the chunks in a shard, at most
_FINEST = 128  # pixels of a side of a shard that is written together with the one it is made of
_CODEC = BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.shuffle)  # 2/3 of Zstandard's time
_NAME = "mdn_cupy"
_REDUCED = {"image": "maximum", "labels": "nearest"}  # what a pyramid has of four pixels
_NOT_JSON = (json.JSONDecodeError, UnicodeDecodeError)


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
        Of 2 to 5 axes. Its chunks are all of one size but for the last ones, and become the shards.
    url : str or path
        A folder, or any URL that fsspec knows.
    fingerprint : dict, optional
        Texts and numbers on which the values depend, as JSON has them; by default the array's name,
        which is a hash of its graph. A store of another fingerprint, or of votes with another
        promised reach, is not touched, unless it has no shard yet.
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
    TypeError
        If it is no Dask array, or not of real numbers, or the fingerprint is not of JSON.
    ValueError
        If the array has other axes, the chunks are no shards, or there is a store of other
        arguments or inputs, or of damaged metadata.
    OSError
        If the store cannot be written; what was written stays, and the same call goes on from it.
    """
    check_dask("array", array)
    url = local(url)
    if kind not in _REDUCED:
        raise ValueError(f"kind must be one of {', '.join(map(repr, _REDUCED))}, got {kind!r}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"array must be of real numbers, got {array.dtype}")
    if not 2 <= array.ndim <= 5:
        raise ValueError(
            f"array must have 2 to 5 axes, (..., H, W), got the shape {array.shape}; "
            "reshape it, such as array[None] for one more"
        )
    shard = _shard(array)
    said = {"name": array.name} if fingerprint is None else fingerprint
    said = {**said, "chunks": shard, "shape": array.shape, "reach": promises(array)}
    said = _as_json(said)
    levels = _levels(array.shape, shard) if pyramid else [_Level(array.shape, shard)]
    computed = first = 0
    with explained_full(str(url)):
        said = _begin(url, said, levels, array.dtype, kind)
        while first < len(levels):
            last = first + 1
            while last < len(levels) and levels[last].is_together:
                last += 1
            source = array if not first else _above(url, first, levels[first], kind)
            computed += _complete(source, url, said, range(first, last), kind, progress)
            first = last
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

    Raises
    ------
    ValueError
        If the metadata is damaged.
    """
    url = local(url)
    group = _group(url)
    said = None if group is None else dict(group.attrs).get(_NAME)
    wanted = _as_json(fingerprint or {})
    if group is None or not isinstance(said, dict):
        return None
    if any(said.get(n) != x for n, x in wanted.items()):
        return None
    levels: list[Any] = []
    with _explained(url):
        for dataset in dict(group.attrs)["ome"]["multiscales"][0]["datasets"]:
            if dataset["path"] not in group:
                return None
            levels.append(group[dataset["path"]])
    arrays = [zarr_array(each, each.shards, said) for each in levels]
    for each, array in zip(levels, arrays, strict=True):
        if not all(_is_whole(each, n) for n in np.ndindex(*array.numblocks)):
            return None
    return arrays[0]


def _as_json(fingerprint: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(json.dumps(fingerprint))
    except (TypeError, ValueError) as error:
        raise TypeError(f"fingerprint must be of texts and numbers ({error})") from None
    return found


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


class _Level(NamedTuple):
    """A level of a pyramid."""

    shape: tuple[int, ...]
    shard: tuple[int, ...]
    is_together: bool = False  # a shard is written by the task that writes the one it is made of


def _levels(shape: tuple[int, ...], shard: tuple[int, ...]) -> list[_Level]:
    """The levels of a pyramid. Shards are halved with the levels, as long as they can be."""
    found = [_Level(tuple(shape), shard)]
    while max(found[-1].shape[-2:]) > _LEAST:
        *leading, height, width = found[-1].shape
        *ones, down, across = found[-1].shard
        together = all(n % 2 == 0 and n >= 2 * _FINEST for n in (down, across))
        part = (*ones, down // 2, across // 2) if together else shard
        found.append(_Level((*leading, -(-height // 2), -(-width // 2)), part, together))
    return found


def _begin(
    url: str | Path,
    said: dict[str, Any],
    levels: list[_Level],
    dtype: Any,
    kind: str,
) -> dict[str, Any]:
    """Create the store, or what it lacks of the same fingerprint; return the store's own."""
    group = _group(url)
    there: set[int] = set()
    before = None if group is None else dict(group.attrs).get(_NAME)
    if before == {**said, "reach": []}:
        said = before  # shards of a measured reach are right whatever is promised
    if group is None:
        _refuse_others(url)
    else:
        with _explained(url):
            if before == said:
                there = {number for number in range(len(levels)) if str(number) in group}
            elif not isinstance(before, dict):
                raise ValueError(
                    f"{url}: there is a store that was not written by mdn-cupy; name another output"
                )
            elif any(_is_begun(each) for _, each in group.members()):
                raise ValueError(
                    f"{url}: {_difference(before, said)}; delete it, or name another output"
                )
    if before != said:
        # The group comes first: a run that is stopped here goes on with the arrays that it lacks.
        attributes = {"ome": _ome([level.shape for level in levels], kind), _NAME: said}
        try:
            zarr.create_group(str(url), attributes=attributes, overwrite=group is not None)
        except ContainsGroupError:  # another run has made it meanwhile
            return _begin(url, said, levels, dtype, kind)
    for number, level in enumerate(levels):
        if number in there:
            continue
        with suppress(ContainsArrayError):  # made meanwhile by a run of the same fingerprint
            zarr.create_array(
                str(url),
                name=str(number),
                shape=level.shape,
                shards=level.shard,
                chunks=_inner(level.shard),
                compressors=_CODEC,
                dtype=dtype,
                fill_value=0,
                dimension_names=_axes(len(level.shape)),
            )
    return said


def _group(url: str | Path) -> Any:
    """The store, to read; None where it is not there."""
    if not isinstance(url, str | os.PathLike):
        raise TypeError(f"url must be a str or os.PathLike, got {type(url).__name__}")
    with _explained(url):
        try:
            return zarr.open_group(str(url), mode="r", zarr_format=3)
        except FileNotFoundError:
            return None


@contextmanager
def _explained(url: str | Path) -> Iterator[None]:
    """Name the store, and what to do, where its metadata cannot be read."""
    try:
        yield
    except (BaseZarrError, LookupError, TypeError, AttributeError, *_NOT_JSON) as error:
        if isinstance(error, OSError):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{url}: its metadata is not that of a store of mdn-cupy ({reason}): is a zarr.json "
            "damaged? Delete the store, or name another output"
        ) from error


def _is_begun(member: Any) -> bool:
    """Whether an array has a shard; a group, which this module never writes, counts as one."""
    return not isinstance(member, zarr.Array) or member.nchunks_initialized > 0


def _refuse_others(url: str | Path) -> None:
    """Raise ValueError for a file, or a folder of something else, where a store is to be."""
    if "://" not in str(url):
        path = Path(url)
        if path.is_file() or (path.is_dir() and os.listdir(path)):
            raise ValueError(f"{url}: there is something else; name another output")


def _difference(before: dict[str, Any], said: dict[str, Any]) -> str:
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
        "type": _REDUCED[kind],
    }
    labels: dict[str, Any] = {"image-label": {}} if kind == "labels" else {}
    return {"version": "0.5", "multiscales": [scales], **labels}


def _above(url: str | Path, number: int, level: _Level, kind: str) -> da.Array:
    """A level of a pyramid, made of the one below, which lies in the store."""
    below = zarr.open_array(str(url), path=str(number - 1), mode="r", zarr_format=3)
    meta = np.empty((0,) * len(level.shape), below.dtype)
    said = {"array": str(below.store_path), "kind": kind}
    return lazily(partial(_reduced, below, kind), level.shape, level.shard, meta, said)


def _reduced(below: Any, kind: str, index: tuple[slice, ...]) -> Any:
    rows = (slice(2 * part.start, 2 * part.stop) for part in index[-2:])
    return _halved(read(below, (*index[:-2], *rows)), kind)


def _halved(values: Any, kind: str) -> Any:
    """Every second pixel of labels, the maximum of each four pixels of others."""
    if kind == "labels":
        return values[..., ::2, ::2]
    if values.shape[-2] % 2 or values.shape[-1] % 2:
        margin = [(0, 0)] * (values.ndim - 2) + [(0, n % 2) for n in values.shape[-2:]]
        values = np.pad(values, margin, mode="edge")
    rows = np.maximum(values[..., ::2, :], values[..., 1::2, :])
    return np.maximum(rows[..., ::2], rows[..., 1::2])


def _complete(
    array: da.Array,
    url: str | Path,
    said: dict[str, Any],
    levels: range,
    kind: str,
    progress: Progress | None,
) -> int:
    """Compute the shards of a level that are missing or damaged, and those made of them in the same
    task; say how many of the first level."""
    # A shard that is not there is not done, of zeros too; open_array ignores config= (zarr 3.1.6).
    with zarr.config.set({"array.write_empty_chunks": True}):
        targets = [zarr.open_array(str(url), path=str(n), mode="r+", zarr_format=3) for n in levels]
    for n in levels:
        _sweep(url, n)
    numbers = list(np.ndindex(*array.numblocks))
    missing = [n for n in numbers if not all(_is_whole(target, n) for target in targets)]
    name = str(levels[0])
    key = f"mdn-shard-{name}-{array.name}"
    write = partial(_write, url, said, targets, kind)
    layer = {(key, *n): (partial(write, n), (array.name, *n)) for n in missing}
    graph = HighLevelGraph.from_collections(key, layer, dependencies=[array])
    computed(graph, list(layer), name, progress, len(numbers) - len(missing))
    return len(missing)


def _region(target: Any, number: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a shard lies."""
    sizes = zip(number, target.shards, target.shape, strict=True)
    return tuple(slice(n * size, min((n + 1) * size, whole)) for n, size, whole in sizes)


def _write(
    url: str | Path,
    said: dict[str, Any],
    targets: list[Any],
    kind: str,
    number: tuple[int, ...],
    block: Any,
) -> None:
    """Write a shard, after those of the levels that are made of it."""
    group = _group(url)
    now = {} if group is None else dict(group.attrs).get(_NAME, {})
    if now != said:  # a store without a shard may be begun by another run
        reason = _difference(now, said) if now else "it was deleted"
        raise ValueError(f"{url}: {reason}, since this run began; name another output")
    shards = [to_numpy(block)]
    for _ in targets[1:]:
        shards.append(_halved(shards[-1], kind))
    for target, values in zip(reversed(targets), reversed(shards), strict=True):
        region = _region(target, number)
        try:
            try:
                target[region] = values
            except FileNotFoundError:  # another run that begins has swept it up
                target[region] = values
        except OSError as error:
            if error.errno is not None and error.filename is None:
                error.filename = str(target.store_path)
            raise


def _is_whole(target: Any, number: tuple[int, ...]) -> bool:
    """Say whether a shard is there with its index, its last bytes; delete one that is cut off."""
    place = target.store_path / target.metadata.encode_chunk_key(number)
    if not sync(place.exists()):
        return False
    corner = tuple(slice(s.start, s.start + 1) for s in _region(target, number))
    with suppress(ValueError):  # which names what cannot be read
        if sync(place.store.getsize(place.path)):  # zarr reads zeros of a file without a byte
            read(target, corner)
            return True
    if not target.read_only:
        sync(place.delete())
    return False


def _sweep(url: str | Path, level: int) -> None:
    """Delete what a killed process left of shards that it was writing."""
    folder = Path(str(url)) / str(level)
    if "://" not in str(url) and folder.is_dir():
        for left in folder.rglob("*.partial"):
            left.unlink(missing_ok=True)
