"""Fields of a network that looks at an image tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import kind_of, to_numpy
from mdn_cupy.dask.blocks import check_dask
from mdn_cupy.dask.halo import core, with_halo
from mdn_cupy.validation import check_count, floating_dtype

__all__ = ["from_network"]

Fields = tuple[Any, Any]


def from_network(
    function: Callable[[Any], Fields], image: Any, tile: int, halo: int
) -> tuple[da.Array, da.Array]:
    """Run a network over the tiles of an image, and return its fields as Dask arrays.

    Nothing is stored: a tile is computed when its votes are needed. So promise a ``reach`` to the
    functions that vote; to measure it, the network would run over the image twice. To keep the
    fields, store the two arrays by their ``to_zarr`` first.

    Parameters
    ----------
    function : callable
        Takes a tile of the image with its margin, a NumPy array [..., h, w], and returns the
        confidence [..., h / s, w / s] and the offsets [..., 2, h / s, w / s] in pixels of the
        image, as arrays or tensors. On a cluster it is sent to the workers.
    image : dask array or array-like [..., H, W]
        A Zarr array, say. Rows and columns are the last two axes; the others are given whole.
    tile : int
        Rows and columns of a tile, a multiple of the network's stride s.
    halo : int
        Margin of a tile, a multiple of s: half the network's receptive field, for no seams. At the
        edge of the image there is none, as there the network sees none either.

    Returns
    -------
    confidence, offsets : dask array
        Of the whole image, with a chunk a tile. Give ``stride=s`` to the functions that vote.

    Raises
    ------
    ValueError
        If tile or halo are no multiples of the stride, or the network returns other shapes. The
        network is run on a tile of zeros, once, to see its shapes.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> def network(image):  # bright pixels vote for themselves
    ...     return image, np.zeros((2, *image.shape), image.dtype)
    >>> image = da.random.default_rng(0).random((300, 200), chunks=150, dtype="float32")
    >>> c, o = mdn.dask.from_network(network, image, tile=128, halo=16)
    >>> m = mdn.dask.noisy_or(c, o, 2.0, reach=0)
    >>> m.numblocks, bool(m.min() > 0.9)
    ((3, 2), True)
    """
    tile, halo = check_count("tile", tile), check_count("halo", halo, 0)
    if not isinstance(image, da.Array):  # of Zarr, say
        image = image if hasattr(image, "ndim") else np.asarray(image)
    if image.ndim < 2:
        raise ValueError(f"image must have the shape (..., H, W), got {image.shape}")
    if not isinstance(image, da.Array):
        image = da.from_array(image, chunks=(-1,) * (image.ndim - 2) + (tile, tile))
    check_dask("image", image)
    image = image.rechunk((*(-1,) * (image.ndim - 2), tile, tile))
    c, o, stride = _tried(function, image, tile, halo)
    padded, graph = with_halo(image, halo)
    token = tokenize(function, image.name, tile, halo)
    both = f"mdn-network-{token}"
    grid = tuple(tuple(-(-n // stride) for n in chunks) for chunks in image.chunks[-2:])
    layer: dict[Any, Any] = {}
    for block in np.ndindex(*map(len, grid)):
        places = [core(c, n, halo) for c, n in zip(image.chunks[-2:], block, strict=True)]
        parts = tuple(
            slice(p.start // stride, p.start // stride + g[n])
            for p, g, n in zip(places, grid, block, strict=True)
        )
        key = (padded, *(0,) * (image.ndim - 2), *block)
        layer[(both, *block)] = (partial(_run, function, parts), key)
    fields = []
    for n, (name, example) in enumerate((("confidence", c), ("offsets", o))):
        own = f"mdn-network-{name}-{token}"
        ones = (0,) * (example.ndim - 2)
        items = {(own, *ones, *block): (itemgetter(n), (both, *block)) for _, *block in layer}
        layers = {**graph.layers, both: layer, own: items}
        needed = {**graph.dependencies, both: {padded}, own: {both}}
        chunks = (*((n,) for n in example.shape[:-2]), *grid)
        meta = np.empty((0,) * example.ndim, example.dtype)
        fields.append(da.Array(HighLevelGraph(layers, needed), own, chunks=chunks, meta=meta))
    return fields[0], fields[1]


def _tried(
    function: Callable[[Any], Fields], image: da.Array, tile: int, halo: int
) -> tuple[Any, Any, int]:
    """The fields of a tile of zeros, checked, and the network's stride."""
    seen = np.zeros((*image.shape[:-2], tile + 2 * halo, tile + 2 * halo), image.dtype)
    c, o = _numpy(function(seen))
    for name, array in (("confidence", c), ("offsets", o)):
        floating_dtype(f"function's {name}", array)
    stride = max(round(seen.shape[-1] / c.shape[-1]), 1) if c.ndim >= 2 and c.size else 1
    if tile % stride or halo % stride:
        raise ValueError(
            f"tile and halo must be multiples of the network's stride {stride}, got {tile} and "
            f"{halo}"
        )
    size = (seen.shape[-1] // stride,) * 2
    if c.shape[-2:] != size or o.shape != (*c.shape[:-2], 2, *size):
        raise ValueError(
            f"function must return confidence [..., h/s, w/s] and offsets [..., 2, h/s, w/s] for a "
            f"tile {seen.shape}, got {c.shape} and {o.shape}"
        )
    return c, o, stride


def _run(function: Callable[[Any], Fields], parts: tuple[slice, ...], image: Any) -> Fields:
    """The fields of one tile without its margin."""
    confidence, offsets = (field[(..., *parts)].copy() for field in _numpy(function(image)))
    wanted = tuple(part.stop - part.start for part in parts)
    if not confidence.shape[-2:] == offsets.shape[-2:] == wanted:
        raise ValueError(
            f"function must return fields that have the same stride for all tiles: those of a tile "
            f"{image.shape} lack rows or columns"
        )
    return confidence, offsets


def _numpy(fields: Any) -> Fields:
    if not isinstance(fields, tuple | list) or len(fields) != 2:
        raise TypeError(
            f"function must return confidence and offsets, a tuple of two, got {kind_of(fields)}"
        )
    confidence, offsets = fields
    return to_numpy(confidence, "confidence"), to_numpy(offsets, "offsets")
