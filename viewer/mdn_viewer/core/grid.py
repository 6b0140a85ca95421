"""Where sources are in the output."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Grid"]

Float64 = npt.NDArray[np.float64]


class Grid(NamedTuple):
    """Stride and origin of sources, along rows and columns, in pixels of the output."""

    stride: tuple[float, float]
    origin: tuple[float, float]

    @classmethod
    def of(cls, sources: Any) -> Grid:
        """Return the grid of fields, or of what else has a stride and an origin, 1 and 0 if not."""
        said = ((sources.stride, 1.0), (sources.origin, 0.0))
        (dy, dx), (y, x) = (
            np.broadcast_to(usual if pair is None else pair, 2).tolist() for pair, usual in said
        )
        return cls((dy, dx), (y, x))

    def places(self, sources: npt.ArrayLike) -> Float64:
        """Return row and column of the output, [..., 2], of rows and columns of sources."""
        return np.asarray(sources, np.float64) * self.stride + self.origin

    def sources(self, places: npt.ArrayLike) -> Float64:
        """Return row and column of sources, with fractions, at places [..., 2] of the output."""
        return (np.asarray(places, np.float64) - self.origin) / self.stride
