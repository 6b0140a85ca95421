"""What the kernels promise beyond the numbers, on the host executor.

The numbers themselves are held to the specification by every numerical test of the suite, on the
backend `cuda-host`.
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_host import HostExecutor
from cuda_host.build import has_sanitizers, sanitizer_environment

from mdn_cupy import cuda, reference
from mdn_cupy.problem import Rule, VoteOptions, vote_problem

TESTS = Path(__file__).parent
by_rule = pytest.mark.parametrize("rule", list(Rule))
by_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(params=[1, 1 << 30], ids=["full patches", "lone sources"])
def patches(request, monkeypatch):
    """Sources in groups of 32, added up where they meet; or each on its own."""
    monkeypatch.setattr("mdn_cupy.cuda.geometry._ENOUGH_PATCHES", request.param)
    return request.param


def random_problem(rule, dtype=np.float32, **options):
    rng = np.random.default_rng(0)
    confidence = rng.random((3, 11, 13)).astype(dtype)
    offsets = rng.normal(0, 2, (3, 2, 11, 13)).astype(dtype)
    return vote_problem(confidence, offsets, 1.3, rule, VoteOptions(**options))


def meeting(confidence, rule, sigma=1.0, **options):
    """All sources vote for the pixel (0, 0) of a map."""
    confidence = np.atleast_2d(confidence)
    offsets = -np.indices(confidence.shape)[::-1].astype(confidence.dtype)
    return vote_problem(confidence, offsets, sigma, rule, VoteOptions(**options))


def accumulate(problem, seed=1):
    return cuda.accumulate(problem, HostExecutor(seed))


@by_rule
@by_dtype
def test_the_same_bits_for_every_order_of_threads_and_blocks(rule, dtype, patches, monkeypatch):
    monkeypatch.setattr("mdn_cupy.cuda.plan.MAX_BLOCKS", 5)
    problem = random_problem(rule, dtype, aggregate=0)
    results = [accumulate(problem, seed).tobytes() for seed in range(1, 7)]
    assert len(set(results)) == 1
    assert results[0] != accumulate(dataclasses.replace(problem, deterministic=False)).tobytes()
    cotangent = np.random.default_rng(1).normal(size=problem.result_shape).astype(dtype)
    gathered = [
        [g.tobytes() for g in cuda.gather(problem, cotangent, executor=HostExecutor(seed))]
        for seed in range(1, 7)
    ]
    assert all(gradients == gathered[0] for gradients in gathered)


@by_rule
def test_float_atomics_depend_on_the_order(rule):
    problem = random_problem(rule, aggregate=0, deterministic=False)
    assert len({accumulate(problem, seed).tobytes() for seed in range(1, 7)}) > 1


@by_dtype
@pytest.mark.parametrize("voters", [1, 2, 64, 65, 1024])
def test_sums_reach_the_bound_and_do_not_overflow(voters, dtype, patches):
    """The strongest votes that a peak stands for, all for one pixel: N·2^e·2^s is 2^60."""
    for strongest in (np.nextafter(dtype(1), dtype(0)), dtype(1)):
        total = accumulate(meeting(np.full((1, voters), strongest), Rule.ADDITIVE))[0, 0]
        np.testing.assert_allclose(total, voters * strongest, rtol=4 * np.finfo(dtype).eps)
    saturated = accumulate(meeting(np.ones((1, voters), dtype), Rule.NOISY_OR))[0, 0]
    floor = np.log(np.finfo(dtype).epsneg)
    np.testing.assert_allclose(saturated, voters * floor, rtol=4 * np.finfo(dtype).eps)


@by_dtype
@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_additive_votes_of_any_size_are_summed(size, dtype, patches):
    confidence = (size * np.random.default_rng(0).normal(size=(9, 11))).astype(dtype)
    total = accumulate(meeting(confidence, Rule.ADDITIVE))[0, 0]
    want = confidence.astype(float).sum()
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(total, want, atol=tolerance * np.abs(confidence).sum())


@pytest.mark.parametrize("nowhere", [np.nan, np.inf, 1e9])
def test_a_source_that_casts_no_vote_does_not_set_the_unit(nowhere):
    confidence = np.full((4, 8), 1e-3, np.float32)
    problem = meeting(confidence, Rule.ADDITIVE)
    confidence[2, 3], problem.offsets[0, 2, 3] = 1e30, nowhere
    np.testing.assert_allclose(accumulate(problem)[0, 0], 31e-3, rtol=1e-6)


@by_rule
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("deterministic", [True, False])
def test_not_numbers_stay_in_their_window(rule, value, deterministic, patches):
    rng = np.random.default_rng(0)
    confidence = rng.random((9, 40)).astype(np.float32)
    offsets = np.zeros((2, 9, 40), np.float32)
    clean = confidence.copy()
    confidence[4, 10], clean[4, 10] = value, 0
    options = VoteOptions(deterministic=deterministic, truncate=2.0)
    got, without = (
        accumulate(vote_problem(c, offsets, 1.0, rule, options)) for c in (confidence, clean)
    )
    window = np.zeros_like(got, bool)
    window[2:7, 8:13] = True
    np.testing.assert_allclose(got[~window], without[~window], rtol=1e-6)
    added = got[window] - without[window]
    if rule is Rule.NOISY_OR and value == np.inf:  # floored, as any certain vote
        np.testing.assert_allclose(added, -24 * np.log(2), rtol=1e-5)
    elif rule is Rule.NOISY_OR and value == -np.inf:  # counts as -2^100
        square = ((np.indices((5, 5)) - 2) ** 2).sum(0).ravel()
        np.testing.assert_allclose(added, 100 * np.log(2) - square / 2, rtol=1e-5)
    elif value == np.inf:
        assert (got[window] == np.inf).all()
    elif deterministic or np.isnan(value):
        assert np.isnan(got[window]).all()
    else:
        assert (got[window] == -np.inf).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_sums_at_the_bound_do_not_hide_a_mark(sign, value, patches):
    confidence = np.full((1, 1024), sign * np.nextafter(np.float32(1), np.float32(0)))
    for position in (0, 500, 1023):
        voters = confidence.copy()
        voters[0, position] = value
        for seed in range(1, 4):
            total = accumulate(meeting(voters, Rule.ADDITIVE), seed)[0, 0]
            np.testing.assert_equal(total, np.float32(value))


def test_nan_wins_over_infinity_in_any_order(patches):
    for first in ([np.nan, np.inf], [np.inf, np.nan], [np.inf, -np.inf]):
        confidence = np.float32([*first, *np.ones(30)])
        for seed in range(1, 5):
            assert np.isnan(accumulate(meeting(confidence, Rule.ADDITIVE), seed)[0, 0])


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
    options = VoteOptions(float(truncate), stride, origin, output_shape=(1, size))
    problem = vote_problem(confidence, offsets, sigma[:, None, None], Rule.ADDITIVE, options)
    reached = accumulate(problem)[:, 0] > 0

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
    problem = vote_problem(c, offsets, 1.0, Rule.NOISY_OR, VoteOptions())

    certainty, exponent = float(c[0, 0, 0]), -(offsets[:, 0, 0, 0].astype(float) ** 2) / 2
    w, left = np.exp(exponent), (1 - certainty) - certainty * np.expm1(exponent)
    phi = np.where(left > 0.5, np.log1p(-w * certainty), np.log(left))
    np.testing.assert_allclose(accumulate(problem)[:, 0, 0], phi, rtol=1e-6)
    gradient = cuda.gather(problem, np.ones_like(c), executor=HostExecutor()).confidence
    np.testing.assert_allclose(gradient[:, 0, 0], -w / left, rtol=1e-6)


@by_rule
def test_a_collapsed_patch_costs_one_window_of_atomics(rule, monkeypatch):
    problem = meeting(np.full((8, 16), np.float32(0.5)), rule, output_shape=(30, 30))
    atomics = {}
    for enough in (1, 1 << 30):
        monkeypatch.setattr("mdn_cupy.cuda.geometry._ENOUGH_PATCHES", enough)
        executor = HostExecutor()
        cuda.accumulate(problem, executor)
        atomics[enough] = executor.atomics[f"accumulate<float, {int(rule)}, long long>"]
    window = 5 * 5  # the quarter of 9 x 9 that lies within the map
    assert atomics == {1: 4 * window, 1 << 30: 8 * 16 * window}


@by_rule
def test_no_atomics_for_pixels_between_the_windows_of_a_patch(rule, monkeypatch):
    monkeypatch.setattr("mdn_cupy.cuda.geometry._ENOUGH_PATCHES", 1)
    confidence = np.zeros((4, 8), np.float32)
    confidence[0, 0] = confidence[3, 7] = 0.5
    offsets = np.full((2, 4, 8), 5, np.float32)  # two windows of 5 x 5 in a box of 8 x 12
    options = VoteOptions(truncate=2.0, output_shape=(20, 20))
    executor = HostExecutor()
    cuda.accumulate(vote_problem(confidence, offsets, 1.0, rule, options), executor)
    assert executor.atomics[f"accumulate<float, {int(rule)}, long long>"] == 2 * 5 * 5


@by_rule
@pytest.mark.parametrize("what", ["zero confidences", "empty windows", "no position", "no sigma"])
def test_no_atomics_where_nothing_is_cast(rule, what):
    confidence = np.full((8, 8), 0 if what == "zero confidences" else 0.5, np.float32)
    value = {"empty windows": 100, "no position": np.nan}.get(what, 0)
    sigma = np.full((8, 8), -1 if what == "no sigma" else 1, np.float32)
    offsets = np.full((2, 8, 8), value, np.float32)
    executor = HostExecutor()
    problem = vote_problem(confidence, offsets, sigma, rule, VoteOptions())
    total = cuda.accumulate(problem, executor)
    assert not total.any()
    gradients = cuda.gather(problem, np.ones_like(total), executor=executor)
    assert what == "zero confidences" or not any(np.abs(g).sum() for g in gradients)
    assert executor.atomics[f"accumulate<float, {int(rule)}, long long>"] == 0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 9.0, 40.0])
def test_windows_of_every_size_are_cut_into_pieces(sigma, patches):
    """Through the tile, across several tiles, and straight to the map; and back."""
    rng = np.random.default_rng(0)
    fields = (
        rng.random((4, 8)).astype(np.float32),
        rng.normal(60, 3, (2, 4, 8)).astype(np.float32),
        float(np.float32(sigma)),
    )
    options = {"output_shape": (130, 141)}
    problem = vote_problem(*fields, Rule.NOISY_OR, VoteOptions(**options))
    cotangent = rng.normal(size=(130, 141)).astype(np.float32)
    _, want = reference.noisy_or(*fields, return_log_complement=True, **options)
    gradients = reference.noisy_or_vjp(cotangent, *fields, **options)
    for seed in range(1, 4):
        total = accumulate(problem, seed)
        np.testing.assert_allclose(total, want, atol=1e-5, rtol=1e-5)
        executor = HostExecutor(seed)
        for got, wanted in zip(
            cuda.gather(problem, -cotangent * np.exp(total), executor=executor),
            gradients,
            strict=True,
        ):
            assert np.linalg.norm(got - wanted) <= 1e-4 * np.linalg.norm(wanted) + 1e-6


def test_only_outputs_and_sums_are_allocated():
    rng = np.random.default_rng(0)
    confidence = np.asfortranarray(rng.random((2, 1, 5, 6), np.float32))
    offsets = rng.random((3, 2, 5, 12), np.float32)[..., ::2]
    problem = vote_problem(confidence, offsets, 1.0, Rule.NOISY_OR, VoteOptions(aggregate=1))
    allocated = []

    class Recording(HostExecutor):
        def _filled(self, shape, dtype, byte):
            allocated.append((shape, np.dtype(dtype).name))
            return super()._filled(shape, dtype, byte)

    result = cuda.accumulate(problem, Recording())
    assert allocated == [((2, 5, 6), "float32"), ((2, 5, 6), "int64"), ((2,), "int32")]
    allocated.clear()
    cuda.gather(problem, result, (False, True, False), Recording())
    assert allocated == [((2, 3, 2, 5, 6), "float32")]


@pytest.mark.skipif(not has_sanitizers(), reason="needs g++'s sanitizers")
def test_no_error_on_adversarial_input_under_the_sanitizers():
    done = subprocess.run(
        [sys.executable, "-m", "cuda_host.adversarial"],
        capture_output=True,
        text=True,
        cwd=TESTS,
        env=sanitizer_environment(),
    )
    assert done.stdout.endswith("clean\n"), done.stdout[-200:] + done.stderr
