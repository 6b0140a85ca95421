"""The programs of the gallery run, and find what their pictures show."""

import re
import runpy

import pytest
from helpers import ROOT, run_python

EXAMPLES = ROOT / "samples" / "examples"


def run(name, capsys, output, *arguments):
    """Run an example as the command line does; return what it prints."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](["-o", str(output), *arguments])
    assert output.read_bytes().startswith(b"\x89PNG")
    return capsys.readouterr().out


def test_each_example_is_in_the_gallery_and_has_its_picture():
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert sorted(re.findall(r'-- "samples/examples/(\w+)\.py"', gallery)) == names
    for name in names:
        assert (ROOT / "docs" / "images" / f"example-{name}.png").exists()


def test_first_votes(capsys, tmp_path):
    said = run("first_votes", capsys, tmp_path / "picture.png")
    assert "nose at x = 166.4, y = 95.0 with m = 1.000" in said


def test_own_file(capsys, tmp_path):
    said = run("own_file", capsys, tmp_path / "picture.png")
    mean, largest = map(float, re.findall(r"([\d.]+) px", said))
    assert mean < 0.8
    assert largest < 2


@pytest.mark.slow
def test_train_head(capsys, tmp_path):
    said = run("train_head", capsys, tmp_path / "picture.png")
    mean = float(re.search(r"mean error ([\d.]+) px", said)[1])
    assert mean < 1


def test_count_nuclei(capsys, tmp_path):
    said = run("count_nuclei", capsys, tmp_path / "picture.png")
    peaks, marks, matched = map(int, re.findall(r"(\d+) (?:peaks|nuclei|of them are)", said))
    assert (peaks, marks) == (64, 63)
    assert matched >= 61


def test_false_peak(capsys, tmp_path):
    said = run("false_peak", capsys, tmp_path / "picture.png")
    assert "peak at x = 276.0, y = 234.0: 1.0 effective voters" in said
    assert "the source in row 15, column 17 has 100% of it" in said


@pytest.mark.slow
@pytest.mark.window
def test_the_window_on_the_false_peak(qapp, tmp_path):
    picture = tmp_path / "window.png"
    script = EXAMPLES / "false_peak.py"
    run_python(str(script), "-o", str(tmp_path / "maps.png"), "--screenshot", str(picture))
    assert picture.stat().st_size > 50_000
