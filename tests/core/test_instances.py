"""Which peak each source belongs to, by brute force and by both backends."""

import math

import numba
import numpy as np
import pytest
from cuda_host import HostExecutor
from hypothesis import given
from hypothesis import strategies as st
from strategies import votes

import mdn_cupy as mdn
from mdn_cupy import cpu, cuda
from mdn_cupy.problem import VoteOptions, vote_problem


def on_the_cpu(*arguments):
    return cpu.instances(*arguments)


def on_cuda(*arguments):
    return cuda.instances(*arguments, executor=HostExecutor(5))


by_backend = pytest.mark.parametrize("instances", [on_the_cpu, on_cuda])


def peaks_at(number, x, y):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return mdn.Peaks(np.asarray(number, np.int64), x, y, x, x)


def drawn_peaks(draw, maps, shape):
    """Peaks anywhere in the maps and somewhat beyond, on a grid of 1/4 pixel or off it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([0, 1, 2, 10, 60]))
    position = rng.uniform(-3, 3 + np.array(shape)[:, None], (2, count))
    if draw(st.booleans()):
        position = np.round(4 * position) / 4
    return peaks_at(rng.integers(0, max(maps, 1), count), position[1], position[0])


@pytest.mark.slow
@by_backend
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_labels_are_those_of_the_specification(instances, data, dtype):
    drawn = data.draw(votes(dtype))
    problem = vote_problem(*drawn.fields, VoteOptions(**drawn.options))
    peaks = drawn_peaks(data.draw, problem.maps, problem.output_shape)
    radius = data.draw(st.sampled_from([0.0, 0.5, 1.25, 5.0, 100.0, math.inf]))
    want = mdn.reference.instances(peaks, *drawn.fields, radius=radius, **drawn.options)
    got = instances(problem, peaks.map, peaks.x, peaks.y, radius)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, want)


def label(instances, confidence, offsets, sigma, peaks, radius, **options):
    problem = vote_problem(confidence, offsets, sigma, VoteOptions(**options))
    return instances(problem, peaks.map, peaks.x, peaks.y, radius)


@by_backend
def test_a_source_is_for_the_nearest_peak_and_the_first_of_two(instances):
    c, o = np.ones((1, 9), np.float32), np.zeros((2, 1, 9), np.float32)
    peaks = peaks_at([0, 0, 0], [6.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    assert label(instances, c, o, 1.0, peaks, 3).tolist() == [[2, 2, 2, 2, 1, 1, 1, 1, 1]]
    assert label(instances, c, o, 1.0, peaks, 1).tolist() == [[0, 2, 2, 2, 0, 1, 1, 1, 0]]


@by_backend
def test_the_peak_of_a_label_is_the_one_whose_evidence_the_source_adds_most_to(instances):
    """By the footprint of each source, for sigma and confidence of its own."""
    rng = np.random.default_rng(0)
    c = rng.random((6, 7))
    o, sigma = rng.normal(0, 2, (2, 6, 7)), rng.uniform(0.5, 3, (6, 7))
    y, x = rng.integers(0, 6, 5), rng.integers(0, 7, 5)
    labels = label(instances, c, o, sigma, peaks_at(np.zeros(5), x, y), math.inf)
    for source in np.ndindex(6, 7):
        vote = mdn.Votes(c, o, sigma).footprint(source)
        added = np.zeros((6, 7))
        added[vote.window] = vote.terms
        strongest = 1 + int(added[y, x].argmax()) if added[y, x].any() else 0
        assert labels[source] == strongest


@by_backend
@pytest.mark.parametrize("odd", [0.0, -1.0, np.nan])
def test_a_source_that_adds_nothing_has_no_label(instances, odd):
    c, o = np.array([[odd, 0.5]], np.float32), np.zeros((2, 1, 2), np.float32)
    assert label(instances, c, o, 1.0, peaks_at([0], [0.5], [0.0]), 9).tolist() == [[0, 1]]
    sigma = np.array([[odd, 1]], np.float32)
    assert label(instances, c * 0 + 1, o, 1.0, peaks_at([0], [9.0], [0.0]), 9).tolist() == [[0, 0]]
    half = np.full((1, 2), 0.5, np.float32)
    assert label(instances, half, o, sigma, peaks_at([0], [0.5], [0]), 9).tolist() == [[0, 1]]


@by_backend
def test_peaks_without_a_place_are_nobodys(instances):
    c, o = np.ones((1, 2), np.float32), np.zeros((2, 1, 2), np.float32)
    peaks = peaks_at([0, 0, 0], [np.nan, np.inf, 1.0], [0.0, 0.0, np.nan])
    assert not label(instances, c, o, 1.0, peaks, math.inf).any()


@by_backend
def test_parts_that_vote_into_one_map_share_its_peaks(instances):
    c = np.ones((2, 3, 1, 4), np.float32)
    o = np.zeros((2, 3, 2, 1, 4), np.float32)
    peaks = peaks_at([1, 0], [0.0, 3.0], [0.0, 0.0])
    labels = label(instances, c, o, 1.0, peaks, 1, aggregate=1)
    assert labels.shape == (2, 3, 1, 4)
    assert labels[0].tolist() == [[[0, 0, 2, 2]]] * 3
    assert labels[1].tolist() == [[[1, 1, 0, 0]]] * 3


def test_any_number_of_threads_and_any_order_give_the_same_labels(monkeypatch):
    rng = np.random.default_rng(1)
    c, o = rng.random((3, 60, 700)), rng.normal(0, 9, (3, 2, 60, 700))
    peaks = peaks_at(rng.integers(0, 3, 200), rng.uniform(0, 699, 200), rng.uniform(0, 59, 200))
    want = label(on_cuda, c, o, 4.0, peaks, 12)
    assert (want > 0).mean() > 0.4
    for count in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", count)
        np.testing.assert_array_equal(label(on_the_cpu, c, o, 4.0, peaks, 12), want)


def test_every_coin_has_the_edge_that_votes_for_it():
    coins = mdn.samples.load("coins")
    fields = coins.confidence, coins.offsets, coins.sigma
    peaks = mdn.find_peaks(coins.votes().evidence(), threshold=4.6)
    labels = label(on_the_cpu, *fields, peaks, 8, aggregate=0)
    assert labels.shape == coins.confidence.shape
    sizes = np.bincount(labels.ravel(), minlength=25)[1:]
    assert len(sizes) == 24
    assert sizes.min() > 50
