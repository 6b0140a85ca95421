"""Half-precision fields as float32: in less than half the time of NumPy's own conversion."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array
from mdn_cupy.cpu.jit_options import jit

__all__ = ["widened"]


def widened(array: Array) -> Array:
    """Convert float16 of NumPy to float32, exactly; return other arrays as they are."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float16 or not array.dtype.isnative:
        return array
    found = np.empty(array.shape, np.float32)
    bits = np.ascontiguousarray(array).view(np.uint16)
    _look_up(bits.reshape(-1), _table(), found.reshape(-1))
    return found


@cache
def _table() -> npt.NDArray[np.float32]:
    """The value of every bit pattern, 256 kB."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


@jit
def _look_up(
    bits: npt.NDArray[np.uint16], table: npt.NDArray[np.float32], found: npt.NDArray[np.float32]
) -> None:
    for n in range(len(bits)):
        found[n] = table[bits[n]]
