"""`mdn-cupy peaks` and `mdn-cupy instances`: what they write, how they go on, what they refuse."""

import csv
import json
import re
import shlex
import signal
import tracemalloc

import numpy as np
import pytest
import tifffile
from helpers import refuse, run_python, succeed

import mdn_cupy as mdn
from mdn_cupy.__main__ import main
from mdn_cupy.commands import voting

COLUMNS = ["frame", "part", "x", "y", "score", "evidence", "xx", "xy", "yy", "voters"]
SPACED = ["--threshold", "1", "--min-distance", "4"]


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def video(frames=5, parts=2, sides=(9, 11)):
    """Frames in which votes agree in places of their own."""
    rng = np.random.default_rng(0)
    for _ in range(frames):
        yield mdn.Fields(
            rng.uniform(0.2, 0.9, (parts, *sides)).astype(np.float32),
            rng.normal(0, 1, (parts, 2, *sides)).astype(np.float32),
            sigma=1.0,
            names=[f"part, {n}\n" for n in range(parts)],
        )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder, made the current one, with a video."""
    monkeypatch.chdir(tmp_path)
    mdn.save_fields("run.mdn", video())
    return tmp_path


def assert_the_peaks_of_the_video(rows):
    want = []
    for t, fields in enumerate(video()):
        votes = mdn.Votes(fields.confidence, fields.offsets, 1.0)
        peaks = votes.peaks(threshold=1.0, min_distance=4)
        assert len(peaks) > 2
        want += [
            (t, fields.names[m], x, voters)
            for m, x, voters in zip(peaks.map, peaks.x, peaks.voters, strict=True)
        ]
    got = [(int(r["frame"]), r["part"], float(r["x"]), float(r["voters"])) for r in rows]
    assert got == want


def test_a_table_has_the_peaks_of_every_frame_and_part(capsys, run):
    out = succeed(capsys, "peaks", "run.mdn", *SPACED, "-o", "a.csv")
    rows = table(run / "a.csv")
    assert list(rows[0]) == COLUMNS
    assert_the_peaks_of_the_video(rows)
    said = re.fullmatch(r"(\d+) peaks in 5 frames, (\d+) to (\d+) a frame: written to a.csv\n", out)
    assert int(said[1]) == len(rows)
    succeed(capsys, "peaks", "run.mdn", *SPACED, "-o", "a.json")
    records = json.loads((run / "a.json").read_text())
    assert list(records[0]) == COLUMNS
    assert_the_peaks_of_the_video(records)
    assert {path.name for path in run.iterdir()} == {"run.mdn", "a.csv", "a.json"}


def test_24_coins_by_one_command(capsys, tmp_path):
    argv = ("peaks", "coins", "--part", "all", "--threshold", 4.6, "-o", tmp_path / "coins.csv")
    assert succeed(capsys, *argv).startswith("24 peaks in 1 frame: written to ")
    assert {row["part"] for row in table(tmp_path / "coins.csv")} == {"all"}


@pytest.mark.parametrize(
    ("argv", "find"),
    [
        ("--part nose --sigma 4", lambda p: p.votes("nose", sigma=4.0).peaks(threshold=2.3)),
        (
            "--part 0 --cross --rule plain_sum --border 30 --max-peaks 2",
            lambda p: p.votes(0, cross=True).peaks(
                threshold=2.3, rule="plain_sum", border=30, max_peaks=2
            ),
        ),
        (
            "--cross",
            lambda p: mdn.Votes(
                p.confidence, p.cross_offsets, p.sigma, aggregate=1, **p.geometry
            ).peaks(threshold=2.3),
        ),
    ],
)
def test_the_votes_are_those_of_the_options(capsys, tmp_path, argv, find):
    output = tmp_path / "pose.csv"
    succeed(capsys, "peaks", "pose", "--threshold", 2.3, *shlex.split(argv), "-o", output)
    peaks, rows = find(mdn.samples.load("pose")), table(output)
    assert len(peaks) >= 1
    assert [float(row["x"]) for row in rows] == peaks.x.tolist()
    assert [float(row["evidence"]) for row in rows] == peaks.evidence.tolist()


def test_no_peaks_are_a_table_without_rows(capsys, run):
    succeed(capsys, "peaks", "run.mdn", "--threshold", 1e5, "-o", "a.csv")
    assert table(run / "a.csv") == []
    succeed(capsys, "peaks", "run.mdn", "--threshold", 1e5, "-o", "a.json")
    assert json.loads((run / "a.json").read_text()) == []


@pytest.mark.parametrize(
    ("span", "numbers"),
    [
        ("1:3", [1, 2]),
        ("3", [3]),
        ("-1", [4]),
        (":2", [0, 1]),
        ("::2", [0, 2, 4]),
        ("4:1:-1", [4, 3, 2]),
    ],
)
def test_some_frames_keep_their_numbers(capsys, run, span, numbers):
    succeed(capsys, "peaks", "run.mdn", *SPACED, "-o", "all.csv")
    every = table(run / "all.csv")
    want = [row for number in numbers for row in every if int(row["frame"]) == number]
    succeed(capsys, "peaks", "run.mdn", *SPACED, f"--frames={span}", "-o", "a.csv")
    assert table(run / "a.csv") == want != []
    succeed(capsys, "instances", "run.mdn", *SPACED, "-o", "all.npy")
    succeed(capsys, "instances", "run.mdn", *SPACED, f"--frames={span}", "-o", "a.npy")
    np.testing.assert_array_equal(np.load("a.npy"), np.load("all.npy")[numbers].squeeze())


# Going on


def stopped_at(monkeypatch, number):
    """Let the search be interrupted in a frame, and list the frames that are searched."""
    searched, find = [], voting.find

    def interrupted(fields, arguments):
        searched.append(fields)
        if len(searched) == number:
            raise KeyboardInterrupt
        return find(fields, arguments)

    monkeypatch.setattr(voting, "find", interrupted)
    return searched


@pytest.mark.parametrize("torn", [b"", b'{"frame": [3, 3], "part": ["part'])
def test_a_run_that_was_stopped_goes_on_where_it_stopped(capsys, run, monkeypatch, torn):
    argv = ["peaks", "run.mdn", *SPACED, "-o", "a.csv"]
    with monkeypatch.context() as patch:
        stopped_at(patch, 4)
        assert main(argv) == 130
    assert sorted(path.name for path in run.iterdir()) == ["a.csv.partial", "run.mdn"]
    with (run / "a.csv.partial").open("ab") as file:
        file.write(torn)
    searched = stopped_at(monkeypatch, 99)
    capsys.readouterr()
    assert "(3 frames had been done)" in succeed(capsys, *argv)
    assert len(searched) == 2
    assert_the_peaks_of_the_video(table(run / "a.csv"))
    assert not (run / "a.csv.partial").exists()


KILLED = """
import os, signal, sys
from mdn_cupy.__main__ import main
from mdn_cupy.commands import voting

found, find = [], voting.find

def killed(fields, arguments):
    found.append(fields)
    if len(found) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return find(fields, arguments)

voting.find = killed
main(sys.argv[1:])
"""


def test_a_run_that_was_killed_goes_on_to_the_same_table(capsys, run):
    options = ["peaks", "run.mdn", *SPACED, "-o"]
    succeed(capsys, *options, "whole.csv")
    run_python("-c", KILLED, *options, "a.csv", status=-signal.SIGKILL, cwd=run)
    assert not (run / "a.csv").exists()
    assert "(3 frames had been done)" in succeed(capsys, *options, "a.csv")
    assert (run / "a.csv").read_bytes() == (run / "whole.csv").read_bytes()
    assert not (run / "a.csv.partial").exists()


@pytest.mark.parametrize("other", [["--threshold", "2"], [*SPACED, "--frames", "0:5"]])
def test_with_other_settings_it_begins_again(capsys, run, monkeypatch, other):
    with monkeypatch.context() as patch:
        stopped_at(patch, 4)
        assert main(["peaks", "run.mdn", *other, "-o", "a.csv"]) == 130
    capsys.readouterr()
    assert "had been done" not in succeed(capsys, "peaks", "run.mdn", *SPACED, "-o", "a.csv")
    assert_the_peaks_of_the_video(table(run / "a.csv"))


def test_what_is_stopped_in_its_first_frame_leaves_nothing(run, monkeypatch):
    stopped_at(monkeypatch, 1)
    assert main(["peaks", "run.mdn", *SPACED, "-o", "a.csv"]) == 130
    assert [path.name for path in run.iterdir()] == ["run.mdn"]


@pytest.mark.slow
def test_many_frames_take_the_memory_of_few(capsys, run):
    mdn.save_fields("long.mdn", video(frames=300, parts=1, sides=(5, 6)))
    peaks = {}
    for frames in ("run.mdn", "long.mdn", "run.mdn", "long.mdn"):
        tracemalloc.start()
        succeed(capsys, "peaks", frames, "--threshold", 1, "-o", "a.csv")
        peaks[frames] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["long.mdn"] < peaks["run.mdn"] + 200_000  # 300 frames hold 270 kB, and their rows


# instances


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_labels_of_every_frame_are_those_of_the_library(capsys, run, suffix):
    read = np.load if suffix == "npy" else tifffile.imread
    argv = ("instances", "run.mdn", *SPACED, "--radius", 2, "-o", f"a.{suffix}")
    assert "in 5 frames: labels [5, 2, 9, 11] written to" in succeed(capsys, *argv)
    got = read(run / f"a.{suffix}")
    assert (got.shape, got.dtype) == ((5, 2, 9, 11), np.int32)
    for labels, fields in zip(got, video(), strict=True):
        votes = mdn.Votes(fields.confidence, fields.offsets, 1.0)
        want, _ = votes.instances(votes.peaks(threshold=1.0, min_distance=4), radius=2)
        np.testing.assert_array_equal(labels, want)
        assert want.any()


def test_labels_of_one_map_are_a_picture(capsys, tmp_path):
    argv = ("instances", "pose", "--part", "nose", "--threshold", 4.6, "-o", tmp_path / "a.npy")
    assert "1 instance in 1 frame: labels [25, 25]" in succeed(capsys, *argv)
    assert np.unique(np.load(tmp_path / "a.npy")).tolist() == [0, 1]


# What is refused


@pytest.mark.parametrize("command", ["peaks", "instances"])
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("run.mdn --threshold 1 -o a.txt", "a.txt: name a ."),
        ("run.mdn --threshold 0 -o OUT", "threshold must be greater than 0, which is the evidence"),
        ("run.mdn --threshold nan -o OUT", "threshold must be greater than 0"),
        ("run.mdn --threshold 1 --min-distance -1 -o OUT", "min_distance must not be negative"),
        (
            "run.mdn --threshold 1 --frames 5: -o OUT",
            "run.mdn: --frames takes none of its 5 frames",
        ),
        ("run.mdn --threshold 1 --part tail -o OUT", "no part 'tail'"),
        ("run.mdn --threshold 1 --cross -o OUT", "needs a field set with cross_offsets"),
        ("run.mdn --threshold 1 --sigma -2 -o OUT", "sigma must be greater than 0"),
        ("nowhere.mdn --threshold 1 -o OUT", "nowhere.mdn"),
        ("bad.mdn --threshold 1 -o OUT", "bad.mdn, frame 0: confidence"),
        ("run.mdn --threshold 1 -o nowhere/OUT", "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(capsys, run, command, argv, message):
    mdn.save_fields("bad.mdn", mdn.Fields(np.full((1, 3, 4), 7.0), np.zeros((1, 2, 3, 4))))
    argv = argv.replace("OUT", {"peaks": "a.csv", "instances": "a.npy"}[command])
    assert message in refuse(capsys, command, *shlex.split(argv))
    assert {path.name for path in run.iterdir()} == {"run.mdn", "bad.mdn"}


@pytest.mark.parametrize("span", ["a", "1:b", "1:2:0", "1:2:3:4", "", "1.5"])
def test_a_span_that_is_none_is_refused(capsys, run, span):
    with pytest.raises(SystemExit):
        main(["peaks", "run.mdn", *SPACED, "--frames", span, "-o", "a.csv"])
    assert "give A:B, A:B:STEP or a number, such as 100:200, not" in capsys.readouterr().err


def test_frames_of_other_sizes_are_refused_for_labels(capsys, run):
    (run / "frames").mkdir()
    for n, sides in enumerate([(4, 5), (4, 6)]):
        mdn.save_fields(run / "frames" / f"{n}.mdn", *video(1, 1, sides))
    said = refuse(capsys, "instances", "frames", "--threshold", 1, "-o", "a.tif")
    assert "frame 1: its labels have the shape (4, 6), those before it (4, 5)" in said
    assert not (run / "a.tif").exists()


def test_every_example_of_the_help_is_a_command_line(capsys):
    from mdn_cupy.program import _parser

    for command in ("peaks", "instances"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        examples = capsys.readouterr().out.partition("examples:")[2].replace("\\\n", "")
        lines = re.findall(r"^ +mdn-cupy (.+)$", examples, re.MULTILINE)
        assert len(lines) >= 2
        for line in lines:
            assert _parser().parse_args(shlex.split(line)).threshold > 0
