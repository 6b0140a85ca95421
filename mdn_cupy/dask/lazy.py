"""Arrays of a Zarr store as Dask arrays, of which a task reads the part that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks, slices_from_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

__all__ = [
    "Index",
    "Read",
    "StoredArray",
    "chunk_sizes",
    "lazily",
    "local",
    "read",
    "shown",
    "stored_array",
    "stored_arrays",
]

Index = tuple[slice, ...]
Read = Callable[[Index], Any]


@dataclass(frozen=True)
class StoredArray:
    """How the chunks of a Dask array are read from a store: whole, or a part of one.

    Attributes
    ----------
    read : callable
        Takes slices of the array and returns that part of it.
    chunks : dict
        The slices of each chunk, by its number.
    said : dict
        A fingerprint of what is read.
    """

    read: Read
    chunks: Mapping[tuple[int, ...], Index]
    said: Mapping[str, Any]


class _Reads(MaterializedLayer):  # type: ignore[misc]
    """The layer of a stored array, one read for each chunk."""

    def __init__(self, name: str, source: StoredArray) -> None:
        super().__init__({(name, *n): (source.read, index) for n, index in source.chunks.items()})
        self.source = source


def stored_array(array: da.Array) -> StoredArray | None:
    """Return how an array of `lazily` is read; None for what was computed from one."""
    layer = array.__dask_graph__().layers.get(array.name)
    return layer.source if isinstance(layer, _Reads) else None


def stored_arrays(array: da.Array) -> list[StoredArray]:
    """Return how all arrays of `lazily` are read of which an array is computed."""
    layers = array.__dask_graph__().layers.values()
    return [layer.source for layer in layers if isinstance(layer, _Reads)]


def lazily(
    read: Read,
    shape: Sequence[int],
    chunks: Sequence[int],
    meta: Any,
    said: Mapping[str, Any],
) -> da.Array:
    """Return what a function reads as a Dask array, one read for each chunk.

    Parameters
    ----------
    read : callable
        Takes slices and returns that part.
    shape, chunks : sequence of int
        Along each axis.
    meta : array
        Of the library and dtype that `read` returns.
    said : dict
        A fingerprint of what is read, which goes into the name.
    """
    settled = normalize_chunks(tuple(chunks), tuple(shape), dtype=meta.dtype)
    name = f"mdn-read-{tokenize(settled, str(meta.dtype), dict(said))}"
    numbers = np.ndindex(*map(len, settled))
    source = StoredArray(read, dict(zip(numbers, slices_from_chunks(settled), strict=True)), said)
    graph = HighLevelGraph({name: _Reads(name, source)}, {name: set()})
    return da.Array(graph, name, chunks=settled, meta=meta, dtype=meta.dtype)


def local(url: str | Path) -> str | Path:
    """Return the path that a URL of a local file names; what else is given, as it is.

    Zarr makes no folders at such a URL, and writes no whole files.
    """
    if not str(url).startswith(("file://", "local://")):
        return url
    from fsspec.core import strip_protocol

    return str(strip_protocol(str(url)))


def chunk_sizes(chunks: Any, shape: Sequence[int], dtype: Any) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of chunks along each axis, as Dask does; ValueError for what is no size."""
    try:
        if isinstance(chunks, Mapping):
            pairs = [(size, shape[axis]) for axis, size in chunks.items()]
        elif np.iterable(chunks) and not isinstance(chunks, str):
            pairs = list(zip(chunks, shape, strict=True))
        else:
            pairs = [(chunks, length) for length in shape]
        for size, length in pairs:
            is_number = isinstance(size, int | float | np.number)
            is_flag = isinstance(size, bool | np.bool_)
            if is_flag or (is_number and size < min(length, 1) and size != -1):
                raise ValueError(f"{size} is none")
        found: tuple[tuple[int, ...], ...] = normalize_chunks(chunks, tuple(shape), dtype=dtype)
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            "chunks must be numbers of at least 1, -1 for a whole axis, or what else dask.array "
            f"takes for {len(shape)} axes, such as 'auto' or '64MB', got {chunks!r} ({error})"
        ) from None
    return found


def read(array: Any, index: Index) -> Any:
    """Read a part of an array in a store; ValueError, with the place, for what is damaged."""
    try:
        return np.asarray(array[index])
    except OSError as error:
        if error.errno is None:
            raise ValueError(f"{array.store_path}: cannot be read ({error})") from error
        raise
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{array.store_path}[{shown(index)}] cannot be read ({reason}): is a chunk cut off?"
        ) from error


def shown(index: Index) -> str:
    """Write slices as in Python."""
    return ", ".join(f"{part.start}:{part.stop}" for part in index)
