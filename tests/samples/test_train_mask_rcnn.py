"""The trainer of Mask R-CNN trains, goes on where it was stopped, and judges as COCO does."""

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT

pytest.importorskip("torchvision")

MODELS = ["boxes-masks", "boxes-masks-keypoints-mdn"]


@pytest.fixture(scope="module")
def script(samples):
    return importlib.import_module("train_mask_rcnn")


@pytest.fixture(scope="module")
def data(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("persons") / "scenes"
    counts = {"train": 5, "val": 3, "test": 1}
    importlib.import_module("make_scenes").make_scenes(folder, counts, 128, 0)
    return folder


def run(script, data, out, *more, steps=4, models=MODELS):
    arguments = ["--data", data, "--out", out, "--steps", steps, "--models", *models, *more]
    return script.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def finished(script, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("training") / "deep" / "er"
    assert run(script, data, out) == 0
    return out


def persons(data, split="val"):
    return importlib.import_module("persons.dataset").Persons(data, split)


# Trainings


@pytest.mark.slow
def test_tables_stand_beside_the_papers(finished):
    tables = (finished / "tables.md").read_text()
    assert "Boxes (the paper's Table 1)" in tables
    assert "| *paper* | *52.2* | *81.6* | *56.4* |" in tables
    assert "Masks (the paper's Table 2)" in tables
    assert "areas of M and L are 0.04 times COCO's" in tables
    report = json.loads((finished / f"{MODELS[1]}-0.json").read_text())
    assert report["measures"].keys() == {"bbox", "segm", "keypoints"}
    log = (finished / f"{MODELS[1]}-0.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4]
    assert "loss_offsets" in json.loads(log[0])


@pytest.mark.slow
def test_a_stopped_training_ends_with_the_same_numbers(
    script, finished, data, tmp_path, monkeypatch
):
    training = importlib.import_module("persons.training")
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    save = training.Training._save

    def stop(self):
        save(self)
        if self.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_save", stop)
        assert run(script, data, tmp_path, models=MODELS[1:]) == 130
    assert run(script, data, tmp_path, models=MODELS[1:]) == 0
    reports = [
        json.loads((folder / f"{MODELS[1]}-0.json").read_text()) for folder in (finished, tmp_path)
    ]
    assert reports[0]["measures"] == reports[1]["measures"]
    states = [
        torch.load(folder / f"{MODELS[1]}-0.pt", weights_only=True)["model"]
        for folder in (finished, tmp_path)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


KILLED = """
import os, signal, sys
sys.path.insert(0, {samples!r})
import torch
import train_mask_rcnn
from persons import training

training.CHECKPOINT_STEPS = 2
save = torch.save

def killed(state, file):
    if state["step"] == 4:
        file.write(b"half of it")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, file)

torch.save = killed
train_mask_rcnn.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_what_was_killed_while_it_wrote_ends_with_the_same_numbers(
    script, finished, data, tmp_path
):
    arguments = ["--data", data, "--out", tmp_path, "--steps", 4, "--models", MODELS[0]]
    code = KILLED.format(samples=str(ROOT / "samples"))
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert run(script, data, tmp_path, models=MODELS[:1]) == 0
    states = [
        torch.load(folder / f"{MODELS[0]}-0.pt", weights_only=True)["model"]
        for folder in (finished, tmp_path)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    log = (tmp_path / f"{MODELS[0]}-0.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".jsonl", ".md", ".pt"}


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again_and_other_settings_are_refused(
    script, finished, data, monkeypatch, capsys
):
    training = importlib.import_module("persons.training")
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_advance", None)
        assert run(script, data, finished) == 0
    capsys.readouterr()
    assert run(script, data, finished, steps=5) == 2
    assert "not with" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(script, "_processes", lambda: 2)  # which see twice as many images
        patch.setattr(script.distributed, "init_process_group", lambda *_, **__: None)
        assert run(script, data, finished) == 2
    said = capsys.readouterr().err
    assert re.search(r"was made with .*processes=1.*, not with .*processes=2", said)


@pytest.mark.slow
def test_branches_are_compared(finished, data, capsys):
    compare = importlib.import_module("compare_branches")
    assert compare.main(["--data", str(data), "--runs", str(finished)]) == 0
    tables = [
        {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ")[1:] for row in table}
        for table in map(str.splitlines, capsys.readouterr().out.split("\n\n"))
    ]
    boxes, backbone, keypoints, masks = tables
    plain, voting = (f"{model}-0" for model in MODELS)
    last = []
    for name in (plain, voting):
        lines = [json.loads(line) for line in (finished / f"{name}.jsonl").open()]
        names = ("classifier", "box_reg", "objectness", "rpn_box_reg")
        last.append(np.mean([sum(x[f"loss_{n}"] for n in names) for x in lines if x["step"] > 2]))
    assert boxes[plain] == [f"{last[0]:.3f}", "–"]
    assert float(boxes[voting][1].split(" ± ")[0]) == pytest.approx(last[1] - last[0], abs=6e-4)
    shares = [float(cell.removesuffix(" %")) for cell in backbone[voting]]
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(100, abs=2)
    assert backbone[plain][2:] == ["–", "–"]
    assert plain not in keypoints
    assert all(0 <= float(cell) <= 100 for cell in keypoints[voting])
    assert all(0 <= float(masks[name][0]) <= 1 for name in (plain, voting))


def test_masks_that_cover_their_boxes_overlap_as_far_as_the_figures_do(data):
    compare = importlib.import_module("compare_branches")
    models, people = importlib.import_module("persons.models"), persons(data)
    model = models.make_model(models.Settings("boxes-masks", 0, 1, 1), 13, [])
    torch.nn.init.constant_(model.roi_heads.mask_predictor.mask_fcn_logits.bias, 1e4)
    true = [people.sample(number)[1] for number in range(len(people))]
    covered = [
        mask.float().mean() * mask.numel() / (box[2:] - box[:2]).prod()
        for target in true
        for mask, box in zip(target["masks"], target["boxes"], strict=True)
    ]
    iou = compare._mask_iou(model, people, len(people))
    assert iou == pytest.approx(torch.stack(covered).mean().item(), rel=0.1)


def test_a_person_without_a_pixel_does_not_count_among_the_overlaps(data):
    compare = importlib.import_module("compare_branches")
    models, people = importlib.import_module("persons.models"), persons(data)
    model = models.make_model(models.Settings("boxes-masks", 0, 1, 1), 13, [])
    torch.nn.init.constant_(model.roi_heads.mask_predictor.mask_fcn_logits.bias, -1e4)
    people.coco.imgToAnns[people.ids[0]][0]["segmentation"] = [[0.0] * 6]
    assert compare._mask_iou(model, people, len(people)) == 0


@pytest.mark.slow
def test_heads_are_compared_on_one_model_s_features(finished, data, capsys):
    compare = importlib.import_module("compare_heads")
    arguments = ["--data", str(data), "--steps", "2", "--seeds", "0", "1", "--model"]
    assert compare.main([*arguments, str(finished / "boxes-masks-0.pt")]) == 0
    heading, _, *rows = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    assert [row[0].removeprefix("| ") for row in rows] == list(compare.WAYS)
    for row in rows:
        shares = [float(cell.removesuffix(" |")) for cell in row[1:]]
        assert len(row) == len(heading) == 7
        assert shares[0] <= shares[1] <= shares[2] <= 100
        assert shares[2] > 0
    other = f"{MODELS[1]}-0"  # has seen keypoints
    for path, said in (
        (finished, "no such file"),
        (finished / "boxes-masks-0.jsonl", "no checkpoint of train_mask_rcnn.py"),
        (finished / f"{other}.pt", "must be boxes-masks of --size small"),
    ):
        assert compare.main([*arguments, str(path)]) == 2
        assert said in capsys.readouterr().err


def test_a_folder_without_trainings_has_nothing_to_compare(samples, tmp_path, capsys):
    compare = importlib.import_module("compare_branches")
    assert compare.main(["--data", str(tmp_path), "--runs", str(tmp_path)]) == 2
    assert "has no finished training" in capsys.readouterr().err


# Data


def test_a_mirrored_sample_swaps_left_and_right(data):
    people = persons(data)
    image, plain = people.sample(0)
    mirrored, flipped = people.sample(0, flipped=True)
    assert torch.equal(mirrored.flip(-1), image)
    left, right = (people.parts.index(f"{side} knee") for side in ("left", "right"))
    x = plain["keypoints"][:, left, 0]
    assert torch.equal(128 - x, flipped["keypoints"][:, right, 0])
    for mask, (x0, y0, x1, y1) in zip(flipped["masks"], flipped["boxes"], strict=True):
        rows, columns = mask.nonzero().T
        assert [columns.min(), rows.min()] == [x0, y0]
        assert [columns.max() + 1, rows.max() + 1] == [x1, y1]


def test_processes_share_the_images_of_a_step(data):
    batches = importlib.import_module("persons.dataset").Batches
    people = persons(data, "train")
    one = batches(people, seed=3, size=4)[1]
    two = [batches(people, seed=3, size=2, rank=rank, world=2)[1] for rank in range(2)]
    for (image, _), (other, _) in zip(one, [*two[0], *two[1]], strict=True):
        assert torch.equal(image, other)
    first = np.concatenate([batches(people, 0, 1)[n][0][0].numpy() for n in range(5)])
    assert not np.array_equal(
        first, np.concatenate([batches(people, 1, 1)[n][0][0].numpy() for n in range(5)])
    )


# Judging


class Oracle(torch.nn.Module):
    """A detector that knows the truth, and moves its keypoints."""

    def __init__(self, people, moved=0.0):
        super().__init__()
        self.people, self.moved, self.number = people, moved, 0

    def forward(self, images):
        found = []
        for _ in images:
            _, target = self.people.sample(self.number)
            self.number += 1
            target["scores"] = torch.linspace(1, 0.5, len(target["boxes"]))
            target["masks"] = target["masks"][:, None].float()
            target["keypoints"][..., 0] += self.moved
            found.append(target)
        return found


def test_the_truth_is_perfect_and_other_keypoints_are_not(data):
    evaluation = importlib.import_module("persons.evaluation")
    people = persons(data)
    measures = evaluation.evaluate(Oracle(people), people, torch.device("cpu"))
    for kind in ("bbox", "segm", "keypoints"):
        assert measures[kind]["AP"] == pytest.approx(100), kind
        assert measures[kind]["AP_L"] == pytest.approx(100), kind
    worse = evaluation.evaluate(Oracle(people, moved=6.0), people, torch.device("cpu"))
    assert worse["bbox"] == measures["bbox"]
    assert worse["keypoints"]["AP"] < 60


def test_tables_have_means_and_deviations():
    evaluation = importlib.import_module("persons.evaluation")
    columns = evaluation.COLUMNS["bbox"]
    seeds = [{"bbox": dict.fromkeys(columns, value) | {"AP_M": -1.0}} for value in (10.0, 12.0)]
    tables = evaluation.make_tables({"boxes": seeds})
    row = next(line for line in tables.splitlines() if line.startswith("| Mask R-CNN, bb |"))
    assert row.split(" | ")[1:6] == ["11.0 ± 1.0", "11.0 ± 1.0", "11.0 ± 1.0", "–", "11.0 ± 1.0"]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--learning-rate", "0"], "--learning-rate must be greater than 0"),
        (["--seeds", "1", "1"], "--seeds must be different, got 1 1"),
        (["--seeds", str(1 << 32)], "--seeds must be from 0 to 2³² − 1, got 4294967296"),
        (["--threads", "99999"], "--threads must be at most"),
        (["--weights-backbone", "IMAGENET1K_V1"], "--weights-backbone goes with --size full"),
        (["--offset-weight", "-1"], "--offset-weight must be at least 0"),
        (["--workers", "-1"], "--workers must be at least 0"),
        (["--device", "banana"], "--device: must be cpu or cuda, got banana"),
        (["--device", "meta"], "--device: must be cpu or cuda, got meta"),
        (["--device", "cuda:99"], "--device: cuda:99 is not there: torch finds"),
    ],
)
def test_what_cannot_be_run_is_refused(script, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        script.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_data_that_is_none_is_named(script, tmp_path, capsys):
    def message():
        assert script.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        return capsys.readouterr().err

    assert "has no annotations/person_keypoints_train*.json" in message()
    file = tmp_path / "annotations" / "person_keypoints_train.json"
    file.parent.mkdir()
    for content, said in (
        ("[]", "list of objects as 'categories'"),
        ("{", "not a JSON file"),
        ('{"categories": [{"id": 1}]}', "no category has keypoints"),
        ('{"categories": [{"id": 1, "keypoints": ["nose"]}]}', "list of objects as 'images'"),
    ):
        file.write_text(content)
        assert said in message()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, a: a.pop("bbox"), "annotation number 1: no 'bbox'"),
        (lambda d, a: a.update(image_id=77), "annotation number 1: no image has the id 77"),
        (lambda d, a: a.update(keypoints=[1, 2, 3]), "keypoints must be 3 × 13 finite numbers"),
        (lambda d, a: a.update(bbox=[500, 0, 9, 9]), "is outside its image of 128 × 128"),
        (lambda d, a: a.pop("segmentation"), "no 'segmentation' of polygons or runs; train models"),
        (lambda d, a: a.update(segmentation=[[1, 2]]), "no 'segmentation' of polygons or runs"),
        (lambda d, a: d["images"][0].pop("width"), "no width and height, which masks need"),
        (lambda d, a: d["images"][0].pop("file_name"), "image number 1: no 'file_name'"),
        (lambda d, a: d["categories"][0].update(skeleton=[[1, 14]]), "skeleton must join parts 1"),
        (lambda d, a: d["categories"][0]["keypoints"].__setitem__(0, "tail"), "no sigma of 'tail'"),
        *(
            (lambda d, a, change=change: d["categories"][0].update(change), message)
            for change, message in [
                ({"id": None}, "category: id must be a whole number, got None"),
                ({"keypoints": 3}, "keypoints of a category must be a list of names, got 3"),
                ({"keypoints": [3]}, "keypoints of a category must be a list of names, got [3]"),
                ({"keypoints": [""]}, "OKS has no sigma of ''"),
                ({"keypoints": ["left_eye"]}, "have 'left eye', and no 'right eye' for its mirror"),
                ({"keypoints": ["head", "head"]}, "keypoints of a category name 'head' twice"),
                ({"skeleton": [[2, 2]]}, "skeleton must join parts 1 to 13 by twos, got [2, 2]"),
                ({"skeleton": 3}, "skeleton must join parts 1 to 13 by twos, got 3"),
                ({"skeleton": [[1.0, 2.0]]}, "skeleton must join parts 1 to 13 by twos, got [1.0"),
            ]
        ),
        (lambda d, a: d["categories"][0].pop("id"), "category: no 'id'"),
        (lambda d, a: d.update(info=[1]), "info must be an object, its area_scale a number"),
        (lambda d, a: d.update(info={"area_scale": "a"}), "its area_scale a number above 0, got"),
        (lambda d, a: a.update(segmentation=[["a"] * 6]), "no 'segmentation' of polygons or runs"),
        (lambda d, a: a.update(segmentation=[[1e9, 0] * 3]), "polygon goes farther than 100000"),
        (
            lambda d, a: a.update(segmentation={"size": [64, 128], "counts": [64 * 128]}),
            "runs of a size [64, 128] for an image of 128 × 128",
        ),
        (lambda d, a: d["annotations"].append({**a, "area": 1}), "of another entry, which differs"),
        (lambda d, a: d["annotations"].clear(), "has no persons with a box"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_before_the_training(data, tmp_path, change, message):
    shutil.copytree(data, tmp_path / "broken")
    path = tmp_path / "broken" / "annotations" / "person_keypoints_val.json"
    dataset = json.loads(path.read_text())
    change(dataset, dataset["annotations"][0])
    path.write_text(json.dumps(dataset))
    with pytest.raises(ValueError, match=re.escape(str(path))) as wrong:
        persons(tmp_path / "broken")
    assert message in str(wrong.value)


def test_what_a_file_leaves_out_is_filled_in(data, tmp_path):
    """Masks are asked for where they are learned, and an area is that of its box."""
    folder = shutil.copytree(data, tmp_path / "sparse")
    path = folder / "annotations" / "person_keypoints_val.json"
    dataset = json.loads(path.read_text())
    for annotation in dataset["annotations"]:
        for name in ("segmentation", "area", "num_keypoints", "iscrowd", "id"):
            del annotation[name]
    del dataset["annotations"][0]["keypoints"]
    dataset["annotations"] *= 2  # a published file has such repetitions
    path.write_text(json.dumps(dataset))
    people = importlib.import_module("persons.dataset").Persons(folder, "val", masks=False)
    first = next(iter(people.coco.anns.values()))
    assert first["area"] == first["bbox"][2] * first["bbox"][3]
    assert first["num_keypoints"] == 0
    assert len(people.coco.anns) == len(dataset["annotations"]) / 2
    image, target = people.sample(0)
    assert target.keys() == {"boxes", "labels", "keypoints"}
    assert image.shape == (3, 128, 128)


def changed(data, folder, split, change):
    """A copy of the data set, with the file of a split changed."""
    shutil.copytree(data, folder)
    path = folder / "annotations" / f"person_keypoints_{split}.json"
    dataset = json.loads(path.read_text())
    change(dataset)
    path.write_text(json.dumps(dataset))
    return folder


def test_a_box_is_cut_off_where_its_image_ends(data, tmp_path):
    """Training on one of 1e300 pixels ended the process."""

    def change(dataset):
        for annotation in dataset["annotations"]:
            annotation["bbox"] = [-1e300, 10, 2e300, 1e300]

    folder = changed(data, tmp_path / "wide", "val", change)
    for flipped in (False, True):
        _, target = persons(folder).sample(0, flipped)
        assert target["boxes"].tolist() == [[0, 10, 128, 128]] * len(target["boxes"])


def test_images_may_be_told_apart_by_numbers_and_texts(data, tmp_path):
    def change(dataset):
        first = dataset["images"][0]["id"]
        dataset["images"][0]["id"] = "first"
        for annotation in dataset["annotations"]:
            if annotation["image_id"] == first:
                annotation["image_id"] = "first"

    evaluation = importlib.import_module("persons.evaluation")
    people = persons(changed(data, tmp_path / "both", "val", change))
    measures = evaluation.evaluate(Oracle(people), people, torch.device("cpu"))
    assert measures["keypoints"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_image_is_named_before_the_training(script, data, tmp_path, capsys, split):
    folder = shutil.copytree(data, tmp_path / "sparse")
    missing = max((folder / split).glob("*.png"))
    missing.unlink()
    assert run(script, folder, tmp_path / "out") == 2
    assert f"{missing}: no such file" in capsys.readouterr().err
    assert not any((tmp_path / "out").glob("*.pt"))


def test_a_damaged_image_is_named_in_a_line_by_a_process_that_reads(script, data, tmp_path, capsys):
    folder = shutil.copytree(data, tmp_path / "damaged")
    for path in (folder / "train").glob("*.png"):
        path.write_bytes(path.read_bytes()[:300])
    assert run(script, folder, tmp_path / "out", "--workers", 1) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "png: not usable (image file is truncated)" in said
    assert "Traceback" not in said


def test_other_keypoints_to_be_judged_by_are_refused(script, data, tmp_path, capsys):
    folder = changed(
        data, tmp_path / "other", "val", lambda d: d["categories"][0]["keypoints"].reverse()
    )
    assert run(script, folder, tmp_path / "out") == 2
    assert "has other keypoints for val than for train: right ankle" in capsys.readouterr().err


def test_votes_across_need_a_skeleton(script, data, tmp_path, capsys):
    folder = shutil.copytree(data, tmp_path / "bare")
    for path in folder.glob("annotations/*.json"):
        dataset = json.loads(path.read_text())
        del dataset["categories"][0]["skeleton"]
        path.write_text(json.dumps(dataset))
    assert run(script, folder, tmp_path / "out") == 2
    assert "no skeleton to vote across; add one to the category, or give --voting within" in (
        capsys.readouterr().err
    )
