"""Who voted for a pixel, and where a vote lands: the answers, the arrows, the file."""

from itertools import pairwise

import numpy as np
import pytest
from mdn_viewer.canvas.comparison import ComparisonCanvas
from mdn_viewer.canvas.votes import MOST_ARROWS, arrows_of, colours, show_votes
from mdn_viewer.core.provenance import landing_of, provenance_of
from mdn_viewer.core.session import ALL, RULES, VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn


@pytest.fixture
def nose():
    return VotingSession(mdn.samples.load("pose"), "nose", 8.0)


@pytest.fixture
def both():
    return VotingSession(two_parts(), ALL, 2.0)


@pytest.fixture
def shoulder():
    """Cross-part votes: where a network's other parts support the left shoulder."""
    return VotingSession(mdn.samples.load("pose"), "left shoulder", 8.0, cross=True)


def peak_of(session, rule="noisy_or"):
    peak = session.vote()[rule].peak
    return peak.row, peak.column


# What is answered, without a window.


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("session", ["nose", "both", "shoulder"])
def test_the_voters_add_up_to_the_map(request, session, rule):
    session = request.getfixturevalue(session)
    pixel = peak_of(session, rule)
    asked = provenance_of(session, pixel, rule)
    assert asked.value == pytest.approx(session.vote()[rule].values[pixel], rel=1e-5)
    assert asked.columns["share"].sum() == pytest.approx(1)
    assert asked.columns["evidence"].sum() == pytest.approx(asked.voters.evidence)
    assert sum(share for _, _, share in asked.support) == pytest.approx(1)
    assert sum(count for _, count, _ in asked.support) == len(asked.voters)


def test_a_sessions_kernel_decides_what_a_vote_adds(both):
    plain = VotingSession(both.fields, ALL, 2.0, sum_rule="plain_sum", truncate=1.0)
    pixel = peak_of(plain, "additive")
    asked = provenance_of(plain, pixel, "additive")
    assert asked.value == pytest.approx(plain.vote()["additive"].values[pixel], rel=1e-5)
    assert asked.value > provenance_of(both, pixel, "additive").value


def test_what_is_said_of_a_pixel():
    left = VotingSession(two_parts(), "left", 2.0)
    said = str(provenance_of(left, (10, 5), "noisy_or"))
    assert said == "row 10, column 5, noisy-or: m = 1, evidence −L = 17.12, from 48 sources"
    assert str(provenance_of(left, (10, 5), "additive")).endswith("s = 0.573, from 48 sources")
    nobody = str(provenance_of(left, (23, 31), "noisy_or"))
    assert nobody == "row 23, column 31, noisy-or: m = 0, evidence −L = 0, from 0 sources"


def test_parts_are_named_where_several_vote(both, shoulder):
    assert (
        "part" not in provenance_of(VotingSession(both.fields, 1, 2.0), (12, 20), RULES[0]).columns
    )
    asked = provenance_of(both, (11, 12), "noisy_or")
    assert set(asked.columns["part"]) == {"left", "right"}
    support = provenance_of(shoulder, peak_of(shoulder), "noisy_or").support
    assert {"left shoulder", "nose"} <= {name for name, _, _ in support}
    assert all(before[2] >= after[2] for before, after in pairwise(support))


def test_arrows_go_from_the_sources_to_where_their_votes_land(both):
    asked = provenance_of(both, (10, 5), "noisy_or")
    drawn = arrows_of(asked)
    np.testing.assert_allclose(drawn.start, 2 + 4 * asked.voters.source[:, -2:])
    np.testing.assert_allclose(drawn.start + drawn.vector, asked.voters.landing[:, ::-1], atol=1e-5)
    brightness = colours(asked).sum(axis=1)
    assert (np.diff(brightness) <= 1e-12).all()


def test_no_more_arrows_than_can_be_told_apart():
    rng = np.random.default_rng(0)
    many = mdn.Fields(rng.random((1, 40, 40)), rng.normal(0, 1, (1, 2, 40, 40)), sigma=20.0)
    asked = provenance_of(VotingSession(many, 0, 20.0), (20, 20), "noisy_or")
    assert len(asked.voters) > MOST_ARROWS == len(arrows_of(asked).start) == len(colours(asked))


def test_a_nan_that_spoils_a_pixel_is_drawn_brightest():
    fields = two_parts()
    fields.confidence[0, 3, 3] = np.nan
    asked = provenance_of(VotingSession(fields, 0, 2.0), (10, 5), "noisy_or")
    assert asked.voters.source[0].tolist() == [3, 3]
    assert colours(asked)[0].sum() == colours(asked).sum(axis=1).max()


@pytest.mark.parametrize("session", ["nose", "both", "shoulder"])
def test_where_a_vote_lands_and_what_it_adds(request, session):
    session = request.getfixturevalue(session)
    first = provenance_of(session, peak_of(session), "noisy_or")
    part, (row, column) = int(first.parts[0]), first.voters.source[0, -2:].tolist()
    landing = landing_of(session, (part, row, column))
    assert landing.footprint.landing == pytest.approx(first.voters.landing[0])
    assert landing.pixel == tuple(np.rint(landing.footprint.landing[::-1]))
    for rule in RULES:
        asked = provenance_of(session, landing.pixel, rule)
        own_term, whole = landing.added[rule]
        assert whole == asked.voters.evidence
        assert own_term in asked.voters.terms
    assert f"source row {row}, column {column}" in str(landing)


def test_a_part_that_does_not_vote_lands_nowhere(nose):
    assert landing_of(nose, (1, 6, 10)) is None


def test_what_is_said_of_a_source():
    fields = two_parts()
    left = VotingSession(fields, "left", 2.0)
    said = str(landing_of(left, (0, 2, 3)))
    assert said.startswith(
        "left, source row 2, column 3, c = 0.3: lands at row 10.0, column 5.0, reaches 17 × 14 "
        "pixels; to the evidence there it adds: noisy-or 0.3567 of 17.12 (2.1%), additive "
    )
    fields.offsets[0, :, 0, 0] = np.nan, -1000
    assert "its offset is not finite" in str(landing_of(left, (0, 0, 0)))
    fields.offsets[0, :, 0, 0] = -1000
    assert "off the map" in str(landing_of(left, (0, 0, 0)))


def test_the_table_says_where_votes_land_too(both):
    asked = provenance_of(both, (11, 12), "noisy_or")
    assert [*asked.table] == [*asked.columns, "p_x", "p_y"]
    assert asked.table["evidence"].tolist() == asked.voters.terms.tolist()
    assert {*asked.table["part"]} == {"left", "right"}
    np.testing.assert_array_equal(asked.table["p_x"], asked.voters.landing[:, 0])


# What is drawn, on a canvas.


def test_answers_are_drawn_over_all_cells_and_taken_off(qtbot, both):
    canvas = ComparisonCanvas()
    qtbot.addWidget(canvas)

    def drawn():
        """How many arrows and marks there are, and the shape of the footprint."""
        votes, marks, patch = map(canvas.overlay, ("votes", "voters", "footprint"))
        return (
            0 if votes is None else len(votes.start),
            [] if marks is None else [str(symbol) for symbol in marks.symbol if symbol != "disc"],
            None if patch is None else patch[0].shape,
        )

    asked, landing = provenance_of(both, (10, 5), "noisy_or"), landing_of(both, (0, 2, 3))
    voters = len(asked.voters)
    show_votes(canvas, None, None)
    assert drawn() == (0, [], None)
    show_votes(canvas, asked, None)
    assert drawn() == (voters, ["cross"], None)
    np.testing.assert_allclose(canvas.overlay("voters").at[:-1], asked.positions)
    show_votes(canvas, asked, landing)
    assert drawn() == (voters, ["cross", "x"], (17, 14))
    assert canvas.overlay("voters").at.tolist()[-3:] == [[10, 5], [10, 5], [10, 14]]
    assert canvas.overlay("footprint")[1] == (2, 0)
    show_votes(canvas, None, landing)
    assert drawn() == (0, ["x"], (17, 14))
    show_votes(canvas, None, None)
    assert drawn() == (0, [], None)
