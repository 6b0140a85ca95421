"""`.mdn` files of many frames."""

import dataclasses
import zipfile

import numpy as np
import pytest
import torch
from file_kinds import MANY, C, O, assert_same, many_frames, peak_of

import mdn_cupy as mdn


def frames_of(count=4, **more):
    return [
        mdn.Fields(
            C[t],
            O[t],
            cross_offsets=np.stack([O[t], O[t]]),
            image=np.full((6, 8, 3), t, np.uint8),
            **{"names": ["left", "right"], "stride": 2.0, **more},
        )
        for t in range(count)
    ]


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_frames_are_saved_and_read(tmp_path, kind):
    fields = frames_of(source="here")
    mdn.save_fields(tmp_path / "a.mdn", kind(fields))
    opened = mdn.open_fields(tmp_path / "a.mdn")
    assert len(opened) == 4
    for got, want in zip(opened, fields, strict=True):
        assert_same(got, want)


def test_a_file_of_frames_is_plain_arrays_with_one_more_axis(tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", frames_of())
    with np.load(tmp_path / "a.mdn", allow_pickle=False) as archive:
        assert archive["frames"] == 4
        np.testing.assert_array_equal(archive["confidence"], C[:4])
        np.testing.assert_array_equal(archive["offsets"], O[:4])
        assert archive["image"].shape == (4, 6, 8, 3)
        assert archive["stride"] == 2.0
    with zipfile.ZipFile(tmp_path / "a.mdn") as archive:
        assert archive.testzip() is None


def test_numbers_and_text_may_differ_from_frame_to_frame(tmp_path):
    rng = np.random.default_rng(3)
    fields = [
        dataclasses.replace(f, stride=s, origin=o, sigma=w, source=text)
        for f, s, o, w, text in zip(
            frames_of(),
            rng.random(4) + 1,
            rng.random(4),
            rng.random(4) + 1,
            ["", "a", "longer", ""],
            strict=True,
        )
    ]
    mdn.save_fields(tmp_path / "a.mdn", fields)
    for got, want in zip(mdn.open_fields(tmp_path / "a.mdn"), fields, strict=True):
        assert_same(got, want)


def test_pairs_widths_of_parts_and_sizes_of_the_output(tmp_path):
    rng = np.random.default_rng(4)
    for differ in (False, True):
        fields = [
            mdn.Fields(
                C[t],
                O[t],
                stride=(2.0 + t * differ, 3.0) if t else 2.5,
                origin=(1.0, 0.5),
                sigma=rng.random((2, 1, 1)).astype(np.float32) + 1,
                output_shape=(20 + t * differ, 30),
            )
            for t in range(3)
        ]
        mdn.save_fields(tmp_path / "a.mdn", fields)
        for got, want in zip(mdn.open_fields(tmp_path / "a.mdn"), fields, strict=True):
            assert_same(got, want)


def test_two_frames_of_pairs_are_no_pair(tmp_path):
    fields = [mdn.Fields(C[t], O[t], stride=1.0 + t, origin=(t, 1.0)) for t in range(2)]
    mdn.save_fields(tmp_path / "a.mdn", fields)
    for got, want in zip(mdn.open_fields(tmp_path / "a.mdn"), fields, strict=True):
        assert_same(got, want)


def test_tensors_are_saved_as_arrays(tmp_path):
    tensors = [mdn.Fields(torch.tensor(C[t]).requires_grad_(), torch.tensor(O[t])) for t in (0, 1)]
    mdn.save_fields(tmp_path / "a.mdn", tensors)
    for got, want in zip(mdn.open_fields(tmp_path / "a.mdn"), tensors, strict=True):
        assert_same(got, want.to_numpy())


def test_one_frame_and_an_image_of_three_columns(tmp_path):
    grey = [mdn.Fields(C[t], O[t], image=np.full((5, 3), t, np.uint8)) for t in range(5)]
    for fields in (grey, grey[:1], frames_of(1)):
        mdn.save_fields(tmp_path / "a.mdn", fields)
        opened = mdn.open_fields(tmp_path / "a.mdn")
        assert len(opened) == len(fields)
        assert_same(opened[-1], fields[-1])
    assert_same(mdn.load_fields(tmp_path / "a.mdn"), frames_of(1)[0])


def test_frames_pass_through_no_memory(tmp_path):
    many = many_frames()
    made = (mdn.Fields(c, o) for c, o in zip(many["confidence"], many["offsets"], strict=True))
    mdn.save_fields(tmp_path / "warm.mdn", frames_of())
    whole = sum(array.nbytes for array in many.values())
    assert peak_of(lambda: mdn.save_fields(tmp_path / "a.mdn", made)) < whole / 2
    assert len(mdn.open_fields(tmp_path / "a.mdn")) == MANY


def test_a_file_of_frames_is_opened_and_not_loaded(tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", frames_of())
    with pytest.raises(ValueError, match=r"a.mdn: holds 4 frames; mdn_cupy.open_fields\(path\)"):
        mdn.load_fields(tmp_path / "a.mdn")


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda f: dataclasses.replace(f, confidence=f.confidence.astype(float)), "float64"),
        (lambda f: dataclasses.replace(f, cross_offsets=None), "cross_offsets is None"),
        (lambda f: dataclasses.replace(f, image=f.image[1:]), "image is ((5, 8, 3)"),
        (lambda f: dataclasses.replace(f, names=["a", "b"]), "names is ('a', 'b')"),
    ],
)
def test_frames_that_differ_from_the_first_are_refused_and_nothing_is_written(
    tmp_path, change, fragment
):
    fields = frames_of()
    fields[2] = change(fields[2])
    with pytest.raises(ValueError, match="frame 2 differs from the first") as caught:
        mdn.save_fields(tmp_path / "a.mdn", fields)
    assert fragment in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "error", "fragment"),
    [
        ([], ValueError, "at least one frame"),
        ([C], TypeError, "frame 0 must be a field set"),
        (5, TypeError, "fields must be a field set"),
        ("pose", TypeError, "fields must be a field set"),
        ({"a": C}, TypeError, "fields must be a field set"),
    ],
)
def test_what_is_no_sequence_of_fields_is_refused(tmp_path, fields, error, fragment):
    with pytest.raises(error, match=fragment):
        mdn.save_fields(tmp_path / "a.mdn", fields)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_sequence_leaves_the_old_file_and_no_other(tmp_path):
    def interrupted():
        yield from frames_of(2)
        raise KeyboardInterrupt

    mdn.save_fields(tmp_path / "a.mdn", frames_of(1))
    before = (tmp_path / "a.mdn").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        mdn.save_fields(tmp_path / "a.mdn", interrupted())
    assert (tmp_path / "a.mdn").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mdn"]


def test_files_from_before_frames_stay_readable():
    for name in mdn.samples.names():
        (fields,) = mdn.open_fields(mdn.samples.path(name))
        assert_same(fields, mdn.samples.load(name))


def test_a_file_that_took_the_place_of_one_that_is_open_is_not_read_as_that(tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", frames_of())
    frames = mdn.open_fields(tmp_path / "a.mdn")
    longer = [dataclasses.replace(each, source="some longer text") for each in frames_of()]
    mdn.save_fields(tmp_path / "a.mdn", longer)
    with pytest.raises(ValueError, match=r"a.mdn: another file has taken its place.*open it again"):
        frames[1]
    assert len(mdn.open_fields(tmp_path / "a.mdn")) == len(longer)
