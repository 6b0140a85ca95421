"""Peaks of votes on Dask arrays, and how the votes for each of them spread."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Unpack

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import namespace, on_device, to_numpy
from mdn_cupy.dask.blocks import Blocks, Index, check_dask, edges
from mdn_cupy.dask.functional import problem as settled
from mdn_cupy.dask.graph import arriving, promises, voted, votes_of
from mdn_cupy.dask.options import takes_options
from mdn_cupy.dask.peaks import Table, tabulated
from mdn_cupy.dask.reach import Link, Reach
from mdn_cupy.peaks import Peaks, limits_of, spread
from mdn_cupy.problem import Rule, RuleName, VoteKwargs, rule_of

__all__ = ["peaks"]


@takes_options
def peaks(
    confidence: da.Array,
    offsets: da.Array,
    sigma: Any,
    *,
    threshold: float,
    min_distance: float = 1.0,
    max_peaks: int | None = None,
    border: int = 0,
    rule: RuleName = "noisy_or",
    evidence: da.Array | None = None,
    reach: float | Reach | None = None,
    chunks: Any = None,
    **options: Unpack[VoteKwargs],
) -> Delayed:
    """Find all peaks of the evidence and how the votes for each spread: `mdn_cupy.Votes.peaks`.

    Once the peaks are known, only the chunks of the map that have some are looked at again, with
    the fields whose votes reach them.

    Parameters
    ----------
    confidence, offsets, sigma, reach, chunks, **options
        As in `noisy_or`.
    threshold, min_distance, max_peaks, border, rule : optional
        As in `mdn_cupy.Votes.peaks`.
    evidence : dask array [..., Ho, Wo], optional
        Of the same votes, such as `stored` returns; voted for if left out. All fields are read
        again to check a promised reach, unless the evidence was voted for with the same promise.

    Returns
    -------
    dask.delayed.Delayed
        Of `mdn_cupy.Peaks` in NumPy arrays with all columns.

    Examples
    --------
    >>> import dask.array as da
    >>> import mdn_cupy as mdn
    >>> coins = mdn.samples.load("coins")
    >>> c = da.from_array(coins.confidence, chunks=(-1, 100, 100))
    >>> o = da.from_array(coins.offsets, chunks=(-1, -1, 100, 100))
    >>> peaks = mdn.dask.peaks(c, o, 2.0, aggregate=0, threshold=4.6).compute()
    >>> len(peaks), peaks.voters.round().astype(int).tolist()[:3]
    (24, [507, 550, 467])
    """
    kind = rule_of(rule)
    blocks, found = settled(confidence, offsets, sigma, reach=reach, chunks=chunks, **options)
    if evidence is None:
        made = "log_complement" if kind is Rule.NOISY_OR else str(rule)
        (evidence,) = voted(blocks, found, (made,))
        evidence = 0 - evidence if kind is Rule.NOISY_OR else evidence
    check_dask("evidence", evidence)
    shape = tuple(map(sum, blocks.output_chunks))
    if evidence.shape != shape:
        raise ValueError(
            f"evidence must have the shape of the vote map {shape}, got {evidence.shape}"
        )
    # Here only the sources near peaks are read: a promise is checked by the votes for the evidence.
    is_checked = found.promised is None or found.token in promises(evidence)
    sources = arriving(blocks, found, check_all=not is_checked)
    table = tabulated(evidence, None, threshold, limits_of(min_distance, max_peaks, border))
    checks = [] if is_checked else sources.checks
    moments, name = f"mdn-moments-{table.key}", f"mdn-peaks-{table.key}-{found.token}"
    layer: dict[Any, Any] = {}
    for number in np.ndindex(*map(len, blocks.output_chunks)):
        links, pieces = sources.of(number)
        add = partial(_moments, blocks.options, kind, _extent(blocks, number), evidence.shape)
        layer[(moments, *number)] = (partial(add, links), table.key, pieces, checks)
        checks = []
    last = {name: (partial(_spread, kind), table.key, list(layer))}
    graph = HighLevelGraph.merge(table.dask, sources.graph)
    layers = {**graph.layers, moments: layer, name: last}
    needs = {moments: {table.key, *sources.graph.layers}, name: {moments, table.key}}
    return Delayed(name, HighLevelGraph(layers, {**graph.dependencies, **needs}), length=None)


Extent = tuple[slice, ...]


def _extent(blocks: Blocks, number: Index) -> Extent:
    """Where a block of the output lies, along all axes."""
    axes = zip(blocks.output_chunks, number, strict=True)
    return tuple(slice(*edges(chunks)[n : n + 2].tolist()) for chunks, n in axes)


def _moments(
    options: Any,
    rule: Rule,
    extent: Extent,
    shape: tuple[int, ...],
    links: list[Link],
    table: Table,
    pieces: list[Any],
    _checks: list[None],
) -> tuple[Any, Any]:
    """Which peaks lie in a block, and the moments [7, n] of the votes for them."""
    where = np.stack(np.unravel_index(table.place, shape))
    starts, stops = (np.array([getattr(e, n) for e in extent])[:, None] for n in ("start", "stop"))
    inside = np.flatnonzero(((where >= starts) & (where < stops)).all(0))
    where, evidence = (where - starts)[:, inside], table.peaks.evidence[inside]
    total = np.zeros((7, len(inside)))
    if not len(inside):
        return inside, total
    *leading, row, column = where
    own = tuple(e.stop - e.start for e in extent[:-2])
    number = np.ravel_multi_index(tuple(leading), own) if own else np.zeros_like(row)
    corner = extent[-2].start, extent[-1].start
    for link, piece in zip(links, pieces, strict=True):
        rows, columns = link.pixels
        near = (row >= rows.start) & (row < rows.stop)
        near &= (column >= columns.start) & (column < columns.stop)
        if not near.any():
            continue
        votes = votes_of(options, piece, link, corner)
        with on_device(votes.confidence):
            xp = namespace(votes.confidence)
            at = (number, row - rows.start, column - columns.start)
            pixels = tuple(xp.asarray(each[near]) for each in at)
            backend, problem = votes._module, votes._problem
            sums = backend.peak_moments(problem, rule, pixels, xp.asarray(evidence[near]))
            total[:, near] += np.stack([to_numpy(each) for each in sums])
    return inside, total


def _spread(rule: Rule, table: Table, parts: list[tuple[Any, Any]]) -> Peaks:
    """The table with the columns that come of the moments."""
    moments = np.zeros((7, len(table.place)))
    for inside, sums in parts:
        moments[:, inside] = sums
    columns = spread(tuple(moments))
    if rule is Rule.NOISY_OR:
        columns["score"] = 0 - np.expm1(0 - table.peaks.evidence)
    return dataclasses.replace(table.peaks, **columns)
