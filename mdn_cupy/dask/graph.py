"""Sparse graphs of votes: a task a block, which depends on what votes for it and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.highlevelgraph import HighLevelGraph

from mdn_cupy.arrays import Array, is_number, namespace, on_device, to_numpy
from mdn_cupy.cpu.half import widened
from mdn_cupy.dask.blocks import Blocks, Index, part_of
from mdn_cupy.dask.lazy import stored_arrays
from mdn_cupy.dask.reach import PROMISED, Link, Reach, longest_offset
from mdn_cupy.problem import Gradients, Rule, VoteOptions
from mdn_cupy.votes import Votes

__all__ = ["Arriving", "arriving", "gathered", "promises", "voted", "votes_of"]


_CUT = "mdn-cut-"  # the layers of `arriving`, by the token of the reach


def sources(blocks: Blocks, reach: Reach) -> tuple[dict[Index, Any], HighLevelGraph]:
    """The fields of each block of sources, checked where a reach was promised: a key of a layer, or
    a task that reads them from a store, to be part of others."""
    name = f"mdn-sources-{reach.token}"
    tasks, promise = {}, (reach.promised, reach.gradients)
    for block in blocks.sources():
        check = partial(_checked, blocks.width, *promise, blocks.start(block))
        tasks[block] = (check, *blocks.keys(block))
    if not blocks.computed:
        return tasks, HighLevelGraph({}, {})
    layer = {(name, *block): task for block, task in tasks.items()}
    graph = HighLevelGraph.from_collections(name, layer, blocks.computed)
    return {block: (name, *block) for block in tasks}, graph


_VJPS = {
    Rule.NOISY_OR: "log_complement_vjp",  # of L: m was read out before
    Rule.ADDITIVE: "additive_vjp",
    Rule.PLAIN_SUM: "plain_sum_vjp",
}


class Arriving(NamedTuple):
    """The sources that vote for each block of the output.

    Attributes
    ----------
    pieces : dict
        By the number of the block: links, whose sources are counted in the field, and these
        sources. That is a key of the graph, or, of fields in a store, a function without arguments
        that reads them.
    checks : list
        Keys of tasks that only see whether a promise holds.
    graph : HighLevelGraph
        In which the keys are.
    """

    pieces: dict[Index, list[tuple[Link, Any]]]
    checks: list[Any]
    graph: HighLevelGraph

    def of(self, number: Index) -> tuple[list[Link], list[Any]]:
        """The links and the pieces for one block."""
        found = self.pieces.get(number, [])
        return [link for link, _ in found], [piece for _, piece in found]


def arriving(blocks: Blocks, reach: Reach, check_all: bool = False) -> Arriving:
    """Find the sources that vote for each block of the output.

    Parameters
    ----------
    blocks : Blocks
        The problem.
    reach : Reach
        Of it.
    check_all : bool
        Check a promise of all sources, also of those that are read by tasks which may not need
        them; by default only of those that vote for no pixel.
    """
    fields, graph = sources(blocks, reach)
    name = f"{'mdn-cut-and-checked-' if check_all else _CUT}{reach.token}"
    cuts: dict[Any, Any] = {}
    checks: list[Any] = []
    if reach.promised is not None:
        for block in blocks.sources():
            if check_all or not _covers(reach.links[block], blocks.size(block)):
                checks.append((name, *block))
                cuts[(name, *block)] = (_nothing, fields[block])
    pieces: dict[Index, list[tuple[Link, Any]]] = {}
    for block, link in [] if blocks.computed else _joined_links(blocks, reach):
        start = link.rows.first, link.columns.first
        check = partial(_checked, blocks.width, reach.promised, reach.gradients, start)
        piece = partial(_read, check, blocks.reads(block, *link.sources))
        pieces.setdefault(_target(blocks, block, link), []).append((link, piece))
    for block in blocks.sources() if blocks.computed else []:
        for link in reach.links[block]:
            key = (name, *block, *link.target)
            cuts[key] = (partial(_cut, link), fields[block])
            placed = link.moved(*blocks.start(block))
            pieces.setdefault(_target(blocks, block, link), []).append((placed, key))
    needs = {**graph.dependencies, name: {*graph.layers}}
    return Arriving(pieces, checks, HighLevelGraph({**graph.layers, name: cuts}, needs))


def promises(array: da.Array) -> list[str]:
    """The tokens of the promised reaches that the votes in an array check, or did before they were
    stored: where it has values, the promises hold."""
    tokens = (name.removeprefix(_CUT) for name in array.__dask_graph__().layers)
    found = {token for token in tokens if token.startswith(PROMISED)}
    return sorted(found.union(*(each.said.get("reach", ()) for each in stored_arrays(array))))


def _target(blocks: Blocks, block: Index, link: Link) -> Index:
    """The number of the block of the output for which sources vote."""
    return (*blocks.target(block), *link.target)


def _joined_links(blocks: Blocks, reach: Reach) -> Iterator[tuple[Index, Link]]:
    """The links of blocks whose sources are read by one call, counted in the field, and the number
    of one such block.

    A block of the output is mostly voted for by its own block of sources and margins of eight
    others: as one array they take 10 to 20 % less time than as nine, and each pixel has the sum of
    the whole field's map, in one order.
    """
    found: dict[tuple[Index, Index], list[Link]] = {}
    for block in blocks.sources():
        for link in reach.links[block]:
            key = block[:-2], link.target
            found.setdefault(key, []).append(link.moved(*blocks.start(block)))
    most = 2 * math.prod(max(chunks) for chunks in blocks.grid)
    for (leading, _), links in found.items():
        for link in _joined(links, most):
            yield (*leading, 0, 0), link


def _joined(links: list[Link], most: int) -> list[Link]:
    """Join links of one block of the output to the largest, unless that adds many sources which do
    not vote, or there are more than `most` then."""
    home, *others = sorted(links, key=lambda link: -link.size)
    apart = []
    for link in others:
        union = home.joined(link)
        if union.size <= min(1.25 * (home.size + link.size), most):
            home = union
        else:
            apart.append(link)
    # No source may be in two.
    return links if any(home.overlaps(link) for link in apart) else [home, *apart]


def voted(blocks: Blocks, reach: Reach, maps: tuple[str, ...]) -> list[da.Array]:
    """The vote maps, one task for each block of all of them.

    Parameters
    ----------
    blocks : Blocks
        The problem.
    reach : Reach
        Of it.
    maps : tuple of {'noisy_or', 'log_complement', 'additive', 'plain_sum'}
        Which maps.
    """
    found = arriving(blocks, reach)
    name = f"mdn-{'-'.join(maps)}-{reach.token}"
    layer = {}
    checks = found.checks
    vote = partial(_vote, blocks.options, maps, blocks.dtype, blocks.confidence._meta)
    for number in np.ndindex(*map(len, blocks.output_chunks)):
        shape = tuple(c[n] for c, n in zip(blocks.output_chunks, number, strict=True))
        links, pieces = found.of(number)
        task = partial(vote, shape, blocks.corner(number), links)
        layer[(name, *number)] = (task, pieces, checks)
        checks = []
    layers = {**found.graph.layers, name: layer}
    dependencies = {**found.graph.dependencies, name: {*found.graph.layers}}
    together = _array_of(blocks, name, HighLevelGraph(layers, dependencies))
    if len(maps) == 1:
        return [together]
    arrays = []
    for n, each in enumerate(maps):
        own = f"mdn-{each}-of-{name}"
        items = {(own, *k[1:]): (itemgetter(n), k) for k in layer}
        graph = HighLevelGraph.from_collections(own, items, [together])
        arrays.append(_array_of(blocks, own, graph))
    return arrays


def _array_of(blocks: Blocks, name: str, graph: HighLevelGraph) -> da.Array:
    """The Dask array of vote maps whose chunks a layer of a graph has."""
    chunks = blocks.output_chunks
    meta = meta_from_array(blocks.confidence._meta, ndim=len(chunks), dtype=blocks.dtype)
    return da.Array(graph, name, chunks=chunks, meta=meta, dtype=blocks.dtype)


def gathered(rule: Rule, blocks: Blocks, reach: Reach, cotangent: da.Array) -> Gradients:
    """The gradients: for each block of sources one task, which has the cotangent where it votes."""
    cotangent = cotangent.astype(blocks.dtype)
    fields, graph = sources(blocks, reach)
    cut, name = f"mdn-cut-{cotangent.name}-{reach.token}", f"mdn-vjp-{rule.name.lower()}-"
    name += f"{cotangent.name}-{reach.token}"
    cuts, layer = {}, {}
    for block in blocks.sources():
        keys, target = [], blocks.target(block)
        places = []
        for link in reach.links[block]:
            key = (cut, *block, *link.target)
            cuts[key] = (partial(part_of, *link.pixels), (cotangent.name, *target, *link.target))
            places.append((blocks.corner(link.target), link))
            keys.append(key)
        pull = partial(_pull, blocks.options, rule, blocks.dtype, blocks.start(block))
        layer[(name, *block)] = (partial(pull, places), fields[block], keys)
    joined = HighLevelGraph.merge(graph, cotangent.__dask_graph__())
    layers = {**joined.layers, cut: cuts, name: layer}
    dependencies = {**joined.dependencies, cut: {cotangent.name}, name: {cut, *graph.layers}}
    whole = HighLevelGraph(layers, dependencies)
    of = (blocks.confidence, blocks.offsets, blocks.sigma)
    return Gradients(*(_gradient(blocks, whole, name, n, x) for n, x in enumerate(of)))


def _gradient(blocks: Blocks, graph: HighLevelGraph, name: str, which: int, field: Any) -> da.Array:
    """One of the gradients, added up over the blocks to which its field is broadcast."""
    own = f"mdn-vjp-{('confidence', 'offsets', 'sigma')[which]}-of-{name}"
    numbers = [len(chunks) for chunks in (*blocks.leading, *blocks.grid)]
    trailing = (2,) if which == 1 else ()
    leading = len(blocks.leading)
    if is_number(field):
        shape: tuple[int, ...] = ()
        chunks: list[Any] = [(1,) * n for n in numbers]
    else:
        missing = leading - (field.ndim - 2 - len(trailing))
        shape = field.shape
        given = [(1,)] * missing + list(field.chunks)
        del given[leading : leading + len(trailing)]
        spread = [sum(each) == 1 for each in given]
        chunks = [
            (1,) * n if alone else each
            for n, each, alone in zip(numbers, given, spread, strict=True)
        ]
    inserted = (0,) * len(trailing)
    dims = leading + 2 + len(trailing)
    layer = {
        (own, *b[:leading], *inserted, *b[leading:]): (partial(_padded, which, dims), (name, *b))
        for b in blocks.sources()
    }
    every = HighLevelGraph({**graph.layers, own: layer}, {**graph.dependencies, own: {name}})
    chunks[leading:leading] = [trailing] if trailing else []
    meta = meta_from_array(blocks.confidence._meta, ndim=dims, dtype=blocks.dtype)
    array = da.Array(every, own, chunks=tuple(map(tuple, chunks)), meta=meta, dtype=blocks.dtype)
    if not shape:
        return array.sum(dtype=np.float64).astype(blocks.dtype)
    padded = (1,) * (dims - len(shape)) + tuple(shape)
    axes = tuple(n for n, size in enumerate(padded) if size == 1 and array.shape[n] > 1)
    if axes:
        array = array.sum(axis=axes, keepdims=True, dtype=np.float64).astype(blocks.dtype)
    return array[(0,) * (dims - len(shape))]


# Tasks


def _checked(
    width: Any,
    promised: float | None,
    every: bool,
    start: tuple[int, int],
    c: Any,
    o: Any,
    sigma: Any,
) -> tuple[Any, Any, Any]:
    """Some of the fields; ValueError for an offset that is longer than promised."""
    fields = (c, o, width if sigma is None else sigma)
    if promised is None or longest_offset(c, o, every) <= promised:
        return fields
    with np.errstate(invalid="ignore"):
        length = np.abs(to_numpy(o, "offsets")).max(axis=-3)
        voting = (to_numpy(c, "confidence") != 0) | every
        beyond = voting & np.isfinite(length) & (length > promised)
    count = int(np.count_nonzero(beyond))
    lengths = np.where(beyond, length, 0)
    *_, i, j = np.unravel_index(int(lengths.argmax()), lengths.shape)
    raise ValueError(
        f"{count} votes of the chunk at row {start[0]} and column {start[1]} go beyond the "
        f"promised reach of {promised:g} pixels; the longest, by {lengths.max():g} pixels, "
        f"is of the source in row {start[0] + i} and column {start[1] + j}; leave reach out to "
        "have it measured"
    )


def _read(check: Any, reads: list[Any]) -> tuple[Any, Any, Any]:
    """Read some of the fields from a store."""
    c, o, sigma = (None if each is None else widened(each[0](each[1])) for each in reads)
    fields: tuple[Any, Any, Any] = check(c, o, sigma)
    return fields


def _covers(links: tuple[Link, ...], size: tuple[int, int]) -> bool:
    """Say whether all sources of a block are near some block of the output: of a promised reach,
    whose links have no gaps."""
    return all(
        min((link[n].first for link in links), default=0) == 0
        and max((link[n].last for link in links), default=0) == size[n]
        for n in (0, 1)
    )


def _cut(link: Link, fields: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The sources of a block that vote for one block of the output, copied."""
    c, o, sigma = fields
    return (_part(c, link), _part(o, link), sigma if is_number(sigma) else _part(sigma, link))


def _part(array: Array, link: Link) -> Array:
    rows, columns = _rows_and_columns(array, link)
    return part_of(rows, columns, array)


def _rows_and_columns(array: Array, link: Link) -> list[slice]:
    """Where the sources of a link are in a field of their block, which may broadcast."""
    given = zip(link.sources, array.shape[-2:], strict=True)
    return [part if size > 1 else slice(None) for part, size in given]


def _nothing(fields: tuple[Any, Any, Any]) -> None:
    """Nothing, once the fields were checked."""


def _vote(
    options: Any,
    maps: tuple[str, ...],
    dtype: Any,
    meta: Array,
    shape: tuple[int, ...],
    corner: tuple[int, int],
    links: list[Link],
    pieces: list[Any],
    _checks: list[None],
) -> Any:
    """Vote into one block of the output, piece by piece: sums of votes add up."""
    needed = ["log_complement" if name == "noisy_or" else name for name in maps]
    with on_device(meta):
        sums = {name: np.zeros_like(meta, dtype=dtype, shape=shape) for name in needed}
        for link, piece in zip(links, pieces, strict=True):
            votes = votes_of(options, piece, link, corner)
            if len(sums) == 2:
                other: Any = next(name for name in sums if name != "log_complement")
                found = dict(zip(("log_complement", other), votes.compare(other)[1:], strict=True))
            else:
                found = {name: getattr(votes, name)() for name in sums}
            for name, values in found.items():
                sums[name][(..., *link.pixels)] += values
        xp = namespace(next(iter(sums.values())))
        read = [
            0 - xp.expm1(sums["log_complement"]) if name == "noisy_or" else sums[name]
            for name in maps
        ]
    return read[0] if len(read) == 1 else tuple(read)


def votes_of(options: VoteOptions, piece: Any, link: Link, corner: tuple[int, int]) -> Votes:
    """The votes of some sources for some pixels of a block of the output; they are read now, where
    they lie in a store."""
    fields = piece() if callable(piece) else piece
    along: Any = zip(options.origin, options.stride, corner, link, strict=True)  # type: ignore[arg-type]
    origin = tuple(t + s * span.first - (begin + span.low) for t, s, begin, span in along)
    shape = tuple(span.high - span.low for span in link)
    return Votes(*fields, **{**options.named, "origin": origin, "output_shape": shape})


def _pull(
    options: Any,
    rule: Rule,
    dtype: Any,
    start: tuple[int, int],
    places: list[tuple[tuple[int, int], Link]],
    fields: tuple[Any, Any, Any],
    cotangents: list[Array],
) -> tuple[Array, Array, Array]:
    """The gradients of one block of sources, of all pixels that it votes for."""
    c, o, width = fields
    number = is_number(width)
    with on_device(c):
        sums = [np.zeros_like(x, dtype=dtype) for x in (c, o)]
        sums.append(np.zeros_like(c, dtype=dtype, shape=() if number else width.shape))
        for (corner, link), cotangent in zip(places, cotangents, strict=True):
            part = _cut(link, fields)
            votes = votes_of(options, part, link.moved(*start), corner)
            pull = getattr(votes, _VJPS[rule])
            for total, gradient in zip(sums, pull(cotangent), strict=True):
                _add(total, gradient, link)
    return sums[0], sums[1], sums[2]


def _add(total: Array, gradient: Array, link: Link) -> None:
    """Add the gradient of some sources to that of their block."""
    if not total.ndim:
        total += gradient
        return
    rows, columns = _rows_and_columns(total, link)
    total[..., rows, columns] += gradient


def _padded(which: int, dims: int, gradients: tuple[Array, ...]) -> Array:
    """One of a block's gradients, with axes of size 1 before the others."""
    found = gradients[which]
    return found.reshape((1,) * (dims - found.ndim) + tuple(found.shape))
