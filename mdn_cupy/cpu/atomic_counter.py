"""A counter that threads share without a lock."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from mdn_cupy.cpu.simd import Call, operation

__all__ = ["take"]

_interpreted = threading.Lock()


def _take(call: Call) -> ir.Value:
    kind = ir.IntType(64)
    return call.builder.atomic_rmw("add", call.pointer(0, kind), kind(1), "monotonic")


@operation(lambda counter, index: types.int64, _take)
def take(counter: npt.NDArray[np.int64], index: int) -> int:
    """Atomic fetch-and-add of 1 to an element; returns the previous value."""
    with _interpreted:
        counter[index] += 1
        return int(counter[index]) - 1
