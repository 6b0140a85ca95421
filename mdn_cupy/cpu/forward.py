"""The forward kernel: what a thread does with one tile of a map after the other."""

from __future__ import annotations

from typing import Any

from mdn_cupy.cpu import gaussian, groups, votes
from mdn_cupy.cpu.compiled import inlined, jit, part
from mdn_cupy.cpu.counter import take
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.sources import aim_row, patch
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

_FOLD_BELOW = 1e-280  # products that may be smaller hand their exponents over first
_TILES_A_CALL = 16  # between two looks at the signals that arrived


@jit
def fill(queue: Any, sources: Any, geometry: Any, tile: Any, scratch: Any, maps: Any) -> bool:
    """Take tiles from a queue, vote into each, and read it out to the maps.

    Returns after some tiles; whether there are more. The votes of the last stay in the tile.
    """
    for _ in range(_TILES_A_CALL):
        n = take(queue.taken)
        if n >= queue.ends.shape[0]:
            return False
        _clear(tile, queue.frames[n])
        patches = queue.patches[queue.ends[n - 1] if n > 0 else 0 : queue.ends[n]]
        _vote(tile, sources, geometry, patches, scratch)
        _read_out(tile, maps)
    return True


@inlined
def _vote(tile: Any, sources: Any, geometry: Any, patches: Any, scratch: Any) -> None:
    """Add the votes of some patches of sources to a tile."""
    height, width = sources.confidence.shape[1:]
    aim, frame = scratch.aim, tile.frame
    m, window = frame[MAP], (frame[TOP], frame[LEFT], frame[ROWS], frame[COLUMNS])
    for number in patches:
        v, first, last, start, stop = patch(number, height, width)
        for i in range(first, last):
            confidence = sources.confidence[sources.confidence_plane[m, v], i, start:stop]
            if not _any_votes(confidence):
                continue
            aim_row(sources, geometry, (m, v), i, (start, stop), window, aim)
            count, certain = _choose(confidence, geometry, scratch)
            for begin in range(0, count, LANES):
                group = (begin, count if count < begin + LANES else begin + LANES)
                rows, columns = (aim.upper, aim.lower), (aim.left, aim.right)
                groups.enclose(scratch.box, rows, columns, group)
                if tile.noisy_or:
                    _keep_normal(tile, geometry, scratch, group)
                span = (scratch.box[4] + LANES - 1) // LANES * LANES
                _weigh(tile, sources, scratch, begin, span)
                _cast(tile, geometry, scratch, group, span, certain)


@part
def _clear(tile: Any, frame: Any) -> None:
    """Begin a tile with no votes."""
    for n in range(frame.shape[0]):
        tile.frame[n] = frame[n]
    for n in range(frame[ROWS] * frame[PITCH]):
        tile.total[n] = 1.0 if tile.noisy_or else 0.0
        if tile.noisy_or:
            tile.exponent[n] = 0
    for n in range(tile.bound.shape[0]):
        tile.bound[n] = 1.0


@part
def _any_votes(confidence: Any) -> bool:
    voting = False
    for c in confidence:
        voting |= c != 0.0
    return voting


@part
def _choose(confidence: Any, geometry: Any, scratch: Any) -> tuple[int, bool]:
    """Bring the sources that vote into the tile to the front; how many they are, and whether a
    factor 1 − w·c of one may have to be raised to the least."""
    aim = scratch.aim
    every, certain = True, False
    for n in range(confidence.shape[0]):
        c = float(confidence[n])
        scratch.confidence[n] = c
        scratch.amplitude[n] = c * aim.peak[n]
        reaches = (aim.left[n] < aim.right[n]) & (aim.upper[n] < aim.lower[n])
        every &= (c != 0.0) & reaches
        certain |= c > 1.0 - geometry.floor
    count: int = confidence.shape[0]
    if every:
        return count, certain
    count = 0
    for n in range(confidence.shape[0]):
        c = scratch.confidence[n]
        if c == 0.0 or aim.left[n] >= aim.right[n] or aim.upper[n] >= aim.lower[n]:
            continue
        scratch.confidence[count], scratch.amplitude[count] = c, scratch.amplitude[n]
        for values in (aim.p_x, aim.p_y, aim.scale, aim.change):
            values[count] = values[n]
        for ends in (aim.left, aim.right, aim.upper, aim.lower):
            ends[count] = ends[n]
        count += 1
    return count, certain


@inlined
def _keep_normal(tile: Any, geometry: Any, scratch: Any, group: Any) -> None:
    """See to it that no product leaves the range by the votes of a group."""
    box, bound = scratch.box, tile.bound
    groups.least_product(scratch.lanes, scratch.confidence, group, geometry.floor)
    least, abreast = scratch.lanes[0], tile.frame[ABREAST]
    for y in range(box[0] // BLOCK_ROWS, (box[1] - 1) // BLOCK_ROWS + 1):
        for x in range(box[2] // BLOCK_COLUMNS, (box[3] - 1) // BLOCK_COLUMNS + 1):
            if bound[y * abreast + x] * least < _FOLD_BELOW:
                _make_room(tile, scratch.lanes, y, x, least)
            bound[y * abreast + x] *= least


@part
def _make_room(tile: Any, lanes: Any, y: int, x: int, least: float) -> None:
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
    votes.lowest(lanes, tile.total, block, size)
    bound = 1.0
    for n in range(LANES):
        bound = lanes[n] if lanes[n] < bound else bound
    if bound * least < _FOLD_BELOW:
        votes.fold_exponents(tile.total, tile.exponent, block, size)
        bound = 1.0
    tile.bound[y * tile.frame[ABREAST] + x] = bound


@inlined
def _weigh(tile: Any, sources: Any, scratch: Any, begin: int, span: int) -> None:
    """The weights of a group, in rows and columns of `span` pixels."""
    aim, peak, fields = scratch.aim, scratch.amplitude, sources.confidence
    curve = (aim.scale, aim.change)
    top, left = (begin, tile.frame[TOP]), (begin, tile.frame[LEFT])
    gaussian.across(scratch.a_x, span, aim.left, aim.p_x, curve, peak, left, fields)
    gaussian.down(scratch.w_y, span, aim.upper, aim.p_y, curve, peak, top, fields)


@inlined
def _cast(tile: Any, geometry: Any, scratch: Any, group: Any, span: int, certain: bool) -> None:
    """Add the votes of a group, in order."""
    aim, pitch, (begin, end) = scratch.aim, tile.frame[PITCH], group
    total, a_x, w_y, floor = tile.total, scratch.a_x, scratch.w_y, geometry.floor
    alike = scratch.box[5] != 0  # where the mass collapses
    n = begin
    while n < end:
        upper, left = aim.upper[n], aim.left[n]
        window = (upper * pitch + left, pitch, aim.lower[n] - upper, aim.right[n] - left)
        weights = ((n - begin) * span, n - begin, span)
        if not tile.noisy_or:
            votes.add(total, window, a_x, w_y, weights, floor)
        elif certain:
            votes.multiply_certain(total, window, a_x, w_y, weights, floor)
        elif alike and n + 1 < end:
            # They load and store a window once only, and the second need not wait for the first.
            votes.multiply_two(total, window, a_x, w_y, weights, floor)
            n += 1
        else:
            votes.multiply(total, window, a_x, w_y, weights, floor)
        n += 1


@part
def _read_out(tile: Any, maps: Any) -> None:
    frame = tile.frame
    _, height, width = maps.evidence.shape
    for y in range(frame[ROWS]):
        first = (frame[MAP] * height + frame[TOP] + y) * width + frame[LEFT]
        places = (first, y * frame[PITCH], frame[COLUMNS])
        if maps.complement.shape[0] > 0:
            votes.complement(maps.complement, tile.total, tile.exponent, places)
        if maps.evidence.shape[0] > 0:
            if tile.noisy_or:
                votes.log_complement(maps.evidence, tile.total, tile.exponent, places)
            else:
                votes.total(maps.evidence, tile.total, tile.exponent, places)


@jit
def merge(tile: Any, other: Any, scratch: Any) -> None:
    """Combine the votes of another tile of the same place into the first."""
    rows, pitch, abreast = tile.frame[ROWS], tile.frame[PITCH], tile.frame[ABREAST]
    for y in range((rows + BLOCK_ROWS - 1) // BLOCK_ROWS if tile.noisy_or else 0):
        for x in range(abreast):
            for each in (tile, other):
                _make_room(each, scratch.lanes, y, x, 0.0)
    for n in range(rows * pitch):
        if tile.noisy_or:
            tile.total[n] *= other.total[n]
            tile.exponent[n] += other.exponent[n]
        else:
            tile.total[n] += other.total[n]


@jit
def read_out(tile: Any, maps: Any) -> None:
    """Write a tile's Σφ, and what is wanted of it, into the maps."""
    _read_out(tile, maps)
