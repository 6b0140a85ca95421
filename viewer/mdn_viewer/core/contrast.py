"""From which value to which a picture is shown, whatever its pixels hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["backdrop", "reach_of", "symmetric", "upward"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_LEAST, _MOST = 1e-30, 1e30  # beyond, the shaders' float32 can tell no two colors apart


def backdrop(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return an image in gray, from 0 to 1, to lay under a vote map."""
    gray = np.asarray(image[..., :3] @ _LUMA if image.ndim == 3 else image, np.float64)
    there = np.isfinite(gray)
    low = gray.min(initial=np.inf, where=there)
    high = gray.max(initial=-np.inf, where=there)
    if not high > low:
        return np.zeros(gray.shape, np.float32)
    # Halves, since the difference of two numbers may be more than the largest of all.
    bright = (np.clip(np.nan_to_num(gray), low, high) / 2 - low / 2) / (high / 2 - low / 2)
    found: npt.NDArray[np.float32] = bright.astype(np.float32)
    return found


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
