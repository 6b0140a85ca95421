"""The forward kernels: what one task does with one tile of a map."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, votes
from mdn_cupy.cpu.compiled import jit
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.sources import NOISY_OR, aim_row, amplitude, exponent_scale, new_aim, patch

__all__ = ["Tile", "Workspace", "merge", "read_out", "vote"]

BLOCK_ROWS, BLOCK_COLUMNS = 32, 64  # pixels of a tile that share one bound
_FOLD_BELOW = 1e-280  # products that may be smaller hand their exponents over first
_SINGLE_UP_TO = 0.9375  # above this confidence, 1 − w·c needs weights in double precision


class Tile(NamedTuple):
    """Votes gathered so far for a part of a map: product · 2^exponent, or a sum, per pixel."""

    noisy_or: bool
    m: int  # of which map
    top: int  # its place in it
    left: int
    columns: int
    total: npt.NDArray[np.float64]  # [rows, pitch], with LANES − 1 columns to spare
    exponent: npt.NDArray[np.int32]  # [rows, pitch]
    bound: npt.NDArray[np.float64]  # of each block: no product in it is smaller; 1 with no votes


class Workspace(threading.local):
    """Memory in which a thread votes, tile after tile; new memory would cost as much as some votes.

    The tiles of a thread share it: each is read out before the next is made.
    """

    def __init__(self) -> None:
        self.aim = new_aim()
        self._total = np.empty(0)
        self._exponent = np.empty(0, np.int32)

    def new_tile(self, rule: int, m: int, top: int, left: int, rows: int, columns: int) -> Tile:
        """A tile with no votes."""
        # Odd in lanes: by a power of two, all rows of a window would compete for one cache set.
        pitch = (math.ceil((columns + LANES - 1) / LANES) | 1) * LANES
        size, noisy_or = rows * pitch, rule == NOISY_OR
        if size > self._total.size:
            self._total = np.empty(size)
            self._exponent = np.empty(size if noisy_or else 0, np.int32)
        total, exponent = self._total[:size], self._exponent[:size]
        total.fill(1.0 if noisy_or else 0.0)
        exponent.fill(0)
        return Tile(
            noisy_or,
            m,
            top,
            left,
            columns,
            total.reshape(rows, pitch),
            exponent.reshape(rows, -1),
            np.ones((math.ceil(rows / BLOCK_ROWS), math.ceil(pitch / BLOCK_COLUMNS))),
        )


@jit
def vote(tile: Any, sources: Any, geometry: Any, patches: Any, aim: Any) -> None:
    """Add the votes of some patches of sources to a tile."""
    rows, pitch = tile.total.shape
    height, width = sources.confidence.shape[1:]
    total, bound = tile.total.reshape(-1), tile.bound
    window = (tile.top, tile.left, rows, tile.columns)
    w_x, a_y = np.empty(pitch), np.empty(rows + LANES)
    last_sigma, scale, peak = 0.0, 0.0, 0.0
    for number in patches:
        v, first, last, start, stop = patch(number, height, width)
        for i in range(first, last):
            confidence = sources.confidence[sources.confidence_plane[tile.m, v], i, start:stop]
            if not _any_votes(confidence):
                continue
            aim_row(sources, geometry, (tile.m, v), i, (start, stop), window, aim)
            for n in range(stop - start):
                c = float(confidence[n])
                if c == 0.0:
                    continue
                left, reached = aim.left[n], aim.right[n] - aim.left[n]
                upper, deep = aim.upper[n], aim.lower[n] - aim.upper[n]
                if reached <= 0 or deep <= 0:
                    continue
                if not np.isfinite(c):
                    _vote_non_finite(tile, geometry, c, upper, upper + deep, left, left + reached)
                    continue
                if aim.sigma[n] != last_sigma:
                    last_sigma = aim.sigma[n]
                    scale = exponent_scale(last_sigma)
                    peak = amplitude(geometry.rule, last_sigma)
                d_x, d_y = left + tile.left - aim.p_x[n], upper + tile.top - aim.p_y[n]
                if geometry.double or c > _SINGLE_UP_TO:
                    gaussian.double(a_y, deep, d_y, scale, peak * c)
                    gaussian.double(w_x, reached, d_x, scale, 1.0)
                else:
                    gaussian.single(a_y, deep, d_y, scale, peak * c)
                    gaussian.single(w_x, reached, d_x, scale, 1.0)
                at = (upper * pitch + left, pitch, deep, reached)
                if not tile.noisy_or:
                    votes.add(total, at, w_x, a_y, 0.0)
                    continue
                least = _least_factor(c, geometry.floor)
                for y in range(upper // BLOCK_ROWS, (upper + deep - 1) // BLOCK_ROWS + 1):
                    for x in range(
                        left // BLOCK_COLUMNS, (left + reached - 1) // BLOCK_COLUMNS + 1
                    ):
                        if bound[y, x] * least < _FOLD_BELOW:
                            _fold(tile, y, x)
                        bound[y, x] *= least
                if c <= 1.0 - geometry.floor:
                    votes.multiply(total, at, w_x, a_y, 0.0)
                else:
                    votes.multiply_floored(total, at, w_x, a_y, geometry.floor)


@jit
def _any_votes(confidence: Any) -> bool:
    voting = False
    for c in confidence:
        voting |= c != 0.0
    return voting


@jit
def _least_factor(c: float, floor: float) -> float:
    """Smallest factor 1 − w·c of a vote, or its inverse where c < 0."""
    return max(1.0 - c, floor) if c >= 0.0 else 1.0 / (1.0 - c)


@jit
def _vote_non_finite(
    tile: Any, geometry: Any, c: float, upper: int, lower: int, left: int, right: int
) -> None:
    """A NaN shows in its window, and an infinite vote saturates it; no lane beyond is touched."""
    for y in range(upper, lower):
        for x in range(left, right):
            if not tile.noisy_or:
                tile.total[y, x] += c
            elif c > 0.0:
                _fold(tile, y // BLOCK_ROWS, x // BLOCK_COLUMNS)
                tile.bound[y // BLOCK_ROWS, x // BLOCK_COLUMNS] *= geometry.floor
                tile.total[y, x] *= geometry.floor
            else:
                tile.total[y, x] = np.nan
                tile.bound[y // BLOCK_ROWS, x // BLOCK_COLUMNS] *= 0.5


@jit
def _fold(tile: Any, n: int, k: int) -> None:
    """Move the binary exponents of a block of products aside, so that they cannot underflow."""
    rows, pitch = tile.total.shape
    top, left = n * BLOCK_ROWS, k * BLOCK_COLUMNS
    votes.fold_exponents(
        tile.total.reshape(-1),
        tile.exponent.reshape(-1),
        top * pitch + left,
        pitch,
        min(BLOCK_ROWS, rows - top),
        min(BLOCK_COLUMNS, pitch - left),
    )
    tile.bound[n, k] = 0.5  # any number but 1, which is that of a block with no votes


@jit
def merge(tile: Any, other: Any) -> None:
    """Combine the votes of another tile of the same pixels into the first."""
    if not tile.noisy_or:
        tile.total[:] += other.total
        return
    for n in range(tile.bound.shape[0]):
        for k in range(tile.bound.shape[1]):
            if other.bound[n, k] != 1.0:
                _fold(tile, n, k)
                _fold(other, n, k)
                rows = slice(n * BLOCK_ROWS, (n + 1) * BLOCK_ROWS)
                columns = slice(k * BLOCK_COLUMNS, (k + 1) * BLOCK_COLUMNS)
                tile.total[rows, columns] *= other.total[rows, columns]
                tile.exponent[rows, columns] += other.exponent[rows, columns]


@jit
def read_out(tile: Any, evidence: Any) -> None:
    """Write a tile's Σφ into the evidence [maps, Ho, Wo]."""
    rows, pitch = tile.total.shape
    logs, total, exponent = np.empty(pitch), tile.total.reshape(-1), tile.exponent.reshape(-1)
    for y in range(rows):
        row = evidence[tile.m, tile.top + y, tile.left : tile.left + tile.columns]
        if not tile.noisy_or:
            _copy(tile.total[y], row)
        elif _has_votes(tile.bound[y // BLOCK_ROWS]):
            votes.log_complement(logs, total, exponent, y * pitch, pitch)
            _copy(logs, row)


@jit
def _copy(values: Any, row: Any) -> None:
    for x in range(row.shape[0]):
        row[x] = values[x]


@jit
def _has_votes(bounds: Any) -> bool:
    for bound in bounds:  # noqa: SIM110 (Numba compiles no generator)
        if bound != 1.0:
            return True
    return False
