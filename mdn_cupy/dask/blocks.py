"""Voting problems on Dask arrays: checked, without looking at a value, and cut into blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize

from mdn_cupy.arrays import Array, is_number, kind_of, library, plain, remedy
from mdn_cupy.dask.lazy import StoredArray, chunk_sizes, stored_array
from mdn_cupy.problem import VoteOptions, new_spec
from mdn_cupy.validation import Shape, check_width, floating_dtype

__all__ = ["Blocks", "Index", "blocks_of", "check_dask", "edges", "part_of"]

Index = tuple[int, ...]
Chunks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Blocks:
    """One validated voting problem on Dask arrays.

    A block of sources is numbered by its leading axes, broadcast, then down and across; a block of
    the output by its leading axes without the aggregated one, then down and across.
    """

    confidence: da.Array
    offsets: da.Array
    sigma: da.Array | float
    options: VoteOptions  # aggregate counts from the front
    batch: Shape
    leading: Chunks  # of the broadcast leading axes
    output: Chunks  # rows and columns of the output
    dtype: np.dtype[np.floating]

    @property
    def grid(self) -> Chunks:
        """Chunks of the sources, down and across."""
        grid: Chunks = self.confidence.chunks[-2:]
        return grid

    @property
    def output_leading(self) -> Chunks:
        """Chunks of the leading axes of the output."""
        return tuple(c for n, c in enumerate(self.leading) if n != self.options.aggregate)

    @property
    def output_chunks(self) -> Chunks:
        """Chunks of the output."""
        return self.output_leading + self.output

    @property
    def arrays(self) -> list[da.Array]:
        """The fields that are arrays."""
        given = (self.confidence, self.offsets, self.sigma)
        return [x for x in given if isinstance(x, da.Array)]

    @property
    def width(self) -> float | None:
        """Sigma, where it is a number; where it is an array, each block has a chunk of it."""
        return None if isinstance(self.sigma, da.Array) else self.sigma

    @cached_property
    def token(self) -> str:
        """A hash of everything that a result depends on."""
        names = [array.name for array in self.arrays]
        return str(tokenize(names, self.width, self.options.named, self.output))

    def sources(self) -> Iterator[Index]:
        """The numbers of all blocks of sources."""
        return itertools.product(*map(range, map(len, (*self.leading, *self.grid))))

    def keys(self, block: Index) -> list[Any]:
        """The chunks of the fields in a block of sources: the key of each, or, where it lies in a
        store, the task that reads it; None for a sigma that is a number.

        Such a task is part of the one that it is given to: a field is read where it is needed, and
        does not travel between workers.
        """
        found: list[Any] = []
        for (array, number), source in zip(self._chunks(block), self._stored, strict=True):
            if array is None:
                found.append(None)
            elif source is None:
                found.append((array.name, *number))
            else:
                found.append((source.read, source.chunks[number]))
        return found

    def reads(self, block: Index, rows: slice, columns: slice) -> list[Any]:
        """How to read some rows and columns of the stored fields with the leading axes of a block:
        for each field a function and its argument, or None for a sigma that is a number."""
        found: list[Any] = []
        for (array, number), source in zip(self._chunks(block), self._stored, strict=True):
            if array is None or source is None:
                found.append(None)
                continue
            parts = zip((rows, columns), array.shape[-2:], strict=True)
            here = (part if size > 1 else slice(0, 1) for part, size in parts)
            found.append((source.read, (*source.chunks[number][:-2], *here)))
        return found

    @property
    def computed(self) -> list[da.Array]:
        """The fields whose chunks are tasks of their own: those that do not lie in a store."""
        return [array for array in self.arrays if stored_array(array) is None]

    def _chunks(self, block: Index) -> list[tuple[da.Array | None, Index]]:
        """The fields, and which of their chunks are in a block."""
        return [
            (x, self._number(x, block, extra)) if isinstance(x, da.Array) else (None, ())
            for x, extra in ((self.confidence, 0), (self.offsets, 1), (self.sigma, 0))
        ]

    @cached_property
    def _stored(self) -> list[StoredArray | None]:
        fields = (self.confidence, self.offsets, self.sigma)
        return [stored_array(x) if isinstance(x, da.Array) else None for x in fields]

    def target(self, block: Index) -> Index:
        """The leading number of the output blocks for which a block of sources votes."""
        return tuple(b for n, b in enumerate(block[:-2]) if n != self.options.aggregate)

    def start(self, block: Index) -> tuple[int, int]:
        """Row and column of the first source of a block."""
        y, x = (edges(chunks)[b] for chunks, b in zip(self.grid, block[-2:], strict=True))
        return int(y), int(x)

    def corner(self, number: Index) -> tuple[int, int]:
        """Row and column of the first pixel of a block of the output."""
        y, x = (edges(chunks)[n] for chunks, n in zip(self.output, number[-2:], strict=True))
        return int(y), int(x)

    def size(self, block: Index) -> tuple[int, int]:
        """Rows and columns of a block."""
        down, across = (c[b] for c, b in zip(self.grid, block[-2:], strict=True))
        return down, across

    def _number(self, array: da.Array, block: Index, extra: int) -> Index:
        """The number of an array's chunk in a block: where it broadcasts, it has one."""
        own = array.numblocks[: array.ndim - 2 - extra]
        leading = block[len(self.leading) - len(own) : len(self.leading)]
        down, across = (
            b if n > 1 else 0 for b, n in zip(block[-2:], array.numblocks[-2:], strict=True)
        )
        numbers = (b if n > 1 else 0 for b, n in zip(leading, own, strict=True))
        return (*numbers, *(0,) * extra, down, across)


def blocks_of(
    confidence: Any,
    offsets: Any,
    sigma: Any,
    chunks: Any,
    options: Mapping[str, Any],
) -> Blocks:
    """Check the arguments of a function of `mdn_cupy.dask`.

    Raises
    ------
    TypeError
        If confidence or offsets are no Dask arrays, or not floating.
    ValueError
        If a shape or the chunks do not fit; the message has the call that makes them fit.
    """
    confidence = check_dask("confidence", confidence)
    offsets = check_dask("offsets", offsets)
    if isinstance(sigma, da.Array):
        sigma = check_dask("sigma", sigma)
    elif library(sigma) in ("torch", "dlpack"):
        raise TypeError(
            f"sigma must be a number or an array of Dask or of the chunks' library, got "
            f"{kind_of(sigma)}{remedy('sigma', sigma)}"
        )
    elif not is_number(sigma):
        sigma = plain("sigma", sigma) if library(sigma) == "numpy" else sigma
        floating_dtype("sigma", sigma)
    settled = VoteOptions(**options)
    c, o, width = (x if is_number(x) else _shaped(x) for x in (confidence, offsets, sigma))
    spec = new_spec(c, o, width, settled)
    size = spec.output_shape
    settled = replace(settled, aggregate=spec.aggregate, output_shape=size)
    if len(offsets.chunks[-3]) != 1:
        raise ValueError(
            "offsets must hold x and y in one chunk, got the chunks "
            f"{offsets.chunks[-3]} along that axis; give offsets.rechunk({{-3: 2}})"
        )
    if offsets.chunks[-2:] != confidence.chunks[-2:]:
        raise ValueError(
            "offsets must have the chunks of confidence along rows and columns; give "
            "offsets.rechunk({-2: confidence.chunks[-2], -1: confidence.chunks[-1]})"
        )
    fields = [("confidence", confidence, 2), ("offsets", offsets, 3)]
    if is_number(sigma):
        sigma = check_width(sigma, spec.dtype)
    else:
        sigma = _chunked(sigma, confidence, fields, len(spec.batch))
        fields.append(("sigma", sigma, 2))
    return Blocks(
        confidence=confidence,
        offsets=offsets,
        sigma=sigma,
        options=settled,
        batch=spec.batch,
        leading=tuple(_leading(fields, axis, size) for axis, size in _from_behind(spec.batch)),
        output=_output_chunks(chunks, confidence.chunks[-2:], size, settled, spec.dtype),
        dtype=spec.dtype,
    )


def check_dask(name: str, array: Any) -> da.Array:
    """Return a Dask array in this machine's byte order; TypeError for what is none, ValueError for
    one of unknown shape."""
    if not isinstance(array, da.Array):
        raise TypeError(
            f"{name} must be a Dask array, got {type(array).__name__}; "
            "dask.array.from_array(...) makes one of an array"
        )
    if any(math.isnan(n) for n in array.shape):
        raise ValueError(f"{name} has chunks of unknown size; call its compute_chunk_sizes()")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _shaped(array: Any) -> npt.NDArray[Any]:
    """An array of the same shape and dtype, without its values or the memory for them."""
    return np.broadcast_to(np.empty((), array.dtype), array.shape)


def edges(chunks: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Where chunks begin, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(chunks, dtype=np.int64)))


def part_of(rows: slice, columns: slice, block: Array) -> Array:
    """Some rows and columns of a block; copied where they are few, which do not keep all of it."""
    found = block[..., rows, columns]
    return found if found.size * 2 > block.size else found.copy()


def _from_behind(batch: Shape) -> list[tuple[int, int]]:
    return [(n - len(batch), size) for n, size in enumerate(batch)]


def _leading(fields: list[tuple[str, da.Array, int]], axis: int, size: int) -> tuple[int, ...]:
    """The chunks of a leading axis, which all arrays that do not broadcast there have."""
    found: dict[tuple[int, ...], str] = {}
    for name, array, trailing in fields:
        own = array.chunks[: array.ndim - trailing]
        if len(own) >= -axis and sum(own[axis]) == size:
            found.setdefault(own[axis], name)
    if len(found) > 1:
        seen = ", ".join(f"{name} {chunks}" for chunks, name in found.items())
        raise ValueError(
            f"the chunks of the leading axis {axis} must be the same in all fields, got {seen}; "
            "rechunk one of them"
        )
    return next(iter(found), (size,))


def _chunked(
    sigma: Array, confidence: da.Array, fields: list[tuple[str, da.Array, int]], batch: int
) -> da.Array:
    """A sigma [..., H or 1, W or 1] as a Dask array in the chunks of the fields."""
    sigma = sigma.reshape((1,) * (2 - sigma.ndim) + tuple(sigma.shape))
    wanted: list[tuple[int, ...]] = []
    for axis in range(-sigma.ndim, 0):
        if sigma.shape[axis] == 1:
            wanted.append((1,))
        elif axis >= -2:
            wanted.append(confidence.chunks[axis])
        else:
            wanted.append(_leading(fields, axis + 2, sigma.shape[axis]))
    if not isinstance(sigma, da.Array):
        return da.from_array(sigma, chunks=tuple(wanted))
    if sigma.chunks[-2:] != tuple(wanted[-2:]):
        raise ValueError(
            f"sigma must have the chunks of confidence along rows and columns, {wanted[-2:]}, got "
            f"{list(sigma.chunks[-2:])}; rechunk it"
        )
    return sigma


def _output_chunks(
    chunks: Any, grid: Chunks, size: tuple[int, int], options: VoteOptions, dtype: Any
) -> Chunks:
    """Chunks of the output: those asked for, or the sources', scaled by the stride."""
    if chunks is not None:
        return chunk_sizes(chunks, size, dtype)
    scaled = []
    for own, step, length in zip(grid, options.stride, size, strict=True):  # type: ignore[arg-type]
        ends = np.rint(edges(own) * step).clip(0, length).astype(int)
        ends[-1] = length
        sizes = tuple(int(n) for n in np.diff(ends) if n > 0)
        scaled.append(sizes or (0,))
    return tuple(scaled)
