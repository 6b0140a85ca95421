"""The interface of a CUDA device that the benchmark uses, and CuPy's implementation of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from benchmarks.timing import Contender
from mdn_cupy import cuda
from mdn_cupy.arrays import Array

__all__ = ["CupyDevice", "Device", "Kernel"]

Kernel = Callable[[tuple[int, ...], tuple[int, ...], tuple[Any, ...]], object]
"""What CuPy makes of a kernel: called with grid, block and arguments."""

_CALLS = 10  # between two events, so that no call waits for the one before to be launched


class Device(Protocol):
    """Memory, kernels and a clock.

    Attributes
    ----------
    name : str
        For the report.
    blocks : int
        Blocks of 256 threads that fill it.
    torch : str or None
        What torch calls it; None where torch cannot use it.
    """

    name: str
    blocks: int
    torch: str | None

    def array(self, values: npt.NDArray[Any]) -> Array:
        """Copy an array there."""

    def executor(self, array: Array) -> cuda.Executor:
        """Return the executor of the project's kernels on this array."""

    def kernel(self, text: str, name: str) -> Kernel:
        """Compile another kernel."""

    def seconds(self, call: Contender) -> float:
        """Run a call; return the seconds that the device took."""


class CupyDevice:
    """CuPy's current device and stream, and CUDA events for a clock; see `Device`."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        number = cupy.cuda.runtime.getDevice()
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        self.name = cuda.status().detail
        self.blocks = 8 * int(properties["multiProcessorCount"])
        self.torch = _torch_name(number)

    def array(self, values: npt.NDArray[Any]) -> Array:
        """Copy an array there."""
        return self._cupy.asarray(values)

    def executor(self, array: Array) -> cuda.Executor:
        """Return the executor of the project's kernels on this array."""
        return cuda.CupyExecutor(array)

    def kernel(self, text: str, name: str) -> Kernel:
        """Compile another kernel."""
        function: Kernel = self._cupy.RawModule(code=text, options=("--std=c++17",)).get_function(
            name
        )
        return function

    def seconds(self, call: Contender) -> float:
        """Run a call; return the seconds that the device took."""
        start, stop = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record()
        for _ in range(_CALLS):
            call()
        stop.record()
        stop.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(start, stop)) / 1000 / _CALLS


def _torch_name(number: int) -> str | None:
    """Return the device's name in torch; torch's default stream is CuPy's."""
    from benchmarks.peers import has_torch

    if not has_torch():
        return None
    from benchmarks import torch_peers

    return f"cuda:{number}" if torch_peers.has_cuda() else None
