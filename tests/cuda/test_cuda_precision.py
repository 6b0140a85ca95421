"""Where float32 alone would not do: the pixels at a window's edge, and votes close to certainty."""

import numpy as np
import pytest
from cuda_host import HostExecutor

from mdn_cupy import cuda
from mdn_cupy.problem import Rule, VoteOptions, vote_problem

NASTY = np.float32(
    [0, 0.1, 1 / 3, 0.5, 1.5, 1e-7, 0.99999994, 2**-24, 2**-52, 2**-53, 2**-60, 1e-38, 1e-45]
)


@pytest.mark.parametrize(
    ("stride", "origin"), [(1.0, 0.0), (1 / 3, 0.5), (16.0, -7.5), (0.1, 1.0), (0.7, -3.3)]
)
def test_float32_reaches_the_very_pixels_of_the_specification(stride, origin):
    """In float64, |k − ((origin + stride·j) + o)| <= truncate·sigma decides, ties included."""
    rng = np.random.default_rng(0)
    maps, width = 1500, 300
    column = rng.integers(0, width, maps) * rng.integers(0, 2, maps)
    sigma = rng.choice(np.float32([0.25, 0.3, 0.5, 1, 0.7, 1 / 3, 2, 2.3]), maps)
    truncate = rng.choice(np.float32([1, 2.5, 4]))
    edge = truncate * sigma * rng.choice(np.float32([-1, 1, 0.5, 0]), maps)
    nasty = rng.choice(np.concatenate([NASTY, -NASTY]), maps)
    offset = (rng.integers(-20, 20, maps).astype(np.float32) + edge) * rng.integers(0, 2, maps)
    offset = offset.astype(np.float32) + nasty
    confidence = np.zeros((maps, 1, width), np.float32)
    offsets = np.full((maps, 2, 1, width), -origin, np.float32)
    confidence[np.arange(maps), 0, column] = 1
    offsets[np.arange(maps), 0, 0, column] = offset
    size = int(stride * width)
    options = VoteOptions(
        truncate=float(truncate), stride=stride, origin=origin, output_shape=(1, size)
    )
    problem = vote_problem(confidence, offsets, sigma[:, None, None], options)
    reached = cuda.accumulate(problem, Rule.PLAIN_SUM, HostExecutor())[:, 0] > 0

    p = (origin + stride * column.astype(float)) + offset.astype(float)
    distance = np.abs(np.arange(size) - p[:, None])
    reach = (float(truncate) * sigma.astype(float))[:, None]
    np.testing.assert_array_equal(reached, distance <= reach)
    assert (np.abs(distance - reach) < 1e-12).sum() > 20  # ties, and what float64 makes of them


@pytest.mark.parametrize("confidence", [1.0, 0.9999, 0.5, 1e-3, 1e-9])
def test_a_vote_keeps_its_digits_from_certainty_to_nothing(confidence):
    """φ and its gradient to 1e-6 of themselves, where 1 − w·c in float32 has none left."""
    c = np.full((300, 1, 1), confidence, np.float32)
    offsets = np.zeros((300, 2, 1, 1), np.float32)
    offsets[:, 0, 0, 0] = np.geomspace(1e-3, 4, 300)
    problem = vote_problem(c, offsets, 1.0, VoteOptions())

    certainty, exponent = float(c[0, 0, 0]), -(offsets[:, 0, 0, 0].astype(float) ** 2) / 2
    w, left = np.exp(exponent), (1 - certainty) - certainty * np.expm1(exponent)
    phi = np.where(left > 0.5, np.log1p(-w * certainty), np.log(left))
    total = cuda.accumulate(problem, Rule.NOISY_OR, HostExecutor())
    np.testing.assert_allclose(total[:, 0, 0], phi, rtol=1e-6)
    gradient = cuda.gather(
        problem, Rule.NOISY_OR, np.ones_like(c), executor=HostExecutor()
    ).confidence
    np.testing.assert_allclose(gradient[:, 0, 0], -w / left, rtol=1e-6)
