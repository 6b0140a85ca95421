"""The CUDA kernels on the CPU as a backend of the test suite: the public functions, end to end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

from backends import Backend

from cuda_host import HostExecutor
from mdn_cupy import cuda


class CudaHost(Backend):
    """`mdn_cupy.cuda` whole, from arguments to results, with NumPy arrays in CuPy's place.

    Parameters
    ----------
    enough_warps : int
        1 keeps small problems on few warps, as large ones are.
    seed : int
        The order of threads and blocks.
    """

    float64_tolerance = 1e-9  # the fixed point's, design, section 5

    def __init__(self, enough_warps: int = 1, seed: int = 1) -> None:
        self._enough_warps = enough_warps
        self._seed = seed

    def _through(self, function: Any, *arguments: Any, **options: Any) -> Any:
        module = SimpleNamespace(
            accumulate=lambda *a: cuda.accumulate(*a, executor=HostExecutor(self._seed)),
            compare=lambda *a: cuda.compare(*a, executor=HostExecutor(self._seed)),
            noisy_or=lambda *a, **k: cuda.noisy_or(*a, **k, executor=HostExecutor(self._seed)),
            gather=lambda *a: cuda.gather(*a, executor=HostExecutor(self._seed)),
            find_peaks=lambda *a, **k: cuda.find_peaks(*a, **k, executor=HostExecutor(self._seed)),
        )
        with (
            mock.patch("mdn_cupy.voting.module", return_value=module),
            mock.patch("mdn_cupy.peaks.module", return_value=module),
            mock.patch("mdn_cupy.cuda.plan._ENOUGH_WARPS", self._enough_warps),
        ):
            return function(*arguments, **options)

    def noisy_or(self, *fields: Any, **options: Any) -> Any:
        return self._through(super().noisy_or, *fields, **options)

    def additive(self, *fields: Any, **options: Any) -> Any:
        return self._through(super().additive, *fields, **options)

    def compare(self, *fields: Any, **options: Any) -> Any:
        return self._through(super().compare, *fields, **options)

    def noisy_or_vjp(self, *fields: Any, **options: Any) -> Any:
        return self._through(super().noisy_or_vjp, *fields, **options)

    def additive_vjp(self, *fields: Any, **options: Any) -> Any:
        return self._through(super().additive_vjp, *fields, **options)

    def find_peaks(self, *maps: Any, **options: Any) -> Any:
        return self._through(super().find_peaks, *maps, **options)
