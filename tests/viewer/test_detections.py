"""Peaks of one map and of all parts: the table, the sources of each, the files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer.canvas.overlays import Outlines
from mdn_viewer.core.detections import Search, detect
from mdn_viewer.core.session import ALL, VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn


@pytest.fixture(scope="module")
def coins():
    return VotingSession(mdn.samples.load("coins"), ALL, 2.0)


def test_the_table_has_the_library_s_peaks(coins):
    found = detect(coins, Search(score=0.99, distance=8.0))
    expected = coins.votes.peaks(threshold=-np.log(0.01), min_distance=8.0)
    assert len(found) == len(expected) >= 24
    for name, column in {"row": "y", "column": "x", "score": "score", "voters": "voters"}.items():
        np.testing.assert_array_equal(found.columns[name], getattr(expected, column))
    assert {*found.part_names} == {"all"}


def test_every_part_is_searched_by_its_own_map():
    session = VotingSession(two_parts(), "right", 2.0)
    found = detect(session, Search(score=0.5, every_part=True))
    assert found.part_names.tolist() == ["left", "right"]
    np.testing.assert_allclose(found.places, [[10, 5], [12, 20]], atol=0.1)
    one = detect(session, Search(score=0.5))
    assert one.part_names.tolist() == ["right"]


def test_a_sum_has_its_own_scale():
    session = VotingSession(two_parts(), "left", 2.0, sum_rule="plain_sum")
    found = detect(session, Search(score=3.0, rule="additive"))
    assert len(found) == 1
    assert found.columns["score"][0] > 3


@pytest.mark.parametrize("score", [0.0, -1.0, 1.0, float("nan")])
def test_a_score_that_no_map_has_is_refused(score):
    with pytest.raises(ValueError, match="least score must lie between 0 and 1"):
        detect(VotingSession(two_parts(), 0, 2.0), Search(score=score))


def test_an_ellipse_has_the_covariance_of_the_landing_points():
    fields = two_parts()
    rng = np.random.default_rng(0)
    offsets = fields.offsets + rng.normal(0, [[[3.0]], [[1.0]]], fields.offsets.shape)
    session = VotingSession(replace(fields, offsets=offsets.astype(np.float32)), "left", 2.0)
    found = detect(session, Search(score=0.5, distance=20))
    (outline,) = found.ellipses(most=9)
    around = outline - found.places[0]
    p = found.peaks
    covariance = np.array([[p.yy[0], p.xy[0]], [p.xy[0], p.xx[0]]])
    # Every point of the ellipse is one standard deviation away.
    distance = np.einsum("ni,ij,nj->n", around, np.linalg.inv(covariance), around)
    np.testing.assert_allclose(distance, 1, rtol=1e-6)


def test_sources_have_the_number_of_their_peak():
    fields = two_parts()
    found = detect(VotingSession(fields, "left", 2.0), Search(score=0.5))
    labels, mass = found.instances()
    assert labels.shape == fields.confidence.shape[1:]
    assert (labels == 1).all()  # every source of a part votes for one point
    np.testing.assert_allclose(mass, fields.confidence[0].sum(), rtol=1e-6)


def test_where_several_parts_vote_the_surest_source_tells(coins):
    found = detect(coins, Search(score=0.99))
    labels, _ = found.instances()
    every, _ = coins.votes.instances(found.peaks)
    assert labels.shape == every.shape[1:]
    assert ((labels > 0) == (every > 0).any(axis=0)).all()


def test_the_tables_have_every_peak():
    session = VotingSession(two_parts(), "left", 2.0)
    found = detect(session, Search(score=0.5, every_part=True))
    assert found.columns["part"].tolist() == ["left", "right"]
    (person,) = json.loads(found.coco())
    np.testing.assert_allclose(person["keypoints"][:2], found.places[0][::-1])
    movement = found.movement()
    assert movement["keypoint"].tolist() == ["left", "right"]
    assert {"time", "individual", "x", "y", "confidence"} <= movement.keys()


def test_the_tables_say_frame_and_individual():
    """A movement of one keypoint has a place for each time and individual."""
    found = detect(VotingSession(two_parts(), "left", 2.0), Search(score=0.5, every_part=True))
    again = np.array([0, 1, 0])  # a second, weaker peak of the first part
    columns = {name: np.array(values)[again] for name, values in found.peaks.to_dict().items()}
    columns["evidence"][0] /= 2
    several = replace(found, peaks=replace(found.peaks, **columns))
    columns = several.movement(2)
    said = [[*columns[name]] for name in ("time", "individual", "keypoint")]
    assert said == [[2] * 3, ["id_1", "id_0", "id_0"], ["left", "right", "left"]]
    (person,) = json.loads(several.coco(2))
    assert person["image_id"] == 2


def test_coco_needs_the_maps_of_all_parts():
    found = detect(VotingSession(two_parts(), "left", 2.0), Search(score=0.5))
    with pytest.raises(ValueError, match="tick 'every part'"):
        found.coco()


def test_of_many_peaks_the_strongest_get_ellipses():
    found = detect(VotingSession(mdn.samples.load("coins"), "all", 6.0), Search(score=0.1))
    every, some = found.ellipses(most=10**6), found.ellipses(most=5)
    assert len(every) == len(found)
    strongest = np.argsort(-np.asarray(found.peaks.evidence))[:5]
    centres = found.places[strongest]
    np.testing.assert_allclose(
        np.sort(some.mean(axis=1), axis=0), np.sort(centres, axis=0), atol=1e-6
    )


def test_outlines_are_closed():
    class Node:
        def set_data(self, pos, color):
            self.pos = pos

    node = Node()
    Outlines([np.array([[0, 1], [2, 3], [4, 5]]), np.array([[6, 7], [8, 9]])]).write(node)
    expected = [[1, 0], [3, 2], [3, 2], [5, 4], [5, 4], [1, 0], [7, 6], [9, 8], [9, 8], [7, 6]]
    np.testing.assert_array_equal(node.pos, expected)
