"""The forward kernel: what a thread does with one tile of a map after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, groups, votes
from mdn_cupy.cpu.compiled import inlined, jit, part
from mdn_cupy.cpu.counter import take
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.sources import NOISY_OR, PATCH_COLUMNS, Aim, aim_row, new_aim, patch

__all__ = [
    "Place",
    "Queue",
    "Scratch",
    "Tile",
    "fill",
    "merge",
    "new_queue",
    "new_scratch",
    "new_tile",
    "read_out",
]

Place = tuple[int, int, int, int, int]
"""Which map; top, left, rows and columns in it."""

_MAP, _TOP, _LEFT, _ROWS, _COLUMNS, _PITCH, _ABREAST = range(7)  # of a tile's frame
BLOCK_ROWS, BLOCK_COLUMNS = 32, 64  # pixels of a tile that share one bound
_FOLD_BELOW = 1e-280  # products that may be smaller hand their exponents over first
_TILES_A_CALL = 16  # between two looks at the signals that arrived


class Tile(NamedTuple):
    """Votes gathered so far for a part of a map: product · 2^exponent, or a sum, per pixel."""

    noisy_or: bool
    frame: npt.NDArray[np.int64]  # its place, the pitch of its rows, and the blocks abreast
    total: npt.NDArray[np.float64]  # rows of `pitch` pixels: LANES − 1 or more to spare
    exponent: npt.NDArray[np.int32]  # alike
    bound: npt.NDArray[np.float64]  # of each block: no product in it, nor its inverse, is smaller


class Scratch(NamedTuple):
    """What a thread needs beside a tile to vote into it."""

    aim: Aim
    confidence: npt.NDArray[np.float64]  # [PATCH_COLUMNS], of the sources that vote
    amplitude: npt.NDArray[np.float64]  # [PATCH_COLUMNS], of their votes
    w_x: npt.NDArray[np.float64]  # weights of a group: a row of pixels for each source
    a_y: npt.NDArray[np.float64]  # amplitude · weight: a row of sources for each pixel
    box: npt.NDArray[np.int32]  # around the windows of a group
    lanes: npt.NDArray[np.float64]
    logs: npt.NDArray[np.float64]  # of a row of a tile


class Queue(NamedTuple):
    """Tiles to fill, and the patches of sources that may vote into each."""

    taken: npt.NDArray[np.int64]  # [1]
    frames: npt.NDArray[np.int64]  # [tiles, 7]
    patches: npt.NDArray[np.int64]  # of all tiles
    ends: npt.NDArray[np.int64]  # [tiles], one past the last patch of each


def new_tile(rule: int, places: Sequence[Place]) -> Tile:
    """Memory for a tile in any of these places; new memory would cost as much as some votes."""
    frames = list(map(_frame, places))
    pixels = max(rows * pitch for _, _, _, rows, _, pitch, _ in frames)
    blocks = max(math.ceil(rows / BLOCK_ROWS) * abreast for _, _, _, rows, _, _, abreast in frames)
    return Tile(
        rule == NOISY_OR,
        np.zeros(7, np.int64),
        np.empty(pixels),
        np.empty(pixels if rule == NOISY_OR else 0, np.int32),
        np.empty(blocks),
    )


def new_scratch(places: Sequence[Place]) -> Scratch:
    """Memory for voting into tiles in any of these places."""
    longest = max(max(rows, columns) for *_, rows, columns in places)
    pitch = longest + 3 * LANES  # or less
    return Scratch(
        aim=new_aim(),
        confidence=np.zeros(PATCH_COLUMNS),
        amplitude=np.zeros(PATCH_COLUMNS),
        w_x=np.empty(LANES * pitch),
        a_y=np.empty(LANES * pitch),
        box=np.empty(5, np.int32),
        lanes=np.empty(LANES),
        logs=np.empty(pitch),
    )


def new_queue(tiles: Sequence[tuple[Place, npt.NDArray[np.int64]]]) -> Queue:
    """Line up places, each with the patches of the sources that may vote there."""
    places, patches = zip(*tiles, strict=True)
    return Queue(
        np.zeros(1, np.int64),
        np.array(list(map(_frame, places)), np.int64),
        np.concatenate(patches),
        np.cumsum([len(p) for p in patches]),
    )


def _frame(place: Place) -> tuple[int, ...]:
    # Odd in lanes: by a power of two, all rows of a window would compete for one set of the cache.
    pitch = (math.ceil((place[4] + LANES - 1) / LANES) | 1) * LANES
    return (*place, pitch, math.ceil(pitch / BLOCK_COLUMNS))


@jit
def fill(queue: Any, sources: Any, geometry: Any, tile: Any, scratch: Any, evidence: Any) -> bool:
    """Take tiles from a queue, vote into each, and write what came of it to the evidence.

    Returns after some tiles; whether there are more. Evidence of no maps is not written to: the
    votes stay in the tile.
    """
    for _ in range(_TILES_A_CALL):
        n = take(queue.taken)
        if n >= queue.ends.shape[0]:
            return False
        _clear(tile, queue.frames[n])
        patches = queue.patches[queue.ends[n - 1] if n > 0 else 0 : queue.ends[n]]
        _vote(tile, sources, geometry, patches, scratch)
        if evidence.shape[0] > 0:
            _read_out(tile, scratch, evidence)
    return True


@inlined
def _vote(tile: Any, sources: Any, geometry: Any, patches: Any, scratch: Any) -> None:
    """Add the votes of some patches of sources to a tile."""
    height, width = sources.confidence.shape[1:]
    aim, frame = scratch.aim, tile.frame
    m, window = frame[_MAP], (frame[_TOP], frame[_LEFT], frame[_ROWS], frame[_COLUMNS])
    for number in patches:
        v, first, last, start, stop = patch(number, height, width)
        for i in range(first, last):
            confidence = sources.confidence[sources.confidence_plane[m, v], i, start:stop]
            if not _any_votes(confidence):
                continue
            aim_row(sources, geometry, (m, v), i, (start, stop), window, aim)
            count = _choose(confidence, scratch)
            for begin in range(0, count, LANES):
                group = (begin, count if count < begin + LANES else begin + LANES)
                rows, columns = (aim.upper, aim.lower), (aim.left, aim.right)
                groups.enclose(scratch.box, rows, columns, group)
                if tile.noisy_or:
                    _keep_normal(tile, geometry, scratch, group)
                span = (scratch.box[4] + LANES - 1) // LANES * LANES
                _weigh(tile, sources, scratch, begin, span)
                _cast(tile, geometry, scratch, group, span)


@part
def _clear(tile: Any, frame: Any) -> None:
    """Begin a tile with no votes."""
    for n in range(frame.shape[0]):
        tile.frame[n] = frame[n]
    for n in range(frame[_ROWS] * frame[_PITCH]):
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
def _choose(confidence: Any, scratch: Any) -> int:
    """Bring the sources that vote into the tile to the front, and say how many they are."""
    aim = scratch.aim
    every = True
    for n in range(confidence.shape[0]):
        c = float(confidence[n])
        scratch.confidence[n] = c
        scratch.amplitude[n] = c * aim.peak[n]
        reaches = (aim.left[n] < aim.right[n]) & (aim.upper[n] < aim.lower[n])
        every &= (c != 0.0) & reaches
    count: int = confidence.shape[0]
    if every:
        return count
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
    return count


@inlined
def _keep_normal(tile: Any, geometry: Any, scratch: Any, group: Any) -> None:
    """See to it that no product leaves the range by the votes of a group."""
    box, bound = scratch.box, tile.bound
    groups.least_product(scratch.lanes, scratch.confidence, group, geometry.floor)
    least, abreast = scratch.lanes[0], tile.frame[_ABREAST]
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
    top, left, pitch = y * BLOCK_ROWS, x * BLOCK_COLUMNS, tile.frame[_PITCH]
    block = (top * pitch + left, pitch)
    rows, columns = tile.frame[_ROWS] - top, pitch - left
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
    tile.bound[y * tile.frame[_ABREAST] + x] = bound


@inlined
def _weigh(tile: Any, sources: Any, scratch: Any, begin: int, span: int) -> None:
    """The weights of a group, in rows and columns of `span` pixels."""
    aim, peak, fields = scratch.aim, scratch.amplitude, sources.confidence
    curve = (aim.scale, aim.change)
    top, left = (begin, tile.frame[_TOP]), (begin, tile.frame[_LEFT])
    gaussian.across(scratch.w_x, span, aim.left, aim.p_x, curve, peak, left, fields)
    gaussian.down(scratch.a_y, span, aim.upper, aim.p_y, curve, peak, top, fields)


@inlined
def _cast(tile: Any, geometry: Any, scratch: Any, group: Any, span: int) -> None:
    """Add the votes of a group, in order."""
    aim, pitch, (begin, end) = scratch.aim, tile.frame[_PITCH], group
    for n in range(begin, end):
        upper, left = aim.upper[n], aim.left[n]
        window = (upper * pitch + left, pitch, aim.lower[n] - upper, aim.right[n] - left)
        weights = ((n - begin) * span, n - begin)
        if tile.noisy_or:
            votes.multiply(tile.total, window, scratch.w_x, scratch.a_y, weights, geometry.floor)
        else:
            votes.add(tile.total, window, scratch.w_x, scratch.a_y, weights, 0.0)


@part
def _read_out(tile: Any, scratch: Any, evidence: Any) -> None:
    frame = tile.frame
    left, columns, pitch = frame[_LEFT], frame[_COLUMNS], frame[_PITCH]
    for y in range(frame[_ROWS]):
        row = evidence[frame[_MAP], frame[_TOP] + y, left : left + columns]
        values, first = tile.total, y * pitch
        if tile.noisy_or:
            votes.log_complement(scratch.logs, tile.total, tile.exponent, first, pitch)
            values, first = scratch.logs, 0
        for x in range(columns):
            row[x] = values[first + x]


@jit
def merge(tile: Any, other: Any, scratch: Any) -> None:
    """Combine the votes of another tile of the same place into the first."""
    rows, pitch, abreast = tile.frame[_ROWS], tile.frame[_PITCH], tile.frame[_ABREAST]
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
def read_out(tile: Any, scratch: Any, evidence: Any) -> None:
    """Write a tile's Σφ into the evidence [maps, Ho, Wo]."""
    _read_out(tile, scratch, evidence)
