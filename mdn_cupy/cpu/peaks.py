"""The pixels at which maps peak: candidates in one pass, plateaus where there are ties, spacing."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import Floats
from mdn_cupy.cpu.thread_pool import run
from mdn_cupy.maxima import inside, strongest_first

__all__ = ["candidates", "find_peaks", "spaced"]

Int64 = npt.NDArray[np.int64]

_TASK_PIXELS = 1 << 16  # some 100 µs of scanning
_FOUND_TOGETHER = 4096  # candidates that a task returns at a time
_FARTHEST = np.int64(1 << 62)  # Numba gives an int a type of its own, of that value


def find_peaks(
    evidence: npt.NDArray[Any],
    threshold: float,
    reach: int,
    max_peaks: int,
    border: int,
) -> Int64:
    """Find the pixels at which maps peak; see `mdn_cupy.find_peaks` for the definition.

    Parameters
    ----------
    evidence : array [maps, H, W]
        float32 or float64, in any strides.
    threshold : float
        Least value of a peak; finite, a number of the map's dtype.
    reach : int
        A weaker peak at a squared distance below this from a kept one is dropped.
    max_peaks : int
        Peaks to keep of a map.
    border : int
        Width of the margin without peaks.

    Returns
    -------
    int64 array [n]
        Flat indices into `evidence`, by map, then value descending, then position.
    """
    if not evidence.size:
        return np.zeros(0, np.int64)
    evidence = np.ascontiguousarray(evidence)
    _, height, width = evidence.shape
    single, tied = candidates(evidence, threshold)
    peaks = np.concatenate([single, *_plateaus(evidence, tied)])
    if border or len(tied):
        peaks = np.sort(peaks[inside(peaks, height, width, border)])
    peaks = strongest_first(peaks, evidence.reshape(-1)[peaks], height * width)
    kept: Int64 = peaks[spaced(peaks, (height, width), reach, max_peaks)]
    return kept


def candidates(evidence: npt.NDArray[Any], threshold: float) -> tuple[Int64, Int64]:
    """Find the pixels of at least a threshold that no neighbour exceeds.

    Parameters
    ----------
    evidence : array [maps, H, W]
        float32 or float64, contiguous, with at least one pixel.
    threshold : float
        Least value; finite, a number of the map's dtype.

    Returns
    -------
    single, tied : int64 array [n]
        Flat indices of those without an equal neighbour, and of those with one.
    """
    maps, height, width = evidence.shape
    least = evidence.dtype.type(threshold)
    rows = max(1, _TASK_PIXELS // width)
    found = run(
        partial(_candidates, evidence, least, first, min(first + rows, maps * height))
        for first in range(0, maps * height, rows)
    )
    single, tied = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return single, tied


def _candidates(
    evidence: npt.NDArray[Any], threshold: np.floating, first: int, last: int
) -> tuple[Int64, Int64]:
    """Pixels of the rows [first, last), counted over all maps, that no neighbour exceeds: those
    without an equal neighbour, and those with one."""
    buffer = np.empty((2, max(_FOUND_TOGETHER, evidence.shape[2])), np.int64)
    found: list[tuple[Int64, Int64]] = []
    while first < last:
        first, single, tied = _scan(evidence, threshold, (first, last), buffer)
        found.append((buffer[0, :single].copy(), buffer[1, :tied].copy()))
    single_parts, tied_parts = zip(*found, strict=True)
    return np.concatenate(single_parts), np.concatenate(tied_parts)


def _plateaus(evidence: npt.NDArray[Any], tied: Int64) -> list[Int64]:
    """One pixel of every plateau to which tied candidates belong."""
    if not len(tied):
        return []
    pixels = evidence.shape[1] * evidence.shape[2]
    numbers, starts = np.unique(tied // pixels, return_index=True)

    def of_map(number: int, candidates: Int64) -> Int64:
        visited, queue = np.zeros(pixels, np.bool_), np.empty(pixels, np.int64)
        middles = np.empty(len(candidates), np.int64)
        count = _flood(evidence[number], candidates - number * pixels, visited, queue, middles)
        found: Int64 = middles[:count] + number * pixels
        return found

    return run(
        partial(of_map, int(number), candidates)
        for number, candidates in zip(numbers, np.split(tied, starts[1:]), strict=True)
    )


def spaced(
    peaks: Int64, shape: tuple[int, int], reach: int, max_peaks: int
) -> npt.NDArray[np.bool_]:
    """Which peaks, the strongest of each map first, are far enough from all kept before them."""
    height, width = shape
    # A cell is as wide as the distance, and on average no more than a peak lies in it.
    side = max(math.isqrt(max(reach - 1, 0)) + 1, math.isqrt(height * width // (len(peaks) + 1)))
    side = min(side, max(shape))
    across, down = -(-width // side), -(-height // side)
    kept = np.zeros(len(peaks), np.bool_)
    heads, following = np.full(across * down, -1, np.int64), np.empty(len(peaks), np.int64)
    _space(peaks, (height, width, side, across), (reach, max_peaks), heads, following, kept)
    return kept


@jit
def _scan(
    evidence: Floats, threshold: np.floating, rows: tuple[int, int], found: Int64
) -> tuple[int, int, int]:
    """Find the candidates in rows [first, last) until there may be no room for those of a row.

    Returns
    -------
    next, single, tied : int
        The row that comes next, and how many candidates of either kind were found.
    """
    height, width = evidence.shape[1:]
    flat = evidence.reshape(-1)
    first, last = rows
    single, tied = 0, 0
    row = first
    while row < last and max(single, tied) + width <= found.shape[1]:
        start = row * width
        i = row % height
        for j in range(width):
            here = start + j
            value = flat[here]
            if not value >= threshold:  # NaN too
                continue
            left, right = j > 0, j < width - 1
            if (right and flat[here + 1] > value) or (left and flat[here - 1] > value):
                continue
            equal = (right and flat[here + 1] == value) or (left and flat[here - 1] == value)
            higher = False
            for rows_away in (-1, 1):
                if not 0 <= i + rows_away < height:
                    continue
                there = here + rows_away * width
                for n in range(there - left, there + right + 1):
                    higher |= flat[n] > value
                    equal |= flat[n] == value
            if higher:
                continue
            if equal:
                found[1, tied] = here
                tied += 1
            else:
                found[0, single] = here
                single += 1
        row += 1
    return row, single, tied


@jit
def _flood(
    evidence: Floats,
    candidates: Int64,
    visited: npt.NDArray[np.bool_],
    queue: Int64,
    middles: Int64,
) -> int:
    """Find the middle of every plateau of one map that holds a candidate and is exceeded nowhere.

    Returns
    -------
    int
        How many there are.
    """
    height, width = evidence.shape
    count = 0
    for candidate in candidates:
        if visited[candidate]:
            continue
        value = evidence[candidate // width, candidate % width]
        visited[candidate] = True
        queue[0], size, done, higher = candidate, 1, 0, False
        sum_i, sum_j = 0, 0
        while done < size:
            i, j = queue[done] // width, queue[done] % width
            done += 1
            sum_i += i
            sum_j += j
            for y in range(max(i - 1, 0), min(i + 2, height)):
                for x in range(max(j - 1, 0), min(j + 2, width)):
                    other = evidence[y, x]
                    higher |= other > value
                    if other == value and not visited[y * width + x]:
                        visited[y * width + x] = True
                        queue[size] = y * width + x
                        size += 1
        if not higher:
            middles[count] = _middle(queue, size, width, (sum_i, sum_j))
            count += 1
    return count


@inlined
def _middle(plateau: Int64, size: int, width: int, sums: tuple[int, int]) -> np.int64:
    """The pixel of a plateau that is nearest to the mean of its pixels, halves rounded down."""
    mean_i = (2 * sums[0] + size - 1) // (2 * size)
    mean_j = (2 * sums[1] + size - 1) // (2 * size)
    best: np.int64 = plateau[0]
    best_y, best_x = _FARTHEST, _FARTHEST
    for n in range(size):
        y, x = plateau[n] // width - mean_i, plateau[n] % width - mean_j
        # Rows first, then columns, and of two the upper or the left one.
        y, x = 2 * abs(y) + (y > 0), 2 * abs(x) + (x > 0)
        if y < best_y or (y == best_y and x < best_x):
            best, best_y, best_x = plateau[n], y, x
    return best


@jit
def _space(
    peaks: Int64,
    shape: tuple[int, int, int, int],
    limits: tuple[int, int],
    heads: Int64,
    following: Int64,
    kept: npt.NDArray[np.bool_],
) -> None:
    """Keep a peak that no kept one is near, and at most so many of a map.

    `heads` has the last peak kept in each cell, and `following` the one kept there before it.
    """
    height, width, side, across = shape
    reach, max_peaks = limits
    down = heads.shape[0] // across
    first, count = 0, 0
    for n in range(peaks.shape[0]):
        number = peaks[n] // (height * width)
        if n and peaks[n - 1] // (height * width) != number:  # another map
            for k in range(first, n):
                heads[_cell(peaks[k], height, width, side, across)] = -1
            first, count = n, 0
        if count >= max_peaks:
            continue
        i, j = peaks[n] // width % height, peaks[n] % width
        free = True
        for cell_i in range(max(i // side - 1, 0), min(i // side + 2, down)):
            for cell_j in range(max(j // side - 1, 0), min(j // side + 2, across)):
                k = heads[cell_i * across + cell_j]
                while free and k >= 0:
                    y, x = peaks[k] // width % height - i, peaks[k] % width - j
                    free = y * y + x * x >= reach
                    k = following[k]
        if free:
            cell = _cell(peaks[n], height, width, side, across)
            following[n], heads[cell] = heads[cell], n
            kept[n] = True
            count += 1


@inlined
def _cell(peak: int, height: int, width: int, side: int, across: int) -> int:
    """The cell in which a pixel lies."""
    return peak // width % height // side * across + peak % width // side
