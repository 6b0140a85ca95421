"""The session: votes without a window."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from mdn_viewer.core.session import ALL, KINDS, RULES, VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn


def place(vote_map):
    return vote_map.peak.row, vote_map.peak.column


def test_it_votes_as_the_library_does():
    fields = two_parts()
    maps = VotingSession(fields, "right", 1.5).vote()
    arguments = fields.confidence[1], fields.offsets[1], 1.5
    m = mdn.noisy_or(*arguments, **fields.geometry)
    np.testing.assert_array_equal(maps["noisy_or"].values, m)
    s = mdn.additive(*arguments, **fields.geometry)
    np.testing.assert_array_equal(maps["additive"].values, s)
    assert tuple(maps) == RULES


def test_the_output_is_as_large_as_the_fields_say():
    fields = replace(two_parts(), image=None, output_shape=(70, 90))
    session = VotingSession(fields, "left", 1.5)
    assert session.vote()["additive"].values.shape == (70, 90)


def test_widths_of_single_sources_begin_as_one_number():
    sigma = np.array([[[2.0]], [[30.0]]])
    low, high = VotingSession(replace(two_parts(), sigma=sigma), "left", 1.5).sigma_limits
    assert low < 1.5 < 3 * 2 < high < 3 * 30


def test_all_parts_vote_into_one_map():
    fields = two_parts()
    together = VotingSession(fields, ALL, 1.5).vote()["additive"].values
    apart = [VotingSession(fields, part, 1.5).vote()["additive"].values for part in (0, 1)]
    np.testing.assert_allclose(together, sum(apart), atol=1e-6)


def test_the_peak_is_where_the_votes_land():
    maps = VotingSession(two_parts(), "left", 2.0).vote()
    assert place(maps["noisy_or"]) == place(maps["additive"]) == (10, 5)
    assert maps["noisy_or"].peak.value == pytest.approx(1 - 0.7**48)
    assert maps["additive"].peak.value == pytest.approx(48 * 0.3 / (2 * np.pi * 4))
    assert maps["additive"].total == pytest.approx(48 * 0.3, rel=1e-2)  # their mass


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_wanted_is_computed(kind):
    session = VotingSession(two_parts(), "left", 2.0)
    (alone,) = session.vote([kind]).values()
    together = session.vote(KINDS)
    assert tuple(together) == KINDS
    np.testing.assert_array_equal(alone.values, together[kind].values)
    assert (alone.peak, alone.total) == (together[kind].peak, together[kind].total)


def test_the_difference_and_the_evidence():
    fields = two_parts()
    maps = VotingSession(fields, "left", 2.0).vote(KINDS)
    votes = fields.votes("left", sigma=2.0)
    np.testing.assert_array_equal(maps["evidence"].values, votes.evidence())
    difference = votes.noisy_or() - votes.additive()
    np.testing.assert_array_equal(maps["difference"].values, difference)
    farthest = np.unravel_index(abs(difference).argmax(), difference.shape)
    assert place(maps["difference"]) == farthest
    assert place(maps["evidence"]) == place(maps["noisy_or"])


def test_the_kernel_may_be_plain_and_reach_less_far():
    fields = two_parts()
    maps = VotingSession(fields, 0, 2.0, sum_rule="plain_sum", truncate=1.0).vote()
    expected = fields.votes(0, sigma=2.0).replace(truncate=1.0).plain_sum()
    np.testing.assert_array_equal(maps["additive"].values, expected)
    assert maps["additive"].peak.value == pytest.approx(48 * 0.3)


@pytest.mark.parametrize("part", ["nose", "left wrist"])
def test_all_parts_vote_for_one(part):
    pose = mdn.samples.load("pose")
    session = VotingSession(pose, part, 8.0, cross=True)
    assert session.crossable
    maps = session.vote()
    index = pose.part(part)
    arguments = pose.confidence[None], pose.cross_offsets[index][None], 8.0
    expected = mdn.noisy_or(*arguments, aggregate=-3, **pose.geometry)[0]
    np.testing.assert_allclose(maps["noisy_or"].values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("sample", "part", "message"),
    [("pose", ALL, "choose which"), ("coins", 0, "carry no cross offsets")],
)
def test_not_everything_has_cross_votes(sample, part, message):
    fields = mdn.samples.load(sample)
    assert not VotingSession(fields, part, 8.0).crossable
    with pytest.raises(ValueError, match=message):
        VotingSession(fields, part, 8.0, cross=True)


def test_only_some_parts_may_have_cross_votes():
    cross = np.zeros((1, 2, 2, 6, 8), np.float32)
    fields = two_parts(cross_offsets=cross)
    assert VotingSession(fields, "left", 2.0).crossable
    with pytest.raises(ValueError, match="no cross offsets for right"):
        VotingSession(fields, "right", 2.0, cross=True)


def test_evidence_tells_the_peak_where_the_map_saturates():
    confidence = np.ones((1, 1, 8), np.float32)
    offsets = np.zeros((1, 2, 1, 8), np.float32)
    offsets[0, 0, 0, [0, 5, 7]] = [1, 1, -1]  # two votes for column 1, three for column 6
    maps = VotingSession(mdn.Fields(confidence, offsets), 0, 0.5).vote()
    np.testing.assert_array_equal(maps["noisy_or"].values[0, [1, 6]], 1)
    assert maps["noisy_or"].peak.column == 6


def test_no_vote_no_peak():
    nothing = two_parts(confidence=np.zeros((2, 6, 8), np.float32))
    elsewhere = two_parts(offsets=np.full((2, 2, 6, 8), 1e6, np.float32))
    for fields in (nothing, elsewhere):
        assert [m.peak for m in VotingSession(fields, 0, 2.0).vote().values()] == [None, None]


def test_nan_does_not_hide_the_peak():
    confidence = two_parts().confidence.copy()
    offsets = two_parts().offsets.copy()
    confidence[0, 0, 0], offsets[0, :, 0, 0] = np.nan, 20  # spoils row 22, column 22
    maps = VotingSession(two_parts(confidence=confidence, offsets=offsets), 0, 1.0).vote()
    assert np.isnan(maps["noisy_or"].values[22, 22])
    assert place(maps["noisy_or"]) == place(maps["additive"]) == (10, 5)


def test_a_session_does_not_change():
    session = VotingSession(two_parts(), 0, 2.0)
    with pytest.raises(FrozenInstanceError):
        session.sigma = 3.0
    assert replace(session, sigma=3.0).fields is session.fields


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf")])
def test_sigma_is_a_positive_number(sigma):
    with pytest.raises(ValueError, match="sigma must be"):
        VotingSession(two_parts(), 0, sigma)


@pytest.mark.parametrize("truncate", [0, -1, float("nan")])
def test_votes_reach_somewhere(truncate):
    with pytest.raises(ValueError, match="truncate must be greater than 0"):
        VotingSession(two_parts(), 0, 2.0, truncate=truncate)


@pytest.mark.parametrize("part", ["middle", 2, -1, "1.5"])
def test_there_is_such_a_part(part):
    with pytest.raises(ValueError, match="the parts are left, right"):
        VotingSession(two_parts(), part, 2.0)


def test_parts_to_choose_from():
    twins = VotingSession(two_parts(names=("left", "left")), 0, 2.0)
    assert twins.parts == [("left [0]", 0), ("left [1]", 1), ("all parts together", ALL)]
    single = mdn.Fields(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2, 2), np.float32))
    assert VotingSession(single, 0, 2.0).parts == [("part 0", 0)]


@pytest.mark.parametrize("name", ["pose", "coins", "delta"])
def test_sigma_can_be_dragged_around_where_it_starts(name):
    fields = mdn.samples.load(name)
    low, high = VotingSession(fields, 0, fields.sigma).sigma_limits
    assert low < fields.sigma / 3
    assert high > fields.sigma * 2
    for sigma in (low / 2, high * 2):
        low_too, high_too = VotingSession(fields, 0, sigma).sigma_limits
        assert low_too <= sigma <= high_too


def test_work_grows_with_what_is_to_be_done():
    session = VotingSession(two_parts(), 0, 0.5)
    assert (
        session.work < replace(session, sigma=1.0).work < replace(session, sigma=1.0, part=ALL).work
    )
    assert replace(session, sigma=1e6).work < np.inf


def test_the_papers_point_on_a_networks_output():
    fields = mdn.samples.load("pose")
    maps = VotingSession(fields, "nose", 8.0).vote()
    assert maps["noisy_or"].peak.value >= 0.99
    assert maps["additive"].peak.value == pytest.approx(0.02, abs=0.005)
    row, column = place(maps["noisy_or"])
    assert abs(row - 95) <= 3
    assert abs(column - 167) <= 3


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 8.0])
def test_the_papers_point_in_a_field(sigma):
    maps = VotingSession(mdn.samples.load("delta"), "delta", sigma).vote()
    assert maps["noisy_or"].peak.value == pytest.approx(1, abs=1e-6)  # Eq. 5
    assert maps["additive"].peak.value == pytest.approx(
        1 / (2 * np.pi * sigma**2), abs=1e-6
    )  # Eq. 6
