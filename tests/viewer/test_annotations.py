"""Annotations of all kinds; errors of the parts; sources left out in turn."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer.core.annotation_files import read_annotations
from mdn_viewer.core.annotations import errors_of, influence_of, peak_of
from mdn_viewer.core.session import ALL, VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn

DEEPLABCUT = """\
scorer,me,me,me,me,me,me
bodyparts,left,left,left,right,right,right
coords,x,y,likelihood,x,y,likelihood
img0.png,5,10,1,20,12,1
img1.png,6,11,1,,,
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def coco(**changes):
    person = {"image_id": 7, "category_id": 1, "area": 400.0, "num_keypoints": 2}
    person["keypoints"] = [5, 10, 2, 20, 12, 1]
    return {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 1, "keypoints": ["left", "right"]}],
        "annotations": [{**person, "keypoints": [0, 0, 0, 0, 0, 0], "area": 1.0}, person],
        **changes,
    }


def test_a_plain_table_is_of_any_frame(tmp_path):
    truth = read_annotations(write(tmp_path, "a.csv", "part,x,y\nleft,5,10\nright,20.5,12\n"))
    assert truth.of(0) == truth.of(3) == {"left": (10, 5), "right": (12, 20.5)}


def test_a_plain_table_may_say_the_frame(tmp_path):
    text = "frame,keypoint,row,column\n0,left,10,5\n2,left,11,6\n"
    truth = read_annotations(write(tmp_path, "a.csv", text))
    assert truth.of(2) == {"left": (11, 6)}
    assert truth.of(1) == {}
    assert truth.frames == [0, 2]


def test_deeplabcut_s_table(tmp_path):
    truth = read_annotations(write(tmp_path, "a.csv", DEEPLABCUT))
    assert truth.of(0) == {"left": (10, 5), "right": (12, 20)}
    assert truth.of(1) == {"left": (11, 6)}


def test_deeplabcut_s_rows_say_their_frames(tmp_path):
    table = DEEPLABCUT.replace("img0.png", "labeled-data/day2/img0040.png")
    table = table.replace("img1.png", "img0090.png")
    truth = read_annotations(write(tmp_path, "a.csv", table))
    assert truth.frames == [40, 90]
    split = table.replace("img0090.png,", "labeled-data,day2,img0090.png,")
    split = split.replace("labeled-data/day2/img0040.png,", "labeled-data,day2,img0040.png,")
    for name in ("scorer", "bodyparts", "coords"):
        split = split.replace(f"{name},", f"{name},,,")
    found = read_annotations(write(tmp_path, "split.csv", split))
    assert found.places == truth.places == {**truth.places, (90, "left"): (11.0, 6.0)}
    analysed = DEEPLABCUT.replace("img0.png", "7").replace("img1.png", "8")
    assert read_annotations(write(tmp_path, "b.csv", analysed)).frames == [7, 8]


def test_deeplabcut_s_videos_are_not_mixed(tmp_path):
    table = DEEPLABCUT.replace("img0.png", "day1/img4.png").replace("img1.png", "day2/img4.png")
    with pytest.raises(ValueError, match=r"day1/img4\.png and day2/img4\.png are both frame 4"):
        read_annotations(write(tmp_path, "a.csv", table))


def test_deeplabcut_s_animals_are_not_mixed(tmp_path):
    animals = DEEPLABCUT.replace("bodyparts", "individuals,a,a,a,{b},{b},{b}\nbodyparts")
    animals = animals.replace("right", "left")
    with pytest.raises(ValueError, match="individuals a, b; give a file of one"):
        read_annotations(write(tmp_path, "a.csv", animals.format(b="b")))
    one = DEEPLABCUT.replace("bodyparts", "individuals,a,a,a,a,a,a\nbodyparts")
    truth = read_annotations(write(tmp_path, "one.csv", one))
    assert truth.of(0) == {"left": (10, 5), "right": (12, 20)}


def test_a_plain_table_may_name_images_have_a_mark_and_empty_places(tmp_path):
    text = "\ufeffimage,part,x,y\nimg0040.png,left,5,10\nimg0041.png,left,nan,10\n"
    text += "img0041.png,right,inf,3\nimg0041.png,nose,1,2\nno number.png,left,,\n"
    truth = read_annotations(write(tmp_path, "a.csv", text))
    assert truth.places == {(40, "left"): (10, 5), (41, "nose"): (2, 1)}


def test_of_coco_s_persons_the_largest_has_no_part_of_another(tmp_path):
    data = coco()
    (_, person) = data["annotations"]
    hidden = {**person, "keypoints": [7, 8, 2, 0, 0, 0], "area": 900.0}
    data["annotations"] = [hidden, person]
    truth = read_annotations(write(tmp_path, "a.json", json.dumps(data)))
    assert truth.of(0) == {"left": (8, 7)}
    assert truth.areas[0] == 900


def video(*numbers, name="img{:04}.png"):
    """Annotations of one part in frames, in an order; the part of frame n is in row n."""
    images = [{"id": 100 + n, "file_name": name.format(n)} for n in numbers]
    person = {"category_id": 1, "num_keypoints": 2, "area": 400.0}
    people = [{**person, "image_id": 100 + n, "keypoints": [5, n, 2, 0, 0, 0]} for n in numbers]
    return coco(images=images, annotations=people)


@pytest.mark.parametrize("numbers", [(2, 0, 1), (0, 1, 2, 3), (7, 3), (9,)])
def test_coco_s_images_are_the_frames_of_their_numbers_in_any_order(tmp_path, numbers):
    read = read_annotations(write(tmp_path, "a.json", json.dumps(video(*numbers))))
    truth = read.among(10)
    assert {n: truth.of(n)["left"] for n in truth.frames} == {n: (n, 5) for n in numbers}
    assert truth.areas.keys() == {*numbers}
    assert read.among(10) is truth


@pytest.mark.parametrize(
    ("numbers", "name"), [((139, 785, 632), "{:012}.jpg"), ((1, 2, 3), "{}.png"), ((4, 5), "a.png")]
)
def test_images_without_the_numbers_of_frames_are_frames_in_their_order(tmp_path, numbers, name):
    text = json.dumps(video(*numbers, name=name))
    truth = read_annotations(write(tmp_path, "a.json", text)).among(len(numbers))
    assert [truth.of(n)["left"][0] for n in range(len(numbers))] == [*numbers]


def test_a_text_of_another_encoding_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes("part,x,y\nn\xe9z,1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match="save it with the encoding UTF-8"):
        read_annotations(tmp_path / "a.csv")


def test_coco_s_file_with_its_area(tmp_path):
    truth = read_annotations(write(tmp_path, "a.json", json.dumps(coco())))
    assert truth.of(0) == {"left": (10, 5), "right": (12, 20)}
    assert truth.areas[0] == 400


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "part,x,y", "annotations are read from"),
        ("a.csv", "", "it is empty"),
        ("a.csv", "a,b,c\n1,2,3\n", "no column part"),
        ("a.csv", "part,x\nleft,2\n", "no column y"),
        ("a.csv", "part,x,y\nleft,two,3\n", "row 2: 'two' is no number"),
        ("a.csv", "part,x,y\nleft,2\n", "row 2 has 2 columns, and the first 3"),
        ("a.csv", "part;x;y\nleft;2;3\n", "separated by ';'"),
        ("a.csv", "scorer,me\nbodyparts,left\n", "coords"),
        ("a.json", "{", "no JSON, or cut off"),
        ("a.json", "[]", "not of results"),
        ("a.json", json.dumps({"images": []}), "categories"),
        ("a.json", json.dumps(coco(images=[])), "7"),
        ("a.h5", "no hdf5", "known kind"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, text, reason):
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_annotations(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_errors_are_distances_and_oks_is_coco_s():
    session = VotingSession(two_parts(names=("left eye", "nose")), 0, 2.0)
    truth = {"left_eye": (10.0, 8.0), "nose": (12.0, 20.0), "tail": (0.0, 0.0)}
    errors = errors_of(session, truth, area=900.0)
    assert errors.names == ["left eye", "nose"]
    np.testing.assert_allclose(errors.error, [3, 0])
    expected = np.exp(-9 / (2 * 900 * (2 * 0.025) ** 2))
    np.testing.assert_allclose(errors.similarity, [expected, 1])
    assert errors.oks == pytest.approx((expected + 1) / 2)


def test_a_part_without_votes_has_no_place():
    fields = two_parts()
    confidence = fields.confidence.copy()
    confidence[0] = 0
    session = VotingSession(replace(fields, confidence=confidence), 0, 2.0)
    errors = errors_of(session, {"left": (10.0, 5.0)}, area=900.0)
    assert np.isnan(errors.error).all()
    assert errors.oks == 0
    with pytest.raises(ValueError, match="no vote lands"):
        influence_of(session, (10.0, 5.0))


def test_parts_in_a_line_have_no_oks():
    session = VotingSession(two_parts(), 0, 2.0)
    for truth in ({"left": (10.0, 8.0)}, {"left": (10.0, 5.0), "right": (10.0, 20.0)}):
        errors = errors_of(session, truth)
        assert np.isfinite(errors.error).all()
        assert np.isnan(errors.oks)
    assert errors_of(session, truth, area=900.0).oks > 0


def test_of_many_sources_the_tab_says_how_many_were_left_out():
    from mdn_viewer.widgets.truth import _pull

    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 2, (1, 2, 20, 20)).astype(np.float32)
    session = VotingSession(mdn.Fields(np.full((1, 20, 20), 0.5), offsets), 0, 8.0)
    found = influence_of(session, (8.0, 9.0))
    assert f"the 200 strongest of {len(found.voters.share)} sources" in _pull(found)
    few = influence_of(VotingSession(scattered(0), 0, 2.5), (8.0, 9.0))
    assert "strongest" not in _pull(few)


def scattered(seed, parts=1):
    rng = np.random.default_rng(seed)
    confidence = rng.random((parts, 5, 6)).astype(np.float32) * 0.9
    offsets = rng.normal(0, 6, (parts, 2, 5, 6)).astype(np.float32)
    return mdn.Fields(confidence, offsets, stride=4.0, origin=2.0)


@pytest.mark.parametrize("part", [0, ALL])
@pytest.mark.parametrize("seed", range(3))
def test_leaving_a_source_out_is_voting_without_it(seed, part):
    session = VotingSession(scattered(seed, parts=2), part, 2.5)
    truth = (8.0, 9.0)
    found = influence_of(session, truth)
    assert (np.diff(found.without) >= 0).all()
    for (p, i, j), without in zip(found.sources.tolist(), found.without, strict=True):
        confidence = session.fields.confidence.copy()
        confidence[p, i, j] = 0
        less = replace(session, fields=replace(session.fields, confidence=confidence))
        evidence = less.compute("evidence")
        peak = mdn.find_peaks(evidence, threshold=0.1, max_peaks=1)
        away = np.hypot(peak.y[0] - truth[0], peak.x[0] - truth[1])
        assert away == pytest.approx(without, abs=1e-4)
    np.testing.assert_allclose(found.change, found.error - found.without)
    assert {"part", "share", "without", "change"} <= found.columns.keys()


def two_peaks(size=200):
    """A few votes for one place, and one vote far from it for which nothing else votes."""
    confidence, offsets = np.zeros((1, size, size)), np.zeros((1, 2, size, size))
    confidence[0, 30, 28:33], confidence[0, 150, 160] = [0.5, 0.7, 0.9, 0.7, 0.5], 0.9
    offsets[0, 0, 30, 28:33] = [2, 1, 0, -1, -2]
    return VotingSession(mdn.Fields(confidence, offsets), 0, 2.0)


def test_where_a_peak_is_left_that_is_far_away_it_is_found():
    session = two_peaks()
    confidence = session.fields.confidence.copy()
    confidence[0, 30, [28, 29, 31, 32]] = 0.0
    confidence[0, 30, 30] = 0.95
    few = replace(session, fields=replace(session.fields, confidence=confidence))
    found = influence_of(few, (30.0, 30.0))
    np.testing.assert_allclose(found.without, [np.hypot(120, 130)])  # of the other peak
    np.testing.assert_allclose(influence_of(session, (30.0, 30.0)).without, 0, atol=1e-6)


def test_a_source_that_is_left_out_has_the_map_searched_near_it(monkeypatch):
    session, searched = two_peaks(), []
    argmax = np.argmax

    def recorded(values):
        searched.append(values.size)
        return argmax(values)

    monkeypatch.setattr(np, "argmax", recorded)
    found = influence_of(session, (30.0, 30.0))
    assert len(found.without) == 5
    assert sum(searched) < 3 * 200 * 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_peak_of_a_map_with_holes(value):
    evidence = np.zeros((9, 9))
    evidence[4, 5], evidence[7, 1] = 2.0, value
    np.testing.assert_array_equal(peak_of(evidence), [7, 1] if value == np.inf else [4, 5])
    assert np.isnan(peak_of(np.full((3, 3), np.nan))).all()
    assert np.isnan(peak_of(np.zeros((0, 3)))).all()
