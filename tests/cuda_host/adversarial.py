"""Runs the project's kernels, sanitized, on input that has broken others; `python -m` this module.

The numbers are checked elsewhere. Here the inputs lie at the very end of their memory, every access
is watched, and the first error ends the process.
"""

import itertools
from functools import partial
from unittest import mock

import numpy as np

from cuda_host import HostExecutor, kernels
from cuda_host.build import SANITIZED
from mdn_cupy import cuda
from mdn_cupy.problem import Rule, VoteOptions, vote_problem

RNG = np.random.default_rng(0)


def fields(*shape, spread=2.0):
    """Random confidences and offsets of a shape (..., H, W)."""
    confidence = RNG.random(shape)
    return confidence, RNG.normal(0, spread, (*shape[:-2], 2, *shape[-2:]))


def towards(x, y, height, width):
    """Everyone votes for one point."""
    row, column = np.indices((height, width))
    return np.ones((height, width)), np.stack([x - column, y - row]).astype(float)


def wild(height, width):
    confidence, offsets = fields(height, width)
    values = [1e30, -1e30, np.inf, -np.inf, np.nan, 1e10, -1e15, 3e-39, 2.0**31, -(2.0**50)]
    offsets.flat[: len(values)] = values
    confidence.flat[-8:] = [np.nan, np.inf, -np.inf, -1, 2, 1e30, 0, 1]
    return confidence, offsets


PROBLEMS = {
    "offsets that lead nowhere": (*wild(7, 9), 1.5, {}),
    "collapse onto a pixel": (*towards(5, 6, 11, 13), 2.0, {}),
    "collapse onto half a pixel": (*towards(5.5, 6.5, 11, 13), 2.0, {}),
    "collapse onto a corner": (*towards(0, 0, 11, 13), 3.0, {"output_shape": (5, 3)}),
    "tiny sigma": (*fields(7, 11), 0.05, {}),
    "a window larger than the image": (*fields(5, 7), 30.0, {}),
    "a window of many pieces": (*fields(2, 3), 20.0, {"output_shape": (150, 161)}),
    "an endless window": (*fields(3, 3), 1e38, {"truncate": 1e30, "output_shape": (70, 3)}),
    "1 x 1": (*fields(1, 1), 1.0, {}),
    "1 x N": (*fields(1, 67), 1.0, {}),
    "N x 1": (*fields(67, 1), 1.0, {}),
    "prime sizes": (*fields(3, 17, 19), 1.3, {"output_shape": (23, 29)}),
    "zero sizes": (*fields(0, 5, 4), 1.0, {}),
    "no output": (*fields(5, 4), 1.0, {"output_shape": (0, 4)}),
    "broadcast axes": (
        fields(2, 1, 3, 4, 5)[0],
        fields(1, 6, 1, 4, 5)[1],
        np.full((3, 1, 1), 1.1),
        {"aggregate": -3},
    ),
    "stride 16": (*fields(5, 5, spread=30), 6.0, {"stride": 16.0, "origin": -0.5}),
    "an odd stride": (*fields(7, 8), 1.0, {"stride": (1 / 3, 0.7), "origin": (0.1, -2.3)}),
    "not contiguous": (
        fields(6, 3, 8)[0].transpose(1, 2, 0)[:, ::-2],
        fields(4, 3, 6)[1].transpose(2, 1, 0, 3),
        1.0,
        {},
    ),
    "widths of all kinds": (
        *fields(4, 9),
        np.resize([0.0, -1.0, np.nan, np.inf, 1e-40, 1e-30, 0.5, 9.0], (4, 9)),
        {},
    ),
    "more patches than warps": (*fields(40, 40), 0.4, {}),
}


def main():
    module_of = partial(kernels, options=SANITIZED)
    switches = ((True, 1), (False, 4096))  # deterministic, warps that are enough
    cases = itertools.product(PROBLEMS, (np.float32, np.float64), Rule, switches)
    for name, dtype, rule, (deterministic, enough) in cases:
        print(name, dtype.__name__, rule.name, deterministic, enough, flush=True)
        confidence, offsets, sigma, options = PROBLEMS[name]
        options = VoteOptions(**options, deterministic=deterministic)
        with np.errstate(over="ignore"):
            cast = [np.asarray(x).astype(dtype) for x in (confidence, offsets, sigma)]
        sigma = float(sigma) if np.ndim(sigma) == 0 else cast[2]
        problem = vote_problem(cast[0], cast[1], sigma, options)
        with (
            mock.patch("mdn_cupy.cuda.launch_plan._ENOUGH_WARPS", enough),
            mock.patch("mdn_cupy.cuda.launch_plan._MAX_SLICES", 3),
            mock.patch("mdn_cupy.cuda.launch_plan.MAX_BLOCKS", 2),
        ):
            executor = HostExecutor(module_of=module_of)
            total = cuda.accumulate(problem, rule, executor)
            assert total.shape == problem.result_shape
            cuda.gather(problem, rule, total[..., ::-1, :], executor=executor)
    search_maps(module_of)
    print("clean")


def search_maps(module_of):
    """Find the peaks of maps with plateaus of every form, and of none."""
    for shape, dtype in itertools.product(
        [(1, 1, 1), (2, 1, 67), (2, 67, 1), (3, 17, 19), (1, 2, 300), (2, 0, 3)],
        (np.float32, np.float64),
    ):
        print("peaks", shape, dtype.__name__, flush=True)
        maps = RNG.integers(0, 3, shape).astype(dtype)
        maps[..., ::7] = np.nan
        for evidence in (maps, np.ones_like(maps), maps[:, ::-1, ::-2]):
            for limits in ((1, 1 << 62, 0), (10, 3, 1), (1 << 62, 1, 0)):
                with mock.patch("mdn_cupy.cuda.launch_plan._MAX_GRID_Y", 5):
                    executor = HostExecutor(module_of=module_of)
                    cuda.find_peaks(evidence, -1.0, *limits, executor=executor)


if __name__ == "__main__":
    main()
