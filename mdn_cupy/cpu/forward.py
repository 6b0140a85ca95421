"""The forward kernel: what a thread does with one tile of a map after the other."""

from __future__ import annotations

from typing import Any

from mdn_cupy.cpu import gaussian, product_range, source_batch, vote_batch
from mdn_cupy.cpu.atomic_counter import take
from mdn_cupy.cpu.jit_options import inlined, jit, part
from mdn_cupy.cpu.simd import LANES
from mdn_cupy.cpu.sources import PATCH_COLUMNS, collect, find_windows, patch
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
)

__all__ = ["fill", "merge", "read_out"]

_FOLD_BELOW = 1e-280  # the exponents of products that may be smaller are set aside first
_TILES_A_CALL = 16  # between two checks for signals


@jit
def fill(queue: Any, sources: Any, scalars: Any, tile: Any, scratch: Any, maps: Any) -> bool:
    """Take tiles from a queue, vote into each, and read it out to the maps.

    Returns after some tiles, True if there are more. The votes of the last stay in the tile.
    """
    for _ in range(_TILES_A_CALL):
        n = take(queue.taken)
        if n >= queue.ends.shape[0]:
            return False
        _clear(tile, queue.frames[n])
        patches = queue.patches[queue.ends[n - 1] if n > 0 else 0 : queue.ends[n]]
        _vote(tile, sources, scalars, patches, scratch)
        _read_out(tile, maps)
    return True


@inlined
def _vote(tile: Any, sources: Any, scalars: Any, patches: Any, scratch: Any) -> None:
    """Add the votes of some patches of sources to a tile, about a row of a patch at a time."""
    height, width = sources.confidence.shape[1:]
    waiting = 0
    for k in range(patches.shape[0]):
        v, first, last, start, stop = patch(patches[k], height, width)
        ends = k + 1 == patches.shape[0] or patch(patches[k + 1], height, width)[0] != v
        voter = (tile.frame[MAP], v)
        for i in range(first, last):
            columns = (start, stop)
            waiting = collect(
                sources, scalars, voter, i, columns, waiting, scratch.landings, every=False
            )
            if waiting >= PATCH_COLUMNS or (ends and i + 1 == last):
                _vote_of(tile, sources, scalars, voter, waiting, scratch)
                waiting = 0


@inlined
def _vote_of(
    tile: Any, sources: Any, scalars: Any, voter: tuple[int, int], waiting: int, scratch: Any
) -> None:
    """Add the votes of the sources that wait."""
    landings, frame = scratch.landings, tile.frame
    window = (frame[TOP], frame[LEFT], frame[ROWS], frame[COLUMNS])
    find_windows(sources, scalars, voter, waiting, window, landings)
    count, certain = _choose(scalars, waiting, scratch)
    for begin in range(0, count, LANES):
        group = (begin, count if count < begin + LANES else begin + LANES)
        source_batch.enclose(
            scratch.box, (landings.upper, landings.lower), (landings.left, landings.right), group
        )
        if _multiplies(tile):
            _keep_normal(tile, scalars, scratch, group)
        span = (scratch.box[source_batch.LONGEST] + LANES - 1) // LANES * LANES
        _weigh(tile, sources, scratch, begin, span)
        _cast(tile, scalars, scratch, (*group, span), certain)


@inlined
def _clear(tile: Any, frame: Any) -> None:
    """Reset a tile to no votes."""
    for n in range(frame.shape[0]):
        tile.frame[n] = frame[n]
    pixels = frame[ROWS] * frame[PITCH]
    if _multiplies(tile):
        product_range.clear(tile.product, pixels, 1.0)
        product_range.clear(tile.exponent, pixels, 0.0)
        for n in range(tile.bound.shape[0]):
            tile.bound[n] = 1.0
    if _adds(tile):
        product_range.clear(tile.sum, pixels, 0.0)


@inlined
def _multiplies(tile: Any) -> bool:
    wanted: bool = tile.product.shape[0] > 0
    return wanted


@inlined
def _adds(tile: Any) -> bool:
    wanted: bool = tile.sum.shape[0] > 0
    return wanted


@inlined
def _choose(scalars: Any, waiting: int, scratch: Any) -> tuple[int, bool]:
    """Bring the sources that reach the tile to the front; how many they are, and whether a factor
    1 − w·c of one may have to be raised to the least."""
    landings = scratch.landings
    windows = (landings.upper, landings.lower, landings.left, landings.right)
    found = source_batch.survey(landings.confidence, windows, waiting, 1.0 - scalars.floor)
    count: int = waiting
    if found & source_batch.SILENT:
        known = (
            landings.p_x,
            landings.p_y,
            landings.confidence,
            landings.scale,
            landings.change,
            landings.peak,
        )
        count = source_batch.bring_to_front(known, windows, waiting)
    return count, found & source_batch.CERTAIN != 0


@inlined
def _keep_normal(tile: Any, scalars: Any, scratch: Any, group: Any) -> None:
    """Keep every product in range before the votes of a group are multiplied in."""
    box, bound = scratch.box, tile.bound
    upper, lower, left, right = (
        box[source_batch.UPPER],
        box[source_batch.LOWER],
        box[source_batch.LEFT],
        box[source_batch.RIGHT],
    )
    least = source_batch.least_product(scratch.landings.confidence, group, scalars.floor)
    abreast = tile.frame[ABREAST]
    for y in range(upper // BLOCK_ROWS, (lower - 1) // BLOCK_ROWS + 1):
        for x in range(left // BLOCK_COLUMNS, (right - 1) // BLOCK_COLUMNS + 1):
            if bound[y * abreast + x] * least < _FOLD_BELOW:
                _make_room(tile, y, x, least)
            bound[y * abreast + x] *= least


@part
def _make_room(tile: Any, y: int, x: int, least: float) -> None:
    """Look how small the products of a block are, and how large; move their exponents aside if
    they could leave the range by votes that change them by `least`.

    Mostly it would not: the bound takes all votes of a block for votes for the same pixel.
    """
    top, left, pitch = y * BLOCK_ROWS, x * BLOCK_COLUMNS, tile.frame[PITCH]
    block = (top * pitch + left, pitch)
    rows, columns = tile.frame[ROWS] - top, pitch - left
    size = (
        rows if rows < BLOCK_ROWS else BLOCK_ROWS,
        columns if columns < BLOCK_COLUMNS else BLOCK_COLUMNS,
    )
    bound = product_range.farthest(tile.product, block, size)
    if bound * least < _FOLD_BELOW:
        product_range.fold_exponents(tile.product, tile.exponent, block, size)
        bound = 1.0
    tile.bound[y * tile.frame[ABREAST] + x] = bound


@inlined
def _weigh(tile: Any, sources: Any, scratch: Any, begin: int, span: int) -> None:
    """Compute the weights of a group, in rows and columns of `span` pixels."""
    landings, fields = scratch.landings, sources.confidence
    curve, c = (landings.scale, landings.change), landings.confidence
    top, left = (begin, tile.frame[TOP]), (begin, tile.frame[LEFT])
    gaussian.across(scratch.a_x, span, landings.left, landings.p_x, curve, c, left, fields)
    gaussian.down(scratch.w_y, span, landings.upper, landings.p_y, curve, c, top, fields)


@inlined
def _cast(tile: Any, scalars: Any, scratch: Any, group: Any, certain: bool) -> None:
    """Add the votes of a group."""
    landings, pitch, floor = scratch.landings, tile.frame[PITCH], scalars.floor
    windows = (landings.upper, landings.lower, landings.left, landings.right)
    weights, peak = (scratch.a_x, scratch.w_y), landings.peak
    alike = scratch.box[source_batch.ALIKE]
    group = (*group, 1 + alike)
    if _multiplies(tile):
        if certain or alike:
            vote_batch.multiply_guarded(tile.product, pitch, windows, weights, group, floor, peak)
        else:
            vote_batch.multiply(tile.product, pitch, windows, weights, group, floor, peak)
    if _adds(tile):
        vote_batch.add(tile.sum, pitch, windows, weights, group, floor, peak)


@part
def _read_out(tile: Any, maps: Any) -> None:
    frame = tile.frame
    _, height, width = maps.log_complement.shape
    for y in range(frame[ROWS]):
        first = (frame[MAP] * height + frame[TOP] + y) * width + frame[LEFT]
        places = (first, y * frame[PITCH], frame[COLUMNS])
        if maps.noisy_or.shape[0] > 0:
            product_range.noisy_or(maps.noisy_or, tile.product, tile.exponent, places)
        if maps.log_complement.shape[0] > 0:
            product_range.log_complement(maps.log_complement, tile.product, tile.exponent, places)
        if maps.sum.shape[0] > 0:
            product_range.total(maps.sum, tile.sum, tile.exponent, places)


@jit
def merge(tile: Any, other: Any) -> None:
    """Combine the votes of another tile of the same place into the first."""
    rows, pitch, abreast = tile.frame[ROWS], tile.frame[PITCH], tile.frame[ABREAST]
    if _multiplies(tile):
        for y in range((rows + BLOCK_ROWS - 1) // BLOCK_ROWS):
            for x in range(abreast):
                for each in (tile, other):
                    _make_room(each, y, x, 0.0)
        for n in range(rows * pitch):
            tile.product[n] *= other.product[n]
            tile.exponent[n] += other.exponent[n]
    if _adds(tile):
        for n in range(rows * pitch):
            tile.sum[n] += other.sum[n]


@jit
def read_out(tile: Any, maps: Any) -> None:
    """Write what is wanted of a tile into the maps."""
    _read_out(tile, maps)
