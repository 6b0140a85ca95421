"""Made-up fields for the measurements of the viewer."""

from __future__ import annotations

import numpy as np

import mdn_cupy as mdn

__all__ = ["crowd", "dense"]


def dense(size: int, sigma: float = 1.0) -> mdn.Fields:
    """Return a field in which every pixel votes, for somewhere near."""
    rng = np.random.default_rng(0)
    return mdn.Fields(
        rng.random((1, size, size), np.float32),
        rng.normal(0, 3, (1, 2, size, size)).astype(np.float32),
        image=rng.integers(0, 255, (size, size)).astype(np.uint8),
        sigma=sigma,
    )


def crowd() -> mdn.Fields:
    """Return a field in which about 4,600 sources vote for any one pixel."""
    return dense(512, 8.5)
