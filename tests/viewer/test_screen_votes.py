"""Votes for the pixels on the screen alone, against the same pixels of the whole map."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mdn_viewer.core import model as model_module
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.window import Widths, Window, votes_in

import mdn_cupy as mdn

SHAPE = 26, 34


@st.composite
def windows(draw):
    """A window of at least a row and a column, and its step."""
    top, left = (draw(st.integers(0, n - 1)) for n in SHAPE)
    edges = zip(SHAPE, (top, left), strict=True)
    bottom, right = (draw(st.integers(start + 1, n)) for n, start in edges)
    return Window(top, left, bottom, right, draw(st.integers(1, 7)))


def fields_of(stride, origin, seed=0):
    random = np.random.default_rng(seed)
    confidence = random.random((2, 6, 8)).astype(np.float32)
    offsets = random.normal(0, 6, (2, 2, 6, 8)).astype(np.float32)
    confidence[:, 0], offsets[:, :, 0] = 0, 1e30  # no vote
    offsets[0, 0, 2, 3], offsets[1, 1, :, 7] = np.nan, np.inf
    return mdn.Fields(
        confidence=confidence,
        offsets=offsets,
        stride=stride,
        origin=origin,
        sigma=2.0,
        image=np.zeros((*SHAPE, 3), np.uint8),
    )


@given(
    window=windows(),
    stride=st.tuples(st.sampled_from([1.0, 3.5, 4.0]), st.sampled_from([2.0, 4.25])),
    origin=st.tuples(st.floats(-2, 3), st.floats(-2, 3)),
    sigma=st.floats(0.5, 6),
    part=st.sampled_from([0, 1, "all"]),
)
@example(Window(0, 0, *SHAPE, 1), (4.0, 4.0), (2.0, 2.0), 2.0, 0)
@example(Window(25, 33, 26, 34, 7), (3.5, 4.25), (0.5, -1.0), 1.0, "all")
def test_a_window_is_a_part_of_the_whole_map(window, stride, origin, sigma, part):
    fields = fields_of(stride, origin)
    votes = VotingSession(fields, part, sigma).votes
    seen = votes_in(fields, part, votes, window)
    pixels = (
        slice(window.top, window.bottom, window.step),
        slice(window.left, window.right, window.step),
    )
    assert seen.shape == window.shape == votes.noisy_or()[pixels].shape
    whole = {
        "noisy_or": (votes.noisy_or(), seen.noisy_or()),
        "evidence": (votes.evidence(), seen.evidence()),
        "additive": (votes.additive(), seen.additive() / window.step**2),
    }
    for rule, (expected, found) in whole.items():
        tolerance = 1e-5 * max(1.0, float(expected.max()))
        np.testing.assert_allclose(found, expected[pixels], atol=tolerance, err_msg=rule)


@pytest.mark.parametrize("step", [2, 3])
def test_other_votes_of_the_same_fields_do_not_get_the_offsets_that_are_kept(step):
    fields, window = fields_of((4.0, 3.5), (2.0, 1.0)), Window(3, 5, 20, 31, step)
    rows, columns = slice(3, 20, step), slice(5, 31, step)
    for part in (0, 1, 0):
        votes = fields.votes(part, sigma=1.5)
        found = votes_in(fields, part, votes, window).noisy_or()
        np.testing.assert_allclose(found, votes.noisy_or()[rows, columns], atol=1e-5)


def test_sources_that_do_not_reach_a_window_are_left_out():
    fields = mdn.Fields(
        np.ones((1, 40, 40), np.float32),
        np.full((1, 2, 40, 40), 9, np.float32),  # to the right and down
        sigma=1.0,
    )
    votes = fields.votes(0, sigma=1.0)
    seen = votes_in(fields, 0, votes, Window(20, 24, 28, 36, 2))
    # Rows 20 - 9 - 4 to 26 + 4 - 9, columns 24 - 9 - 4 to 34 + 4 - 9.
    assert seen.confidence.shape == (15, 19)
    far = votes_in(fields, 0, votes, Window(0, 0, 3, 3))
    assert far.confidence.size == 0 or not far.noisy_or().any()


def maps_of(sigma):
    votes = fields_of((4.0, 4.0), (2.0, 2.0)).votes(0, sigma=sigma)
    return votes.compare()


@given(share=st.floats(0, 1), low=st.floats(0.5, 12))
def test_between_two_near_widths_maps_are_their_means(share, low):
    widths, high = Widths(), low * 1.069
    sigma = low * (high / low) ** share
    for known in (high, low):
        widths.find("key", known, lambda known=known: maps_of(known))
    assert widths.knows("key", sigma)
    for found, expected in zip(widths.find("key", sigma, list), maps_of(sigma), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=3e-3 * np.abs(expected).max())


def test_widths_that_are_not_near_are_computed_and_those_of_another_key_forgotten():
    widths, asked = Widths(), []

    def find(key, sigma):
        return widths.find(key, sigma, lambda: (asked.append((key, sigma)), (np.ones(3),))[1])

    for key, sigma in [("a", 2.0), ("a", 2.2), ("a", 2.1), ("a", 2.05), ("a", 2.0), ("b", 2.05)]:
        find(key, sigma)
    assert asked == [("a", 2.0), ("a", 2.2), ("a", 2.1), ("b", 2.05)]
    assert not widths.knows("a", 2.05)


def test_what_rests_is_exact():
    fields = fields_of((4.0, 4.0), (2.0, 2.0))
    model = VotingModel()
    model.show(VotingSession(fields, 1, 3.0))
    model.window = Window(0, 0, *SHAPE, 2)
    for sigma in (3.0, 3.2, 3.1):
        model.change(sigma=sigma)
    votes, shown = fields.votes(1, sigma=3.1), model.maps["noisy_or"]
    assert shown.window == model.window
    assert np.abs(shown.values - votes.noisy_or()[::2, ::2]).max() > 1e-5  # a mean
    model.settle()
    for rule in ("noisy_or", "additive"):
        np.testing.assert_array_equal(model.maps[rule].values, getattr(votes, rule)())


def test_of_a_map_too_large_for_a_texture_only_what_is_seen_is_computed(monkeypatch):
    monkeypatch.setattr(model_module, "_MOST", 100)
    monkeypatch.setattr(model_module, "_SEEN", 100)
    fields, model, rested = fields_of((4.0, 4.0), (2.0, 2.0)), VotingModel(), []
    model.settled.connect(lambda: rested.append(True))
    model.show(VotingSession(fields, 1, 3.0))
    assert model.maps["noisy_or"].window == Window(0, 0, *SHAPE, 3)
    model.window = Window(4, 6, 14, 20)
    model.refresh()
    assert model.exact
    model.settle()
    assert rested
    expected = fields.votes(1, sigma=3.0).noisy_or()[4:14, 6:20]
    np.testing.assert_allclose(model.maps["noisy_or"].values, expected, atol=1e-6)


def test_a_window_of_larger_fields_is_not_asked_of_smaller_ones():
    model = VotingModel()
    model.window = Window(0, 0, 90, 120, 3)
    model.show(VotingSession(fields_of((4.0, 4.0), (2.0, 2.0)), 0, 2.0))
    assert {each.values.shape for each in model.maps.values()} == {SHAPE}


def test_who_hears_of_maps_hears_of_the_newest_last():
    model = VotingModel()
    seen = []

    def look_closer(maps):
        if model.window is not None:
            model.window = None
            model.refresh()

    model.maps_changed.connect(look_closer)
    model.maps_changed.connect(seen.append)
    model.window = Window(3, 5, 20, 31, 2)
    model.show(VotingSession(fields_of((4.0, 4.0), (2.0, 2.0)), 0, 2.0))
    assert seen[-1] is model.maps
    assert model.exact
