"""The scenes are what their annotations say, and no split shares a photograph with another."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

COUNTS = {"train": 4, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def script(samples):
    return importlib.import_module("make_scenes")


@pytest.fixture(scope="module")
def folder(script, tmp_path_factory):
    made = tmp_path_factory.mktemp("scenes") / "deep"
    counts = [word for split, n in COUNTS.items() for word in (f"--{split}", str(n))]
    assert script.main([str(made), "--size", "96", *counts]) == 0
    return made


def read(folder, split):
    return json.loads((folder / f"annotations/person_keypoints_{split}.json").read_text())


def test_every_scene_is_there_and_has_one_to_four_figures(folder):
    for split, count in COUNTS.items():
        content = read(folder, split)
        assert len(content["images"]) == count
        for image in content["images"]:
            assert Image.open(folder / split / image["file_name"]).size == (96, 96)
            figures = [a for a in content["annotations"] if a["image_id"] == image["id"]]
            assert 1 <= len(figures) <= 4


def test_boxes_areas_and_masks_agree(folder):
    coco = COCO(str(folder / "annotations/person_keypoints_train.json"))
    for annotation in coco.anns.values():
        rows, columns = np.nonzero(coco.annToMask(annotation))
        left, top, width, height = annotation["bbox"]
        assert (columns.min(), rows.min()) == (left, top)
        assert (columns.max() + 1, rows.max() + 1) == (left + width, top + height)
        assert annotation["area"] == len(rows)


def test_masks_of_a_scene_do_not_overlap_and_show_what_is_seen(script):
    scenes = importlib.import_module("persons.scenes")
    image, figures = scenes.draw_scene("train", (0, 1), 96)
    assert sum(figure.mask.astype(int) for figure in figures).max() == 1
    for figure in figures:
        x, y, visibility = figure.keypoints.T
        inside = figure.mask[y.astype(int), x.astype(int)]
        assert inside[visibility == 2].mean() > 0.9  # a joint's own pixel; rims round away some
        assert not inside[visibility == 1].any()
    again, _ = scenes.draw_scene("train", (0, 1), 96)
    assert (image == again).all()
    other, _ = scenes.draw_scene("validation", (0, 1), 96)
    assert (image != other).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "400"], "--size must be from 64 to 172, got 400"),
        (["--train", "0"], "--train must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_made_is_refused(script, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        script.main([str(tmp_path / "none"), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
