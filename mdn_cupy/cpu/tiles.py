"""Tiles of maps as the forward kernel sees them: where they lie, and the memory to fill them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.sources import NOISY_OR, Aim, new_aim

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
    "Maps",
    "Place",
    "Queue",
    "Scratch",
    "Tile",
    "new_queue",
    "new_scratch",
    "new_tile",
]

Place = tuple[int, int, int, int, int]
"""Which map; top, left, rows and columns in it."""

Frames = npt.NDArray[np.int64]
"""[tiles, 7]: the places of tiles, the pitch of their rows, and how many blocks lie abreast."""

MAP, TOP, LEFT, ROWS, COLUMNS, PITCH, ABREAST = range(7)
BLOCK_ROWS, BLOCK_COLUMNS = 32, 64  # pixels of a tile that share one bound


class Tile(NamedTuple):
    """Votes gathered so far for a part of a map: product · 2^exponent, or a sum, per pixel."""

    noisy_or: bool
    frame: npt.NDArray[np.int64]  # [7]
    total: npt.NDArray[np.float64]  # rows of `pitch` pixels: LANES − 1 or more to spare
    exponent: npt.NDArray[np.int32]  # alike
    bound: npt.NDArray[np.float64]  # of each block: no product in it, nor its inverse, is smaller


class Scratch(NamedTuple):
    """What a thread needs beside a tile to vote into it."""

    aim: Aim
    amplitude: npt.NDArray[np.float64]  # confidence · peak
    a_x: npt.NDArray[np.float64]  # amplitude · weight of a group: a row of pixels a source
    w_y: npt.NDArray[np.float64]  # weights of a group: a row of sources for each pixel
    box: npt.NDArray[np.int32]  # around the windows of a group, and whether they are one


class Maps(NamedTuple):
    """Where tiles are read out to, [maps, Ho, Wo] each; of no maps where not wanted."""

    evidence: npt.NDArray[Any]
    complement: npt.NDArray[Any]  # 1 − exp(evidence)


class Queue(NamedTuple):
    """Tiles to fill, and the patches of sources that may vote into each."""

    taken: npt.NDArray[np.int64]  # [1]
    frames: Frames
    patches: npt.NDArray[np.int64]  # of all tiles
    ends: npt.NDArray[np.int64]  # [tiles], one past the last patch of each


def new_queue(tiles: Sequence[tuple[Place, npt.NDArray[np.int64]]]) -> Queue:
    """Line up places, each with the patches of the sources that may vote there."""
    places, patches = zip(*tiles, strict=True)
    return Queue(
        np.zeros(1, np.int64),
        np.array(list(map(_frame, places)), np.int64),
        np.concatenate(patches),
        np.cumsum([len(p) for p in patches], dtype=np.int64),
    )


def new_tile(rule: int, frames: Frames) -> Tile:
    """Memory for a tile in any of these frames; new memory would cost as much as some votes."""
    rows, pitch, abreast = frames[:, ROWS], frames[:, PITCH], frames[:, ABREAST]
    pixels = int((rows * pitch).max())
    return Tile(
        rule == NOISY_OR,
        np.zeros(7, np.int64),
        np.empty(pixels),
        np.empty(pixels if rule == NOISY_OR else 0, np.int32),
        np.empty(int((-(-rows // BLOCK_ROWS) * abreast).max())),
    )


def new_scratch(frames: Frames) -> Scratch:
    """Memory for voting into tiles in any of these frames."""
    longest = int(frames[:, (ROWS, PITCH)].max()) + LANES
    weights: Any = np.empty((2, LANES * longest))
    aim = new_aim()
    return Scratch(
        aim=aim,
        amplitude=np.zeros_like(aim.peak),
        a_x=weights[0],
        w_y=weights[1],
        box=np.empty(6, np.int32),
    )


def _frame(place: Place) -> tuple[int, ...]:
    # Odd in lanes: by a power of two, all rows of a window would compete for one set of the cache.
    pitch = (math.ceil((place[4] + LANES - 1) / LANES) | 1) * LANES
    return (*place, pitch, math.ceil(pitch / BLOCK_COLUMNS))
