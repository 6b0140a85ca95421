"""The CUDA kernels on the CPU as a backend of the test suite: the public methods, end to end."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from backends import Backend

import mdn_cupy as mdn
from cuda_host import HostExecutor
from mdn_cupy import cuda

_VOTING = ("accumulate", "noisy_or", "compare", "gather", "instances", "peak_moments")


class CudaHost(Backend):
    """`mdn_cupy.cuda` whole, from arguments to results, with NumPy arrays in CuPy's place.

    Parameters
    ----------
    enough_warps : int
        1 keeps small problems on few warps, as large ones are.
    seed : int
        The order of threads and blocks.
    """

    float64_tolerance = 1e-9  # the fixed point's

    def __init__(self, enough_warps: int = 1, seed: int = 1) -> None:
        self._enough_warps = enough_warps
        self._seed = seed

    def votes(self, *fields: Any, **options: Any) -> mdn.Votes:
        backend = self

        class HostVotes(mdn.Votes):
            @property
            def _module(self) -> Any:
                return SimpleNamespace(
                    **{name: partial(backend._run, getattr(cuda, name)) for name in _VOTING}
                )

        return HostVotes(*self._in(fields), **options)

    def _run(self, function: Any, *arguments: Any, **options: Any) -> Any:
        with mock.patch("mdn_cupy.cuda.launch_plan._ENOUGH_WARPS", self._enough_warps):
            return function(*arguments, **options, executor=HostExecutor(self._seed))

    def find_peaks(self, *maps: Any, **options: Any) -> mdn.Peaks:
        module = SimpleNamespace(find_peaks=partial(self._run, cuda.find_peaks))
        with mock.patch("mdn_cupy.peaks.module", return_value=module):
            return super().find_peaks(*maps, **options)
