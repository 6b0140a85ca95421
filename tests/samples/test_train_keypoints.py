"""The training sample trains, goes on where it was stopped, and draws what it says it draws."""

import doctest
import importlib
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

WAYS = ["heatmap", "offsets", "within", "across"]
TRIALS = (
    ("heatmap", {}),
    ("within", {"start": 2.0}),
    ("within", {"features": 32, "learning_rate": 0.002}),
)
SMALL = ["--seeds", "0", "--steps", "5", "--pictures", "20", "--threads", "1"]


@pytest.fixture(scope="module")
def script(samples):
    return importlib.import_module("train_keypoints")


@pytest.fixture(scope="module")
def figures(samples):
    return importlib.import_module("keypoints.figures")


@pytest.fixture(scope="module")
def task(samples):
    return importlib.import_module("keypoints.tasks").FIGURES


@pytest.fixture(scope="module")
def finished(script, tmp_path_factory):
    """A folder with a run of all four ways that nothing stopped."""
    folder = tmp_path_factory.mktemp("training") / "deep" / "er"
    assert script.main(["--out", str(folder), *SMALL]) == 0
    return folder


def results(folder):
    report = json.loads((folder / "results.json").read_text())
    return {split: report[split] for split in ("validation", "test")}


# What is written


@pytest.mark.slow
def test_every_way_is_measured_on_all_visible_and_hidden_parts(finished):
    runs = results(finished)
    assert [list(found) for found in runs.values()] == [WAYS, WAYS]
    for (measures,) in (*runs["validation"].values(), *runs["test"].values()):
        for group in ("all", "visible", "hidden"):
            found = [measures[group][f"pck{limit}"] for limit in (2, 4, 8)]
            assert 0 <= found[0] <= found[1] <= found[2] <= 1
            assert 0 < measures[group]["error"] < 96 * 2**0.5


def test_the_table_has_a_row_for_every_way_and_group_of_the_test_pictures(finished):
    *lines, empty, basis, duration = (finished / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 3 * len(WAYS)
    assert {line.count("|") for line in lines} == {7}
    runs = results(finished)
    assert f"{runs['test']['across'][0]['hidden']['error']:.2f}" in lines[-1]
    assert runs["test"] != runs["validation"]
    assert not empty
    assert duration.startswith("One training took 0.")
    assert basis == "Of seed 0, after 5 steps, on 20 test pictures."


def test_the_figure_has_a_column_for_the_picture_and_one_for_every_way(finished):
    with Image.open(finished / "maps.png") as picture:
        assert picture.width > 1.5 * picture.height
        assert np.asarray(picture.convert("L")).std() > 20


def test_the_table_gives_mean_and_deviation_over_the_seeds(samples, task):
    made = importlib.import_module("keypoints.results").make_table
    one = [{"pck2": p, "pck4": p, "pck8": 1.0, "error": 10 * p} for p in (0.2, 0.4, 0.6)]
    measures = [{"all": measured, "visible": measured, "hidden": measured} for measured in one]
    row = "40.0 ± 20.0 | 40.0 ± 20.0 | 100.0 ± 0.0 | 4.00 ± 2.00 |"
    assert made(task, {"within": measures}).count(row) == 3


# Going on


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    script, finished, tmp_path, monkeypatch, capsys
):
    training = importlib.import_module("keypoints.training")
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    monkeypatch.setattr(
        importlib.import_module("keypoints.command"), "LOOK_STEPS", 1
    )  # nor as if it had not been looked at
    advance = training.Training._advance

    def stop(self):
        if self.settings.way == "across" and self.step == 3:
            raise KeyboardInterrupt
        return advance(self)

    arguments = ["--out", str(tmp_path), *SMALL, "--ways", "heatmap", "across"]
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_advance", stop)
        assert script.main(arguments) == 130
    said = capsys.readouterr().err
    assert "the same command goes on from the last checkpoint" in said
    assert re.search(r"across, seed 0.*validation=\d+\.\d\d px", said)
    assert not (tmp_path / "results.json").exists()
    before = torch.load(tmp_path / "across-0.pt", weights_only=True)

    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(
            training.Training, "_advance", lambda self: steps.append(self.step) or advance(self)
        )
        script.main(arguments)
    assert steps == [2, 3, 4]
    for split, runs in results(finished).items():
        assert results(tmp_path)[split] == {way: runs[way] for way in ("heatmap", "across")}
    after = torch.load(tmp_path / "across-0.pt", weights_only=True)
    assert after["seconds"] > before["seconds"] > 0
    assert (after["losses"][:2], len(after["losses"])) == (before["losses"], 5)


def test_a_checkpoint_of_another_training_is_refused(script, finished, capsys):
    assert script.main(["--out", str(finished), *SMALL, "--steps", "6"]) == 2
    said = capsys.readouterr().err
    assert "heatmap-0.pt was made with" in said
    assert "another folder" in said


def test_a_file_that_is_no_checkpoint_is_refused(script, tmp_path, capsys):
    (tmp_path / "heatmap-0.pt").write_bytes(b"something else")
    assert script.main(["--out", str(tmp_path), *SMALL]) == 2
    assert "heatmap-0.pt is no checkpoint" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_training(script, tmp_path, capsys):
    arguments = ["--out", str(tmp_path), *SMALL, "--ways", "heatmap"]
    assert script.main([*arguments, "--set", "learning_rate=1e36"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"the loss of step \d is not finite; --set a lower learning_rate$", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: --out"),
        (["--out", "x", "--ways", "hough"], "invalid choice: 'hough'"),
        (["--out", "x", "--ways", "within", "within"], "--ways names one twice"),
        (["--out", "x", "--seeds", "1", "-1"], "--seeds must be from 0 to"),
        (["--out", "x", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["--out", "x", "--pictures", "0"], "--pictures must be at least 1, got 0"),
        (["--out", "x", "--threads", "100000"], "--threads must be at most"),
        (["--out", "x", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["--out", __file__], "is a file; name a folder"),
    ],
)
def test_bad_arguments_are_refused(script, arguments, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refused:
        script.main(arguments)
    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# The pictures


def test_a_picture_depends_on_its_key_alone(figures):
    together, alone = figures.draw_batch("train", 3, range(4)), figures.draw_batch("train", 3, [2])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a[2], b[0])
    others = [("validation", 3), ("test", 3), ("train", 4)]
    for other in [figures.draw_batch(*of, [2]) for of in others]:
        assert (other.joints != alone.joints).any()


def test_no_photograph_is_in_two_splits(figures):
    splits = figures.SPLITS.values()
    names = [name for split in splits for name in split.photographs]
    assert len(set(names)) == len(names)
    assert len({split.number for split in splits}) == 3


@pytest.mark.parametrize(
    ("split", "head", "colour"),
    [
        ("train", (35.04, 21.41), (0.435, 0.44, 0.423)),
        ("validation", (40.55, 26.78), (0.112, 0.12, 0.135)),
        ("test", (55.54, 23.45), (0.805, 0.32, 0.249)),
    ],
)
def test_the_pictures_stay_those_that_the_documented_figures_are_of(figures, split, head, colour):
    batch = figures.draw_batch(split, 0, [0])
    np.testing.assert_allclose(batch.joints[0, 0], head, atol=0.01)
    np.testing.assert_allclose(batch.pictures.mean(axis=(0, 1, 2)), colour, atol=1e-3)


def test_joints_are_inside_the_picture_and_some_are_hidden(figures):
    batch = figures.draw_batch("train", 0, range(100))
    assert batch.pictures.shape == (100, figures.SIZE, figures.SIZE, 3)
    assert batch.pictures.min() >= 0
    assert batch.joints.min() >= 4
    assert batch.joints.max() <= figures.SIZE - 5
    assert 0.15 < batch.hidden.mean() < 0.4


def test_hidden_is_what_a_patch_covers(figures, monkeypatch):
    """Without the patches the same picture shows other colours at hidden joints, and only there."""
    batch = figures.draw_batch("train", 1, range(20))
    paint = figures.paint_capsule
    monkeypatch.setattr(  # a patch is painted with a photograph: no base, all texture
        figures, "paint_capsule", lambda *a: None if a[3] == 0.0 else paint(*a)
    )
    bare = figures.draw_batch("train", 1, range(20))
    columns, rows = np.rint(batch.joints).astype(int).transpose(2, 0, 1)
    pictures = np.arange(20)[:, None]
    changed = (batch.pictures != bare.pictures).any(axis=-1)[pictures, rows, columns]
    assert (changed == batch.hidden).mean() > 0.97  # a joint on a patch's rim may be either


def test_the_edges_join_all_parts(figures):
    reached = {0}
    for _ in figures.PARTS:
        reached |= {p for edge in figures.EDGES if reached & set(edge) for p in edge}
    assert reached == set(range(len(figures.PARTS)))


@pytest.mark.parametrize("module", ["figures", "tasks"])
def test_the_examples_are_true(samples, module):
    tested = doctest.testmod(importlib.import_module(f"keypoints.{module}"))
    assert tested.attempted > 0
    assert tested.failed == 0


# One setting changed at a time


def test_the_trials_are_judged_one_a_row(samples, tmp_path, monkeypatch, capsys):
    ablate = importlib.import_module("ablate_keypoints")
    monkeypatch.setattr(ablate, "PICTURES", 20)
    monkeypatch.setitem(ablate.TABLES, "settings", TRIALS)
    for _ in range(2):  # the second time nothing is left to train
        assert ablate.main(["--out", str(tmp_path), "--steps", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(" | ")[:2] for line in lines[2:]] == [
            ["| heatmap", "nothing"],
            ["| within", "start 2"],
            ["| within", "features 32, learning_rate 0.002"],
        ]
        losses = [float(line.split(" | ")[2]) for line in lines[2:]]
        assert losses[1] > 3 * losses[0]  # saturated
        assert (tmp_path / "settings.md").read_text().splitlines() == lines
    assert ablate.main(["--out", str(tmp_path), "--steps", "3"]) == 2
    assert "was made with" in capsys.readouterr().err


def test_votes_by_true_offsets_find_what_learned_ones_miss(samples, tmp_path, monkeypatch, capsys):
    ablate = importlib.import_module("ablate_keypoints")
    for name in ("PICTURES", "MORE_PICTURES"):
        monkeypatch.setattr(ablate, name, 16)
    trials = (("heatmap", {}), ("within", {}), ("within", {"denser": 2, "finer": 2}))
    monkeypatch.setitem(ablate.TABLES, "precision", trials)
    assert ablate.main(["--out", str(tmp_path), "--steps", "2", "--table", "precision"]) == 0
    heading, _, *rows = (line[2:-2].split(" | ") for line in capsys.readouterr().out.splitlines())
    assert all(len(row) == len(heading) == 8 for row in rows)
    assert rows[0][-2:] == ["–", "–"]
    for row in rows[1:]:  # cells of 4 pixels: those within 4 of a part are 2.7 away in the mean
        learned, error, true = (float(row[place]) for place in (2, 6, 7))
        assert error == pytest.approx(2.7, abs=0.5)
        assert true > learned


def test_the_trials_go_into_a_folder(samples, capsys):
    ablate = importlib.import_module("ablate_keypoints")
    with pytest.raises(SystemExit) as refused:
        ablate.main(["--out", __file__])
    assert refused.value.code == 2
    assert "is a file; name a folder" in capsys.readouterr().err


def test_every_trial_changes_what_it_says(samples):
    ablate = importlib.import_module("ablate_keypoints")
    settings = importlib.import_module("keypoints.settings").Settings
    for trials in ablate.TABLES.values():
        made = [settings(way, 0, 1, **changes) for way, changes in trials]
        assert len(set(made)) == len(made)


def test_the_branch_of_the_offsets_has_its_own_learning_rate(task, tmp_path):
    """Of one step of the same gradients, three times the rate makes three times the change."""
    training = importlib.import_module("keypoints.training")
    settings = importlib.import_module("keypoints.settings").Settings
    moved = []
    for rate in (1.0, 3.0):
        made = training.Training(
            task, settings("across", 0, 1, offset_rate=rate), tmp_path / f"{rate}"
        )
        head = made.network.head.head
        before = [layer.bias.detach().clone() for layer in (head.offsets, head.confidence)]
        list(made.run())
        after = [layer.bias.detach() for layer in (head.offsets, head.confidence)]
        moved.append([a - b for a, b in zip(after, before, strict=True)])
    (offsets, confidence), (faster, same) = moved
    torch.testing.assert_close(faster, 3 * offsets)
    torch.testing.assert_close(same, confidence)


def test_a_checkpoint_from_before_a_setting_was_one_has_its_default(task, tmp_path):
    training = importlib.import_module("keypoints.training")
    settings = importlib.import_module("keypoints.settings").Settings("heatmap", 0, 1)
    checkpoint = tmp_path / "heatmap.pt"
    list(training.Training(task, settings, checkpoint).run())
    state = torch.load(checkpoint, weights_only=True)
    del state["settings"]["target_sigma"]
    torch.save(state, checkpoint)
    assert training.Training(task, settings, checkpoint).step == 1
