"""Which blocks of the output each block of sources votes for: measured in one pass, or promised."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product, starmap
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import is_number, kind_of, library, on_device, to_numpy
from mdn_cupy.cpu.half import widened
from mdn_cupy.cpu.landing import tile_boxes
from mdn_cupy.dask.blocks import Blocks, Index, blocks_of, edges
from mdn_cupy.dask.options import takes_options
from mdn_cupy.dask.scheduling import Progress, computed
from mdn_cupy.problem import VoteKwargs, VoteOptions
from mdn_cupy.validation import as_float

__all__ = [
    "PROMISED",
    "Link",
    "OutlierWarning",
    "Reach",
    "longest_offset",
    "measure",
    "measure_reach",
    "promise",
]

PROMISED = "promised-"
"""How the token of a promised reach begins."""

_TILE = 32  # sources a side that are looked at together, where they all vote for one block
_SLACK = 1.0  # pixels: more than float32 rounds a landing point by, up to 2²³
_MARGIN = 2.0**-10  # pixels: more than float64 does, up to 2⁴⁰
_FARTHEST = 37.0  # sigmas, see mdn_cupy.problem
_SAMPLE = 4096  # voters from which the usual length of an offset is taken
_FAR = 8  # times as long as usual, and more than four windows and a tile: an outlier


class OutlierWarning(UserWarning):
    """A few offsets are so long that they alone tie blocks to each other."""


class Span(NamedTuple):
    """What a `Link` is along one axis."""

    block: int  # number of the output block
    first: int  # sources, counted in their block
    last: int  # one past the last
    low: int  # pixels, counted in the output block
    high: int

    def moved(self, by: int) -> Span:
        """The same, its sources counted from so many before."""
        return Span(self.block, self.first + by, self.last + by, self.low, self.high)

    def joined(self, other: Span) -> Span:
        """The bounds of both; of one output block, counted alike."""
        first, low = min(self.first, other.first), min(self.low, other.low)
        return Span(self.block, first, max(self.last, other.last), low, max(self.high, other.high))


class Link(NamedTuple):
    """The part of a block of sources that votes for a block of the output, and where it votes."""

    rows: Span
    columns: Span

    @property
    def target(self) -> tuple[int, int]:
        """The number of the output block, down and across."""
        return self.rows.block, self.columns.block

    @property
    def sources(self) -> tuple[slice, slice]:
        """Rows and columns of the sources in their block."""
        return slice(self.rows.first, self.rows.last), slice(self.columns.first, self.columns.last)

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Rows and columns of the output block."""
        return slice(self.rows.low, self.rows.high), slice(self.columns.low, self.columns.high)

    @property
    def size(self) -> int:
        """How many sources there are, with those that do not vote."""
        return (self.rows.last - self.rows.first) * (self.columns.last - self.columns.first)

    def moved(self, rows: int, columns: int) -> Link:
        """The same link, its sources counted from so many rows and columns before."""
        return Link(self.rows.moved(rows), self.columns.moved(columns))

    def joined(self, other: Link) -> Link:
        """The link of the bounding boxes of both; of one output block, counted alike."""
        return Link(self.rows.joined(other.rows), self.columns.joined(other.columns))

    def overlaps(self, other: Link) -> bool:
        """Say whether there are sources that are in both."""
        axes = zip(self, other, strict=True)
        return all(max(a.first, b.first) < min(a.last, b.last) for a, b in axes)


class Outliers(NamedTuple):
    """The votes of one block that alone tie it to other blocks."""

    votes: int
    length: float  # of the longest, in pixels
    source: tuple[int, int]  # row and column of it
    landing: tuple[float, float]  # where it lands: row and column of the output


@dataclass(frozen=True)
class Reach:
    """Which blocks of sources vote for which blocks of the output.

    What `measure_reach` returns. It serves every function of the same fields and options.

    Attributes
    ----------
    links : dict
        For each block of sources, of what it consists and where it votes.
    voters : int
        Sources that vote.
    outliers : int
        Of these, how many alone tie a block of sources to a block of the output.
    promised : float or None
        The greatest length of an offset along an axis, in pixels, where it was promised.
    gradients : bool
        Whether sources of confidence 0 count too, which have gradients.
    """

    links: Mapping[Index, tuple[Link, ...]]
    voters: int = 0
    outliers: int = 0
    promised: float | None = None
    gradients: bool = False
    token: str = ""

    def __dask_tokenize__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        """Say how many there are."""
        links = sum(map(len, self.links.values()))
        said = f"{len(self.links)} blocks of sources, {links} links"
        if self.promised is not None:
            return f"Reach({said}, promised {self.promised:g} pixels)"
        return f"Reach({said}, {self.voters} voters, {self.outliers} outliers)"


@takes_options
def measure_reach(
    confidence: Any,
    offsets: Any,
    sigma: Any,
    *,
    chunks: Any = None,
    gradients: bool = False,
    progress: Progress | None = None,
    **options: Unpack[VoteKwargs],
) -> Reach:
    """Look at every vote once, and find which chunks of the output need which chunks of the fields.

    This computes: it reads the fields, with the scheduler that is in force. The functions of
    this module do it themselves where they are not given a `reach`; measured once, it serves
    several.

    Parameters
    ----------
    confidence, offsets, sigma, chunks, **options
        As in `noisy_or`.
    gradients : bool
        Count the sources of confidence 0, too: they have gradients. The functions `…_vjp` need it,
        the others do with either.
    progress : callable, optional
        Called with "reach", the chunks looked at and the chunks there are.

    Returns
    -------
    Reach
        Exact: an output chunk is linked to a source chunk if a vote of it reaches it.

    Warns
    -----
    OutlierWarning
        If some offsets are so much longer than the others that they alone make such links.

    Examples
    --------
    >>> import dask.array as da
    >>> import mdn_cupy as mdn
    >>> c = da.ones((64, 96), chunks=32)
    >>> o = da.zeros((2, 64, 96), chunks=(2, 32, 32))
    >>> mdn.dask.measure_reach(c, o, 2.0)  # six chunks, which vote for themselves and neighbours
    Reach(6 blocks of sources, 28 links, 6144 voters, 0 outliers)
    """
    blocks = blocks_of(confidence, offsets, sigma, chunks, options)
    return measure(blocks, gradients, progress)


def measure(blocks: Blocks, gradients: bool = False, progress: Progress | None = None) -> Reach:
    """Measure the reach of a problem; see `measure_reach`."""
    token = f"measured-{'gradients-' if gradients else ''}{blocks.token}"
    name = f"mdn-reach-{token}"
    layer = {}
    for block in blocks.sources():
        setting = _Setting(
            blocks.options, blocks.output, blocks.start(block), blocks.width, gradients
        )
        look = partial(_look, setting)
        layer[(name, *block)] = (look, *blocks.keys(block))
    graph = HighLevelGraph.from_collections(name, layer, dependencies=blocks.computed)
    found = computed(graph, list(layer), "reach", progress)
    links = {b: one.links for b, one in zip(blocks.sources(), found, strict=True)}
    voters = sum(one.voters for one in found)
    outliers = [one.outliers for one in found if one.outliers is not None]
    count = sum(one.votes for one in outliers)
    if outliers:
        worst = max(outliers, key=lambda one: one.length)
        warnings.warn(
            f"{count} of {voters} votes, in {len(outliers)} of {len(found)} chunks, have offsets "
            f"so long that they alone tie chunks to each other: the longest, of the source in row "
            f"{worst.source[0]} and column {worst.source[1]}, lands at row {worst.landing[0]:.0f} "
            f"and column {worst.landing[1]:.0f}; set the confidence of such sources to 0 unless "
            "they are meant",
            OutlierWarning,
            stacklevel=_depth(),
        )
    return Reach(links, voters, count, gradients=gradients, token=token)


def _depth() -> int:
    """Count the calls from the one that warns up to the user's own."""
    names = (call.frame.f_globals.get("__name__", "") for call in inspect.stack(0)[1:])
    return next(n for n, name in enumerate(names, 1) if not name.startswith("mdn_cupy."))


def promise(blocks: Blocks, pixels: float, gradients: bool = False) -> Reach:
    """Take the caller's word for how long offsets are, along each axis, in output pixels."""
    if not is_number(pixels):
        raise TypeError(f"reach must be a number of pixels or a Reach, got {kind_of(pixels)}")
    if not 0 <= (pixels := as_float(pixels)) < math.inf:
        raise ValueError(f"reach must be finite and not negative, got {pixels:g}")
    if not is_number(blocks.sigma):
        raise ValueError(
            "reach=pixels needs a sigma that is a number, since windows count too; leave reach out "
            "to have it measured"
        )
    far = pixels + _radius(blocks.options, blocks.sigma) + _SLACK
    rows, columns = (_promised(blocks, axis, far) for axis in (0, 1))
    links = {
        block: tuple(starmap(Link, product(rows[block[-2]], columns[block[-1]])))
        for block in blocks.sources()
    }
    token = f"{PROMISED}{pixels:g}-{tokenize(blocks.token, pixels, gradients)}"
    return Reach(links, promised=pixels, gradients=gradients, token=token)


def _promised(blocks: Blocks, axis: int, far: float) -> list[list[Span]]:
    """For each chunk of sources along an axis, the output chunks that are near enough."""
    origin, stride = blocks.options.origin[axis], blocks.options.stride[axis]  # type: ignore[index]
    targets, found = edges(blocks.output[axis]), []
    for start, end in pairwise(edges(blocks.grid[axis])):
        spans = []
        place = origin + stride * np.arange(start, end)
        for block, (low, high) in enumerate(pairwise(targets)):
            near = np.flatnonzero((place + far >= low) & (place - far <= high - 1))
            if near.size and high > low:
                reached = place[near[0]] - far, place[near[-1]] + far
                top = max(math.floor(reached[0]), low) - low
                bottom = min(math.ceil(reached[1]) + 1, high) - low
                spans.append(Span(block, int(near[0]), int(near[-1]) + 1, int(top), int(bottom)))
        found.append(spans)
    return found


def _radius(options: Any, sigma: Any) -> float:
    return float(min(options.truncate, _FARTHEST)) * float(sigma)


class _Found(NamedTuple):
    links: tuple[Link, ...]
    voters: int
    outliers: Outliers | None


class _Setting(NamedTuple):
    """What is the same for all sources of a block."""

    options: VoteOptions
    output: tuple[tuple[int, ...], ...]
    start: tuple[int, int]
    width: float | None  # sigma, where it is a number
    gradients: bool


def _look(setting: _Setting, confidence: Any, offsets: Any, sigma: Any) -> _Found:
    """Find which blocks of the output the sources of one block vote for."""
    options, output, start, width, every = setting
    c, o = to_numpy(confidence, "confidence"), to_numpy(offsets, "offsets")
    size = c.shape[-2:]
    along: Any = zip(options.origin, options.stride, start, size, strict=True)  # type: ignore[arg-type]
    places = [(t + s * (first + np.arange(n))).astype(np.float64) for t, s, first, n in along]
    if width is None:
        c, width = _voting(c, o, to_numpy(sigma, "sigma"), every)
        every = False
    c, o = _planes(c, o)
    boxes, voters = tile_boxes(c, o, (places[0], places[1]), _TILE, every)
    if not voters or not all(map(sum, output)):
        return _Found((), voters, None)
    radius = _radius(options, width) + _MARGIN
    ends = [edges(chunks) for chunks in output]

    # A tile whose votes all stay in one block of the output is one item; the sources of others are
    # looked at one by one.
    begin = _TILE * np.indices(boxes.shape[1:])
    stop = np.minimum(begin + _TILE, np.reshape(size, (2, 1, 1)))
    tiles = _items(boxes[::2], boxes[1::2], begin, stop, radius, ends)
    reached = (tiles.last >= tiles.first).all(0)
    is_whole = reached & (tiles.first == tiles.last).all(0)
    plane, row, column = _sources_in(reached & ~is_whole, c, every)
    offset = np.stack([o[plane, n, row, column] for n in (1, 0)]).astype(np.float64)
    landing = np.stack([places[0][row], places[1][column]]) + offset
    is_finite = np.isfinite(landing).all(0)
    source, offset, landing = (x[:, is_finite] for x in (np.stack([row, column]), offset, landing))
    single = _items(landing, landing, source, source + 1, radius, ends)

    length = np.abs(offset).max(0)
    far = 4 * radius + _TILE
    if length.max(initial=0) > far:
        far += _FAR * _usual(c, o, every)
    both = zip(tiles, single, strict=True)
    items = _Items(*(np.concatenate((whole[:, is_whole], one), -1) for whole, one in both))
    count = np.count_nonzero(is_whole)
    is_far = np.concatenate([np.zeros(count, bool), length > far])  # tiles never are
    links, lonely = _grouped(items, is_far, ends)
    if not len(lonely):
        return _Found(links, voters, None)
    lonely -= count
    worst = lonely[length[lonely].argmax()]
    row, column = (source[:, worst] + start).tolist()
    y, x = landing[:, worst].tolist()
    return _Found(links, voters, Outliers(len(lonely), float(length[worst]), (row, column), (y, x)))


def _voting(c: Any, o: Any, sigma: Any, every: bool) -> tuple[Any, float]:
    """The confidence, 0 where sigma lets a source cast no vote, and the largest sigma of the rest;
    1 elsewhere, to count the sources of confidence 0, too."""
    given = np.broadcast_shapes(c.shape, sigma.shape, o.shape[:-3] + o.shape[-2:])
    positive = np.broadcast_to(sigma > 0, given)
    c = np.where(positive, 1 if every else c, 0)
    return c, float(np.broadcast_to(sigma, given)[positive & (c != 0)].max(initial=0))


def longest_offset(confidence: Any, offsets: Any, every: bool) -> float:
    """The length along an axis of the longest finite offset of a source that votes, or of any."""
    if library(offsets) == "cupy":  # NumPy's functions call CuPy's
        with on_device(offsets):
            length = np.max(np.abs(offsets), axis=-3)
            counts = ((confidence != 0) | every) & np.isfinite(length)
            return float(np.max(np.where(counts, length, 0)))
    c, o = _planes(to_numpy(confidence, "confidence"), to_numpy(offsets, "offsets"))
    nowhere = np.zeros(c.shape[-2]), np.zeros(c.shape[-1])
    boxes, _ = tile_boxes(c, o, nowhere, _TILE, every)
    return float(np.abs(boxes[np.isfinite(boxes)]).max(initial=0))


def _planes(c: npt.NDArray[Any], o: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Confidence [planes, H, W] and offsets [planes, 2, H, W] of one dtype, broadcast."""
    dtype = np.float64 if np.float64 in (c.dtype, o.dtype) else np.float32
    leading = np.broadcast_shapes(c.shape[:-2], o.shape[:-3])
    c = np.broadcast_to(widened(c), leading + c.shape[-2:]).astype(dtype, copy=False)
    o = np.broadcast_to(widened(o), leading + o.shape[-3:]).astype(dtype, copy=False)
    planes = math.prod(leading)
    return c.reshape(planes, *c.shape[-2:]), o.reshape(planes, *o.shape[-3:])


def _sources_in(
    tiles: npt.NDArray[np.bool_], c: npt.NDArray[Any], every: bool
) -> npt.NDArray[np.int64]:
    """Plane, row and column [3, n] of the sources in some tiles that vote, or of all there."""
    found = [np.zeros((3, 0), np.int64)]
    for down, across in np.argwhere(tiles) * _TILE:
        part = c[:, down : down + _TILE, across : across + _TILE]
        plane, i, j = np.nonzero(np.ones_like(part) if every else part)
        found.append(np.stack((plane, i + down, j + across)))
    return np.concatenate(found, -1)


class _Items(NamedTuple):
    """Sources that are looked at together: the blocks of the output and the pixels that they reach,
    and where they are, down and across: arrays [2, ...]."""

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]  # before the first where they reach none
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]  # one past the last pixel
    start: npt.NDArray[np.int64]  # row and column of the first source
    stop: npt.NDArray[np.int64]


def _items(low: Any, high: Any, start: Any, stop: Any, radius: float, ends: Any) -> _Items:
    """What sources that vote between two places [2, ...] reach of the output."""
    size = np.array([each[-1] for each in ends]).reshape(2, *(1,) * (low.ndim - 1))
    first = np.ceil(np.clip(low - radius, -1, size + 1)).astype(np.int64)
    last = np.floor(np.clip(high + radius, -1, size + 1)).astype(np.int64) + 1
    is_outside = (last <= 0) | (first >= size) | (last <= first)
    first, last = first.clip(0, size), last.clip(0, size)

    def blocks(pixels: Any, side: Any) -> Any:
        axes = zip(ends, pixels, strict=True)
        return np.stack([np.searchsorted(each, n, side) - 1 for each, n in axes])

    last_block = np.where(is_outside, -1, blocks(last, "left"))
    return _Items(blocks(first, "right"), last_block, first, last, start, stop)


def _usual(c: npt.NDArray[Any], o: npt.NDArray[Any], gradients: bool) -> float:
    """The median length of the offsets of a sample of the voters."""
    flat = np.arange(c.size) if gradients else np.flatnonzero(c)
    plane, i, j = np.unravel_index(flat[:: max(1, len(flat) // _SAMPLE)], c.shape)
    length = np.maximum(*(np.abs(o[plane, n, i, j]) for n in (0, 1)))
    finite = length[np.isfinite(length)]
    return float(np.median(finite)) if len(finite) else 0.0


def _grouped(
    items: _Items, is_far: npt.NDArray[np.bool_], ends: Any
) -> tuple[tuple[Link, ...], npt.NDArray[np.int64]]:
    """Join the items that vote for one block; return the numbers of the far ones that alone do so,
    too."""
    numbers, blocks = [np.zeros(0, np.int64)], [np.zeros((2, 0), np.int64)]
    spans = items.last - items.first
    for step in np.ndindex(*(spans.max(1, initial=-1) + 1)):
        there = np.reshape(step, (2, 1))
        numbers.append(np.flatnonzero((spans >= there).all(0)))
        blocks.append(items.first[:, numbers[-1]] + there)
    number, block = np.concatenate(numbers), np.concatenate(blocks, -1)
    flat = block[0] * (len(ends[1]) - 1) + block[1]
    order = np.argsort(flat, kind="stable")
    _, starts = np.unique(flat[order], return_index=True)
    number, block = number[order], block[:, order[starts]]

    def over(function: Any, values: Any) -> Any:
        """Reduce values of the items to one for each block."""
        return function.reduceat(values[..., number], starts, axis=-1)

    corner, end = (np.stack([e[b + n] for e, b in zip(ends, block, strict=True)]) for n in (0, 1))
    first, last = over(np.minimum, items.start), over(np.maximum, items.stop)
    low = np.maximum(over(np.minimum, items.low), corner) - corner
    high = np.minimum(over(np.maximum, items.high), end) - corner
    axes = np.stack([block, first, last, low, high], -1).tolist()
    links = tuple(map(Link, *([Span(*each) for each in axis] for axis in axes)))
    alone = np.repeat(over(np.logical_and, is_far), np.diff(starts, append=len(number)))
    return links, np.unique(number[alone])
