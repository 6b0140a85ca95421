"""Voters of a pixel and footprints of sources, against the maps of the specification."""

import numpy as np
import pytest
import torch
from backends import BACKENDS
from helpers import REFERENCE, RULES, assert_maps_close, vote
from hypothesis import given
from hypothesis import strategies as st
from strategies import votes

import mdn_cupy as mdn

DTYPES = (np.float32, np.float64)

by_rule = pytest.mark.parametrize("rule", RULES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


def evidence(library, rule, drawn):
    """The evidence map: −L, or the sum."""
    return (
        -vote(library, "log_complement", drawn)
        if rule == "noisy_or"
        else vote(library, rule, drawn)
    )


def footprints(rule, drawn):
    """The footprint of every source of a problem."""
    shape = np.broadcast_shapes(
        drawn.confidence.shape, drawn.offsets[..., 0, :, :].shape, np.shape(drawn.sigma)
    )
    votes = mdn.Votes(*drawn.fields, **drawn.options)
    return [votes.footprint(source, rule) for source in np.ndindex(shape)]


def some_pixels(data, shape):
    """A few pixels of a map, or none where it has none."""
    if 0 in shape:
        return []
    seed = data.draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, shape, (6, len(shape))).tolist()


@by_dtype
@by_rule
@given(data=st.data())
def test_footprints_add_up_to_the_map_of_the_specification(rule, dtype, data):
    drawn = data.draw(votes(dtype))
    want = evidence(REFERENCE, rule, drawn)
    total = np.zeros(want.shape)
    for vote_cast in footprints(rule, drawn):
        assert vote_cast.terms.shape == total[vote_cast.window].shape
        total[vote_cast.window] += vote_cast.terms
    assert_maps_close(total, want, 1e-12, 1 + np.abs(want))


@pytest.mark.slow
@by_dtype
@by_rule
@given(data=st.data())
def test_the_terms_of_a_pixels_voters_add_up_to_its_evidence(rule, dtype, data):
    drawn = data.draw(votes(dtype))
    want = evidence(REFERENCE, rule, drawn)
    from_cpu = evidence(BACKENDS["cpu"], rule, drawn)
    asked = mdn.Votes(*drawn.fields, **drawn.options)
    for pixel in some_pixels(data, want.shape):
        who = asked.voters(pixel, rule)
        exact = want[tuple(pixel)]
        assert who.evidence == pytest.approx(exact, rel=1e-12, abs=1e-12)
        allowed = 1e-5 if dtype == np.float32 else 1e-11
        assert who.evidence == pytest.approx(from_cpu[tuple(pixel)], rel=allowed, abs=allowed)
        assert (np.diff(np.abs(who.terms)) <= 0).all()
        assert who.share.sum() == pytest.approx(1 if who.evidence else 0)  # 0 beyond 37 σ


@by_dtype
@given(data=st.data())
def test_voters_are_the_sources_whose_footprints_hold_the_pixel(dtype, data):
    drawn = data.draw(votes(dtype))
    every = [f for f in footprints("noisy_or", drawn) if f.confidence != 0]
    asked = mdn.Votes(*drawn.fields, **drawn.options)
    for pixel in some_pixels(data, asked.shape):
        who = asked.voters(pixel)
        reached = {f.source: f for f in every if holds(f.window, pixel)}
        assert sorted(map(tuple, who.source.tolist())) == sorted(reached)
        for n, source in enumerate(map(tuple, who.source.tolist())):
            one = reached[source]
            row, column = pixel[-2] - one.window[-2].start, pixel[-1] - one.window[-1].start
            assert who.confidence[n] == one.confidence
            assert tuple(who.offsets[n]) == one.offsets
            assert tuple(who.landing[n]) == one.landing
            assert who.weight[n] == one.weight[row, column]
            assert who.terms[n] == one.terms[row, column]


def holds(window, pixel):
    """Whether a window holds a pixel."""
    *leading, rows, columns = window
    inside = rows.start <= pixel[-2] < rows.stop and columns.start <= pixel[-1] < columns.stop
    return inside and tuple(leading) == tuple(pixel[:-2])


def three_voters():
    """Three sources in a row vote for about (3, 4); a fourth goes elsewhere, a fifth nowhere."""
    confidence = np.array([[0.5, 1.0, 0.25, 0.9, 0.9]], np.float32)
    target = np.array([[4, 4, 5, 40, np.nan], [3, 3, 3, 3, 3]])
    offsets = target[:, None] - np.array([np.arange(5.0), np.zeros(5)])[:, None]
    return confidence, offsets.astype(np.float32)


def test_the_strongest_comes_first_with_all_that_made_it_so():
    who = mdn.Votes(*three_voters(), 1.0, output_shape=(8, 9)).voters((3, 4))
    assert who.source.tolist() == [[0, 1], [0, 0], [0, 2]]
    assert who.confidence.tolist() == [1.0, 0.5, 0.25]
    assert who.offsets.tolist() == [[3, 3], [4, 3], [3, 3]]
    assert who.landing.tolist() == [[4, 3], [4, 3], [5, 3]]
    w = np.exp(-0.5)
    np.testing.assert_allclose(who.weight, [1, 1, w])
    np.testing.assert_allclose(
        who.terms, [24 * np.log(2), np.log(2), -np.log1p(-0.25 * w)]
    )  # 1 − w·c = 0 is floored at one ulp below one
    np.testing.assert_allclose(who.share, who.terms / who.terms.sum())


def test_the_additive_rule_shares_its_sum():
    who = mdn.Votes(*three_voters(), 2.0, output_shape=(8, 9)).voters((3, 4), "additive")
    assert who.source.tolist() == [[0, 1], [0, 0], [0, 2]]
    weights = np.array([1, 1, np.exp(-1 / 8)])
    np.testing.assert_allclose(who.terms, weights * [1, 0.5, 0.25] / (8 * np.pi))


def test_nobody_voted():
    who = mdn.Votes(*three_voters(), 0.5, output_shape=(8, 9)).voters((7, 8))
    assert len(who) == 0
    assert who.evidence == 0
    assert who.source.shape == (0, 2)
    assert who.share.shape == (0,)


def test_all_parts_vote_for_one_and_each_is_named():
    pose = mdn.samples.load("pose")
    votes_cast = pose.votes("left shoulder", sigma=8.0, cross=True)
    logc = votes_cast.log_complement()
    pixel = np.unravel_index(np.argmin(logc), logc.shape)
    who = votes_cast.voters(pixel)
    assert who.evidence == pytest.approx(-logc[pixel], rel=1e-6)
    assert len(set(who.source[:, 0])) > 1
    first = votes_cast.footprint(who.source[0])
    at = tuple(n - window.start for n, window in zip(pixel, first.window, strict=True))
    assert first.terms[at] == who.terms[0]


def test_the_culprit_of_a_nan_comes_first():
    confidence, offsets = three_voters()
    confidence[0, 2] = np.nan
    who = mdn.Votes(confidence, offsets, 1.0, output_shape=(8, 9)).voters((3, 4))
    assert who.source[0].tolist() == [0, 2]
    assert np.isnan(who.evidence)


def test_the_share_of_a_footprint_in_the_map():
    fields = three_voters()
    logc = mdn.log_complement(*fields, 1.0, output_shape=(8, 9))
    alone = mdn.Votes(*fields, 1.0, output_shape=(8, 50)).footprint((0, 3))
    assert alone.landing == (40, 3)
    assert alone.window == (slice(0, 8), slice(36, 45))
    wide = mdn.log_complement(*fields, 1.0, output_shape=(8, 50))
    np.testing.assert_allclose(alone.share(-wide)[3], 1, rtol=1e-5)
    each = [mdn.Votes(*fields, 1.0, output_shape=(8, 9)).footprint((0, n)) for n in range(5)]
    shares = np.zeros((8, 9))
    for one in each:
        shares[one.window] += one.share(-logc)
    np.testing.assert_allclose(shares[logc < 0], 1, rtol=1e-5)
    assert not shares[logc == 0].any()


@pytest.mark.parametrize("source", [(0, 4)])
def test_a_source_nowhere_has_no_footprint(source):
    nowhere = mdn.Votes(*three_voters(), 1.0, output_shape=(8, 9)).footprint(source)
    assert nowhere.window == (slice(0, 0), slice(0, 0))
    assert nowhere.terms.size == 0
    assert np.isnan(nowhere.landing[0])


@pytest.mark.parametrize("sigma", [-1.0, 0.0, np.nan])
def test_a_source_without_a_width_has_no_footprint_and_votes_for_nobody(sigma):
    widths = np.full((1, 5), sigma)
    assert mdn.Votes(*three_voters(), widths, output_shape=(8, 9)).footprint((0, 0)).terms.size == 0
    assert len(mdn.Votes(*three_voters(), widths, output_shape=(8, 9)).voters((3, 4))) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_are_asked_as_arrays_are(dtype):
    confidence, offsets = (torch.tensor(x, dtype=dtype) for x in three_voters())
    confidence.requires_grad_()
    sigma = torch.tensor(1.0, dtype=dtype)
    who = mdn.Votes(confidence, offsets, sigma, output_shape=(8, 9)).voters((3, 4))
    assert isinstance(who.terms, np.ndarray)
    same = mdn.Votes(*three_voters(), 1.0, output_shape=(8, 9)).voters((3, 4))
    assert who.source.tolist() == same.source.tolist()
    np.testing.assert_allclose(who.terms[1:], same.terms[1:])
    one = mdn.Votes(confidence, offsets, sigma, output_shape=(8, 9)).footprint((0, 1))
    share = one.share(torch.ones(8, 9, dtype=dtype))
    np.testing.assert_array_equal(share, one.terms)


@pytest.mark.parametrize(
    ("pixel", "error", "message"),
    [
        ((8, 0), IndexError, r"pixel \(8, 0\) is no index into the vote map of shape \(8, 9\)"),
        ((-1, 0), IndexError, "is no index"),
        ((0, 3, 4), IndexError, "is no index"),
        ((0.5, 1), TypeError, "pixel must be integers, an index into the vote map"),
        (3, TypeError, "pixel must be integers"),
    ],
)
def test_pixels_that_are_not_on_the_map(pixel, error, message):
    with pytest.raises(error, match=message):
        mdn.Votes(*three_voters(), 1.0, output_shape=(8, 9)).voters(pixel)


def test_sources_that_are_not_in_the_field():
    message = r"source \(1, 0\) is no index into the broadcast confidence of shape \(1, 5\)"
    with pytest.raises(IndexError, match=message):
        mdn.Votes(*three_voters(), 1.0).footprint((1, 0))


@pytest.mark.parametrize("rule", ["sum", "evidence", None, ["noisy_or"]], ids=str)
def test_a_rule_that_there_is_not_is_refused(rule):
    votes = mdn.Votes(*three_voters(), 1.0)
    for asked in (
        lambda: votes.voters((0, 0), rule),
        lambda: votes.footprint((0, 0), rule),
        lambda: votes.peaks(threshold=1, rule=rule),
        lambda: votes.evidence(rule),
        lambda: votes.compare(rule),
    ):
        with pytest.raises(
            ValueError, match="rule must be one of 'noisy_or', 'additive', 'plain_s"
        ):
            asked()
