"""Inputs of the benchmarks: fields of a known number of votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TRUNCATE", "Case", "Shape", "collapsed", "scattered", "sparse"]

Shape = tuple[int, int, int]

TRUNCATE = 4.0
"""Sigmas that a vote reaches, the library's default."""

_SPREAD = 2.0  # pixels by which offsets scatter


@dataclass(frozen=True, eq=False)
class Case:
    """Fields to vote on, as arrays of float32.

    Attributes
    ----------
    name : str
        What it is, for tables.
    confidence : array [P, H, W]
        In [0, 1).
    offsets : array [P, 2, H, W]
        In pixels.
    sigma : float
        Of all votes.
    """

    name: str
    confidence: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.float32]
    sigma: float

    @property
    def votes(self) -> int:
        """Pairs of a source that votes and a pixel of the map in its window."""
        return sum(map(self._votes_of, range(len(self.confidence))))

    @property
    def nbytes(self) -> int:
        """Memory of the fields and of the maps."""
        return self.confidence.nbytes + self.offsets.nbytes + self.confidence.nbytes

    @property
    def cotangent(self) -> npt.NDArray[np.float32]:
        """∂loss/∂map [P, H, W], of no particular loss."""
        values = np.linspace(-1, 1, self.confidence.size, dtype=np.float32)
        return values.reshape(self.confidence.shape)

    def _votes_of(self, part: int) -> int:
        height, width = self.confidence.shape[1:]
        o_x, o_y = self.offsets[part].astype(np.float64)
        columns = _reached(np.arange(width) + o_x, self.sigma, width)
        rows = _reached(np.arange(height)[:, None] + o_y, self.sigma, height)
        return int((rows * columns)[self.confidence[part] != 0].sum())


def scattered(shape: Shape, sigma: float) -> Case:
    """Every source votes for its surroundings."""
    rng = np.random.default_rng(0)
    parts, height, width = shape
    confidence = rng.random(shape, dtype=np.float32)
    offsets = rng.standard_normal((parts, 2, height, width), dtype=np.float32)
    offsets *= _SPREAD
    name = f"{parts} × {height} × {width}, σ {sigma:g}"
    return Case(name, confidence, offsets, sigma)


def collapsed(shape: Shape, sigma: float) -> Case:
    """Every source of a map votes for one point between four pixels."""
    case = scattered(shape, sigma)
    _, height, width = shape
    case.offsets[:, 0] = width // 2 + 0.5 - np.arange(width)
    case.offsets[:, 1] = (height // 2 + 0.5 - np.arange(height))[:, None]
    return Case(f"{case.name}, collapsed", case.confidence, case.offsets, sigma)


def sparse(shape: Shape, sigma: float, share: float = 0.01) -> Case:
    """As `scattered`, with all but a share of the confidences 0."""
    case = scattered(shape, sigma)
    case.confidence[np.random.default_rng(1).random(shape) >= share] = 0
    return Case(f"{case.name}, {share:.0%} not 0", case.confidence, case.offsets, sigma)


def _reached(p: Any, sigma: float, size: int) -> Any:
    """Count the pixels of an axis within truncate·σ of p."""
    first = np.maximum(np.ceil(p - TRUNCATE * sigma), 0)
    last = np.minimum(np.floor(p + TRUNCATE * sigma), size - 1)
    return np.maximum(last - first + 1, 0)
