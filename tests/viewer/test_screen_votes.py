"""Votes for the pixels on the screen alone, against the same pixels of the whole map."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.window import Window, votes_in

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
    return mdn.Fields(
        confidence=random.random((2, 6, 8)).astype(np.float32),
        offsets=random.normal(0, 6, (2, 2, 6, 8)).astype(np.float32),
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
