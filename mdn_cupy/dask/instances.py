"""Instances on Dask arrays: labels by chunk, numbered as in one table of peaks."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Unpack

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import namespace, on_device, to_numpy
from mdn_cupy.dask.blocks import Index, blocks_of, edges
from mdn_cupy.dask.options import takes_options
from mdn_cupy.peaks import Instances, Peaks
from mdn_cupy.problem import VoteKwargs
from mdn_cupy.validation import check_not_negative
from mdn_cupy.votes import Votes

__all__ = ["instances"]


@takes_options
def instances(
    confidence: da.Array,
    offsets: da.Array,
    sigma: Any,
    peaks: Peaks | Delayed,
    *,
    radius: float = math.inf,
    **options: Unpack[VoteKwargs],
) -> Instances:
    """Say for every source to which peak it adds most: `mdn_cupy.Votes.instances`, in chunks.

    Parameters
    ----------
    confidence, offsets, sigma, **options
        As in `noisy_or`; no reach is needed.
    peaks : Peaks or Delayed
        Of the whole map, such as `find_peaks` returns. Labels count in this table.
    radius : float
        Greatest distance of a landing point from its peak, in output pixels.

    Returns
    -------
    Instances
        The labels [..., H, W] in the chunks of the fields, and the mass [n] of each instance,
        whose length is unknown where the peaks are delayed.

    Examples
    --------
    >>> import dask.array as da
    >>> import mdn_cupy as mdn
    >>> coins = mdn.samples.load("coins")
    >>> c = da.from_array(coins.confidence, chunks=(-1, 100, 100))
    >>> o = da.from_array(coins.offsets, chunks=(-1, -1, 100, 100))
    >>> evidence = -mdn.dask.log_complement(c, o, 2.0, aggregate=0)
    >>> peaks = mdn.dask.find_peaks(evidence, threshold=4.6)
    >>> labels, mass = mdn.dask.instances(c, o, 2.0, peaks, aggregate=0, radius=8)
    >>> int(labels.max().compute()), mass.compute().shape
    (24, (24,))
    """
    if not isinstance(peaks, (Peaks, Delayed)):
        raise TypeError(f"peaks must be mdn_cupy.Peaks or delayed ones, got {type(peaks).__name__}")
    radius = check_not_negative("radius", radius)
    layers: dict[str, Any] = {}
    blocks = blocks_of(confidence, offsets, sigma, None, options)
    if isinstance(peaks, Delayed):
        table, count, graphs = peaks.key, math.nan, [peaks.__dask_graph__()]
        token = tokenize(blocks.token, radius, peaks.key)
        needs = set(peaks.__dask_layers__())
    else:
        columns = (peaks.map, peaks.x, peaks.y, peaks.maps_shape)
        token, count, graphs = tokenize(blocks.token, radius, columns), len(peaks), []
        table = f"mdn-peaks-{token}"
        layers[table], needs = {table: peaks}, {table}
    name, masses, mass = (f"mdn-{n}-{token}" for n in ("instances", "masses", "mass"))
    labelled: dict[Any, Any] = {}
    weighed: dict[Any, Any] = {}
    for block in blocks.sources():
        corner = tuple(int(edges(c)[b]) for c, b in zip(blocks.leading, block, strict=False))
        label = partial(_label, blocks.options, blocks.width, blocks.batch, corner)
        keys = blocks.keys(block)
        labelled[(name, *block)] = (partial(label, blocks.start(block), radius), table, *keys)
        weighed[(masses, *block)] = (_weigh, (name, *block), keys[0])
    graph = HighLevelGraph.merge(*graphs, *(x.__dask_graph__() for x in blocks.computed))
    fields = {array.name for array in blocks.computed}
    layers |= {name: labelled, masses: weighed, mass: {(mass, 0): (_summed, table, list(weighed))}}
    dependencies = {
        **{table: set() for table in layers if table not in (name, masses, mass)},
        name: needs | fields,
        masses: {name} | fields,
        mass: {masses} | needs,
    }
    whole = HighLevelGraph({**graph.layers, **layers}, {**graph.dependencies, **dependencies})
    chunks = (*blocks.leading, *blocks.grid)
    meta = meta_from_array(confidence._meta, ndim=len(chunks), dtype=np.int32)
    labels = da.Array(whole, name, chunks=chunks, meta=meta, dtype=np.int32)
    sums = da.Array(whole, mass, chunks=((count,),), meta=np.empty(0), dtype=np.float64)
    return Instances(labels, sums)


def _label(
    options: Any,
    width: Any,
    batch: tuple[int, ...],
    corner: Index,
    start: tuple[int, int],
    radius: float,
    peaks: Peaks,
    confidence: Any,
    offsets: Any,
    sigma: Any,
) -> Any:
    """Label the sources of one block."""
    maps = tuple(n for axis, n in enumerate(batch) if axis != options.aggregate)
    if tuple(peaks.maps_shape) != maps:
        raise ValueError(
            f"peaks must be of maps with the leading axes {maps}, got {tuple(peaks.maps_shape)}; "
            "find them in the map of the same fields"
        )
    places = zip(options.origin, options.stride, start, strict=True)
    origin = tuple(t + s * first for t, s, first in places)
    given = (confidence, offsets, width if sigma is None else sigma)
    votes = Votes(*given, **{**options.named, "origin": origin})
    near = tuple(n for axis, n in enumerate(corner) if axis != options.aggregate)
    local = votes.shape[:-2]
    number = np.arange(len(peaks))
    table = to_numpy(peaks.map, "peaks.map")
    if maps:
        index = np.unravel_index(table, maps)
        chosen = np.ones(len(peaks), bool)
        for n, first, size in zip(index, near, local, strict=True):
            chosen &= (n >= first) & (n < first + size)
        number = number[chosen]
        own = tuple(n[chosen] - first for n, first in zip(index, near, strict=True))
        table = np.ravel_multi_index(own, local) if len(number) else table[:0]
    with on_device(votes.confidence):
        xp = namespace(votes.confidence)
        x, y = (xp.asarray(to_numpy(getattr(peaks, n), n)[number]) for n in ("x", "y"))
        part = Peaks(xp.asarray(table), x, y, score=None, evidence=None, maps_shape=local)
        labels, _ = votes.instances(part, radius=radius)
        numbers = xp.asarray(np.concatenate(([0], number + 1)).astype(np.int32))
        return numbers[labels]


def _weigh(labels: Any, confidence: Any) -> tuple[Any, Any]:
    """The mass that one block adds to the instances of which it has sources."""
    found, index = np.unique(to_numpy(labels, "labels"), return_inverse=True)
    weights = np.broadcast_to(to_numpy(confidence, "confidence"), labels.shape)
    return found, np.bincount(index.reshape(-1), weights.astype(np.float64).reshape(-1))


def _summed(peaks: Peaks, parts: list[tuple[Any, Any]]) -> Any:
    total = np.zeros(len(peaks) + 1)
    for numbers, weights in parts:
        total[numbers] += weights
    return total[1:]
