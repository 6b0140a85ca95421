"""The votes against the specification, by every backend."""

import math

import numpy as np
import pytest
from backends import BACKENDS
from helpers import (
    REFERENCE,
    RULES,
    assert_agrees,
    assert_gradients_close,
    assert_maps_close,
    floor_slack,
    pull,
    tolerance,
    vote,
)
from hypothesis import given, note, settings
from hypothesis import strategies as st
from strategies import Drawn, cotangent, laid_out, votes

import mdn_cupy as mdn

DTYPES = (np.float32, np.float64)
LOG_FLOOR = {np.float32: 24 * np.log(0.5), np.float64: 53 * np.log(0.5)}

by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_rule = pytest.mark.parametrize("rule", RULES)


def single(c, x, y, sigma, dtype=np.float64, **options):
    """One source at (0, 0) that votes for the point (x, y)."""
    confidence, offsets = np.full((1, 1), c, dtype), np.array([[[x]], [[y]]], dtype)
    return Drawn(confidence, offsets, sigma, options)


def crowd(confidences, dtype=np.float32, sigma=1.0):
    """A row of sources that all vote for the pixel (0, 0)."""
    confidence = np.atleast_2d(np.asarray(confidences, dtype))
    offsets = np.zeros((2, *confidence.shape), dtype)
    offsets[0] = -np.arange(confidence.shape[1])
    return Drawn(confidence, offsets, sigma, {"output_shape": (1, 1)})


def first_of(drawn):
    """The same votes without those after the first column."""
    return Drawn(drawn.confidence[:, :1], drawn.offsets[..., :1], drawn.sigma, drawn.options)


@by_dtype
@settings(max_examples=120)
@given(data=st.data())
def test_maps_are_those_of_the_specification(backend, dtype, data):
    assert_agrees(backend, data.draw(votes(dtype)))


@pytest.mark.slow
@by_dtype
@given(data=st.data())
def test_gradients_are_those_of_the_specification(backend, dtype, data):
    drawn = data.draw(votes(dtype))
    log_complement = vote(REFERENCE, "log_complement", drawn)
    g = cotangent(data.draw, log_complement.shape, dtype)
    for rule in (*RULES, "log_complement"):
        note(rule)
        got, want = pull(backend, rule, g, drawn), pull(REFERENCE, rule, g, drawn)
        # 1e-30: where all weights of a float32 problem underflow
        slack = floor_slack(g, log_complement, drawn) if rule == "noisy_or" else 1e-30
        assert_gradients_close(got, want, tolerance(backend, dtype, 1e-4), slack)


@by_dtype
def test_results_have_the_dtype_of_the_fields(backend, dtype):
    drawn = single(0.5, 0, 0, 1.0, dtype)
    assert vote(backend, "noisy_or", drawn).dtype == dtype
    assert {g.dtype for g in pull(backend, "noisy_or", np.ones((1, 1), dtype), drawn)} == {
        np.dtype(dtype)
    }


@by_rule
def test_half_precision_is_computed_and_returned_in_float32(backend, rule):
    rng = np.random.default_rng(0)
    drawn = Drawn(
        rng.random((2, 4, 5)).astype(np.float16),
        rng.normal(0, 2, (2, 2, 4, 5)).astype(np.float16),
        np.float16([[[0.5]], [[2.0]]]),
        {},
    )
    got = vote(backend, rule, drawn)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, vote(REFERENCE, rule, drawn), atol=1e-5)


@by_rule
def test_one_float64_field_makes_it_float64(backend, rule):
    drawn = single(0.5, 0.3, 0.1, 1.0)
    mixed = Drawn(drawn.confidence.astype(np.float32), drawn.offsets, 1.0, {})
    got = vote(backend, rule, mixed)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, vote(REFERENCE, rule, mixed), rtol=backend.float64_tolerance)


@by_dtype
@pytest.mark.parametrize(
    ("x", "sigma", "truncate", "reached"),
    [
        (4.5, 1.0, 1.5, [3, 4, 5, 6]),  # both edges on pixels: the window includes them
        (4.0, 0.5, 4.0, [2, 3, 4, 5, 6]),
        (4.0, 0.5, 3.5, [3, 4, 5]),  # the edges between pixels
        (4.5, 0.5, 0.5, []),  # a window that holds no pixel centre
        (4.0, 0.0625, 0.5, [4]),
        (0.0, 1.0, 2.0, [0, 1, 2]),  # cut by the frame
        (-1.5, 1.0, 1.5, [0]),  # from outside, the edge on the first pixel
        (10.25, 1.0, 2.25, [8]),  # and on the last
        (-1.75, 1.0, 1.5, []),
        (-(2.0**-51), 2.0, 4.0, [*range(9)]),  # 8 + 2⁻⁵¹ is 8 in float64, half a unit away
        (-(2.0**-48), 2.0, 4.0, [*range(8)]),  # 8 + 2⁻⁴⁸ is not
        (1e30, 1.0, 4.0, []),
    ],
)
def test_the_window_reaches_to_truncate_sigma_inclusive(
    backend, dtype, x, sigma, truncate, reached
):
    for axis, shape in ((1, (1, 9)), (0, (9, 1))):
        target = (x, 0) if axis else (0, x)
        drawn = single(1.0, *target, sigma, dtype, truncate=truncate, output_shape=shape)
        s = vote(backend, "plain_sum", drawn)
        assert np.flatnonzero(s).tolist() == reached


@by_dtype
def test_a_map_of_many_rows_and_columns_is_right_throughout(backend, dtype):
    rng = np.random.default_rng(3)
    shape = (45, 3001)
    offsets = rng.uniform(0, 1, (2, 2, 25)) * np.array(shape)[::-1, None, None]
    offsets[1, :, :9] = np.linspace(0, 44, 9)  # every part of the map has votes
    drawn = Drawn(
        rng.uniform(0.1, 0.9, (2, 25)).astype(dtype),
        offsets.astype(dtype),
        rng.uniform(0.5, 6, (2, 25)).astype(dtype),
        {"output_shape": shape},
    )
    assert_agrees(backend, drawn)


@by_dtype
@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("planes", [(3, 1, 1), (3, 19, 1), (1, 133), (3, 19, 133)])
def test_few_voters_of_many_sources_find_their_own_sigma(backend, dtype, share, planes):
    # Of several voters for one map, with certain votes among doubtful ones, and some far outside.
    rng = np.random.default_rng(7)
    shape = (3, 19, 133)
    c = np.minimum(rng.uniform(0, 1.2, shape), 1.0) * (rng.random(shape) < share)
    offsets = rng.normal(0, 6, (3, 2, 19, 133))
    sigma = rng.uniform(0.4, 1.5, planes)
    drawn = Drawn(c.astype(dtype), offsets.astype(dtype), sigma.astype(dtype), {"aggregate": 0})
    assert_agrees(backend, drawn)


@by_dtype
@pytest.mark.parametrize(
    ("sigma", "truncate"), [(30.0, 4.0), (3.0, 40.0), (100.0, 1.0), (10.0, math.inf)]
)
def test_wide_windows_are_right_throughout(backend, dtype, sigma, truncate):
    rng = np.random.default_rng(4)
    drawn = Drawn(
        rng.uniform(0, 0.99, (2, 5)).astype(dtype),
        (rng.uniform(-20, 170, (2, 2, 5))).astype(dtype),
        sigma,
        {"output_shape": (131, 150), "truncate": truncate},
    )
    assert_agrees(backend, drawn)


@by_dtype
@pytest.mark.parametrize(
    ("sigma", "truncate"),
    [(0.125, 300.0), (0.03125, 20.0), (1 / 1024, 1e4), (0.25, 36.0), (2.0**-30, math.inf)],
)
def test_narrow_votes_that_are_cut_far_away_are_right(backend, dtype, sigma, truncate):
    """From a weight that vanishes to the next pixel's, the Gaussian changes by many powers."""
    rng = np.random.default_rng(5)
    offsets = rng.integers(-3, 4, (2, 12, 14)) + rng.normal(0, sigma, (2, 12, 14))
    drawn = Drawn(
        rng.uniform(0, 0.9, (12, 14)).astype(dtype),
        offsets.astype(dtype),
        sigma,
        {"truncate": truncate},
    )
    assert_agrees(backend, drawn)


@by_dtype
def test_a_field_that_has_collapsed_to_a_point_is_right(backend, dtype):
    # So many voters for one place that a backend may want to share them among its threads.
    rng = np.random.default_rng(6)
    sides, point, sigma = (230, 235), (8.25, 5.5), 1.5
    confidence = rng.uniform(0, 0.9, sides).astype(dtype)
    offsets = np.reshape(point, (2, 1, 1)) - np.indices(sides)[::-1]
    drawn = Drawn(confidence, offsets.astype(dtype), sigma, {"output_shape": (12, 17)})
    rows, columns = np.indices((12, 17))
    w = np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * sigma**2))
    w[(abs(columns - point[0]) > 4 * sigma) | (abs(rows - point[1]) > 4 * sigma)] = 0
    c = confidence.astype(np.float64)
    total = np.array([np.log1p(-each * c).sum() for each in w.ravel()]).reshape(w.shape)
    log_complement = vote(backend, "log_complement", drawn)
    allowed = tolerance(backend, dtype)
    assert_maps_close(log_complement, total, allowed, 1 + np.abs(total))
    assert_maps_close(vote(backend, "plain_sum", drawn), c.sum() * w, allowed, 1 + c.sum() * w)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("at", "pixel"), [(18.6630786119853, 13), (21.937400113909497, 33)])
def test_the_distance_from_the_vote_itself_decides_at_the_edge(backend, axis, at, pixel):
    # at ± truncate·σ rounds to the pixel, whether or not |pixel − at| ≤ truncate·σ.
    distance = abs(pixel - at)
    for sigma, reached in ((distance, True), (np.nextafter(distance, 0), False)):
        x, y = (0, at) if axis == 0 else (at, 0)
        shape = (40, 1) if axis == 0 else (1, 40)
        drawn = single(0.5, x, y, sigma, truncate=1.0, output_shape=shape)
        assert (vote(backend, "plain_sum", drawn).ravel()[pixel] > 0) == reached


@pytest.mark.parametrize(("y", "row"), [(0.6884467305709401, 21), (0.31024187555895566, 15)])
def test_the_edge_of_a_window_does_not_depend_on_where_a_map_is_cut(backend, y, row):
    # The last row is exactly truncate·σ from the vote, in the float64 that says so.
    drawn = single(0.5, 0, y, row - y, truncate=1.0, output_shape=(row + 3, 4096))
    assert vote(backend, "plain_sum", drawn)[row, 0] == pytest.approx(0.5 * np.exp(-0.5))


@by_dtype
def test_saturated_votes_add_up_in_the_log_complement(backend, dtype):
    votes_cast = round(-5000 / LOG_FLOOR[dtype])
    drawn = crowd(np.ones(votes_cast), dtype)
    m, log_complement = (vote(backend, each, drawn) for each in ("noisy_or", "log_complement"))
    assert m.item() == 1
    assert log_complement.item() == pytest.approx(votes_cast * LOG_FLOOR[dtype], rel=1e-6)
    assert log_complement.item() < -4970


@by_dtype
def test_a_lone_saturated_vote_keeps_m_one_ulp_below_one_at_most(backend, dtype):
    assert 1 - vote(backend, "noisy_or", crowd([1.0], dtype)).item() <= np.finfo(dtype).epsneg


@by_dtype
def test_factors_are_floored_at_one_ulp_below_one_and_no_higher(backend, dtype):
    left = np.finfo(dtype).epsneg * np.float64([1, 2, 16, 64])  # the factors 1 − c
    drawn = crowd(1 - left, dtype)
    log_complement = vote(backend, "log_complement", drawn)
    assert log_complement.item() == pytest.approx(np.log(left).sum(), rel=1e-6)
    others = pull(backend, "noisy_or", np.ones((1, 1), dtype), drawn).confidence[0]
    np.testing.assert_allclose(others, left.prod() / left, rtol=1e-4)
    certain = crowd(np.append(1 - left, 1), dtype)  # its factor is the floor
    others = pull(backend, "noisy_or", np.ones((1, 1), dtype), certain).confidence[0]
    np.testing.assert_allclose(others, left[0] * left.prod() / np.append(left, left[0]), rtol=1e-4)


@by_dtype
def test_tiny_votes_do_not_vanish(backend, dtype):
    c, votes_cast = float(dtype(1e-8)), 16384
    drawn = crowd(np.full(votes_cast, c), dtype)
    m, log_complement = (vote(backend, each, drawn) for each in ("noisy_or", "log_complement"))
    assert log_complement.item() == pytest.approx(votes_cast * np.log1p(-c), rel=1e-5)
    assert m.item() == pytest.approx(-np.expm1(votes_cast * np.log1p(-c)), rel=1e-5)


@by_dtype
def test_many_doubtful_votes_neither_underflow_nor_drift(backend, dtype):
    confidences = np.random.default_rng(5).uniform(0, 0.99, 3000).astype(dtype)
    log_complement = vote(backend, "log_complement", crowd(confidences, dtype))
    want = np.log1p(-confidences.astype(np.float64)).sum()
    assert log_complement.item() == pytest.approx(want, rel=tolerance(backend, dtype))


@by_dtype
@pytest.mark.filterwarnings("ignore:overflow encountered in expm1")  # m is −∞
def test_many_votes_against_a_pixel_do_not_overflow(backend, dtype):
    drawn = crowd(np.full(5000, -1.0), dtype)
    log_complement = vote(backend, "log_complement", drawn)
    assert log_complement.item() == pytest.approx(5000 * np.log(2), rel=1e-5)


@by_dtype
def test_a_pixel_that_nobody_votes_for_is_zero(backend, dtype):
    drawn = single(1.0, 20, 0, 1.0, dtype)
    assert not np.signbit(vote(backend, "noisy_or", drawn).item())
    assert [vote(backend, rule, drawn).item() for rule in RULES] == [0, 0, 0]


@by_rule
@by_dtype
def test_a_nan_confidence_makes_its_window_nan_and_nothing_else(backend, rule, dtype):
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.1, 0.9, (9, 12)).astype(dtype)
    confidence[4, 5] = np.nan
    offsets = rng.integers(-1, 2, (2, 9, 12)).astype(dtype)
    offsets[:, 4, 5] = 2, -1  # lands on row 3, column 7
    drawn = Drawn(confidence, offsets, 0.5, {})
    expected = np.zeros((9, 12), bool)
    expected[1:6, 5:10] = True  # 4 σ to either side
    got = vote(backend, rule, drawn)
    np.testing.assert_array_equal(np.isnan(got), expected)
    want = vote(REFERENCE, rule, drawn)
    np.testing.assert_allclose(got[~expected], want[~expected], atol=1e-5)


@by_rule
@by_dtype
@pytest.mark.parametrize("confidence", [np.inf, -np.inf])
def test_an_infinite_confidence_shows_in_its_window_and_nowhere_else(rule, dtype, confidence):
    rng = np.random.default_rng(8)
    c = rng.uniform(0.1, 0.9, (9, 33)).astype(dtype)
    c[4, 5] = confidence
    drawn = Drawn(c, np.zeros((2, 9, 33), dtype), 0.5, {})
    got, want = (vote(library, rule, drawn) for library in (BACKENDS["cpu"], REFERENCE))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@by_rule
def test_a_nan_confidence_leaves_the_gradients_of_those_it_does_not_meet(backend, rule):
    drawn = crowd([0.5, np.nan])
    drawn.offsets[0] = [0, 40]
    drawn.options["output_shape"] = (1, 50)
    g = pull(backend, rule, np.ones((1, 50), np.float32), drawn)
    alone = pull(backend, rule, np.ones((1, 50), np.float32), first_of(drawn))
    assert g.confidence[0, 0] == pytest.approx(alone.confidence[0, 0])
    assert g.offsets[0, 0, 0] == pytest.approx(alone.offsets[0, 0, 0])


@pytest.mark.parametrize("position", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1])
@by_rule
def test_a_source_nowhere_casts_no_vote_and_has_zero_gradients(backend, rule, axis, position):
    drawn = crowd([0.5, 0.75])
    drawn.offsets[axis, 0, 1] = position
    np.testing.assert_array_equal(vote(backend, rule, drawn), vote(backend, rule, first_of(drawn)))
    g = pull(backend, rule, np.ones((1, 1), np.float32), drawn)
    assert g.confidence[0, 1] == 0
    assert (g.offsets[:, 0, 1] == 0).all()
    assert np.isfinite(g.sigma)


@by_dtype
def test_the_gradient_of_a_lone_saturated_voter_is_right(backend, dtype):
    drawn = single(1.0, 2.0, 1.0, 1.5, dtype, output_shape=(3, 6))
    g = np.arange(18, dtype=dtype).reshape(3, 6)
    got = pull(backend, "noisy_or", g, drawn)
    assert_gradients_close(
        got, pull(REFERENCE, "noisy_or", g, drawn), tolerance(backend, dtype, 1e-5)
    )
    rows, columns = np.indices((3, 6))
    w = np.exp(-((columns - 2) ** 2 + (rows - 1) ** 2) / 4.5)
    assert got.confidence.item() == pytest.approx((g * w).sum(), rel=1e-5)


@by_dtype
def test_beside_a_saturated_voter_the_others_count_for_nothing(backend, dtype):
    drawn = crowd([1.0, 0.5, 0.25], dtype)
    g = pull(backend, "noisy_or", np.ones((1, 1), dtype), drawn)
    np.testing.assert_allclose(g.confidence, [[0.5 * 0.75, 0, 0]], rtol=1e-5, atol=1e-6)


@by_rule
def test_a_source_without_confidence_still_learns_its_confidence(backend, rule):
    drawn = crowd([0.0, 0.5])
    g = pull(backend, rule, np.ones((1, 1), np.float32), drawn)
    want = pull(REFERENCE, rule, np.ones((1, 1)), drawn)
    assert g.confidence[0, 0] == pytest.approx(want.confidence[0, 0], rel=1e-5)
    assert g.confidence[0, 0] > 0.05
    assert (g.offsets[:, 0, 0] == 0).all()


@by_rule
@pytest.mark.parametrize("layout", ["fortran", "sliced", "reversed", "expanded"])
def test_a_cotangent_may_have_any_strides(backend, rule, layout):
    rng = np.random.default_rng(11)
    drawn = Drawn(rng.random((5, 7)), rng.normal(size=(2, 5, 7)), 1.0, {})
    g = rng.normal(size=(5, 7))
    if layout == "expanded":
        g = np.broadcast_to(g[:1], (5, 7))
    got = pull(backend, rule, laid_out(g, layout), drawn)
    assert_gradients_close(got, pull(REFERENCE, rule, g, drawn), backend.float64_tolerance)


def test_the_log_complement_may_be_given_to_the_backward_pass():
    rng = np.random.default_rng(13)
    c, o = rng.random((5, 7)).astype(np.float32), rng.normal(size=(2, 5, 7)).astype(np.float32)
    votes = mdn.Votes(c, o, 1.0)
    computed = votes.noisy_or_vjp(c)
    given_ = votes.noisy_or_vjp(c, log_complement=votes.log_complement())
    for a, b in zip(computed, given_, strict=True):
        np.testing.assert_array_equal(a, b)


@by_rule
def test_the_arguments_are_left_as_they_were(backend, rule):
    rng = np.random.default_rng(17)
    drawn = Drawn(rng.random((3, 4)), rng.normal(size=(2, 3, 4)), rng.uniform(1, 2, (3, 4)), {})
    g = rng.normal(size=(3, 4))
    before = [x.copy() for x in (*drawn.fields, g)]
    vote(backend, rule, drawn)
    pull(backend, rule, g, drawn)
    for x, old in zip((*drawn.fields, g), before, strict=True):
        np.testing.assert_array_equal(x, old)
