"""The training sample trains, goes on where it was stopped, and draws what it says it draws."""

import doctest
import importlib
import json
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image

WAYS = ["heatmap", "offsets", "within", "across"]
SMALL = ["--seeds", "0", "--steps", "5", "--pictures", "20", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def samples():
    """The folder of the samples on the path, as for a script in it; torch's threads as before."""
    threads = torch.get_num_threads()
    sys.path.insert(0, str(ROOT / "samples"))
    yield
    sys.path.remove(str(ROOT / "samples"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def script(samples):
    return importlib.import_module("train_keypoints")


@pytest.fixture(scope="module")
def figures(samples):
    return importlib.import_module("keypoints.figures")


@pytest.fixture(scope="module")
def finished(script, tmp_path_factory):
    """A folder with a run of all four ways that nothing stopped."""
    folder = tmp_path_factory.mktemp("training") / "deep" / "er"
    assert script.main(["--out", str(folder), *SMALL]) == 0
    return folder


def results(folder):
    return json.loads((folder / "results.json").read_text())["runs"]


# What is written


def test_every_way_is_measured_on_all_visible_and_hidden_parts(finished):
    runs = results(finished)
    assert list(runs) == WAYS
    for (measures,) in runs.values():
        for group in ("all", "visible", "hidden"):
            found = [measures[group][f"pck{limit}"] for limit in (2, 4, 8)]
            assert 0 <= found[0] <= found[1] <= found[2] <= 1
            assert 0 < measures[group]["error"] < 96 * 2**0.5


def test_the_table_has_a_row_for_every_way_and_group(finished):
    lines = (finished / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 3 * len(WAYS)
    assert {line.count("|") for line in lines} == {7}
    runs = results(finished)
    assert f"{runs['across'][0]['hidden']['error']:.2f}" in lines[-1]


def test_the_figure_has_a_column_for_the_picture_and_one_for_every_way(finished):
    with Image.open(finished / "maps.png") as picture:
        assert picture.width > 1.5 * picture.height
        assert np.asarray(picture.convert("L")).std() > 20


def test_the_table_gives_mean_and_deviation_over_the_seeds(samples):
    made = importlib.import_module("keypoints.results").make_table
    one = [{"pck2": p, "pck4": p, "pck8": 1.0, "error": 10 * p} for p in (0.2, 0.4, 0.6)]
    measures = [{"all": measured, "visible": measured, "hidden": measured} for measured in one]
    row = "40.0 ± 20.0 | 40.0 ± 20.0 | 100.0 ± 0.0 | 4.00 ± 2.00 |"
    assert made({"within": measures}).count(row) == 3


# Going on


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    script, finished, tmp_path, monkeypatch, capsys
):
    training = importlib.import_module("keypoints.training")
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    advance = training.Training._advance

    def stop(self):
        if self.settings.way == "across" and self.step == 3:
            raise KeyboardInterrupt
        return advance(self)

    arguments = ["--out", str(tmp_path), *SMALL, "--ways", "heatmap", "across"]
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_advance", stop)
        with pytest.raises(SystemExit) as stopped:
            script.main(arguments)
    assert stopped.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()

    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(
            training.Training, "_advance", lambda self: steps.append(self.step) or advance(self)
        )
        script.main(arguments)
    assert steps == [2, 3, 4]
    runs = results(finished)
    assert results(tmp_path) == {way: runs[way] for way in ("heatmap", "across")}


def test_a_checkpoint_of_another_training_is_refused(script, finished, capsys):
    with pytest.raises(SystemExit) as refused:
        script.main(["--out", str(finished), *SMALL, "--steps", "6"])
    assert refused.value.code == 1
    said = capsys.readouterr().err
    assert "heatmap-0.pt was made with" in said
    assert "another folder" in said


def test_a_file_that_is_no_checkpoint_is_refused(script, tmp_path, capsys):
    (tmp_path / "heatmap-0.pt").write_bytes(b"something else")
    with pytest.raises(SystemExit) as refused:
        script.main(["--out", str(tmp_path), *SMALL])
    assert refused.value.code == 1
    assert "heatmap-0.pt is no checkpoint" in capsys.readouterr().err


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
    others = [figures.draw_batch("test", 3, [2]), figures.draw_batch("train", 4, [2])]
    assert all((other.joints != alone.joints).any() for other in others)


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
    paint = figures._paint
    monkeypatch.setattr(  # a patch is painted with a photograph: no base, all texture
        figures, "_paint", lambda *a: None if a[3] == 0.0 else paint(*a)
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


@pytest.mark.parametrize("module", ["figures", "results"])
def test_the_examples_are_true(samples, module):
    tested = doctest.testmod(importlib.import_module(f"keypoints.{module}"))
    assert tested.attempted > 0
    assert tested.failed == 0
