"""Tiles of maps as the forward kernel sees them: where they lie, and the memory to fill them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.simd import LANES
from mdn_cupy.cpu.sources import LandingBatch, new_landings

__all__ = [
    "ABREAST",
    "BLOCK_COLUMNS",
    "BLOCK_ROWS",
    "COLUMNS",
    "LEFT",
    "MAP",
    "PITCH",
    "ROWS",
    "TOP",
    "ForwardScratch",
    "Maps",
    "Place",
    "Queue",
    "Tile",
    "new_forward_scratch",
    "new_queue",
    "new_tile",
]

Place = tuple[int, int, int, int, int]
"""Which map; top, left, rows and columns in it."""

TileFrames = npt.NDArray[np.int64]
"""[tiles, 7]: the places of tiles, the pitch of their rows, and how many blocks lie abreast."""

MAP, TOP, LEFT, ROWS, COLUMNS, PITCH, ABREAST = range(7)
BLOCK_ROWS, BLOCK_COLUMNS = 32, 64  # pixels of a tile that share one bound


class Tile(NamedTuple):
    """Votes gathered so far for a part of a map: product · 2^exponent, a sum, or both, per pixel.

    Rows are `pitch` pixels apart, LANES − 1 or more of them to spare.
    """

    frame: npt.NDArray[np.int64]  # [7]
    product: npt.NDArray[np.float64]  # of no pixels where not wanted
    exponent: npt.NDArray[np.int32]  # alike
    bound: npt.NDArray[np.float64]  # of each block: no product in it, nor its inverse, is smaller
    sum: npt.NDArray[np.float64]  # of no pixels where not wanted


class ForwardScratch(NamedTuple):
    """Working memory of a thread that votes into a tile."""

    landings: LandingBatch
    a_x: npt.NDArray[np.float64]  # confidence · weight of a group: a row of pixels a source
    w_y: npt.NDArray[np.float64]  # weights of a group: a row of sources for each pixel


class Maps(NamedTuple):
    """Where tiles are read out to, [maps, Ho, Wo] each; of no maps where not wanted."""

    log_complement: npt.NDArray[Any]  # L = log Π(1 − w·c)
    noisy_or: npt.NDArray[Any]  # m = 1 − Π(1 − w·c)
    sum: npt.NDArray[Any]

    @property
    def multiply(self) -> bool:
        """Whether the votes' products are needed."""
        return len(self.log_complement) > 0 or len(self.noisy_or) > 0

    @property
    def add(self) -> bool:
        """Whether the votes' sums are needed."""
        return len(self.sum) > 0


class Queue(NamedTuple):
    """Tiles to fill, and the patches of sources that may vote into each."""

    taken: npt.NDArray[np.int64]  # [1]
    frames: TileFrames
    patches: npt.NDArray[np.int64]  # of all tiles
    ends: npt.NDArray[np.int64]  # [tiles], one past the last patch of each


def new_queue(tiles: Sequence[tuple[Place, npt.NDArray[np.int64]]]) -> Queue:
    """Make a queue of places, each with the patches of the sources that may vote there."""
    places, patches = zip(*tiles, strict=True)
    return Queue(
        np.zeros(1, np.int64),
        np.array(list(map(_frame, places)), np.int64),
        np.concatenate(patches),
        np.cumsum([len(p) for p in patches], dtype=np.int64),
    )


def new_tile(maps: Maps, frames: TileFrames) -> Tile:
    """Allocate a tile for these maps that holds any of these frames.

    It is reused, since new memory would take as long as some votes.
    """
    rows, pitch, abreast = frames[:, ROWS], frames[:, PITCH], frames[:, ABREAST]
    pixels = int((rows * pitch).max())
    return Tile(
        frame=np.zeros(7, np.int64),
        product=np.empty(pixels if maps.multiply else 0),
        exponent=np.empty(pixels if maps.multiply else 0, np.int32),
        bound=np.empty(int((-(-rows // BLOCK_ROWS) * abreast).max())),
        sum=np.empty(pixels if maps.add else 0),
    )


def new_forward_scratch(frames: TileFrames) -> ForwardScratch:
    """Allocate memory for voting into tiles in any of these frames."""
    longest = int(frames[:, (ROWS, PITCH)].max()) + LANES
    return ForwardScratch(new_landings(), *np.empty((2, LANES * longest)))


def _frame(place: Place) -> tuple[int, ...]:
    # Odd in lanes: by a power of two, all rows of a window would compete for one set of the cache.
    pitch = (math.ceil((place[4] + LANES - 1) / LANES) | 1) * LANES
    return (*place, pitch, math.ceil(pitch / BLOCK_COLUMNS))
