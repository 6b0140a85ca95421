"""`mdn-cupy convert`: what it writes, prints and refuses."""

import re
import shlex
import sys

import h5py
import numpy as np
import pytest
import torch
from file_kinds import FAMILIES, written
from helpers import refuse, run_python, succeed

import mdn_cupy as mdn
from mdn_cupy.__main__ import main

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 2, 3, 4)).astype(np.float32)
LOCREF = RNG.normal(size=(5, 4, 3, 4)).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder, made the current one, with a video as a pose network writes it."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("run.h5", "w") as file:
        file["net/scmap"], file["net/locref"] = SCORES, LOCREF
    return tmp_path


DEEPLABCUT = shlex.split("--layout '(PC)HW' --scale 7.2801 --stride 8 --origin 4 --sigmoid")


def assert_converted(frames):
    assert len(frames) == 5
    for t, fields in enumerate(frames):
        np.testing.assert_allclose(fields.confidence, 1 / (1 + np.exp(-SCORES[t])), rtol=1e-5)
        offsets = 7.2801 * LOCREF[t].reshape(2, 2, 3, 4)
        np.testing.assert_allclose(fields.offsets, offsets, rtol=1e-6)
        assert (fields.stride, fields.origin, fields.sigma) == (8.0, 4.0, 5.0)
        assert fields.names == ("left paw", "right paw")


SETTINGS = [*DEEPLABCUT, "--sigma", "5", "--names", "left paw, right paw"]


def test_a_video_becomes_one_file(capsys, run):
    out = succeed(capsys, "convert", "run.h5", "-o", "run.mdn", *SETTINGS)
    assert_converted(mdn.open_fields("run.mdn"))
    assert out.startswith(
        "5 frames of 2 parts on 3 × 4, stride 8.0, origin 4.0: written to run.mdn"
    )
    assert out.count("\n") == 1


def test_a_video_becomes_a_folder_and_goes_on_where_it_stopped(capsys, run):
    out = succeed(capsys, "convert", "run.h5", "-o", "made/run/", *SETTINGS)
    assert "5 written to made/run/, 0 were there" in out
    assert_converted(mdn.open_fields("made/run"))
    for name in ("1.mdn", "4.mdn"):
        (run / "made" / "run" / name).unlink()
    kept = (run / "made" / "run" / "0.mdn").stat().st_mtime_ns
    assert "2 written to made/run/, 3 were there" in succeed(
        capsys, "convert", "run.h5", "-o", "made/run", *SETTINGS
    )
    assert (run / "made" / "run" / "0.mdn").stat().st_mtime_ns == kept
    assert_converted(mdn.open_fields("made/run"))


def test_some_frames_are_converted(capsys, run):
    succeed(capsys, "convert", "run.h5", "-o", "all.mdn", *SETTINGS)
    out = succeed(capsys, "convert", "run.h5", "-o", "some.mdn", *SETTINGS, "--frames", "1:3")
    assert out.startswith("2 frames of 2 parts")
    every, some = mdn.open_fields("all.mdn"), mdn.open_fields("some.mdn")
    for got, want in zip(some, every[1:3], strict=True):
        np.testing.assert_array_equal(got.confidence, want.confidence)
    succeed(capsys, "convert", "run.h5", "-o", "each/", *SETTINGS, "--frames", "3:")
    assert sorted(path.name for path in (run / "each").iterdir()) == ["3.mdn", "4.mdn"]
    succeed(capsys, "convert", "run.h5", "-o", "one.mdn", *SETTINGS, "--frames", "2")
    np.testing.assert_array_equal(mdn.load_fields("one.mdn").confidence, every[2].confidence)


def test_one_image_becomes_a_plain_file(capsys, run):
    scores = RNG.random((2, 3, 4), dtype=np.float32)
    torch.save({"a": torch.tensor(scores), "b": torch.tensor(LOCREF[0])}, "image.pt")
    names = ["--confidence", "a", "--offsets", "b", "--layout", "(CP)HW", "--order", "yx"]
    succeed(capsys, "convert", "image.pt", "-o", "image.mdn", *names)
    fields = mdn.load_fields("image.mdn")
    np.testing.assert_array_equal(fields.confidence, scores)
    np.testing.assert_array_equal(fields.offsets[:, 1], LOCREF[0, :2])
    with np.load("image.mdn", allow_pickle=False) as archive:
        assert "frames" not in archive


def test_an_adapter_is_found_by_its_name_and_takes_its_settings(capsys, run):
    settings = ["--stride", "8", "--sigmoid", "--names", "left paw, right paw", "--sigma", "5"]
    succeed(capsys, "convert", "run.h5", "-o", "run.mdn", "--from", "deeplabcut", *settings)
    assert_converted(mdn.open_fields("run.mdn"))
    settings = ["--stride", "8", "--no-sigmoid", "--set", "locref_std=2"]
    succeed(capsys, "convert", "run.h5", "-o", "run.mdn", "--from", "deeplabcut", *settings)
    np.testing.assert_array_equal(mdn.open_fields("run.mdn")[1].confidence, SCORES[1].clip(0, 1))
    np.testing.assert_array_equal(
        mdn.open_fields("run.mdn")[1].offsets, 2 * LOCREF[1].reshape(2, 2, 3, 4)
    )
    np.savez("maps.npz", semantic=np.ones((6, 3, 4)), offset=np.ones((2, 3, 4)))
    settings = ["--from", "panoptic_deeplab", "--set", "things=1,2"]
    assert "1 frame of 1 part on 3 × 4" in succeed(
        capsys, "convert", "maps.npz", "-o", "a.mdn", *settings
    )


def test_the_bar_counts_frames_on_a_terminal(run, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["convert", "run.h5", "-o", "run.mdn", *SETTINGS]) == 0
    assert re.search(r"\d+/5 ", capsys.readouterr().err)


def test_without_tqdm_there_is_no_bar(capsys, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    succeed(capsys, "convert", "run.h5", "-o", "run.mdn", *SETTINGS)
    assert_converted(mdn.open_fields("run.mdn"))


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        (["run.h5", "-o", "run.mdn"], "run.h5: layout 'PCHW' wants confidence (P, H, W)"),
        (["run.h5", "-o", "run.mdn", "--layout", "XY"], "layout must order"),
        (["run.h5", "-o", "run.mdn", "--confidence", "hm"], "run.h5: no array 'hm'; it holds net/"),
        (["run.h5", "-o", "run.npz", *SETTINGS], "run.npz: name a .mdn file, or a folder"),
        (["run.h5", "-o", "run.mdn", *SETTINGS, "--stride", "0"], "stride must be greater than 0"),
        (["run.h5", "-o", "none/run.mdn", *SETTINGS], "none/run.mdn: cannot be written"),
        (["hand.h5", "-o", "run.mdn"], "hand.h5: no such file"),
        (["run.h5", "-o", "a.mdn", "--set", "a=1"], "--set is for the settings of an adapter"),
        (
            ["run.h5", "-o", "a.mdn", "--from", "deeplabcut", "--origin", "4"],
            "deeplabcut takes no origin; its settings are stride, apply_sigmoid",
        ),
        (
            ["run.h5", "-o", "a.mdn", "--from", "deeplabcut", "--sigmoid"],
            "run.h5: deeplabcut needs stride; it holds net/locref",
        ),
        (
            ["run.h5", "-o", "a.mdn", "--from", "posenet", "--stride", "8"],
            "run.h5: posenet: wants heatmap (H, W, P)",
        ),
        (["*.pt", "-o", "made/"], "*.pt: no such file"),
        (["run.h5", "-o", "run.h5/", *SETTINGS], "run.h5: cannot be written (File exists)"),
        (["s3://a/b.npz", "-o", "a.mdn"], "path is a URL, s3://a/b.npz; name a file"),
        (
            ["run.h5", "-o", "a.mdn", "--from", "spotiflow", "--set", "image=1"],
            "spotiflow takes no image; its settings are sigma, names",
        ),
        (["run.h5", "-o", "a.mdn", "--layout", "(PC)HW"], "run.h5, frame 0: confidence: "),
        (["run.h5", "-o", "made/", "--layout", "(PC)HW"], "values outside [0, 1]"),
        (["run.h5", "-o", "a.mdn", "--layout", "(PC)HW"], "; for logits give --sigmoid"),
        ([".", "-o", "./"], "is what is read; name another folder"),
        (["run.h5", "-o", "a.mdn", *SETTINGS, "--scale", "1e300"], "values not finite"),
        (["run.h5", "-o", "a.mdn", *SETTINGS, "--frames", "9"], "--frames takes none of its 5"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_written(capsys, run, argv, fragment):
    before = set(run.rglob("*"))
    assert fragment in refuse(capsys, "convert", *argv)
    assert set(run.rglob("*")) == before


@pytest.mark.parametrize("text", ["a", "4,", "4,3,x", ""])
def test_what_is_no_number_is_refused(capsys, run, text):
    with pytest.raises(SystemExit):
        main(["convert", "run.h5", "-o", "a.mdn", "--stride", text])
    assert "--stride: give a number, or two with a comma" in capsys.readouterr().err


def test_a_reader_that_is_missing_is_a_refusal(capsys, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert 'pip install "mdn-cupy[io]"' in refuse(capsys, "convert", "run.h5", "-o", "run.mdn")


def examples_of_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    out = capsys.readouterr().out.replace("\\\n", " ")
    return [*map(shlex.split, re.findall(r"^ +mdn-cupy convert (.+)$", out, flags=re.MULTILINE))]


def test_the_help_teaches_by_examples_that_parse(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = examples_of_the_help(capsys)
    assert len(examples) > len(FAMILIES) + 3
    for example in examples:
        assert "no such file" in refuse(capsys, "convert", *example)


def test_the_help_has_an_example_of_every_adapter_that_converts(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapted = [example for example in examples_of_the_help(capsys) if "--from" in example]
    assert {argv[argv.index("--from") + 1] for argv in adapted} == set(FAMILIES)
    for _, *argv in adapted:
        family = argv[argv.index("--from") + 1]
        arrays, _ = written(family, most=4 if family == "centerface" else 2)
        called = [argv[argv.index(n) + 1] for n in ("--confidence", "--offsets") if n in argv]
        names = [*called, *list(arrays)[len(called) :]]
        np.savez("out.npz", **dict(zip(names, arrays.values(), strict=True)))
        assert "3 frames" in succeed(capsys, "convert", "out.npz", *argv)


def test_a_real_process_converts_and_votes(run):
    run_python("-m", "mdn_cupy", "convert", "run.h5", "-o", "run.mdn", *SETTINGS, cwd=run)
    assert_converted(mdn.open_fields(run / "run.mdn"))
