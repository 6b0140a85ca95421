"""From which value to which a picture is shown, whatever its pixels hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["reach_of", "symmetric", "upward"]

_LEAST, _MOST = 1e-30, 1e30  # beyond, the shaders' float32 can tell no two colors apart


def reach_of(values: npt.NDArray[Any]) -> float:
    """Return the largest magnitude of the finite values; 0 where there are none."""
    if values.size == 0:
        return 0.0
    reach = max(float(values.max()), -float(values.min()))  # 10 times as quick as what follows
    if np.isfinite(reach):
        return reach
    return float(np.max(np.abs(values), initial=0, where=np.isfinite(values)))


def symmetric(reach: float) -> tuple[float, float]:
    """Return limits around 0; −1 and 1 where there is nothing to be seen."""
    high = _within(reach)
    return -high, high


def upward(high: float) -> tuple[float, float]:
    """Return limits from 0; up to 1 where there is nothing above it."""
    return 0.0, _within(high)


def _within(reach: float) -> float:
    """NaN is nothing."""
    return min(max(float(reach), _LEAST), _MOST) if reach > 0 else 1.0
