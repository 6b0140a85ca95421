"""`Votes.peaks`, which say how their votes spread, and `Votes.instances`, on every backend."""

import dataclasses

import numba
import numpy as np
import pytest
import torch
from backends import PEAK_COLUMNS
from cuda_host import HostExecutor
from helpers import RULES
from hypothesis import given
from hypothesis import strategies as st
from strategies import votes

import mdn_cupy as mdn
from mdn_cupy import cpu, cuda
from mdn_cupy.peaks import spread
from mdn_cupy.problem import VoteOptions, rule_of, vote_problem
from mdn_cupy.torch import engine

SPREAD = ("xx", "xy", "yy", "voters")


def on_the_cpu(fields, options, rule, pixels):
    problem = vote_problem(*fields, VoteOptions(**options))
    return spread(cpu.peak_moments(problem, rule, pixels, evidence_at(problem, rule, pixels)))


def on_cuda(fields, options, rule, pixels, seed=5):
    problem = vote_problem(*fields, VoteOptions(**options))
    evidence = evidence_at(problem, rule, pixels)
    return spread(cuda.peak_moments(problem, rule, pixels, evidence, HostExecutor(seed)))


def on_tensors(fields, options, rule, pixels):
    evidence = evidence_at(vote_problem(*fields, VoteOptions(**options)), rule, pixels)
    evidence, *pixels = (torch.from_numpy(x) for x in (evidence, *pixels))
    fields = [torch.from_numpy(x.copy()) if isinstance(x, np.ndarray) else x for x in fields]
    problem = engine.problem(*fields, VoteOptions(**options))
    moments = engine.peak_moments(problem, rule, tuple(pixels), evidence)
    return {name: column.numpy() for name, column in spread(moments).items()}


def evidence_at(problem, rule, pixels):
    """The evidence of some pixels, by the CPU."""
    total = cpu.accumulate(problem, rule).reshape(problem.maps, *problem.output_shape)[pixels]
    return 0 - total if rule_of("noisy_or") is rule else total


by_backend = pytest.mark.parametrize("found", [on_the_cpu, on_tensors, on_cuda])


@pytest.mark.slow
@by_backend
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), rule=st.sampled_from(RULES))
def test_the_spread_is_that_of_the_specification(found, data, dtype, rule):
    drawn = data.draw(votes(dtype))
    problem = vote_problem(*drawn.fields, VoteOptions(**drawn.options))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sizes = problem.maps, *problem.output_shape
    count = data.draw(st.sampled_from([0, 1, 20])) if all(sizes) else 0
    pixels = tuple(np.sort(rng.integers(0, max(size, 1), count)) for size in sizes)
    want = mdn.reference.peak_spread(*pixels, *drawn.fields, rule=rule, **drawn.options)
    got = found(drawn.fields, drawn.options, rule_of(rule), pixels)
    # Where terms are below the dtype's range, they have no digits.
    there = evidence_at(problem, rule_of(rule), pixels) > 1e-6
    reach = min(drawn.options["truncate"], 37) * np.max(drawn.sigma, initial=0)
    allowed = (1e-5 if dtype is np.float32 else 1e-12) * (1 + reach**2)
    for name in ("xx", "xy", "yy"):
        assert got[name].dtype == np.float64
        np.testing.assert_allclose(got[name][there], want[name][there], rtol=0, atol=allowed)
    relative = 1e-4 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(got["voters"][there], want["voters"][there], rtol=relative)


@by_backend
@pytest.mark.parametrize("rule", RULES)
def test_pixels_without_a_vote_have_no_spread(found, rule):
    c, o = np.zeros((1, 3, 4), np.float32), np.zeros((1, 2, 3, 4), np.float32)
    c[0, 0, 0] = 0.5
    pixels = np.array([0]), np.array([2]), np.array([3])
    got = found((c, o, 0.25), {}, rule_of(rule), pixels)
    assert {name: column.tolist() for name, column in got.items()} == {name: [0] for name in SPREAD}


@by_backend
@pytest.mark.parametrize("sigma", [1e5, np.inf])
def test_very_wide_votes_reach_every_peak(found, sigma):
    c, o = np.full((1, 4), 0.5, np.float32), np.zeros((2, 1, 4), np.float32)
    pixels = np.array([0, 0]), np.array([0, 0]), np.array([0, 3])
    got = found((c, o, np.full((1, 4), sigma, np.float32)), {}, rule_of("plain_sum"), pixels)
    np.testing.assert_allclose(got["voters"], [4, 4], rtol=1e-6)
    if sigma < np.inf:  # on CUDA distances have 2^-30 of the widest reach
        np.testing.assert_allclose(got["xx"], [1.25, 1.25], atol=1e-5)


def test_the_same_bits_for_any_number_of_threads_and_any_order(monkeypatch):
    rng = np.random.default_rng(0)
    fields = rng.random((2, 90, 400)), rng.normal(0, 3, (2, 2, 90, 400)), 3.0
    pixels = tuple(np.sort(rng.integers(0, n, 40)) for n in (2, 90, 400))
    rule = rule_of("noisy_or")
    for found, name, values in (
        (on_the_cpu, "NUMBA_NUM_THREADS", (1, 2, 5)),
        (on_cuda, None, (1, 2, 9)),
    ):
        results = []
        for value in values:
            if name:
                monkeypatch.setattr(numba.config, name, value)
                results.append(found(fields, {}, rule, pixels))
            else:
                results.append(found(fields, {}, rule, pixels, seed=value))
        for other in results[1:]:
            for column in SPREAD:
                np.testing.assert_array_equal(results[0][column], other[column])


# Votes.peaks


def scene():
    """Two maps with three groups of votes each, of stride 4, at places of any fraction."""
    rng = np.random.default_rng(3)
    c = rng.uniform(0.2, 0.8, (2, 8, 9))
    centres = np.array([[8.3, 6.1], [25.2, 10.7], [14.9, 24.6]])
    y, x = 4 * np.indices((8, 9))
    which = rng.integers(0, 3, (2, 8, 9))
    target = centres[which] + rng.normal(0, 0.6, (2, 8, 9, 2))
    o = np.stack([target[..., 0] - x, target[..., 1] - y], axis=1)
    return (c, o, 1.5), {"stride": 4.0}


@pytest.mark.parametrize("rule", RULES)
def test_peaks_are_those_of_the_specification(backend, rule):
    fields, options = scene()
    limits = {"threshold": 0.3, "min_distance": 6, "border": 1, "max_peaks": 4, "rule": rule}
    want = mdn.reference.peaks(*fields, **limits, **options)
    peaks = backend.votes(*fields, **options).peaks(**limits)
    assert peaks.maps_shape == (2,)
    assert len(peaks) == len(want) >= 6
    for name in (*PEAK_COLUMNS, *SPREAD):
        got = backend.to_numpy(getattr(peaks, name))
        np.testing.assert_allclose(got, getattr(want, name), rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_spread_is_that_of_the_voters_of_the_pixel():
    votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
    peaks = votes.peaks(threshold=4.6)
    who = votes.voters((95, 166))
    covariance = np.cov(who.landing.T, aweights=who.share, ddof=0)
    np.testing.assert_allclose(
        covariance, [[peaks.xx[0], peaks.xy[0]], [peaks.xy[0], peaks.yy[0]]], rtol=1e-5
    )
    assert peaks.voters[0] == pytest.approx(1 / (who.share**2).sum(), rel=1e-5)
    assert peaks.score[0] == pytest.approx(votes.noisy_or()[95, 166], abs=1e-7)


def test_equal_votes_count_alike_and_a_lone_one_is_one():
    o = np.zeros((2, 1, 9))
    o[0, 0] = np.where(np.arange(9) < 8, 2 - np.arange(9), 20)  # eight for column 2, one for 28
    votes = mdn.Votes(np.full((1, 9), 0.5), o, 0.5, output_shape=(1, 30))
    peaks = votes.peaks(threshold=0.1)
    np.testing.assert_allclose(peaks.voters, [8, 1])
    assert peaks.xx.tolist() == peaks.xy.tolist() == peaks.yy.tolist() == [0, 0]


def test_peaks_of_tensors_keep_the_graph_of_place_and_score():
    (c, o, sigma), options = scene()
    c, o = torch.from_numpy(c).requires_grad_(), torch.from_numpy(o).requires_grad_()
    peaks = mdn.Votes(c, o, sigma, **options).peaks(threshold=1.0)
    (peaks.x.sum() + peaks.score.sum()).backward()
    assert c.grad.abs().sum() > 0
    assert o.grad.abs().sum() > 0
    assert not any(getattr(peaks, name).requires_grad for name in SPREAD)


def test_no_peaks_and_no_sources(backend):
    fields, options = scene()
    none = backend.votes(*fields, **options).peaks(threshold=1e6)
    assert len(none) == len(none.voters) == 0
    empty = backend.votes(np.zeros((0, 3)), np.zeros((2, 0, 3)), 1.0, output_shape=(4, 4))
    assert len(empty.peaks(threshold=0.5)) == 0
    plateau = empty.peaks(threshold=0.0)
    assert backend.to_numpy(plateau.voters).tolist() == [0]


# Votes.instances


@pytest.mark.parametrize("radius", [0, 1.5, np.inf])
def test_instances_are_those_of_the_specification_with_their_mass(backend, radius):
    fields, options = scene()
    votes = backend.votes(*fields, **options)
    peaks = votes.peaks(threshold=0.3, min_distance=6)
    labels, mass = votes.instances(peaks, radius=radius)
    labels, mass = backend.to_numpy(labels), backend.to_numpy(mass)
    table = mdn.Peaks(
        *(backend.to_numpy(getattr(peaks, name)) for name in PEAK_COLUMNS), maps_shape=(2,)
    )
    want = mdn.reference.instances(table, *fields, radius=radius, **options)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, want)
    sums = [fields[0][want == number].sum() for number in range(1, len(peaks) + 1)]
    np.testing.assert_allclose(mass, sums, rtol=1e-12)


def test_instances_by_default_take_what_the_windows_hold():
    fields, options = scene()
    votes = mdn.Votes(*fields, **options)
    peaks = votes.peaks(threshold=0.3, min_distance=6)
    assert (votes.instances(peaks).labels == votes.instances(peaks, radius=1e9).labels).all()


def test_parts_that_vote_together_are_labelled_part_by_part(backend):
    c = np.full((3, 1, 1, 4), 0.5)  # broadcast over two maps, and three parts vote for each
    o = np.zeros((3, 2, 2, 1, 4))
    votes = backend.votes(c, o, 0.5, aggregate=0)
    peaks = votes.peaks(threshold=0.5, max_peaks=1, rule="plain_sum")
    labels, mass = votes.instances(peaks, radius=1)
    assert tuple(labels.shape) == (3, 2, 1, 4)
    assert backend.to_numpy(labels)[:, 1].max() == 2
    assert backend.to_numpy(mass).tolist() == [
        len(peaks) and (labels == n).sum() / 2 for n in (1, 2)
    ]


def test_without_peaks_every_source_is_for_none(backend):
    fields, options = scene()
    votes = backend.votes(*fields, **options)
    labels, mass = votes.instances(votes.peaks(threshold=1e6), radius=3)
    assert not backend.to_numpy(labels).any()
    assert mass.shape == (0,)


def test_a_tensor_with_a_graph_is_labelled():
    (c, o, sigma), options = scene()
    votes = mdn.Votes(torch.from_numpy(c).requires_grad_(), torch.from_numpy(o), sigma, **options)
    labels, mass = votes.instances(votes.peaks(threshold=0.3), radius=3)
    assert (labels.dtype, mass.requires_grad) == (torch.int32, False)


@pytest.mark.parametrize(
    ("peaks", "radius", "error", "message"),
    [
        ({}, -1, ValueError, "radius must not be negative, got -1"),
        ({}, np.nan, ValueError, "radius must not be negative, got nan"),
        ({}, "far", TypeError, "radius must be a number, got str"),
        ({"maps_shape": ()}, 1, ValueError, r"leading axes \(2,\), got \(\); find them by the"),
        ({"x": torch.zeros(6)}, 1, TypeError, "of one library and on one device"),
        (None, 1, TypeError, "peaks must be mdn_cupy.Peaks, got NoneType"),
    ],
)
def test_what_is_no_table_of_these_votes_is_refused(peaks, radius, error, message):
    fields, options = scene()
    votes = mdn.Votes(*fields, **options)
    found = votes.peaks(threshold=0.3, min_distance=6)
    table = None if peaks is None else dataclasses.replace(found, **peaks)
    with pytest.raises(error, match=message):
        votes.instances(table, radius=radius)
