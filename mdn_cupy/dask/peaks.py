"""Peaks of Dask arrays of evidence: candidates by chunk, and one table of those that stay."""

from __future__ import annotations

import math
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import to_numpy
from mdn_cupy.cpu.peaks import candidates, spaced
from mdn_cupy.dask.blocks import check_dask, edges
from mdn_cupy.dask.halo import core, with_halo
from mdn_cupy.dask.plateaus import components, middles
from mdn_cupy.maxima import inside
from mdn_cupy.peaks import Limits, Peaks, between, least_evidence, limits_of
from mdn_cupy.validation import floating_dtype

__all__ = ["Table", "find_peaks", "tabulated"]

Int64 = npt.NDArray[np.int64]


def find_peaks(
    evidence: da.Array,
    *,
    threshold: float,
    min_distance: float = 1.0,
    max_peaks: int | None = None,
    border: int = 0,
    score: da.Array | None = None,
) -> Delayed:
    """Find all peaks of evidence maps: `mdn_cupy.find_peaks`, in chunks.

    A peak belongs to the chunk of its pixel, also on a border or a corner; plateaus and distances
    across chunks are settled in one last task, which has the candidates of all chunks.

    Parameters
    ----------
    evidence : dask array [..., H, W]
        In any chunks.
    threshold, min_distance, max_peaks, border : optional
        As in `mdn_cupy.find_peaks`.
    score : dask array [..., H, W], optional
        In the chunks of the evidence.

    Returns
    -------
    dask.delayed.Delayed
        Of `mdn_cupy.Peaks` in NumPy arrays, the same table as for the whole.

    Raises
    ------
    TypeError, ValueError
        As in `mdn_cupy.find_peaks`, and if the two are no Dask arrays of the same chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> import mdn_cupy as mdn
    >>> evidence = da.from_array(mdn.samples.load("coins").votes().evidence(), chunks=100)
    >>> peaks = mdn.dask.find_peaks(evidence, threshold=4.6)
    >>> len(peaks.compute())
    24
    """
    table = tabulated(evidence, score, threshold, limits_of(min_distance, max_peaks, border))
    name = f"mdn-find-peaks-{table.key}"
    layer = {name: (attrgetter("peaks"), table.key)}
    graph = HighLevelGraph.from_collections(name, layer, [table])
    return Delayed(name, graph, length=None)


class Table(NamedTuple):
    """Peaks, and their pixels: flat indices into all maps."""

    peaks: Peaks
    place: Int64


def tabulated(
    evidence: da.Array, score: da.Array | None, threshold: float, limits: Limits
) -> Delayed:
    """Find the peaks of `find_peaks`, as a delayed `Table`."""
    evidence = check_dask("evidence", evidence)
    if score is not None:
        score = check_dask("score", score)
    if evidence.ndim < 2:
        raise ValueError(f"evidence must have the shape (..., H, W), got {evidence.shape}")
    if score is not None and score.chunks != evidence.chunks:
        raise ValueError(
            f"score must have the shape and chunks of the evidence, {evidence.chunks}, got "
            f"{score.chunks}"
        )
    dtype = floating_dtype("evidence", evidence._meta)
    least = least_evidence(threshold, dtype)
    padded, graph = with_halo(evidence, 1)
    dependencies = [evidence] if score is None else [evidence, score]
    graph = HighLevelGraph.merge(graph, *(each.__dask_graph__() for each in dependencies))
    token = tokenize(evidence.name, None if score is None else score.name, least, limits)
    name, found = f"mdn-peak-table-{token}", f"mdn-peak-candidates-{token}"
    layer: dict[Any, Any] = {}
    for block in np.ndindex(*evidence.numblocks):
        cores = [core(c, n, 1) for c, n in zip(evidence.chunks[-2:], block[-2:], strict=True)]
        corner = [int(edges(c)[n]) for c, n in zip(evidence.chunks, block, strict=True)]
        look = partial(_look, evidence.shape, least, (cores[0], cores[1]), corner)
        scores = None if score is None else (score.name, *block)
        layer[(found, *block)] = (look, (padded, *block), scores)
    last = {name: (partial(_table, evidence.shape, dtype, limits), list(layer))}
    layers = {**graph.layers, found: layer, name: last}
    needed = {padded} | ({score.name} if score is not None else set())
    needs = {**graph.dependencies, found: needed, name: {found}}
    return Delayed(name, HighLevelGraph(layers, needs), length=None)


class _Candidates(NamedTuple):
    """Pixels that may be peaks: by flat index into all maps, with what the table has of them."""

    place: Int64
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    values: npt.NDArray[Any]
    score: npt.NDArray[Any]

    def at(self, index: Any) -> _Candidates:
        """Some of them."""
        return _Candidates(*(column[index] for column in self))


class _Looked(NamedTuple):
    peaks: _Candidates
    pixels: _Candidates  # of plateaus that reach the border of their chunk
    exceeded: npt.NDArray[np.bool_]  # by a neighbour


def _look(
    shape: tuple[int, ...],
    least: float,
    cores: tuple[slice, slice],
    corner: list[int],
    padded: Any,
    score: Any,
) -> _Looked:
    """Find the candidates of one block, given with a margin of a pixel."""
    values = to_numpy(padded, "evidence")
    values = np.ascontiguousarray(values, floating_dtype("evidence", values))
    leading = values.shape[:-2]
    values = values.reshape(math.prod(leading), *values.shape[-2:])
    rows, columns = values.shape[1:]
    scores = values[:, cores[0], cores[1]] if score is None else to_numpy(score, "score")
    scores = scores.reshape(len(values), *scores.shape[-2:])
    scores = scores.astype(floating_dtype("score", scores), copy=False)

    def described(place: Int64) -> _Candidates:
        number, row, column = place // (rows * columns), place // columns % rows, place % columns
        top, left = corner[-2] - cores[0].start, corner[-1] - cores[1].start
        x, y = between(values, number, row, column, (top, left))
        maps = np.unravel_index(number, leading) if leading else ()
        whole = tuple(m + c for m, c in zip(maps, corner, strict=False))
        where = np.ravel_multi_index((*whole, row + top, column + left), shape)
        return _Candidates(
            np.asarray(where, np.int64),
            x,
            y,
            values[number, row, column],
            scores[number, row - cores[0].start, column - cores[1].start],
        )

    def in_core(place: Int64) -> npt.NDArray[np.bool_]:
        row, column = place // columns % rows, place % columns
        within: npt.NDArray[np.bool_] = (row >= cores[0].start) & (row < cores[0].stop)
        within &= (column >= cores[1].start) & (column < cores[1].stop)
        return within

    if not values.size:
        nothing = np.zeros(0, np.int64)
        return _Looked(described(nothing), described(nothing), nothing.astype(bool))
    single, _ = candidates(values, least)
    place, exceeded = _plateau_pixels(values, least, cores)
    number = components(place, values.reshape(-1)[place], columns, rows * columns)
    row, column = place // columns % rows, place % columns
    at_border = np.zeros(len(place), bool)
    for index, part, size in ((row, cores[0], rows), (column, cores[1], columns)):
        at_border |= (index == part.start) & (part.start > 0)
        at_border |= (index == part.stop - 1) & (part.stop < size)
    open_, spoilt = (np.zeros(len(place), bool) for _ in range(2))
    open_[number[at_border]] = True
    spoilt[number[exceeded]] = True
    settled = ~open_[number] & ~spoilt[number]
    within = place[settled][middles(place[settled], number[settled], columns)]
    left = open_[number]
    peaks = np.sort(np.concatenate([single[in_core(single)], within]))
    return _Looked(described(peaks), described(place[left]), exceeded[left])


def _plateau_pixels(
    values: npt.NDArray[Any], least: float, cores: tuple[slice, slice]
) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Pixels of at least a threshold with an equal neighbour, and whether another exceeds them."""
    _, rows, columns = values.shape
    middle = values[:, cores[0], cores[1]]
    high = middle >= values.dtype.type(least)
    equal, exceeded = np.zeros(middle.shape, bool), np.zeros(middle.shape, bool)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if not (down or across):
                continue
            here, there = [], []
            for part, step, size in ((cores[0], down, rows), (cores[1], across, columns)):
                start = max(part.start + step, 0)
                stop = min(part.stop + step, size)
                there.append(slice(start, stop))
                here.append(slice(start - step - part.start, stop - step - part.start))
            other, own = values[:, there[0], there[1]], middle[:, here[0], here[1]]
            equal[:, here[0], here[1]] |= other == own
            exceeded[:, here[0], here[1]] |= other > own
    number, row, column = np.nonzero(high & equal)
    place = (number * rows + row + cores[0].start) * columns + column + cores[1].start
    return place.astype(np.int64), exceeded[number, row, column]


def _table(shape: tuple[int, ...], dtype: Any, limits: Limits, found: list[_Looked]) -> Table:
    """Resolve the plateaus that cross chunks, and drop peaks too near to stronger ones."""
    height, width = shape[-2:]
    peaks = _joined([each.peaks for each in found])
    pixels = _joined([each.pixels for each in found])
    exceeded = np.concatenate([each.exceeded for each in found])
    order = np.argsort(pixels.place, kind="stable")
    pixels, exceeded = pixels.at(order), exceeded[order]
    number = components(pixels.place, pixels.values, width, height * width)
    spoilt = np.zeros(len(number), bool)
    spoilt[number[exceeded]] = True
    whole = np.flatnonzero(~spoilt[number])
    chosen = whole[middles(pixels.place[whole], number[whole], width)]
    peaks = _joined([peaks, pixels.at(chosen)])
    peaks = peaks.at(inside(peaks.place, height, width, limits.border))
    order = np.lexsort((peaks.place, 0 - peaks.values, peaks.place // max(height * width, 1)))
    peaks = peaks.at(order)
    if len(peaks.place):
        peaks = peaks.at(spaced(peaks.place, (height, width), limits.reach, limits.max_peaks))
    table = Peaks(
        peaks.place // max(height * width, 1),
        peaks.x,
        peaks.y,
        score=peaks.score,
        evidence=peaks.values.astype(dtype, copy=False),
        maps_shape=tuple(shape[:-2]),
    )
    return Table(table, peaks.place)


def _joined(parts: list[_Candidates]) -> _Candidates:
    return _Candidates(*map(np.concatenate, zip(*parts, strict=True)))
