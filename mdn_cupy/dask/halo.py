"""Blocks with a margin of what surrounds them, from however many chunks, read once each."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import Array, on_device
from mdn_cupy.dask.blocks import edges, part_of

__all__ = ["core", "with_halo"]


def with_halo(array: da.Array, halo: int) -> tuple[str, HighLevelGraph]:
    """Return the layer that has the blocks of an array with a margin along the last two axes.

    Parameters
    ----------
    array : dask array [..., H, W]
        In any chunks; the margin may be wider than they are.
    halo : int
        Width of the margin in pixels. At the edge of the array there is none.

    Returns
    -------
    name : str
        Its keys are those of the array's chunks, with this name.
    graph : HighLevelGraph
        The layer, and all on which it depends.
    """
    cut, name = f"mdn-cut-{halo}-{array.name}", f"mdn-halo-{halo}-{array.name}"
    cuts: dict[Any, Any] = {}
    layer: dict[Any, Any] = {}
    parts = [_parts(chunks, halo) for chunks in array.chunks[-2:]]
    for block in np.ndindex(*array.numblocks):
        leading, (down, across) = block[:-2], block[-2:]
        rows = []
        for i, first, last in parts[0][down]:
            row = []
            for j, left, right in parts[1][across]:
                key = (cut, *block, i, j)
                part = partial(part_of, slice(first, last), slice(left, right))
                cuts[key] = (part, (array.name, *leading, i, j))
                row.append(key)
            rows.append(row)
        layer[(name, *block)] = (_joined, rows)
    given = array.__dask_graph__()
    layers = {**given.layers, cut: cuts, name: layer}
    return name, HighLevelGraph(layers, {**given.dependencies, cut: {array.name}, name: {cut}})


def core(chunks: tuple[int, ...], number: int, halo: int) -> slice:
    """Where the block itself lies in the block with its margin, along one axis."""
    start = min(int(edges(chunks)[number]), halo)
    return slice(start, start + chunks[number])


def _parts(chunks: tuple[int, ...], halo: int) -> list[list[tuple[int, int, int]]]:
    """For each chunk along an axis, the chunks and their parts that make it up with its margin."""
    ends, found = edges(chunks), []
    for start, end in itertools.pairwise(ends):
        low, high = max(start - halo, 0), min(end + halo, ends[-1])
        # An axis without a pixel has one chunk, from 0 to 0.
        first = min(int(np.searchsorted(ends, low, "right")) - 1, len(chunks) - 1)
        last = max(int(np.searchsorted(ends, high, "left")), first + 1)
        found.append(
            [
                (n, int(max(low - ends[n], 0)), int(min(high, ends[n + 1]) - ends[n]))
                for n in range(first, min(last, len(chunks)))
            ]
        )
    return found


def _joined(parts: list[list[Array]]) -> Array:
    with on_device(parts[0][0]):
        rows = [row[0] if len(row) == 1 else np.concatenate(row, axis=-1) for row in parts]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-2)
