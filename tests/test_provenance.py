"""Who voted for a pixel, and where a vote goes: against the maps of the specification."""

import numpy as np
import pytest
import torch
from helpers import assert_maps_close, vote
from hypothesis import given
from hypothesis import strategies as st
from strategies import votes

import mdn_cupy as mdn
from mdn_cupy import reference

KEYWORDS = {
    "noisy_or": {"rule": "noisy_or"},
    "additive": {"rule": "additive", "normalized": True},
    "plain_sum": {"rule": "additive", "normalized": False},
}
DTYPES = (np.float32, np.float64)

by_rule = pytest.mark.parametrize("rule", KEYWORDS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


def evidence(library, rule, drawn):
    """The evidence map: −L, or the sum."""
    if rule == "noisy_or":
        return -vote(library, rule, drawn, return_log_complement=True)[1]
    return vote(library, rule, drawn)


def asked(function, rule, index, drawn, **changes):
    """Ask for the voters of a pixel or the footprint of a source of a voting problem."""
    return function(index, *drawn.fields, **{**drawn.options, **changes}, **KEYWORDS[rule])


def footprints(rule, drawn):
    """The footprint of every source of a problem."""
    shape = np.broadcast_shapes(
        drawn.confidence.shape, drawn.offsets[..., 0, :, :].shape, np.shape(drawn.sigma)
    )
    return [asked(mdn.footprint, rule, source, drawn) for source in np.ndindex(shape)]


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
    want = evidence(reference, rule, drawn)
    total = np.zeros(want.shape)
    for vote_cast in footprints(rule, drawn):
        assert vote_cast.terms.shape == total[vote_cast.window].shape
        total[vote_cast.window] += vote_cast.terms
    assert_maps_close(total, want, 1e-12, 1 + np.abs(want))


@by_dtype
@by_rule
@given(data=st.data())
def test_the_terms_of_a_pixels_voters_add_up_to_its_evidence(rule, dtype, data):
    drawn = data.draw(votes(dtype))
    want = evidence(reference, rule, drawn)
    from_cpu = evidence(mdn, rule, drawn)
    for pixel in some_pixels(data, want.shape):
        who = asked(mdn.voters, rule, pixel, drawn)
        exact = want[tuple(pixel)]
        assert who.evidence == pytest.approx(exact, rel=1e-12, abs=1e-12)
        allowed = 1e-5 if dtype == np.float32 else 1e-11
        assert who.evidence == pytest.approx(from_cpu[tuple(pixel)], rel=allowed, abs=allowed)
        assert (np.diff(np.abs(who.terms)) <= 0).all()
        assert who.share.sum() == pytest.approx(1 if exact else 0)


@by_dtype
@given(data=st.data())
def test_voters_are_the_sources_whose_footprints_hold_the_pixel(dtype, data):
    drawn = data.draw(votes(dtype))
    every = [f for f in footprints("noisy_or", drawn) if f.confidence != 0]
    shape = vote(mdn, "noisy_or", drawn).shape
    for pixel in some_pixels(data, shape):
        who = asked(mdn.voters, "noisy_or", pixel, drawn)
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
    who = mdn.voters((3, 4), *three_voters(), 1.0, output_shape=(8, 9))
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
    who = mdn.voters((3, 4), *three_voters(), 2.0, rule="additive", output_shape=(8, 9))
    assert who.source.tolist() == [[0, 1], [0, 0], [0, 2]]
    weights = np.array([1, 1, np.exp(-1 / 8)])
    np.testing.assert_allclose(who.terms, weights * [1, 0.5, 0.25] / (8 * np.pi))


def test_nobody_voted():
    who = mdn.voters((7, 8), *three_voters(), 0.5, output_shape=(8, 9))
    assert len(who) == 0
    assert who.evidence == 0
    assert who.source.shape == (0, 2)
    assert who.share.shape == (0,)


def test_all_parts_vote_for_one_and_each_is_named():
    pose = mdn.samples.load("pose")
    votes_cast = pose.votes("left shoulder", cross=True)
    logc = mdn.noisy_or(**votes_cast, sigma=8.0, return_log_complement=True)[1]
    pixel = np.unravel_index(np.argmin(logc), logc.shape)
    who = mdn.voters(pixel, **votes_cast, sigma=8.0)
    assert who.evidence == pytest.approx(-logc[pixel], rel=1e-6)
    assert len(set(who.source[:, 0])) > 1
    first = mdn.footprint(who.source[0], **votes_cast, sigma=8.0)
    at = tuple(n - window.start for n, window in zip(pixel, first.window, strict=True))
    assert first.terms[at] == who.terms[0]


def test_the_culprit_of_a_nan_comes_first():
    confidence, offsets = three_voters()
    confidence[0, 2] = np.nan
    who = mdn.voters((3, 4), confidence, offsets, 1.0, output_shape=(8, 9))
    assert who.source[0].tolist() == [0, 2]
    assert np.isnan(who.evidence)


def test_the_share_of_a_footprint_in_the_map():
    fields = three_voters()
    logc = mdn.noisy_or(*fields, 1.0, output_shape=(8, 9), return_log_complement=True)[1]
    alone = mdn.footprint((0, 3), *fields, 1.0, output_shape=(8, 50))
    assert alone.landing == (40, 3)
    assert alone.window == (slice(0, 8), slice(36, 45))
    wide = mdn.noisy_or(*fields, 1.0, output_shape=(8, 50), return_log_complement=True)[1]
    np.testing.assert_allclose(alone.share(-wide)[3], 1, rtol=1e-5)
    each = [mdn.footprint((0, n), *fields, 1.0, output_shape=(8, 9)) for n in range(5)]
    shares = np.zeros((8, 9))
    for one in each:
        shares[one.window] += one.share(-logc)
    np.testing.assert_allclose(shares[logc < 0], 1, rtol=1e-5)
    assert not shares[logc == 0].any()


@pytest.mark.parametrize("source", [(0, 4)])
def test_a_source_nowhere_has_no_footprint(source):
    nowhere = mdn.footprint(source, *three_voters(), 1.0, output_shape=(8, 9))
    assert nowhere.window == (slice(0, 0), slice(0, 0))
    assert nowhere.terms.size == 0
    assert np.isnan(nowhere.landing[0])


@pytest.mark.parametrize("sigma", [-1.0, 0.0, np.nan])
def test_a_source_without_a_width_has_no_footprint_and_votes_for_nobody(sigma):
    widths = np.full((1, 5), sigma)
    assert mdn.footprint((0, 0), *three_voters(), widths, output_shape=(8, 9)).terms.size == 0
    assert len(mdn.voters((3, 4), *three_voters(), widths, output_shape=(8, 9))) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_are_asked_as_arrays_are(dtype):
    confidence, offsets = (torch.tensor(x, dtype=dtype) for x in three_voters())
    confidence.requires_grad_()
    sigma = torch.tensor(1.0, dtype=dtype)
    who = mdn.voters((3, 4), confidence, offsets, sigma, output_shape=(8, 9))
    assert isinstance(who.terms, np.ndarray)
    same = mdn.voters((3, 4), *three_voters(), 1.0, output_shape=(8, 9))
    assert who.source.tolist() == same.source.tolist()
    np.testing.assert_allclose(who.terms[1:], same.terms[1:])
    one = mdn.footprint((0, 1), confidence, offsets, sigma, output_shape=(8, 9))
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
        mdn.voters(pixel, *three_voters(), 1.0, output_shape=(8, 9))


def test_sources_that_are_not_in_the_field():
    message = r"source \(1, 0\) is no index into the broadcast confidence of shape \(1, 5\)"
    with pytest.raises(IndexError, match=message):
        mdn.footprint((1, 0), *three_voters(), 1.0)


@pytest.mark.parametrize("function", [mdn.voters, mdn.footprint])
def test_arguments_are_refused_as_the_maps_refuse_them(function):
    confidence, offsets = three_voters()
    with pytest.raises(ValueError, match="rule must be 'noisy_or' or 'additive', got 'sum'"):
        function((0, 0), confidence, offsets, 1.0, rule="sum")
    with pytest.raises(ValueError, match="sigma must be greater than 0"):
        function((0, 0), confidence, offsets, 0.0)
    with pytest.raises(ValueError, match=r"offsets must have the shape \(..., 2, 1, 5\)"):
        function((0, 0), confidence, offsets[..., 1:], 1.0)
    with pytest.raises(TypeError, match="confidence must be an array"):
        function((0, 0), [[0.5]], offsets, 1.0)
    with pytest.raises(TypeError, match="confidence must be of a floating dtype"):
        function((0, 0), np.ones((1, 5), int), offsets, 1.0)
