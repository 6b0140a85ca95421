"""Where fields come from: opened again, moved, written as JSON and as Python."""

import json
from dataclasses import replace
from functools import partial

import imageio.v3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mdn_viewer.core.code_export import loading, snippet
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session import VotingSession
from viewer_support import two_parts

import mdn_cupy as mdn


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of every kind that an origin may name; the second frame of each is half the first."""
    monkeypatch.chdir(tmp_path)
    fields = two_parts()
    half = replace(fields, confidence=fields.confidence / 2)
    mdn.save_fields("a.mdn", fields)
    mdn.save_fields("b.mdn", half)
    mdn.save_fields("video.mdn", [fields, half, fields])
    np.save("c.npy", fields.confidence)
    np.save("o.npy", fields.offsets[:, ::-1])
    imageio.v3.imwrite("x.tif", fields.image)
    rows, columns = fields.confidence.shape[1:]
    interleaved = fields.offsets.reshape(-1, rows, columns)
    np.savez("hand.npz", scoremap=fields.confidence, locref=interleaved / 7.2801)
    return tmp_path


DEEPLABCUT = partial(mdn.adapters.deeplabcut, stride=4, apply_sigmoid=False)
ORIGINS = [
    (Origin(("sample:delta",)), 0, "mdn.samples.load('delta')"),
    (Origin(("sample:delta",), {"sigma": 3.0}), 0, "replace(mdn.samples"),
    (Origin(("a.mdn",)), 0, "mdn.load_fields('a.mdn')"),
    (Origin(("video.mdn",)), 1, "mdn.open_fields('video.mdn')[1]"),
    (Origin(("a.mdn", "video.mdn", "b.mdn")), 2, "mdn.open_fields('video.mdn')[1]"),
    (Origin(("a.mdn", "video.mdn", "b.mdn")), 4, "mdn.load_fields('b.mdn')"),
    (Origin(("c.npy", "o.npy"), {"order": "yx", "stride": (4.0, 4.0)}), 0, "order='yx'"),
    (Origin(("o.npy", "c.npy"), {"order": "yx"}, "x.tif"), 0, "image=imread('x.tif')"),
    (Origin(("hand.npz",), {"adapter": DEEPLABCUT}), 0, "partial(mdn.adapters.deeplabcut"),
    (Origin(("a.mdn",), {"region": (slice(None, None, 2),) * 2}), 0, "slice(None, None, 2)"),
]


@pytest.mark.parametrize(("origin", "frame", "says"), ORIGINS)
def test_it_is_read_again_from_json_and_by_the_program(origin, frame, says, folder):
    fields = origin.frames()[frame]
    again = Origin.from_json(json.loads(json.dumps(origin.to_json())))
    assert loading(fields, again, frame) == loading(fields, origin, frame)
    session, left = VotingSession(fields, 0, 2.0), {}
    program = snippet(session, ["noisy_or"], loading(fields, again, frame))
    assert says in program
    exec(compile(program, "program.py", "exec"), left)
    np.testing.assert_array_equal(left["m"], session.vote(["noisy_or"])["noisy_or"].values)


def test_frames_of_several_files_are_one_sequence_that_reads_nothing(folder):
    frames = Origin.of(["a.mdn", "video.mdn", "b.mdn"], {}).frames()
    highest = [float(each.confidence.max()) for each in frames]
    assert len(frames) == 5
    assert highest == [highest[0] * x for x in (1, 1, 0.5, 1, 0.5)]
    (folder / "b.mdn").unlink()  # whose frame is read when it is asked for
    assert frames[-2].confidence.max() == highest[3]
    assert [each.confidence.max() for each in frames[1:3]] == highest[1:3]
    with pytest.raises(IndexError, match="no frame 5; there are 5"):
        frames[5]


def test_names_are_a_sample_or_files(folder):
    assert Origin.of(["pose"], {}).sample == "pose"
    assert not UNKNOWN
    with pytest.raises(ValueError, match="pose is a sample, and others are named too"):
        Origin.of(["pose", "a.mdn"], {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
parts = {"files": json_values, "reading": json_values, "image": json_values}


@given(json_values | st.fixed_dictionaries({}, optional=parts))
def test_any_json_is_an_origin_or_refused(value):
    try:
        found = Origin.from_json(value)
    except ValueError:
        return
    assert Origin.from_json(found.to_json()) == found


@pytest.mark.parametrize("adapter", ["os", {"name": "samples"}, {"name": ["posenet"]}, None])
def test_no_other_function_is_called(adapter):
    with pytest.raises(ValueError, match=r"^$"):
        Origin.from_json({"files": ["a.npz"], "reading": {"adapter": adapter}})
