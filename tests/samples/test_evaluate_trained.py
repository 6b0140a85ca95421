"""Networks that train_lsp.py trained, judged by evaluate_pose.py beside PoseNet's fields."""

import dataclasses
import json

import numpy as np
import pytest
import skimage
import torch
from helpers import ROOT

import mdn_cupy as mdn

ASTRONAUT = ROOT / "samples" / "astronaut_keypoints.json"
PHOTOGRAPHS = skimage.__path__[0] + "/data"
SCRIPTS = (
    "coco_persons",
    "evaluate_pose",
    "trained_network",
    "keypoints.networks",
    "keypoints.settings",
    "keypoints.tasks",
)


@pytest.fixture(scope="module")
def checkpoint(scripts, tmp_path_factory):
    """A network that has learned nothing, in a file like those of train_lsp.py."""
    task = scripts["tasks"].persons()
    settings = scripts["settings"].Settings("across", 0, 1, finer=2, **task.defaults)
    network = scripts["networks"].Network(settings, task)
    path = tmp_path_factory.mktemp("trained") / "across-0.pt"
    state = {"settings": dataclasses.asdict(settings), "network": network.state_dict()}
    torch.save(state, path)
    return path


def command(*more):
    return ["--images", PHOTOGRAPHS, "--annotations", str(ASTRONAUT), *map(str, more)]


def test_parts_are_found_in_pixels_of_the_cutout_under_coco_s_names(scripts, checkpoint):
    trained = scripts["trained_network"].TrainedNetwork(checkpoint)
    maps = torch.zeros(1, 14, 48, 48)
    maps[0, range(14), range(20, 34), 30] = 1.0  # part p in row 20 + p
    trained.network.evidence = lambda picture: maps
    cutout = np.zeros((384, 384, 3), np.uint8)
    points, scores = trained(cutout, (0, 0, 383, 383))
    names = mdn.adapters.POSENET_PARTS
    assert [name for name, score in zip(names, scores, strict=True) if not score] == list(names[:5])
    # A pixel of the map is 8 of the cutout; the network's part 11 is the left wrist.
    np.testing.assert_allclose(points[names.index("left wrist")], [8 * 30.5 - 0.5, 8 * 31.5 - 0.5])
    np.testing.assert_allclose(points[names.index("right ankle")], [243.5, 163.5])
    narrow = trained(cutout, (0, 200, 200, 383))[0]
    assert (narrow[5:, 0] <= 207).all()
    assert (narrow[5:, 1] >= 195).all()


def test_a_network_is_judged_alone_or_beside_posenet(scripts, checkpoint, tmp_path, capsys):
    evaluate = scripts["evaluate_pose"]
    page, report = tmp_path / "page.png", tmp_path / "figures.json"
    argv = command("--trained", checkpoint, "--ways", "--pictures", page, "--json", report)
    assert evaluate.main(argv) == 0
    said = capsys.readouterr().out
    assert "judged on twelve parts" in said
    assert "across-0 " in said
    assert page.stat().st_size > 10_000
    assert list(json.loads(report.read_text())["ways"]) == ["across-0"]

    trained = scripts["trained_network"].TrainedNetwork(checkpoint)
    persons, _, _ = scripts["coco_persons"].load_persons(ASTRONAUT)
    (person,) = evaluate._known(persons)
    assert not person.keypoints[:5].any()  # nose, eyes and ears
    np.testing.assert_array_equal(person.keypoints[5:], persons[0].keypoints[5:])
    pose = mdn.samples.load("pose")
    arguments = evaluate._parser().parse_args(command("--ways", "argmax", "noisy_or"))
    findings = evaluate.find(lambda cutout: pose, [person], arguments, [trained])
    assert list(evaluate.measure(findings, {})) == ["argmax", "noisy_or", "across-0"]


def test_persons_of_whom_only_the_face_is_marked_are_left_aside(scripts, tmp_path, checkpoint):
    dataset = json.loads(ASTRONAUT.read_text())
    keypoints = np.reshape(dataset["annotations"][0]["keypoints"], (17, 3))
    keypoints[5:] = 0
    dataset["annotations"][0]["keypoints"] = keypoints.ravel().tolist()
    path = tmp_path / "face.json"
    path.write_text(json.dumps(dataset))
    persons, _, _ = scripts["coco_persons"].load_persons(path)
    with pytest.raises(ValueError, match="no person has a marked shoulder"):
        scripts["evaluate_pose"]._known(persons)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trained", "nowhere.pt"], "nowhere.pt: no such file; python samples/train_lsp.py"),
        (["--trained", str(ASTRONAUT)], "not a checkpoint of train_lsp.py; python samples/"),
        (["--trained", "a/across-0.pt", "b/across-0.pt"], "--trained names one twice: across-0"),
        (["--ways"], "--ways names none"),
    ],
)
def test_what_is_no_trained_network_is_refused_in_one_line(scripts, arguments, said, capsys):
    assert scripts["evaluate_pose"].main(command(*arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_another_task_is_refused(scripts, tmp_path):
    task = scripts["tasks"].FIGURES
    settings = scripts["settings"].Settings("heatmap", 0, 1)
    network = scripts["networks"].Network(settings, task)
    path = tmp_path / "heatmap-0.pt"
    torch.save({"settings": vars(settings), "network": network.state_dict()}, path)
    with pytest.raises(ValueError, match="not a checkpoint of train_lsp"):
        scripts["trained_network"].TrainedNetwork(path)
