"""Division of the work: maps cut into tiles, and the patches of sources that vote into each.

Nothing here depends on the number of threads, so that the bits of a result do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.sources import PATCH_COLUMNS, PATCH_ROWS, Scalars, Sources, new_landings
from mdn_cupy.cpu.thread_pool import run
from mdn_cupy.cpu.tiles import Place
from mdn_cupy.cpu.windows import reach_of_patches
from mdn_cupy.problem import VoteProblem

__all__ = ["Share", "ranges", "shares"]

_LARGEST_TILE = 1 << 17  # pixels, of 8 to 20 bytes
_SMALLEST_TILE = 1 << 13
_TASKS = 8  # wanted of a map at least, so that a few threads end together
_SEEN_BY_ALL = 2  # tiles of a map up to which finding the patches of each takes longer than voting
_PLANNED_TOGETHER = 128  # patches
_TOO_LONG = 4  # tasks' worth of work in a tile: its votes are then shared out

_SHORTEST, _LONGEST = 2.5e5, 8e6  # ns, of a task on one thread
_NS_A_SOURCE, _NS_A_VOTE = 18.0, 0.11


@dataclass(frozen=True)
class Share:
    """A tile of a map, and the patches of sources that may vote into it."""

    place: Place
    pieces: list[npt.NDArray[np.int64]]  # patches, in order; several where one task is too long


def shares(problem: VoteProblem, sources: Sources, scalars: Scalars) -> Iterator[Share]:
    """Cut every map into tiles; the last are small, so that all threads end together."""
    height, width = problem.output_shape
    every = np.arange(_patches(problem), dtype=np.int64)
    pieces = partial(_pieces, length=_patches_per_task(problem))
    at_least = max(_SMALLEST_TILE, 48 * _window(problem))  # or many windows lie in several
    maps = problem.maps
    for m in range(maps):
        wanted = min(maps / _TASKS, (maps - m) / 4) * height * width
        tiles = _cut(height, width, int(min(max(wanted, at_least), _LARGEST_TILE)))
        if len(tiles) <= _SEEN_BY_ALL:
            yield from (Share((m, *tile), pieces(every, len(every) / len(tiles))) for tile in tiles)
            continue
        reach = _reach(problem, sources, scalars, m)
        for tile, meets in zip(tiles, _meeting(reach, np.array(tiles)), strict=True):
            work = float(_share_inside(reach[meets], *tile).sum())
            yield Share((m, *tile), pieces(meets, work))


def ranges(problem: VoteProblem) -> Iterator[tuple[int, int]]:
    """Share the patches of a plane out to tasks: [first, last), for all maps and voters.

    Planes may be shared by maps, so no plane is divided by maps among tasks.
    """
    patches = _patches(problem) // problem.voters
    length = max(1, _patches_per_task(problem) // (problem.maps * problem.voters))
    for first in range(0, patches, length):
        yield first, min(first + length, patches)


def _patches(problem: VoteProblem) -> int:
    """Patches of all voters of a map."""
    height, width = problem.source_shape
    return problem.voters * math.ceil(height / PATCH_ROWS) * math.ceil(width / PATCH_COLUMNS)


def _patches_per_task(problem: VoteProblem) -> int:
    """Patches for one task, if votes are to be shared out evenly."""
    sources = problem.voters * math.prod(problem.source_shape)
    nanoseconds = sources * (_NS_A_SOURCE + _NS_A_VOTE * _window(problem))
    task = min(max(problem.maps * nanoseconds / _TASKS, _SHORTEST), _LONGEST)
    return math.ceil(_patches(problem) * task / nanoseconds)


def _pieces(
    patches: npt.NDArray[np.int64], work: float, length: int
) -> list[npt.NDArray[np.int64]]:
    """Share patches out where they are too many for a task: when the mass collapses onto a tile.

    `work` counts the patches, each by the share of its votes that falls into the tile.
    """
    if work <= _TOO_LONG * length:
        return [patches]
    return np.array_split(patches, min(math.ceil(work / length), len(patches)))


def _meeting(
    reach: npt.NDArray[np.float64], tiles: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.int64]]:
    """Find the patches that reach each tile of a grid, in order.

    Patches are first sorted into rows of tiles, then those of a row into its columns, so that the
    time is that of reading `reach` and of writing the result. A test of every patch for every tile
    took 70 % of the time of a map of 32768² pixels.
    """
    top, left, bottom, right = reach.T
    down, across = (np.unique(tiles[:, axis::2], axis=0) for axis in (0, 1))
    for row in _met_by(down, top, bottom):
        for column in _met_by(across, left[row], right[row]):
            yield row[column]


def _met_by(
    intervals: npt.NDArray[np.int64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.int64]]:
    """Find the n for which [low[n], high[n]] meets each interval, in order.

    `intervals` [k, 2] are start and length, one behind the other without a gap.
    """
    starts = intervals[:, 0]
    first = np.searchsorted(starts + intervals[:, 1], low, side="right")
    count = np.maximum(np.searchsorted(starts, high, side="right") - first, 0)
    which = np.repeat(np.arange(len(low)), count)
    before = np.repeat(np.cumsum(count) - count - first, count)
    met = np.arange(len(which)) - before
    small = met.astype(np.min_scalar_type(len(starts)))  # up to 16 bits are sorted in linear time
    order = np.argsort(small, kind="stable")
    return np.split(which[order], np.cumsum(np.bincount(met, minlength=len(starts)))[:-1])


def _share_inside(
    reach: npt.NDArray[np.float64], y: int, x: int, rows: int, columns: int
) -> npt.NDArray[np.float64]:
    """The share of the pixels that each patch reaches that lie in a tile, which it meets."""
    top, left, bottom, right = reach.T
    deep = np.minimum(bottom, y + rows - 1) - np.maximum(top, y) + 1
    wide = np.minimum(right, x + columns - 1) - np.maximum(left, x) + 1
    share: npt.NDArray[np.float64] = deep * wide / ((bottom - top + 1) * (right - left + 1))
    return share


def _window(problem: VoteProblem) -> int:
    """Pixels that a vote of the mean sigma reaches."""
    given = problem.sigma
    sigma = given if isinstance(given, float) else float(np.mean(given, dtype=np.float64))
    side = 2 * problem.truncate * sigma + 1 if math.isfinite(sigma) else 1.0
    height, width = problem.output_shape
    return math.ceil(min(max(side, 1.0), height) * min(max(side, 1.0), width))


@lru_cache(maxsize=16)
def _cut(height: int, width: int, pixels: int) -> tuple[tuple[int, int, int, int], ...]:
    """Top, left, rows and columns of almost square tiles of at most so many pixels."""
    rows = _equal(height, math.isqrt(pixels))
    columns = _equal(width, pixels // rows)
    rows = _equal(height, pixels // columns)  # more of them where the map is narrow
    return tuple(
        (top, left, min(rows, height - top), min(columns, width - left))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    )


def _equal(size: int, most: int) -> int:
    """The size of equal parts of at most so much."""
    return math.ceil(size / math.ceil(size / most))


def _reach(
    problem: VoteProblem, sources: Sources, scalars: Scalars, m: int
) -> npt.NDArray[np.float64]:
    """Top, left, bottom and right pixel of map m that each patch may reach."""
    reach = np.empty((_patches(problem), 4))
    find = partial(reach_of_patches, sources, scalars, m)
    run(
        partial(find, n, new_landings(), reach[n : n + _PLANNED_TOGETHER])
        for n in range(0, len(reach), _PLANNED_TOGETHER)
    )
    reach += [-1, -1, 1, 1]  # p ± radius is rounded
    return np.clip(reach, -1, 2 * problem.output_shape)
