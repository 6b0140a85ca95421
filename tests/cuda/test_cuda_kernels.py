"""Properties of the kernels beyond the numbers, on the host executor.

Every numerical test of the suite compares the numbers with the specification, on the backend
`cuda-host`.
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

TESTS = Path(__file__).parents[1]
by_rule = pytest.mark.parametrize("rule", list(Rule))
by_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(params=[1, 1 << 30], ids=["on few warps", "on many"])
def spread(request, monkeypatch):
    """A patch of 32 sources for a warp; or several warps for the rows that one votes for."""
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan._ENOUGH_WARPS", request.param)
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan._MAX_SLICES", 3)


def random_problem(dtype=np.float32, **options):
    rng = np.random.default_rng(0)
    confidence = rng.random((3, 11, 13)).astype(dtype)
    offsets = rng.normal(0, 2, (3, 2, 11, 13)).astype(dtype)
    return vote_problem(confidence, offsets, 1.3, VoteOptions(**options))


def meeting(confidence, sigma=1.0, **options):
    """All sources vote for the pixel (0, 0) of a map."""
    confidence = np.atleast_2d(confidence)
    offsets = -np.indices(confidence.shape)[::-1].astype(confidence.dtype)
    return vote_problem(confidence, offsets, sigma, VoteOptions(**options))


def meeting_alone(confidence):
    """The same, every source on a plane of its own, so that no warp adds two of them up."""
    planes = np.asarray(confidence).reshape(-1, 1, 1)
    offsets = np.zeros((len(planes), 2, 1, 1), planes.dtype)
    return vote_problem(planes, offsets, 1.0, VoteOptions(aggregate=0))


by_meeting = pytest.mark.parametrize("meet", [meeting, meeting_alone])


def accumulate(problem, rule, seed=1):
    return cuda.accumulate(problem, rule, HostExecutor(seed))


@by_rule
@by_dtype
def test_the_same_bits_for_every_order_of_threads_and_blocks(rule, dtype, spread, monkeypatch):
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan.MAX_BLOCKS", 5)
    problem = random_problem(dtype, aggregate=0)
    results = [accumulate(problem, rule, seed).tobytes() for seed in range(1, 7)]
    assert len(set(results)) == 1
    assert (
        results[0] != accumulate(dataclasses.replace(problem, deterministic=False), rule).tobytes()
    )
    cotangent = np.random.default_rng(1).normal(size=problem.result_shape).astype(dtype)
    gathered = [
        [g.tobytes() for g in cuda.gather(problem, rule, cotangent, executor=HostExecutor(seed))]
        for seed in range(1, 7)
    ]
    assert all(gradients == gathered[0] for gradients in gathered)


@by_rule
@by_dtype
def test_a_map_has_the_same_bits_alone_and_within_a_batch(rule, dtype):
    """Alone it is spread over more warps, 64 times as many."""
    rng = np.random.default_rng(0)
    confidence = rng.random((64, 9, 21)).astype(dtype)
    offsets = rng.normal(0, 1, (64, 2, 9, 21)).astype(dtype)
    cotangent = rng.normal(size=confidence.shape).astype(dtype)
    bits, grids = [], []
    for maps in (slice(64), slice(5, 6)):
        executor = HostExecutor()
        problem = vote_problem(confidence[maps], offsets[maps], 1.3, VoteOptions())
        total = cuda.accumulate(problem, rule, executor)
        gradients = cuda.gather(problem, rule, cotangent[maps], (True, True, False), executor)
        bits.append([x[5 % len(x)].tobytes() for x in (total, *gradients[:2])])
        grids.append([launch.grid for launch in executor.launches if "accum" in launch.kernel])
    assert bits[0] == bits[1]
    assert grids == [[(144, 4, 1)], [(3, 32, 1)]]


@by_rule
def test_float_atomics_depend_on_the_order(rule):
    problem = random_problem(aggregate=0, deterministic=False)
    assert len({accumulate(problem, rule, seed).tobytes() for seed in range(1, 7)}) > 1


@by_dtype
@by_meeting
@pytest.mark.parametrize("voters", [1, 2, 64, 65, 1024])
def test_sums_reach_the_bound_and_do_not_overflow(voters, dtype, meet, spread):
    """The strongest votes that a peak stands for, all for one pixel: N·2^e·2^s is 2^60."""
    for strongest in (np.nextafter(dtype(1), dtype(0)), dtype(1)):
        total = accumulate(meet(np.full((1, voters), strongest)), Rule.PLAIN_SUM)[0, 0]
        np.testing.assert_allclose(total, voters * strongest, rtol=4 * np.finfo(dtype).eps)
    saturated = accumulate(meet(np.ones((1, voters), dtype)), Rule.NOISY_OR)[0, 0]
    floor = np.log(np.finfo(dtype).epsneg)
    np.testing.assert_allclose(saturated, voters * floor, rtol=4 * np.finfo(dtype).eps)


@by_dtype
@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_additive_votes_of_any_size_are_summed(size, dtype, spread):
    confidence = (size * np.random.default_rng(0).normal(size=(9, 11))).astype(dtype)
    total = accumulate(meeting(confidence), Rule.PLAIN_SUM)[0, 0]
    want = confidence.astype(float).sum()
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(total, want, atol=tolerance * np.abs(confidence).sum())


@pytest.mark.parametrize("nowhere", [np.nan, np.inf, 1e9])
def test_a_source_that_casts_no_vote_does_not_set_the_unit(nowhere):
    confidence = np.full((4, 8), 1e-3, np.float32)
    problem = meeting(confidence)
    confidence[2, 3], problem.offsets[0, 2, 3] = 1e30, nowhere
    np.testing.assert_allclose(accumulate(problem, Rule.PLAIN_SUM)[0, 0], 31e-3, rtol=1e-6)


@by_rule
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("deterministic", [True, False])
def test_not_numbers_stay_in_their_window(rule, value, deterministic, spread):
    rng = np.random.default_rng(0)
    confidence = rng.random((9, 40)).astype(np.float32)
    offsets = np.zeros((2, 9, 40), np.float32)
    clean = confidence.copy()
    confidence[4, 10], clean[4, 10] = value, 0
    options = VoteOptions(deterministic=deterministic, truncate=2.0)
    got, without = (
        accumulate(vote_problem(c, offsets, 1.0, options), rule) for c in (confidence, clean)
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


@by_meeting
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_sums_at_the_bound_do_not_hide_a_mark(sign, value, meet, spread):
    confidence = np.full((1, 1024), sign * np.nextafter(np.float32(1), np.float32(0)))
    for position in (0, 500, 1023):
        voters = confidence.copy()
        voters[0, position] = value
        for seed in range(1, 4):
            total = accumulate(meet(voters), Rule.PLAIN_SUM, seed)[0, 0]
            np.testing.assert_equal(total, np.float32(value))


def test_nan_wins_over_infinity_in_any_order(spread):
    for first in ([np.nan, np.inf], [np.inf, np.nan], [np.inf, -np.inf]):
        confidence = np.float32([*first, *np.ones(30)])
        for seed in range(1, 5):
            assert np.isnan(accumulate(meeting(confidence), Rule.PLAIN_SUM, seed)[0, 0])


def atomics(problem, rule):
    """How many atomic operations it takes to accumulate a problem."""
    executor = HostExecutor()
    cuda.accumulate(problem, rule, executor)
    (kernel,) = (name for name in executor.atomics if name.startswith("accumulate"))
    return executor.atomics[kernel]


@by_rule
def test_a_collapsed_patch_costs_one_window_of_atomics(rule, spread):
    problem = meeting(np.full((8, 16), np.float32(0.5)), output_shape=(30, 30))
    window = 5 * 5  # the quarter of 9 x 9 that lies within the map
    assert atomics(problem, rule) == 4 * window


@by_rule
@pytest.mark.parametrize("apart", [0, 60])
def test_two_windows_cost_their_pixels_and_none_between_them(rule, apart, spread):
    """Of 5 × 5 pixels: in a box of 8 × 12, or each on its own."""
    confidence = np.zeros((4, 8), np.float32)
    confidence[0, 0] = confidence[3, 7] = 0.5
    offsets = np.full((2, 4, 8), 5, np.float32)
    offsets[:, 3, 7] += apart
    options = VoteOptions(truncate=2.0, output_shape=(80, 80))
    assert atomics(vote_problem(confidence, offsets, 1.0, options), rule) == 2 * 5 * 5


@by_rule
@pytest.mark.parametrize("what", ["zero confidences", "empty windows", "no position", "no sigma"])
def test_no_atomics_where_nothing_is_cast(rule, what):
    confidence = np.full((8, 8), 0 if what == "zero confidences" else 0.5, np.float32)
    value = {"empty windows": 100, "no position": np.nan}.get(what, 0)
    sigma = np.full((8, 8), -1 if what == "no sigma" else 1, np.float32)
    offsets = np.full((2, 8, 8), value, np.float32)
    executor = HostExecutor()
    problem = vote_problem(confidence, offsets, sigma, VoteOptions())
    total = cuda.accumulate(problem, rule, executor)
    assert not total.any()
    gradients = cuda.gather(problem, rule, np.ones_like(total), executor=executor)
    assert what == "zero confidences" or not any(np.abs(g).sum() for g in gradients)
    assert executor.atomics[f"accumulate<float, {int(rule)}, long long>"] == 0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 9.0, 40.0])
def test_windows_of_every_size_are_cut_into_pieces(sigma, spread):
    """Through the tile, across several tiles, and straight to the map; and back."""
    rng = np.random.default_rng(0)
    fields = (
        rng.random((4, 8)).astype(np.float32),
        rng.normal(60, 3, (2, 4, 8)).astype(np.float32),
        float(np.float32(sigma)),
    )
    options = {"output_shape": (130, 141)}
    problem = vote_problem(*fields, VoteOptions(**options))
    cotangent = rng.normal(size=(130, 141)).astype(np.float32)
    want = reference.log_complement(*fields, **options)
    gradients = reference.noisy_or_vjp(cotangent, *fields, **options)
    for seed in range(1, 4):
        total = accumulate(problem, Rule.NOISY_OR, seed)
        np.testing.assert_allclose(total, want, atol=1e-5, rtol=1e-5)
        executor = HostExecutor(seed)
        for got, wanted in zip(
            cuda.gather(problem, Rule.NOISY_OR, -cotangent * np.exp(total), executor=executor),
            gradients,
            strict=True,
        ):
            assert np.linalg.norm(got - wanted) <= 1e-4 * np.linalg.norm(wanted) + 1e-6


def test_planes_further_apart_than_32_bits_can_count(tmp_path):
    """The second plane of every array lies 2^31 elements on; nothing is stored between."""
    rng = np.random.default_rng(0)
    apart = (1 << 31) + 7

    def spread_out(number, values):
        size = apart + values[0].size
        memory = np.memmap(tmp_path / f"{number}", values.dtype, "w+", shape=size)
        strides = (apart * values.itemsize, *values.strides[1:])
        spread = np.lib.stride_tricks.as_strided(memory, values.shape, strides)
        spread[...] = values
        return spread

    near = [rng.random((2, 5, 6), np.float32), rng.random((2, 2, 5, 6), np.float32)]
    near.append(rng.uniform(0.5, 2, (2, 5, 6)).astype(np.float32))
    results = []
    for fields in (near, [spread_out(n, x) for n, x in enumerate(near)]):
        problem = vote_problem(*fields, VoteOptions())
        total = accumulate(problem, Rule.NOISY_OR)
        gradients = cuda.gather(problem, Rule.NOISY_OR, total, executor=HostExecutor())
        results.append([x.tobytes() for x in (total, *gradients)])
    assert results[0] == results[1]


def test_more_maps_and_pixels_than_a_grid_has_blocks(monkeypatch):
    problem = random_problem()
    want = accumulate(problem, Rule.NOISY_OR)
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan._MAX_GRID_Y", 2)
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan.MAX_BLOCKS", 1)
    assert accumulate(problem, Rule.NOISY_OR).tobytes() == want.tobytes()


def test_only_outputs_and_sums_are_allocated():
    rng = np.random.default_rng(0)
    confidence = np.asfortranarray(rng.random((2, 1, 5, 6), np.float32))
    offsets = rng.random((3, 2, 5, 12), np.float32)[..., ::2]
    problem = vote_problem(confidence, offsets, 1.0, VoteOptions(aggregate=1))
    allocated = []

    class Recording(HostExecutor):
        def _filled(self, shape, dtype, byte):
            allocated.append((shape, np.dtype(dtype).name))
            return super()._filled(shape, dtype, byte)

    result = cuda.accumulate(problem, Rule.NOISY_OR, Recording())
    assert allocated == [((2, 5, 6), "float32"), ((2, 5, 6), "int64"), ((2,), "int32")]
    allocated.clear()
    cuda.gather(problem, Rule.NOISY_OR, result, (False, True, False), Recording())
    assert allocated == [((2, 3, 2, 5, 6), "float32")]


@pytest.mark.slow
@pytest.mark.skipif(not has_sanitizers(), reason="needs g++ and its sanitizers: apt install g++")
def test_no_error_on_adversarial_input_under_the_sanitizers():
    done = subprocess.run(
        [sys.executable, "-m", "cuda_host.adversarial"],
        capture_output=True,
        text=True,
        cwd=TESTS,
        env=sanitizer_environment(),
    )
    assert done.stdout.endswith("clean\n"), done.stdout[-200:] + done.stderr
