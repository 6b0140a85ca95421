"""The command line: what it writes and prints, and how it refuses."""

import argparse
import dataclasses
import os
import re
import resource
import shlex
from itertools import product

import matplotlib.image
import numpy as np
import pytest
from helpers import refuse, run_python, succeed

import mdn_cupy as mdn
from mdn_cupy import plotting
from mdn_cupy.__main__ import main
from mdn_cupy.commands import opening

SAMPLES = ", ".join(mdn.samples.names())
COMMANDS = ("info", "compare", "vote", "peaks", "instances", "convert")


def save(path, parts=2, sides=(6, 8), **more):
    rng = np.random.default_rng(0)
    fields = mdn.Fields(
        rng.random((parts, *sides)).astype(np.float32),
        rng.normal(size=(parts, 2, *sides)).astype(np.float32),
        **more,
    )
    mdn.save_fields(path, fields)
    return fields


# compare


def test_compare_draws_the_pose_and_prints_both_peaks(capsys, tmp_path):
    picture = tmp_path / "out.png"
    out = succeed(capsys, "compare", "pose", "--part", "nose", "--sigma", 8, "-o", picture)
    found = re.search(r"noisy-or peak (\S+) at row (\d+), column (\d+)", out)
    assert float(found[1]) >= 0.99
    assert np.hypot(int(found[2]) - 95, int(found[3]) - 167) <= 3
    assert float(re.search(r"additive peak (\S+) at", out)[1]) == pytest.approx(0.02, abs=0.002)
    assert str(picture) in out
    assert_shows_the_pose(matplotlib.image.imread(picture)[..., :3])


def assert_shows_the_pose(pixels):
    """Four panels from left to right: photograph, confidence, noisy-or and additive map."""
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 1200
    photograph, _, noisy_or, additive = np.array_split(pixels, 4, axis=1)
    assert len(np.unique(photograph.reshape(-1, 3), axis=0)) > 5000
    orange = (photograph[..., 0] > 0.7) & (photograph[..., 2] < 0.35)
    assert orange.mean() > 0.02  # the astronaut's suit
    for panel in (noisy_or, additive):  # magma: black where nothing votes, a bright spot
        assert (panel.max(axis=-1) < 0.1).mean() > 0.2
        bright = (panel[..., 0] > 0.95) & (np.abs(panel[..., 1] - 0.7) < 0.25)
        assert 20 < bright.sum() < 0.05 * bright.size
    assert np.abs(noisy_or - additive[:, : noisy_or.shape[1]]).mean() > 0.01


def test_every_panel_of_the_figure_shows_its_own_map():
    pose = mdn.samples.load("pose")
    votes = pose.votes("left eye", sigma=6.0)
    comparison = plotting.compare(votes)
    np.testing.assert_array_equal(comparison.noisy_or, votes.noisy_or())
    np.testing.assert_array_equal(comparison.additive, votes.additive())
    panels = [a for a in plotting.draw(pose, "left eye", comparison).axes if a.get_title()]
    wanted = (pose.image, pose.confidence[1], comparison.noisy_or, comparison.additive)
    for panel, name, values in zip(
        panels, ("image", "confidence", "noisy-or", "additive"), wanted, strict=True
    ):
        assert panel.get_title().startswith(name)
        np.testing.assert_array_equal(panel.images[0].get_array(), values)


def test_the_peaks_found_are_drawn_where_they_are(capsys, tmp_path):
    coins = mdn.samples.load("coins")
    comparison = plotting.compare(coins.votes())
    peaks = coins.votes().peaks(threshold=np.log(2))
    _, _, noisy_or, _ = (a for a in plotting.draw(coins, None, comparison).axes if a.get_title())
    drawn = noisy_or.lines[0].get_xydata()
    assert len(peaks) >= 24
    np.testing.assert_array_equal(drawn, np.stack([peaks.x, peaks.y], -1))
    out = succeed(capsys, "compare", "coins", "--part", "all", "-o", tmp_path / "a.png")
    assert f"peaks of at least 0.5: {len(peaks)}\n" in out
    empty = mdn.Fields(np.zeros((1, 4, 4)), np.zeros((1, 2, 4, 4)))
    assert not len(plotting.compare(empty.votes(0)).additive_peaks)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_compare_writes_what_the_name_says(capsys, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    succeed(capsys, "compare", "delta", "-o", output)
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert output.read_bytes().startswith(magic)
    assert [file.name for file in tmp_path.iterdir()] == [output.name]


def test_compare_draws_fields_without_an_image(capsys, tmp_path):
    fields = save(tmp_path / "a.mdn")
    out = succeed(capsys, "compare", tmp_path / "a.mdn", "--part", "1", "-o", tmp_path / "a.png")
    m = fields.votes(1).noisy_or()
    assert f"noisy-or peak {m.max():.4g}" in out
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0.05


def test_arrows_and_grid_of_a_figure_follow_stride_and_origin():
    pose = mdn.samples.load("pose")
    fields = dataclasses.replace(pose, image=None, stride=(16.0, 8.0), origin=(1.0, 2.0))
    drawn = plotting.draw(fields, "nose", plotting.compare(fields.votes("nose", sigma=8.0)))
    image, confidence = [axes for axes in drawn.axes if axes.get_title()][:2]
    assert confidence.images[0].get_extent() == [-2.0, 198.0, 393.0, -7.0]
    (arrows,) = (each for each in image.collections if hasattr(each, "XY"))
    assert set(arrows.XY[:, 0]) <= {2.0 + 8 * n for n in range(25)}
    assert set(arrows.XY[:, 1]) <= {1.0 + 16 * n for n in range(25)}


EVERYTHING = "lesion $\\frac$ \\$1 鼻 😀 a\nb \x1b x_1^2 %#&"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        *((name, "png") for name in ("from $5 to $6", "$", "\\$1", "a\nb")),
        *product(("", EVERYTHING, "\ud800"), ("png", "pdf", "svg")),
    ],
)
def test_names_of_parts_are_set_as_they_are(capsys, tmp_path, name, suffix):
    save(tmp_path / "a.mdn", parts=1, names=(name,))
    succeed(capsys, "compare", tmp_path / "a.mdn", "--part", 0, "-o", tmp_path / f"a.{suffix}")


def test_dollars_are_drawn_as_dollars():
    def drawn(name):
        fields = mdn.Fields(np.ones((1, 4, 4)), np.zeros((1, 2, 4, 4)), names=(name,))
        picture = plotting.draw(fields, 0, plotting.compare(fields.votes(0, sigma=1.0)))
        assert picture.get_suptitle() == f"{name}, σ = 1 px"
        title = picture.texts[0]
        picture.canvas.draw()
        return title.get_window_extent().width

    plain, mathematics = drawn("from 5 to 6"), drawn("from $5 to $6")
    assert mathematics > plain + 10  # two signs more, and blanks that mathtext would leave out


def test_characters_that_the_usual_font_lacks_come_from_one_that_has_them(monkeypatch):
    from matplotlib import font_manager, rcParams

    def has_sigma(family):
        path = font_manager.findfont(font_manager.FontProperties(family=[family]))
        return bool(font_manager.get_font(path).get_char_index(ord("σ")))

    monkeypatch.setitem(rcParams, "font.family", ["cmss10"])  # comes with matplotlib
    assert not has_sigma("cmss10")
    pose = mdn.samples.load("delta")
    picture = plotting.draw(pose, 0, plotting.compare(pose.votes(0, sigma=1.0)))
    usual, added = picture.texts[0].get_fontfamily()
    assert usual == "cmss10"
    assert has_sigma(added)
    assert not added.startswith("Last Resort")  # its σ is a box


# vote


@pytest.mark.parametrize("rule", ["noisy_or", "additive", "plain_sum", "evidence"])
def test_vote_writes_the_map_of_the_library(capsys, tmp_path, rule):
    path = tmp_path / "map.npy"
    succeed(capsys, "vote", "pose", "--part", "left eye", "--rule", rule, "--sigma", 5, "-o", path)
    want = getattr(mdn.samples.load("pose").votes("left eye", sigma=5.0), rule)()
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), want)
    assert want.max() > 0.01


def test_vote_by_default_is_the_noisy_or_of_the_first_part_at_the_files_sigma(capsys, tmp_path):
    succeed(capsys, "vote", "pose", "-o", tmp_path / "map.npy")
    pose = mdn.samples.load("pose")
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), pose.votes("nose").noisy_or())


def test_vote_of_all_parts_and_across_parts(capsys, tmp_path):
    path, pose = tmp_path / "map.npy", mdn.samples.load("pose")
    for argv, votes in (
        (["--part", "all"], pose.votes()),
        (["--part", "right wrist", "--cross"], pose.votes("right wrist", cross=True)),
        (["--part", "10", "--cross"], pose.votes(10, cross=True)),
    ):
        succeed(capsys, "vote", "pose", *argv, "-o", path)
        np.testing.assert_array_equal(np.load(path), votes.noisy_or())


@pytest.mark.parametrize(("text", "value"), [("12", 12.0), ("12,8.5", (12.0, 8.5))])
def test_stride_and_origin_take_the_place_of_the_files(capsys, tmp_path, text, value):
    path = tmp_path / "map.npy"
    succeed(capsys, "vote", "pose", "--stride", text, "--origin=" + text, "-o", path)
    pose = dataclasses.replace(mdn.samples.load("pose"), stride=value, origin=value)
    np.testing.assert_array_equal(np.load(path), pose.votes("nose").noisy_or())


@pytest.mark.slow
def test_widths_of_single_sources_are_used_and_said(capsys, tmp_path):
    sigma = np.linspace(1, 3, 96, dtype=np.float32).reshape(2, 6, 8)
    rng = np.random.default_rng(1)
    cross = rng.normal(size=(2, 2, 2, 6, 8)).astype(np.float32)
    fields = save(tmp_path / "a.mdn", sigma=sigma, cross_offsets=cross, output_shape=(9, 12))
    for argv, votes, widths, said in (
        (["--part", "1"], fields.votes(1), sigma[1], "2.01 to 3"),
        (["--part", "all"], fields.votes(), sigma, "1 to 3"),
        (["--part", "1", "--cross"], fields.votes(1, cross=True), sigma, "1 to 3"),
        (["--part", "1", "--sigma", "2"], fields.votes(1, sigma=2.0), 2.0, "2"),
    ):
        succeed(capsys, "vote", tmp_path / "a.mdn", *argv, "-o", tmp_path / "map.npy")
        np.testing.assert_array_equal(votes.sigma, widths)
        want = votes.noisy_or()
        assert want.shape == (9, 12)
        np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), want)
        out = succeed(capsys, "compare", tmp_path / "a.mdn", *argv, "-o", tmp_path / "map.png")
        assert f"sigma {said}\n" in out


def test_vote_reads_a_frame_of_any_layout(capsys, tmp_path):
    rng = np.random.default_rng(0)
    heatmap = rng.normal(size=(3, 6, 8, 2)).astype(np.float32)
    locref = rng.normal(size=(3, 6, 8, 4)).astype(np.float32)
    np.savez(tmp_path / "run.npz", heatmap=heatmap, locref=locref)
    given = ["--layout", "HW(CP)", "--order", "yx", "--scale", 4, "--sigmoid", "--stride", 4]
    common = [tmp_path / "run.npz", *given, "--names", "nose,tail", "--part", "tail"]
    path = tmp_path / "map.npy"
    succeed(capsys, "vote", *common, "--frames", 1, "-o", path)
    frames = mdn.open_fields(
        tmp_path / "run.npz", layout="HW(CP)", order="yx", scale=4, sigmoid=True, stride=4
    )
    np.testing.assert_array_equal(np.load(path), frames[1].votes(1).noisy_or())
    assert "there are 3; name one, such as --frames 0" in refuse(
        capsys, "vote", *common, "-o", path
    )


def test_a_part_that_is_called_all_is_one_part(capsys, tmp_path):
    pose = mdn.samples.load("pose")
    fields = dataclasses.replace(pose, names=(*pose.names[:-1], "all"))
    mdn.save_fields(tmp_path / "a.mdn", fields)
    path = tmp_path / "map.npy"
    succeed(capsys, "vote", tmp_path / "a.mdn", "--part", "all", "-o", path)
    np.testing.assert_array_equal(np.load(path), fields.votes("all").noisy_or())


def test_a_sample_goes_before_a_file_of_its_name_and_a_path_means_the_file(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fields = save(tmp_path / "pose")
    for name, want in (("pose", mdn.samples.load("pose")), ("./pose", fields)):
        succeed(capsys, "vote", name, "--part", "0", "-o", "map.npy")
        np.testing.assert_array_equal(np.load("map.npy"), want.votes(0).noisy_or())


@pytest.mark.parametrize("sides", [(0, 0), (0, 5), (1, 7)])
def test_votes_of_a_field_without_sources_or_rows(capsys, tmp_path, sides):
    save(tmp_path / "a.mdn", sides=sides)
    succeed(capsys, "vote", tmp_path / "a.mdn", "--part", "0", "-o", tmp_path / "map.npy")
    assert np.load(tmp_path / "map.npy").shape == sides


# Refusals

BAD = {
    "part": (["pose", "--part", "tail"], "no part 'tail'; the parts are nose, left eye"),
    "part number": (["pose", "--part", "17"], "no part '17'"),
    "missing file": (["hand.mdn"], f"hand.mdn: no such file; the samples are {SAMPLES}"),
    "folder": (["."], "holds files of several kinds, .mdn and .npy; give a pattern of one kind"),
    "text file": (["text.mdn"], "text.mdn: not a readable .mdn file"),
    "truncated file": (["torn.mdn"], "torn.mdn: not a readable .mdn file (cut off?)"),
    "no offsets": (["lone.mdn"], "offsets missing: give --offsets NAME; it holds"),
    "NaN offsets": (["hole.mdn"], "offsets: 1 of"),
    "no parts": (["none.mdn"], "at least one part"),
    "no cross offsets": (["coins", "--cross"], "cross_offsets"),
    "cross to all": (["pose", "--cross", "--part", "all"], "a part to vote for"),
    "sigma NaN": (["pose", "--sigma", "nan"], "sigma must be finite, got nan"),
    "sigma 0": (["pose", "--sigma", "0"], "sigma"),
    "sigma negative": (["pose", "--sigma", "-2"], "sigma"),
    "stride 0": (["pose", "--stride", "4,0"], "stride must be greater than 0"),
    "three strides": (["pose", "--stride", "4,3,2"], "a number or a pair of numbers (y, x)"),
    "sigma infinite": (["pose", "--sigma", "inf"], "sigma"),
    "no name": ([""], "path is empty; name a file"),
    "no source in the region": (["pose", "--region", "5:2,0:3"], "region must take a row and"),
    "a setting that is a word": (
        ["sea.npz", *["--from", "deeplabcut", "--stride", "8", "--set", "apply_sigmoid=false"]],
        "sea.npz: apply_sigmoid must be True or False, got 'false'",
    ),
}


@pytest.fixture
def bad_files(tmp_path, monkeypatch):
    """A folder, made the current one, with every kind of bad file and one of worth."""
    monkeypatch.chdir(tmp_path)
    fields = save(tmp_path / "torn.mdn")
    whole = (tmp_path / "torn.mdn").read_bytes()
    (tmp_path / "torn.mdn").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mdn").write_text("confidence, offsets\n")
    with (tmp_path / "lone.mdn").open("wb") as file:
        np.savez(file, confidence=fields.confidence)
    offsets = fields.offsets.copy()
    offsets[0, 0, 0, 0] = np.nan
    mdn.save_fields("hole.mdn", mdn.Fields(fields.confidence, offsets))
    with (tmp_path / "none.mdn").open("wb") as file:
        np.savez(file, confidence=fields.confidence[:0], offsets=fields.offsets[:0])
    np.savez("sea.npz", scoremap=np.zeros((2, 9, 9)), locref=np.zeros((4, 9, 9)))
    for suffix in ("png", "npy"):
        (tmp_path / f"precious.{suffix}").write_text("precious")
    return tmp_path


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(("command", "suffix"), [("compare", "png"), ("vote", "npy")])
@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_line_and_touches_nothing(
    capsys, bad_files, command, suffix, arguments, message
):
    before = contents(bad_files)
    for output in ("new", "precious"):
        assert message in refuse(capsys, command, *arguments, "-o", f"{output}.{suffix}")
    assert contents(bad_files) == before


@pytest.mark.parametrize(
    ("command", "output", "message"),
    [
        ("compare", "out.txt", "out.txt: name a .png, .pdf or .svg file"),
        ("compare", "out", "out: name a .png, .pdf or .svg file"),
        ("vote", "memory://out.npy", "memory://out.npy: a URL is for a .zarr store; name a .npy"),
        ("instances", "s3://a/out.npy", "s3://a/out.npy: a URL is for a .zarr store; name a .npy"),
        ("vote", "precious.png", "precious.png: name a .npy file"),
        ("compare", "no/out.png", "no/out.png: cannot be written"),
        ("vote", "no/out.npy", "no/out.npy: cannot be written"),
        ("compare", "text.mdn/out.png", "text.mdn/out.png: cannot be written"),
        ("vote", "text.mdn/out.npy", "text.mdn/out.npy: cannot be written"),
        ("compare", "folder.png", "folder.png: is a directory"),
        ("vote", "folder.npy", "folder.npy: is a directory"),
    ],
)
def test_an_output_that_cannot_be_is_refused(capsys, bad_files, command, output, message):
    before = contents(bad_files)
    for suffix in ("png", "npy"):
        (bad_files / f"folder.{suffix}").mkdir()
    limit = ["--threshold", "1"] if command == "instances" else []
    assert message in refuse(capsys, command, "delta", *limit, "-o", output)
    for suffix in ("png", "npy"):
        (bad_files / f"folder.{suffix}").rmdir()
    assert contents(bad_files) == before


@pytest.mark.parametrize(
    ("command", "output", "message"),
    [
        *(
            (each, "", "it is empty; name a file")
            for each in ("vote", "compare", "peaks", "instances", "convert")
        ),
        ("peaks", "s3://a/out.csv", "name a file, not a URL: s3://a/out.csv"),
        ("compare", "s3://a/out.png", "name a file, not a URL: s3://a/out.png"),
        ("convert", "s3://a/", "name a file, not a URL: s3://a/"),
    ],
)
def test_an_output_is_a_named_file(capsys, command, output, message):
    limit = ["--threshold", "1"] if command in ("peaks", "instances") else []
    with pytest.raises(SystemExit) as ended:
        main([command, "delta", *limit, "-o", output])
    assert ended.value.code == 2
    assert f"argument -o/--output: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "suffix"), [("compare", "png"), ("vote", "npy")])
def test_a_folder_without_permission_is_refused(capsys, bad_files, monkeypatch, command, suffix):
    really_open = os.open

    def refuse_to_make(path, *how, **more):
        if str(bad_files) in str(path):
            raise PermissionError(13, "Permission denied")
        return really_open(path, *how, **more)

    before = contents(bad_files)
    monkeypatch.setattr(os, "open", refuse_to_make)
    line = refuse(capsys, command, "delta", "-o", f"precious.{suffix}")
    assert f"precious.{suffix}: cannot be written (Permission denied)" in line
    assert contents(bad_files) == before


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("compare", "precious.png"),
        ("vote", "precious.npy"),
        ("convert", "precious.mdn"),
        ("instances", "precious.npy"),
        ("instances", "precious.tif"),
        ("peaks", "precious.csv"),
    ],
)
def test_a_full_disk_is_said_with_the_file_and_leaves_the_old_one(
    capsys, tmp_path, monkeypatch, command, output
):
    monkeypatch.chdir(tmp_path)
    limits = {"peaks": ["--threshold", "0.001"], "instances": ["--threshold", "1"]}
    line = [command, "delta", *limits.get(command, []), "-o", output]
    succeed(capsys, *line)  # and compile what writes to the disk itself
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        said = refuse(capsys, *line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    name = f"{output}.partial" if command == "peaks" else output
    assert re.search(rf"{re.escape(name)}: cannot be written \((File too large|a full disk)", said)
    assert {n: x for n, x in contents(tmp_path).items() if "partial" not in n} == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sgima", "3"], "unrecognized arguments: --sgima 3; did you mean --sigma?"),
        (["--sgima=3"], "unrecognized arguments: --sgima=3; did you mean --sigma?"),
        (["more.npz"], "unrecognized arguments: more.npz"),
    ],
)
def test_an_unknown_option_is_refused_by_its_command(capsys, given, said):
    with pytest.raises(SystemExit):
        main(["vote", "delta", *given, "-o", "a.npy"])
    assert capsys.readouterr().err.endswith(f"mdn-cupy vote: error: {said}\n")


@pytest.mark.parametrize(
    "given", [["--origin", "-3,-4"], ["--origin=-3,-4"], ["--origin", "-3,-4", "--frames", "-1:"]]
)
def test_a_value_may_begin_with_a_minus(capsys, tmp_path, given):
    succeed(capsys, "vote", "delta", *given, "-o", tmp_path / "a.npy")
    fields = mdn.samples.load("delta")
    votes = fields.votes(fields.names[0]).replace(origin=(-3, -4))
    assert np.array_equal(np.load(tmp_path / "a.npy"), votes.noisy_or())


@pytest.mark.parametrize("argv", [[], ["dance"], ["vote", "pose"], ["vote", "pose", "-o"]])
def test_a_command_that_is_incomplete_ends_with_status_2(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage: mdn-cupy" in capsys.readouterr().err


# Every option of how a file is read, with a value that the file below takes.
READING = {
    "--from": "deeplabcut --stride 2 --sigmoid",
    "--set": "locref_std=2 --from deeplabcut --stride 2 --sigmoid",
    "--confidence": "scores",
    "--offsets": "shifts",
    "--order": "yx",
    "--layout": "(PC)HW",
    "--stride": "2,3",
    "--origin": "1,2",
    "--sigma": "3",
    "--names": "left,right",
    "--sigmoid": "",
    "--scale": "2,3",
    "--region": "0:4,::2",
}
OUTPUTS = {
    "compare": "a.png",
    "vote": "a.npy",
    "peaks": "a.csv --threshold 1",
    "instances": "a.npy --threshold 1",
    "convert": "a.mdn",
}


def test_there_is_a_value_for_every_option_of_reading():
    parser = argparse.ArgumentParser(add_help=False)
    opening.add_reading_to(parser)
    assert [action.option_strings[0] for action in parser._actions] == list(READING)


@pytest.mark.parametrize("option", READING)
@pytest.mark.parametrize("command", OUTPUTS)
def test_every_command_takes_every_option_of_reading(
    capsys, tmp_path, monkeypatch, command, option
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("a.npz", scores=rng.random((2, 6, 8)), shifts=rng.normal(size=(4, 6, 8)))
    named = {"--confidence": "scores", "--offsets": "shifts"}
    if "deeplabcut" not in READING[option]:
        named["--layout"] = "(PC)HW"
    given = [f"{name} {value}" for name, value in {**named, option: READING[option]}.items()]
    succeed(capsys, *shlex.split(f"{command} a.npz {' '.join(given)} -o {OUTPUTS[command]}"))
    assert len(list(tmp_path.iterdir())) == 2


# info, help, a real process


def test_info_says_of_every_backend_whether_it_works(capsys):
    lines = succeed(capsys, "info").splitlines()
    for backend in ("cpu", "cuda", "torch", "viewer"):
        (line,) = (line for line in lines if line.split()[0] == backend)
        assert re.search(r"\bworks: |\bnot here: \S", line)
    assert any("works: Numba" in line for line in lines)
    assert SAMPLES in lines[-1]


def test_info_says_what_a_file_holds(capsys, tmp_path):
    arrays = {"scoremap": np.zeros((5, 6, 7)), "x": np.zeros((9, 2), np.float32)}
    np.savez(tmp_path / "run.npz", **arrays, stride=4.0)
    first, *lines = succeed(capsys, "info", tmp_path / "run.npz").splitlines()
    assert first == f"{tmp_path / 'run.npz'} holds"
    assert [line.split() for line in lines] == [
        ["scoremap", "float64", "[5,", "6,", "7]", "confidence"],
        ["x", "float32", "[9,", "2]"],
        ["stride", "float64", "[]"],
        ["name", "the", "offsets", "by", "--offsets", "NAME"],
        ["settings:", "stride"],
    ]
    assert SAMPLES in refuse(capsys, "info", "nowhere.npz")
    np.savez(tmp_path / "none.npz")
    path = tmp_path / "none.npz"
    assert succeed(capsys, "info", path) == f"{path} holds no array\n"


def test_commands_on_a_zarr_group_import_no_cupy(tmp_path):
    """Zarr imports CuPy where it can, and CUDA's libraries with it: 230 MB."""
    code = """
import sys
from mdn_cupy.__main__ import main
assert main(["peaks", sys.argv[1], "--layout", "CHW", "--threshold", "1", "-o", "o.csv"]) == 0
assert "zarr" in sys.modules
print([name for name in sys.modules if name.startswith("cupy")])
"""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("confidence", data=np.full((4, 5), 0.9))
    group.create_array("offsets", data=np.zeros((2, 4, 5)))
    out = run_python("-c", code, tmp_path / "a.zarr", cwd=tmp_path)
    assert out.splitlines()[-1] == "[]"


def test_the_examples_of_the_help_work(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["--help"])
    examples = re.findall(r"^  mdn-cupy (.+)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        succeed(capsys, *shlex.split(example))
    assert len(list(tmp_path.iterdir())) == sum("-o" in example for example in examples)


@pytest.mark.parametrize("argv", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_is_there_for_every_command(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: mdn-cupy")
    if argv == ["--help"]:
        assert all(command in out for command in COMMANDS)


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"mdn-cupy {mdn.__version__}\n"


def test_a_real_process_votes_and_one_refuses(tmp_path):
    out = run_python("-m", "mdn_cupy", "vote", "delta", "-o", "map.npy", cwd=tmp_path)
    assert "map.npy" in out
    assert np.load(tmp_path / "map.npy").shape == (64, 64)
    refused = run_python(
        "-m", "mdn_cupy", "vote", "hand.mdn", "-o", "x.npy", cwd=tmp_path, status=2
    )
    assert refused.startswith("mdn-cupy: hand.mdn: no such file")
    assert refused.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["map.npy"]


def test_vote_and_compare_name_the_same_peak(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["vote", "pose", "--sigma", "8", "-o", "map.npy"]) == 0
    assert main(["compare", "pose", "--sigma", "8", "-o", "map.png"]) == 0
    voted, compared = capsys.readouterr().out.split("written to map.npy")
    assert "peak 1 at row 95, column 166" in voted
    assert "noisy-or peak 1 at row 95, column 166" in compared
