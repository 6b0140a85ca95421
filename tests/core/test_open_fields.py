"""Files of every kind as lazy sequences of field sets."""

import os
import pickle
import threading
from functools import partial

import h5py
import numpy as np
import pytest
import torch
import zarr
from file_kinds import (
    FAMILIES,
    RNG,
    SQUARE,
    C,
    O,
    assert_frame,
    assert_same,
    every_kind,
    folder_of_files,
    hdf5,
    hdf5_packed,
    many_frames,
    mdn_file,
    npy,
    npz,
    npz_fortran,
    npz_packed,
    peak_of,
    pt,
    refused,
    tiff,
    tiff_packed,
    written,
    zarr2,
    zarr3,
)

import mdn_cupy as mdn

# The sequence


@every_kind
def test_a_sequence_of_all_its_frames(tmp_path, write):
    frames = mdn.open_fields(write(tmp_path, confidence=C, offsets=O))
    assert len(frames) == 5
    for t in (3, 0, 4, 1, 1, -1, np.int64(2)):
        assert_frame(frames[t], t)
    for t, fields in enumerate(frames):
        assert_frame(fields, t)
    backwards = frames[4:0:-2]
    assert [len(backwards), len(backwards[1:]), len(frames[5:])] == [2, 1, 0]
    assert_frame(backwards[1], 2)
    for t in (5, -6):
        with pytest.raises(IndexError, match=f"no frame {t}; there are 5"):
            frames[t]
    with pytest.raises(TypeError, match=r"a frame is an integer or a slice, got 1\.5"):
        frames[1.5]
    with pytest.raises(TypeError):
        frames[0] = frames[1]
    assert "FieldsSequence(5 frames of" in repr(frames)


@every_kind
def test_without_an_axis_of_frames_there_is_one(tmp_path, write):
    if write in (mdn_file, folder_of_files):
        path = tmp_path / "fields.mdn"
        mdn.save_fields(path, mdn.Fields(C[0], O[0]))
    else:
        path = write(tmp_path, confidence=C[0], offsets=O[0])
    (fields,) = mdn.open_fields(path)
    assert_frame(fields, 0)
    assert_frame(mdn.load_fields(path), 0)


@every_kind
def test_other_processes_and_threads_read_the_same(tmp_path, write):
    frames = mdn.open_fields(write(tmp_path, confidence=C, offsets=O))
    again = pickle.loads(pickle.dumps(frames[1:]))
    assert_frame(again[2], 3)

    seen = []

    def read(numbers):
        seen.extend((t, frames[t]) for t in numbers)

    threads = [threading.Thread(target=read, args=([*range(5)] * 4,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 60
    for t, fields in seen:
        assert_frame(fields, t)


@pytest.mark.parametrize("write", [npz_packed, hdf5_packed, tiff_packed, npy, pt])
def test_a_forked_process_moves_no_position_of_its_parent(tmp_path, write):
    frames = mdn.open_fields(write(tmp_path, confidence=C, offsets=O))
    assert_frame(frames[2], 2)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            assert_frame(frames[0], 0)
            assert_frame(frames[4], 4)
            ended = 0
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    assert_frame(frames[3], 3)


# Laziness


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [npz, npz_packed, npz_fortran, npy, tiff, tiff_packed, hdf5, hdf5_packed, pt, mdn_file],
    ids=lambda write: write.__name__,
)
def test_memory_does_not_grow_with_the_frames(tmp_path, write):
    many = many_frames()
    path = write(tmp_path, **many)
    frames = mdn.open_fields(path)
    seen = []

    def read():
        seen.extend(fields.confidence[0, 0, 0] for fields in frames)

    whole = sum(array.nbytes for array in many.values())
    assert peak_of(read) < whole / 3
    np.testing.assert_array_equal(seen, many["confidence"][:, 0, 0, 0])


@pytest.mark.parametrize("write", [npz, npy, tiff, mdn_file], ids=lambda write: write.__name__)
def test_a_frame_is_read_from_where_it_lies(tmp_path, write):
    """The rest of the file may be gone."""
    path = write(tmp_path, confidence=C, offsets=O)
    frames = mdn.open_fields(path)
    for file in {path, *tmp_path.iterdir()}:
        whole = file.read_bytes()
        last = O[-1].tobytes() if O[-1].tobytes() in whole else C[-1].tobytes()
        file.write_bytes(whole[: whole.index(last)])
    assert_frame(frames[3], 3)
    with pytest.raises(ValueError, match="cut off") as caught:
        frames[4]
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("write", [zarr2, zarr3])
def test_only_the_chunks_of_a_frame_are_read(tmp_path, write):
    path = write(tmp_path, confidence=C, offsets=O)
    frames = mdn.open_fields(path)
    for chunk in path.rglob("*"):
        if chunk.is_file() and re_frame(chunk) not in (None, 3):
            chunk.write_bytes(b"damaged")
    assert_frame(frames[3], 3)
    with pytest.raises(ValueError, match="not a readable Zarr file"):
        frames[4]


def re_frame(chunk):
    """Number of the frame that a chunk of version 2 (3.0.0.0) or 3 (c/3/0/0/0) belongs to."""
    parts = [part for part in chunk.as_posix().replace("/c/", "/c.").split("/") if "c." in part]
    name = ".".join([*parts, *chunk.as_posix().rpartition("/c/")[2].split("/")])
    numbers = [part for part in name.split(".") if part.isdigit()]
    return int(numbers[0]) if numbers else None


def test_of_a_folder_only_the_file_of_a_frame_is_read(tmp_path):
    run = folder_of_files(tmp_path, C, O)
    frames = mdn.open_fields(run)
    for number in (11, 12, 13, 14, 15):  # more than are kept open
        mdn.save_fields(run / f"{number}.mdn", mdn.Fields(C[0], O[0]))
    longer = mdn.open_fields(run)
    (run / "1.mdn").unlink()
    assert_frame(frames[1], 1)
    assert_frame(longer[9], 0)
    with pytest.raises(FileNotFoundError, match=r"1\.mdn: no such file"):
        longer[0]


# Names


@pytest.mark.parametrize(
    ("confidence", "offsets"),
    [
        ("heatmap", "locref"),
        ("scmap", "part_offsets"),
        ("hm_hp", "hp_offset"),
        ("model/head/ScoreMap", "model/head/Offset"),
        ("pred_heatmap_0", "pred_offsets_0"),
        ("foreground/0", "flow/0"),
    ],
)
def test_usual_names_are_found(tmp_path, confidence, offsets):
    others = {"image_mean": np.zeros(3), "hidden": np.zeros((5, 9))}
    path = hdf5(tmp_path, group="net", **{confidence: C, offsets: O}, **others)
    assert_frame(mdn.open_fields(path)[1], 1)


def test_the_own_names_go_before_usual_ones_and_those_before_longer_ones(tmp_path):
    path = npz(tmp_path, confidence=C, heatmap=C + 1, offsets=O, locref=O + 1, cross_offsets=C)
    with pytest.raises(ValueError, match="cross_offsets"):  # of a wrong shape, but not the offsets
        mdn.open_fields(path)[0]
    path = npz(tmp_path, heatmap=C, heatmap_old=C + 1, locref=O, offsets_std=O + 1)
    assert_frame(mdn.open_fields(path)[0], 0)


def test_names_can_be_given(tmp_path):
    path = hdf5(tmp_path, a=C, b=O, heatmap=C + 1)
    assert_frame(mdn.open_fields(path, confidence="net/a", offsets="net/b")[0], 0)
    npy(tmp_path, a=C, b=O)
    assert_frame(mdn.open_fields(tmp_path / "hand_a.npy", offsets="hand_b.npy")[0], 0)
    both = {"confidence": "hand_a.npy", "offsets": "hand_b.npy"}
    assert_frame(mdn.open_fields(tmp_path / "hand_b.npy", **both)[0], 0)


def test_a_tuple_of_tensors_has_numbers_for_names(tmp_path):
    torch.save((torch.tensor(C), torch.tensor(O)), tmp_path / "out.pt")
    assert "it holds 0 (5, 2, 3, 4) float32, 1 (5, 2, 2, 3, 4) float32" in refused(
        tmp_path / "out.pt"
    )
    assert_frame(mdn.open_fields(tmp_path / "out.pt", confidence="0", offsets="1")[0], 0)


def test_tensors_are_found_in_lists_of_dicts_too(tmp_path):
    stages = [{"heatmap": torch.tensor(C), "offsets": torch.tensor(O)}, {"epoch": 3}]
    torch.save({"stages": stages, "names": ["a", "b"]}, tmp_path / "out.pt")
    frames = mdn.open_fields(tmp_path / "out.pt")
    assert_frame(frames[0], 0)
    assert frames[0].names == ("a", "b")


def test_tensors_of_any_kind_become_arrays(tmp_path):
    c = torch.tensor(C, requires_grad=True).to(torch.bfloat16)
    torch.save({"heatmap": c, "offsets": torch.tensor(O, dtype=torch.float64)}, tmp_path / "a.pt")
    fields = mdn.open_fields(tmp_path / "a.pt")[2]
    assert fields.confidence.dtype == fields.offsets.dtype == np.float64
    np.testing.assert_array_equal(fields.confidence, c[2].detach().float().numpy())


# Layouts


def grouped(offsets, text):
    """Bring offsets [T, P, C, H, W] to a layout."""
    axes = {"P": 1, "C": 2, "H": 3, "W": 4}
    letters = text.replace("(", "").replace(")", "")
    array = offsets.transpose(0, *(axes[letter] for letter in letters))
    if "(" in text:
        at = 1 + text.index("(")
        array = array.reshape(*array.shape[:at], -1, *array.shape[at + 2 :])
    return array


@pytest.mark.parametrize(
    "text", ["PCHW", "CPHW", "(PC)HW", "(CP)HW", "HWPC", "HW(PC)", "HW(CP)", "HWCP", "WHPC"]
)
@pytest.mark.parametrize("order", ["xy", "yx"])
@pytest.mark.parametrize("frames", [True, False])
def test_every_layout(tmp_path, text, order, frames):
    maps = text.replace("(", "").replace(")", "").replace("C", "")
    c = C.transpose(0, *("PHW".index(letter) + 1 for letter in maps))
    o = grouped(O if order == "xy" else O[:, :, ::-1], text)
    path = npz(tmp_path, heatmap=c if frames else c[0], locref=o if frames else o[0])
    opened = mdn.open_fields(path, layout=text, order=order)
    assert len(opened) == (5 if frames else 1)
    assert_frame(opened[-1], 4 if frames else 0)


@pytest.mark.parametrize("text", ["CHW", "HWC"])
def test_one_map_without_parts(tmp_path, text):
    o = O[:, 0] if text == "CHW" else np.moveaxis(O[:, 0], 1, -1)
    path = npz(tmp_path, heatmap=C[:, 0], offsets=o)
    assert_frame(mdn.open_fields(path, layout=text)[2], 2, C[:, :1], O[:, :1])


@pytest.mark.parametrize("write", [npz, npy, hdf5, zarr3])
def test_a_single_map_needs_no_layout(tmp_path, write):
    path = write(tmp_path, confidence=C[3, 0], offsets=O[3, 0])
    (found,) = mdn.open_fields(path)
    np.testing.assert_array_equal(found.confidence, C[3, :1])
    np.testing.assert_array_equal(found.offsets, O[3, :1])
    with pytest.raises(ValueError, match=r"wants confidence \(P, H, W\).*give layout='CHW'"):
        mdn.open_fields(path, layout="PCHW")


@pytest.mark.parametrize("text", ["(PC)HW", "(CP)HW", "HWPC", "HW(PC)", "CPHW"])
def test_a_wrong_layout_is_refused_with_those_that_fit(tmp_path, text):
    c = np.moveaxis(C, 1, -1) if text.startswith("H") else C
    c, o = np.repeat(c, 3, axis=1), np.repeat(grouped(O, text), 3, axis=1)
    if "P" in text[:3] and not text.startswith("H"):  # three times as many parts
        c = np.concatenate([C, C[:, :1]], axis=1)
        o = grouped(np.concatenate([O, O[:, :1]], axis=1), text)
    path = npz(tmp_path, heatmap=c, locref=o)
    message = refused(path)
    assert "wants confidence (P, H, W) and offsets (P, 2, H, W)" in message
    assert f"heatmap {c.shape}" in message
    assert f"layout={text!r}" in message
    mdn.open_fields(path, layout=text)[0]


@pytest.mark.parametrize("text", ["", "HW", "PHW", "CHHW", "P(CH)W", "(PC)(HW)", "pchw", "TPCHW"])
def test_a_layout_of_other_letters_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="layout must order"):
        mdn.open_fields(tmp_path, layout=text)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_logits_and_cells(tmp_path, dtype):
    logits = np.linspace(-200, 200, C.size).reshape(C.shape).astype(dtype)
    path = npz(tmp_path, heatmap=logits, offsets=O)
    fields = mdn.open_fields(path, sigmoid=True, scale=4, stride=4, origin=2, sigma=3.0)[1]
    want = 1 / (1 + np.exp(-logits[1].astype(np.float64)))
    np.testing.assert_allclose(fields.confidence, want, rtol=1e-6, atol=1e-38)
    np.testing.assert_array_equal(fields.offsets, 4 * O[1])
    assert (fields.stride, fields.origin, fields.sigma) == (4.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("order", "ji"), ("scale", np.nan), ("layout", 3), ("adapter", "deeplabcut")],
        *[("path", "https://example.org/a.npz"), ("path", "a\0b.npz"), ("path", "")],
    ],
)
def test_options_out_of_range_are_refused(tmp_path, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} (must|is)"):
        mdn.open_fields(**{"path": tmp_path, name: value})


def test_what_an_adapter_of_ones_own_does_wrong_is_said(tmp_path):
    path = npz(tmp_path, confidence=C, offsets=O)
    for adapter, said in (
        (lambda confidence, offsets: 3, "<lambda> must return mdn_cupy.Fields, got int"),
        (lambda confidence, offsets: 1 / 0, "<lambda> raised ZeroDivisionError: division by zero"),
    ):
        assert said in refused(path, adapter=adapter)


# Adapters


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("write", [npz_packed, zarr3, pt])
def test_an_adapter_takes_the_arrays_that_are_called_as_its_parameters(tmp_path, family, write):
    arrays, settings = written(family)
    adapter = partial(getattr(mdn.adapters, family), **settings)
    frames = mdn.open_fields(write(tmp_path, hidden=SQUARE, **arrays), adapter=adapter)
    assert len(frames) == 3
    for t, fields in enumerate(pickle.loads(pickle.dumps(frames))):
        assert_same(fields, adapter(**{n: array[t] for n, array in arrays.items()}))
    alone = {name: array[1] for name, array in arrays.items()}
    (fields,) = mdn.open_fields(write(tmp_path, **alone), adapter=adapter)
    assert_same(fields, adapter(**alone))


def test_an_adapter_takes_images_and_settings_from_the_file(tmp_path):
    arrays, settings = written("deeplabcut")
    images = RNG.integers(0, 255, (3, 48, 48, 3), dtype=np.uint8)
    names = ["left", "right"]
    path = npz(tmp_path, **arrays, image=images, stride=8, names=names, apply_sigmoid=False)
    frames = mdn.open_fields(path, adapter=partial(mdn.adapters.deeplabcut, apply_sigmoid=True))
    want = mdn.adapters.deeplabcut(
        *(array[2] for array in arrays.values()), **settings, image=images[2], names=names
    )
    assert_same(frames[2], want)


def test_the_one_array_of_a_file_is_the_one_that_an_adapter_needs(tmp_path):
    heatmaps = np.random.default_rng(0).random((6, 8, 6))
    np.save(tmp_path / "u.npy", heatmaps)
    adapter = partial(mdn.adapters.mmpose_udp, input_size=(24, 32))
    (found,) = mdn.open_fields(tmp_path / "u.npy", adapter=adapter)
    np.testing.assert_array_equal(found.offsets, adapter(heatmaps).offsets)


def test_the_first_two_arrays_of_an_adapter_may_have_other_names(tmp_path):
    arrays, settings = written("deeplabcut")
    adapter = partial(mdn.adapters.deeplabcut, **settings)
    want = adapter(*(array[0] for array in arrays.values()))
    path = npz(tmp_path, heatmap=arrays["scoremap"], locref=arrays["locref"])
    assert_same(mdn.open_fields(path, adapter=adapter)[0], want)
    path = npz(tmp_path, a=arrays["scoremap"], b=arrays["locref"], scoremap=SQUARE)
    opened = mdn.open_fields(path, adapter=adapter, confidence="a", offsets="b")
    assert_same(opened[0], want)


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        ({"scoremap": SQUARE[:, :2], "locref": SQUARE[:, :3]}, "wants scoremap"),
        (
            {"scoremap": SQUARE[:, :2]},
            "offsets missing: give offsets='NAME'; it holds",
        ),
        ({"scoremap": SQUARE[:0, :2], "locref": SQUARE[:0, :4]}, "holds no frame"),
        (
            {"scoremap": SQUARE[None, :, :2], "locref": SQUARE[None, :, :4]},
            "deeplabcut: wants scoremap",
        ),
        ({"scoremap": SQUARE[:, :2].astype(int), "locref": SQUARE[:, :4]}, "floating"),
        ({"scoremap": SQUARE[:, :2], "a/locref": SQUARE, "b/locref": SQUARE}, "locref could be"),
    ],
)
def test_arrays_that_an_adapter_does_not_take(tmp_path, arrays, fragment):
    adapter = partial(mdn.adapters.deeplabcut, stride=8, apply_sigmoid=True)
    assert fragment in refused(hdf5(tmp_path, **arrays), adapter=adapter)


def test_an_adapter_without_its_settings(tmp_path):
    path = npz(tmp_path, **written("deeplabcut")[0])
    message = refused(path, adapter=mdn.adapters.deeplabcut)
    assert "deeplabcut needs stride and apply_sigmoid" in message
    with pytest.raises(ValueError, match="adapter settles layout"):
        mdn.open_fields(path, adapter=mdn.adapters.deeplabcut, stride=8)


# What stands beside the fields

BESIDE = {
    "stride": 8.0,
    "origin": 4.0,
    "sigma": 3.0,
    "names": ["left", "right"],
    "source": "a camera",
}


def assert_beside(fields):
    assert {name: getattr(fields, name) for name in BESIDE} == {
        **BESIDE,
        "names": ("left", "right"),
    }


def test_values_are_found_as_attributes_and_arrays(tmp_path):
    arrays = {"confidence": C, "offsets": O}
    path = hdf5(tmp_path, **arrays)
    with h5py.File(path, "a") as file:
        file.attrs["stride"] = 1.0  # the group's goes before it
        for name in ("stride", "origin", "names"):
            file["net"].attrs[name] = BESIDE[name]
        file["net/sigma"] = BESIDE["sigma"]
        file["source"] = BESIDE["source"]
    assert_beside(mdn.open_fields(path)[1])
    path = zarr3(tmp_path, **arrays)
    zarr.open_group(path)["net"].attrs.update(BESIDE)
    assert_beside(mdn.open_fields(path)[1])
    torch.save(
        {"heatmap": torch.tensor(C), "offsets": torch.tensor(O), **BESIDE}, tmp_path / "a.pt"
    )
    assert_beside(mdn.open_fields(tmp_path / "a.pt")[1])
    assert_beside(mdn.open_fields(npz(tmp_path, **arrays, **BESIDE))[1])


def test_what_is_given_goes_before_what_the_file_says(tmp_path):
    path = npz(tmp_path, confidence=C, offsets=O, stride=np.nan, names=np.array([np.nan] * 2))
    fields = mdn.open_fields(path, stride=2, names=["a", "b"])[0]
    assert fields.stride == 2.0
    assert fields.names == ("a", "b")


@pytest.mark.parametrize("colours", [(), (3,)])
def test_an_image_of_all_frames_and_one_of_each(tmp_path, colours):
    images = RNG.integers(0, 255, (5, 6, 8, *colours), dtype=np.uint8)
    for image in (images, images[0]):
        path = npz(tmp_path, confidence=C, offsets=O, image=image)
        got = mdn.open_fields(path)[3].image
        np.testing.assert_array_equal(got, image[3] if image is images else image)


def test_frames_that_are_pictures_do_not_count(tmp_path):
    path = npz(tmp_path, confidence=C, offsets=O, frames=np.zeros((5, 6, 8, 3), np.uint8))
    assert len(mdn.open_fields(path)) == 5


# Folders


def test_a_pattern_takes_some_files_in_the_order_of_their_numbers(tmp_path):
    for t in (10, 9, 1):
        mdn.save_fields(tmp_path / f"frame{t}.mdn", mdn.Fields(C[t % 5], O[t % 5]))
    (tmp_path / "other.npz").touch()
    frames = mdn.open_fields(tmp_path / "frame*.mdn")
    for fields, t in zip(frames, (1, 4, 0), strict=True):
        assert_frame(fields, t)


def test_frames_of_a_folder_may_differ_in_shape(tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", mdn.Fields(C[0], O[0]))
    mdn.save_fields(tmp_path / "b.mdn", mdn.Fields(C[0, :1, :2], O[0, :1, :, :2]))
    assert [fields.confidence.shape for fields in mdn.open_fields(tmp_path)] == [
        (2, 3, 4),
        (1, 2, 4),
    ]


@pytest.mark.parametrize("write", [npy, tiff, tiff_packed])
def test_a_folder_of_pairs(tmp_path, write):
    for t in range(3):
        inside = tmp_path / f"{t}"
        inside.mkdir()
        write(inside, heatmap=C[t], offsets=O[t])
        for file in inside.iterdir():
            file.rename(tmp_path / f"{t}_{file.name}")
        inside.rmdir()
    for t, fields in enumerate(mdn.open_fields(tmp_path)):
        assert_frame(fields, t)


def test_a_folder_of_zarr_groups(tmp_path):
    for t in range(2):
        inside = tmp_path / "made"
        inside.mkdir()
        zarr3(inside, heatmap=C[t], offsets=O[t]).rename(tmp_path / f"{t}.zarr")
        inside.rmdir()
    assert len(mdn.open_fields(tmp_path)) == 2
    assert_frame(mdn.open_fields(tmp_path)[1], 1)


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path):
    inside = tmp_path / "run [1]"
    inside.mkdir()
    mdn.save_fields(inside / "a[b].mdn", mdn.Fields(C[0], O[0]))
    assert len(mdn.open_fields(inside)) == len(mdn.open_fields(inside / "a[b].mdn")) == 1
