"""The forward kernel: what a thread does with one tile of a map after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, product_range, source_batch
from mdn_cupy.cpu.atomic_counter import take
from mdn_cupy.cpu.inlining import inlined, part
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import HALF, LANES, full, load, present, store_where, transpose
from mdn_cupy.cpu.source_batch import Box
from mdn_cupy.cpu.sources import PATCH_COLUMNS, LandingBatch, Scalars, Sources, patch
from mdn_cupy.cpu.tiles import (
    ABREAST,
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    COLUMNS,
    LEFT,
    MAP,
    PITCH,
    ROWS,
    TOP,
    ForwardScratch,
    Maps,
    Queue,
    Tile,
)
from mdn_cupy.cpu.vote_batch import ADD, MULTIPLY, MULTIPLY_GUARDED, vote
from mdn_cupy.cpu.windows import collect, find_windows

__all__ = ["fill", "merge", "read_out"]

_FOLD_BELOW = 1e-280  # the exponents of products that may be smaller are set aside first
_PIXELS_A_CALL = 1 << 17  # between two checks of whether to go on: the largest tile, or small ones


@jit
def fill(
    queue: Queue,
    sources: Sources,
    scalars: Scalars,
    tile: Tile,
    scratch: ForwardScratch,
    maps: Maps,
) -> bool:
    """Take tiles from a queue, vote into each, and read it out to the maps.

    Returns after some tiles, True if there are more. The votes of the last stay in the tile.
    """
    pixels = 0
    while pixels < _PIXELS_A_CALL:
        n = take(queue.taken, 0)
        if n >= queue.ends.shape[0]:
            return False
        _clear(tile, queue.frames[n])
        patches = queue.patches[queue.ends[n - 1] if n > 0 else 0 : queue.ends[n]]
        _vote(tile, sources, scalars, patches, scratch)
        _read_out(tile, maps)
        pixels += tile.frame[ROWS] * tile.frame[COLUMNS]
    return True


@inlined
def _vote(
    tile: Tile,
    sources: Sources,
    scalars: Scalars,
    patches: npt.NDArray[np.int64],
    scratch: ForwardScratch,
) -> None:
    """Add the votes of some patches of sources to a tile, about a row of a patch at a time."""
    height, width = sources.confidence.shape[1:]
    waiting = 0
    for k in range(patches.shape[0]):
        v, first, last, start, stop = patch(patches[k], height, width)
        ends = k + 1 == patches.shape[0] or patch(patches[k + 1], height, width)[0] != v
        voter = (tile.frame[MAP], v)
        for i in range(first, last):
            columns = (start, stop)
            waiting = collect(sources, scalars, voter, i, columns, waiting, scratch.landings, False)
            if waiting >= PATCH_COLUMNS or (ends and i + 1 == last):
                _vote_of(tile, sources, scalars, voter, waiting, scratch)
                waiting = 0


@part
def _vote_of(
    tile: Tile,
    sources: Sources,
    scalars: Scalars,
    voter: tuple[int, int],
    waiting: int,
    scratch: ForwardScratch,
) -> None:
    """Add the votes of the sources that wait."""
    landings, frame = scratch.landings, tile.frame
    region = (frame[TOP], frame[LEFT], frame[ROWS], frame[COLUMNS])
    find_windows(sources, scalars, voter, waiting, region, landings)
    silent, certain = source_batch.survey(landings, waiting, 1.0 - scalars.floor)
    count = source_batch.bring_to_front(landings, waiting) if silent else waiting
    for begin in range(0, count, LANES):
        end = begin + LANES if begin + LANES < count else count
        box = source_batch.enclose(landings, begin, end)
        if tile.product.shape[0] > 0:
            _keep_normal(tile, scalars, landings, box, (begin, end))
        span = (box.longest + HALF - 1) // HALF * HALF
        _weigh(tile, sources, scratch, begin, (box.longest, span))
        _cast(tile, scalars, scratch, (begin, end), span, certain, box.alike)


@inlined
def _clear(tile: Tile, frame: npt.NDArray[np.int64]) -> None:
    """Reset a tile to no votes."""
    # Names of their own: a store might change the tile, for all that LLVM knows.
    product, exponent, bound, total = tile.product, tile.exponent, tile.bound, tile.sum
    for n in range(frame.shape[0]):
        tile.frame[n] = frame[n]
    pixels = frame[ROWS] * frame[PITCH]
    if product.shape[0] > 0:
        for n in range(pixels):
            product[n] = 1.0
        for n in range(pixels):
            exponent[n] = 0
        for n in range(bound.shape[0]):
            bound[n] = 1.0
    if total.shape[0] > 0:
        for n in range(pixels):
            total[n] = 0.0


@inlined
def _keep_normal(
    tile: Tile, scalars: Scalars, landings: LandingBatch, box: Box, group: tuple[int, int]
) -> None:
    """Keep every product in range before the votes of a group are multiplied in."""
    bound, abreast = tile.bound, tile.frame[ABREAST]
    least = source_batch.least_product(landings, group[0], group[1], scalars.floor)
    for y in range(box.upper // BLOCK_ROWS, (box.lower - 1) // BLOCK_ROWS + 1):
        for x in range(box.left // BLOCK_COLUMNS, (box.right - 1) // BLOCK_COLUMNS + 1):
            if bound[y * abreast + x] * least < _FOLD_BELOW:
                _make_room(tile, y, x, least)
            bound[y * abreast + x] *= least


@part
def _make_room(tile: Tile, y: int, x: int, least: float) -> None:
    """Look how small the products of a block are, and how large; move their exponents aside if
    they could leave the range by votes that change them by `least`.

    Mostly it would not: the bound takes all votes of a block for votes for the same pixel.
    """
    top, left, pitch = y * BLOCK_ROWS, x * BLOCK_COLUMNS, tile.frame[PITCH]
    rows, columns = tile.frame[ROWS] - top, pitch - left
    block = (
        top * pitch + left,
        rows if rows < BLOCK_ROWS else BLOCK_ROWS,
        columns if columns < BLOCK_COLUMNS else BLOCK_COLUMNS,
    )
    bound = product_range.farthest(tile, pitch, block)
    if bound * least < _FOLD_BELOW:
        product_range.fold_exponents(tile, pitch, block)
        bound = 1.0
    tile.bound[y * tile.frame[ABREAST] + x] = bound


@inlined
def _weigh(
    tile: Tile, sources: Sources, scratch: ForwardScratch, begin: int, lengths: tuple[int, int]
) -> None:
    """Compute the weights of a group; `lengths` are that of its longest window and of a row."""
    longest, span = lengths
    landings, fields, a_x, w_y = scratch.landings, sources.confidence, scratch.a_x, scratch.w_y
    pixels, c = (landings.left, tile.frame[LEFT], begin), load(landings.confidence, begin, LANES)
    gaussian.weights(w_y, longest, pixels, landings.p_x, landings, c, fields)
    for x in range(0, span, HALF):
        transpose(w_y, x * LANES, LANES, a_x, x, span)
        transpose(w_y, x * LANES + HALF, LANES, a_x, HALF * span + x, span)
    pixels = (landings.upper, tile.frame[TOP], begin)
    gaussian.weights(w_y, longest, pixels, landings.p_y, landings, full(1.0, LANES), fields)


@inlined
def _cast(
    tile: Tile,
    scalars: Scalars,
    scratch: ForwardScratch,
    group: tuple[int, int],
    span: int,
    certain: bool,
    alike: bool,
) -> None:
    """Add the votes of a group."""
    landings, pitch, floor = scratch.landings, tile.frame[PITCH], scalars.floor
    weights = (scratch.a_x, scratch.w_y, span)
    if tile.product.shape[0] > 0:
        if certain or alike:
            together = 2 if alike else 1
            vote(tile.product, MULTIPLY_GUARDED, pitch, landings, weights, group, together, floor)
        else:
            vote(tile.product, MULTIPLY, pitch, landings, weights, group, 1, floor)
    if tile.sum.shape[0] > 0:
        vote(tile.sum, ADD, pitch, landings, weights, group, 1, floor)


@part
def _read_out(tile: Tile, maps: Maps) -> None:
    frame = tile.frame
    product, exponent, total, pitch = tile.product, tile.exponent, tile.sum, frame[PITCH]
    noisy_or, log_complement, sums = maps.noisy_or, maps.log_complement, maps.sum
    _, height, width = log_complement.shape
    for y in range(frame[ROWS]):
        first = (frame[MAP] * height + frame[TOP] + y) * width + frame[LEFT]
        columns = frame[COLUMNS]
        for x in range(0, columns, LANES):
            inside, n = present(x, columns, LANES), y * pitch + x
            if product.shape[0] > 0:
                q, e = load(product, n, LANES), load(exponent, n, LANES)
                if noisy_or.shape[0] > 0:
                    store_where(noisy_or, first + x, product_range.noisy_or(q, e), inside)
                if log_complement.shape[0] > 0:
                    logarithm = product_range.log_complement(q, e)
                    store_where(log_complement, first + x, logarithm, inside)
            if sums.shape[0] > 0:
                store_where(sums, first + x, load(total, n, LANES), inside)


@jit
def merge(tile: Tile, other: Tile) -> None:
    """Combine the votes of another tile of the same place into the first."""
    rows, pitch, abreast = tile.frame[ROWS], tile.frame[PITCH], tile.frame[ABREAST]
    if tile.product.shape[0] > 0:
        for y in range((rows + BLOCK_ROWS - 1) // BLOCK_ROWS):
            for x in range(abreast):
                for each in (tile, other):
                    _make_room(each, y, x, 0.0)
        for n in range(rows * pitch):
            tile.product[n] *= other.product[n]
            tile.exponent[n] += other.exponent[n]
    if tile.sum.shape[0] > 0:
        for n in range(rows * pitch):
            tile.sum[n] += other.sum[n]


@jit
def read_out(tile: Tile, maps: Maps) -> None:
    """Write what is wanted of a tile into the maps."""
    _read_out(tile, maps)
