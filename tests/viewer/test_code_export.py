"""The program that the viewer writes: it runs, and computes the maps to the bit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer.core.code_export import loading, snippet
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session import ALL, KINDS, VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn

NAMES = {"noisy_or": "m", "additive": "s", "difference": "difference", "evidence": "evidence"}


def run(program, folder, monkeypatch):
    """Execute a program in a folder: the names that it leaves."""
    monkeypatch.chdir(folder)
    left = {}
    exec(compile(program, "snippet.py", "exec"), left)
    return left


@pytest.mark.parametrize("kinds", [("noisy_or", "additive"), KINDS, ("evidence",), ("difference",)])
@pytest.mark.parametrize(
    "session",
    [
        VotingSession(mdn.samples.load("pose"), "nose", 8.0),
        VotingSession(mdn.samples.load("pose"), "right wrist", 7.3, cross=True),
        VotingSession(
            mdn.samples.load("delta"), ALL, 0.1 + 0.2, sum_rule="plain_sum", truncate=2.5
        ),
        VotingSession(mdn.samples.load("delta"), "delta", 1.0, truncate=math.inf),
    ],
    ids=["own", "cross", "all", "whole map"],
)
def test_it_computes_the_maps_to_the_bit(session, kinds, tmp_path, monkeypatch):
    name = "delta" if "delta" in session.fields.names else "pose"
    found = loading(session.fields, Origin((f"sample:{name}",)))
    assert found == f"mdn.samples.load('{name}')"
    left = run(snippet(session, kinds, found), tmp_path, monkeypatch)
    for kind, vote_map in session.vote(kinds).items():
        np.testing.assert_array_equal(left[NAMES[kind]], vote_map.values)


def test_it_loads_the_file_that_the_fields_came_from(tmp_path, monkeypatch):
    path = tmp_path / "a hand's.mdn"
    mdn.save_fields(path, two_parts())
    session = VotingSession(mdn.load_fields(path), "right", 1.5)
    left = run(
        snippet(session, ["additive"], loading(session.fields, Origin((str(path),)))),
        tmp_path,
        monkeypatch,
    )
    np.testing.assert_array_equal(left["s"], session.vote()["additive"].values)


def test_fields_that_are_in_no_file_are_to_be_saved_first(tmp_path, monkeypatch, capsys):
    session = VotingSession(two_parts(), "left", 2.0)
    program = snippet(session)
    assert "save them as fields.mdn first" in program
    mdn.save_fields(tmp_path / "fields.mdn", session.fields)
    left = run(program, tmp_path, monkeypatch)
    np.testing.assert_array_equal(left["m"], session.vote()["noisy_or"].values)
    assert capsys.readouterr().out.split() == [str(left[name].max()) for name in "ms"]


def test_an_origin_is_not_taken_at_its_word(tmp_path):
    path, fields = tmp_path / "hand.mdn", two_parts()
    origin = Origin((str(path),))
    for other in (origin, UNKNOWN, Origin(("sample:pose",)), Origin(("sample:nothing",))):
        assert loading(fields, other) is None
    mdn.save_fields(path, fields)
    assert loading(fields, origin) == f"mdn.load_fields({str(path)!r})"
    assert loading(replace(fields, sigma=7.0), origin) is not None  # the program has its own
    assert loading(fields, origin, 1) is None  # no such frame
    changed = fields.confidence.copy()
    changed[1, 2, 3] += 1e-6
    assert loading(replace(fields, confidence=changed), origin) is None
    assert loading(replace(fields, stride=3.0), origin) is None
    path.write_text("no archive")
    assert loading(fields, origin) is None


def test_parts_of_the_same_name_are_told_apart():
    twins = two_parts(names=("left", "left"))
    assert "fields.votes('left', sigma=2.0)" in snippet(VotingSession(twins, 0, 2.0))
    assert "fields.votes(1, sigma=2.0)" in snippet(VotingSession(twins, 1, 2.0))
