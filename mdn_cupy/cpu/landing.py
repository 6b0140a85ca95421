"""Where the votes of tiles of sources land: one pass over fields, for graphs of chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import Floats

__all__ = ["tile_boxes"]

Float64 = npt.NDArray[np.float64]


def tile_boxes(
    confidence: npt.NDArray[Any],
    offsets: npt.NDArray[Any],
    positions: tuple[Float64, Float64],
    tile: int,
    every: bool,
) -> tuple[Float64, int]:
    """Find the bounding box of the landing points of each tile of sources.

    Parameters
    ----------
    confidence : array [planes, H, W]
        float32 or float64. A source of confidence 0 does not count.
    offsets : array [planes, 2, H, W]
        (o_x, o_y), of the same dtype.
    positions : float64 arrays [H], [W]
        Where rows and columns lie in the output.
    tile : int
        Rows and columns of a tile.
    every : bool
        Count the sources of confidence 0, too.

    Returns
    -------
    boxes : float64 array [4, ⌈H / tile⌉, ⌈W / tile⌉]
        Least and greatest y, least and greatest x, over all planes; infinite, the least above the
        greatest, where none votes.
    voters : int
        Sources that count, with a finite position.
    """
    height, width = confidence.shape[1:]
    boxes = np.full((4, -(-height // tile), -(-width // tile)), np.inf)
    boxes[1::2] *= -1
    arrays = np.ascontiguousarray(confidence), np.ascontiguousarray(offsets)
    return boxes, int(_fill(*arrays, *positions, tile, every, boxes))


@jit
def _fill(
    confidence: Floats,
    offsets: Floats,
    rows: Float64,
    columns: Float64,
    tile: int,
    every: bool,
    boxes: Float64,
) -> int:
    """Fill in the boxes; return how many sources count."""
    planes, height, width = confidence.shape
    voters = 0
    for plane in range(planes):
        for i in range(height):
            for start in range(0, width, tile):
                low_y, high_y, low_x, high_x = np.inf, -np.inf, np.inf, -np.inf
                for j in range(start, min(start + tile, width)):
                    x = columns[j] + offsets[plane, 0, i, j]
                    y = rows[i] + offsets[plane, 1, i, j]
                    counts = every or confidence[plane, i, j] != 0
                    # Neither infinite nor NaN: such a difference is not 0.
                    if counts and x - x == 0 and y - y == 0:
                        voters += 1
                        low_x, high_x = min(low_x, x), max(high_x, x)
                        low_y, high_y = min(low_y, y), max(high_y, y)
                box = boxes[:, i // tile, start // tile]
                box[0], box[1] = min(box[0], low_y), max(box[1], high_y)
                box[2], box[3] = min(box[2], low_x), max(box[3], high_x)
    return voters
