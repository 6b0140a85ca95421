"""What two arrays of unknown layout are taken for: axes, grid, order of components."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mdn_viewer.core import layout_guess
from mdn_viewer.core.file_guess import guess

import mdn_cupy as mdn
from mdn_cupy.io import Layout

N, P, H, W = 3, 4, 6, 8

# Fifteen layouts that networks and their users write, and how each may be read.
PLAUSIBLE = {
    "its own": ((P, H, W), (P, 2, H, W), ["PCHW"]),
    "one map": ((H, W), (2, H, W), ["CHW"]),
    "one map, components last": ((H, W), (H, W, 2), ["HWC"]),
    "one map among several axes": ((H, W), (1, 2, H, W), ["HW PCHW"]),
    "components first": ((P, H, W), (2, P, H, W), ["CPHW"]),
    "components last": ((P, H, W), (P, H, W, 2), ["PHWC", "HWPC"]),
    "channels last": ((H, W, P), (H, W, P, 2), ["PHWC", "HWPC"]),
    "channels last, components before": ((H, W, P), (H, W, 2, P), ["HWCP"]),
    "channels last of one": ((H, W, P), (P, 2, H, W), ["HWP PCHW"]),
    "2P channels": ((P, H, W), (2 * P, H, W), ["(PC)HW", "(CP)HW"]),
    "2P channels last": ((H, W, P), (H, W, 2 * P), ["HW(PC)", "HW(CP)"]),
    "a batch of one": ((1, P, H, W), (1, P, 2, H, W), ["PCHW"]),
    "frames of 2P channels": ((N, P, H, W), (N, 2 * P, H, W), ["(PC)HW", "(CP)HW"]),
    "shared by all parts": ((P, H, W), (2, H, W), ["PHW CHW"]),
    "rows and columns exchanged": ((P, H, W), (P, 2, W, H), ["PHW PCWH"]),
}


@pytest.mark.parametrize(("confidence", "offsets", "texts"), PLAUSIBLE.values(), ids=PLAUSIBLE)
def test_a_layout_is_read_or_those_that_it_could_be_are_told(confidence, offsets, texts, tmp_path):
    fitting = layout_guess.layouts(confidence, offsets)
    assert [layout.text for layout in fitting] == texts
    np.savez(tmp_path / "x.npz", confidence=np.zeros(confidence), offsets=np.zeros(offsets))
    for text in texts:
        frames = mdn.open_fields(tmp_path / "x.npz", layout=text)
        assert frames[0].offsets.shape[1] == 2
    if texts[0] not in ("PCHW", "CHW"):
        with pytest.raises(ValueError, match="wants confidence") as caught:
            mdn.open_fields(tmp_path / "x.npz")
        assert all(repr(text) in str(caught.value) for text in texts)


@st.composite
def written(draw):
    """Fields and a layout that they are written in."""
    p, h, w = (draw(st.integers(1, 5)) for _ in range(3))
    text = draw(st.sampled_from(["PCHW", "CPHW", "(PC)HW", "(CP)HW", "HWPC", "HWCP", "HW(PC)"]))
    rng = np.random.default_rng(p * 25 + h * 5 + w)
    return text, rng.random((p, h, w)), rng.normal(size=(p, 2, h, w))


@given(written())
def test_a_layout_in_which_fields_were_written_is_among_those_that_fit(case):
    text, confidence, offsets = case
    channels = {"PCHW": "pchw", "CPHW": "cphw", "(PC)HW": "pchw", "(CP)HW": "cphw"}
    order = channels.get(text, text.replace("(", "").replace(")", "").lower())
    o = np.einsum(f"pchw->{order}", offsets)
    c = np.einsum(f"phw->{order.replace('c', '')}", confidence)
    if "(" in text:
        at = text.index("(")
        o = o.reshape(*o.shape[:at], -1, *o.shape[at + 2 :])
    same = []
    for layout in layout_guess.layouts(c.shape, o.shape):
        (got,) = mdn.open_fields({"confidence": c, "offsets": o}, layout=layout.text)
        same.append(
            got.confidence.shape == confidence.shape and np.array_equal(got.offsets, offsets)
        )
    assert any(same)


def test_the_evidence_tells_the_order_of_parts_and_of_components():
    fields = mdn.samples.load("pose")
    o = fields.offsets[:, ::-1].reshape(-1, *fields.offsets.shape[2:])  # y, x of each part in turn
    fitting = layout_guess.layouts(fields.confidence.shape, o.shape)
    scored = layout_guess.compare(fields.confidence, o, fitting, stride=16)
    assert (scored[0].layout.text, scored[0].order) == ("(PC)HW", "yx")
    assert scored[0].evidence > scored[1].evidence
    assert len(scored) == 4


def test_integers_are_compared_as_well():
    fields = mdn.samples.load("pose")
    whole = np.rint(fields.offsets).astype(np.int16)
    scored = layout_guess.compare(fields.confidence, whole[:, ::-1], [Layout("PCHW")], stride=16)
    assert scored[0].order == "yx"


def test_one_part_of_one_row_is_no_column():
    fitting = Layout.fitting((1, 2, 1), (1, 2, 1, 2))
    assert (1, 2) in {layout.grid((1, 2, 1)) for layout in fitting}


def test_offsets_in_cells_of_an_oblong_grid(tmp_path):
    o = np.ones((2, 2, 6, 8), np.float32)
    np.savez(tmp_path / "a.npz", heatmap=np.full((2, 6, 8), 0.5), offset=o)
    guessed = guess(tmp_path / "a.npz")
    cells = replace(guessed.reading, coarse=True, scale=2.0, stride=(4, 3))
    (fields,) = replace(guessed, reading=cells).files().frames()
    np.testing.assert_array_equal(fields.offsets[0, :, 0, 0], [6, 8])
    assert fields.stride == (4, 3)
    again = guessed.like(json.loads(json.dumps(replace(guessed, reading=cells).remembered())))
    assert again.reading == cells


@pytest.mark.parametrize(
    ("grid", "image", "stride", "origin"),
    [
        ((25, 25), (385, 385), 16, 0),
        ((30, 40), (240, 320), 8, 3.5),
        ((94, 104), (747, 832), 8, 3.5),  # the last cells reach beyond the image
        ((64, 64), (64, 64), 1, 0),
        ((64, 48), (256, 192), 4, 1.5),
        ((10, 20), (55, 60), (5.5, 3.0), (2.25, 1.0)),
        ((1, 25), (1, 385), 16, 0),
    ],
)
def test_stride_and_origin_follow_from_sizes(grid, image, stride, origin):
    first = layout_guess.grids(grid, image)[0]
    assert (first.stride, first.origin) == (stride, origin)


def test_an_image_tells_rows_from_columns():
    shapes = (4, 40, 30), (4, 2, 40, 30)
    assert [x.text for x in layout_guess.layouts(*shapes, (320, 240))] == ["PCHW"]
    assert [x.text for x in layout_guess.layouts(*shapes, (240, 320))] == ["PCWH"]


def test_what_fits_in_no_way_has_no_layout():
    assert layout_guess.layouts((4, 6, 8), (4, 3, 6, 8)) == []
    assert layout_guess.layouts((6,), (2, 6)) == []
    assert layout_guess.layouts((4, 6, 8), ()) == []


def test_only_two_arrays_of_many_fit():
    shapes = {"x": (8, 6, 8), "y": (4, 6, 8), "paf": (7, 9), "image": (48, 64, 3)}
    assert layout_guess.find_pair(shapes) == ("y", "x")
    assert layout_guess.find_pair({**shapes, "z": (4, 6, 8)}) is None
    two = {"offsets": (6, 8, 4), "confidence": (6, 8, 2)}  # not 4 maps with 2 components in common
    assert layout_guess.find_pair(two) == ("confidence", "offsets")
    assert layout_guess.find_pair({"c": (17, 6, 8), "o": (2, 6, 8)}) == ("c", "o")


def test_logits_are_told_from_probabilities():
    assert layout_guess.are_logits(np.array([-3.0, 2.0]))
    assert not layout_guess.are_logits(np.array([0.0, np.nan, 1.0]))
    assert not layout_guess.are_logits(np.array([0.0, 255.0]))


def test_a_layout_of_its_own_axes_reads_the_same_numbers():
    rng = np.random.default_rng(0)
    c, o = rng.random((H, W, P)), rng.normal(size=(P, 2, H, W))
    (got,) = mdn.open_fields({"confidence": c, "offsets": o}, layout="HWP PCHW")
    np.testing.assert_array_equal(got.confidence, np.moveaxis(c, -1, 0))
    np.testing.assert_array_equal(got.offsets, o)
    with pytest.raises(ValueError, match="layout must order the axes"):
        Layout("PHW PCHW PCHW")
