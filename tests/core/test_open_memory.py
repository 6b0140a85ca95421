"""Arrays in memory, opened as files are."""

import pickle
from dataclasses import fields as members
from functools import partial

import dask.array as da
import h5py
import numpy as np
import pytest
import torch
import zarr
from file_kinds import C, O, assert_frame, hdf5, npz
from hypothesis import given
from hypothesis import strategies as st

import mdn_cupy as mdn


def in_zarr(array):
    return zarr.create_array(zarr.storage.MemoryStore(), data=array, chunks=(1, *array.shape[1:]))


def on_gpu(array):
    return pytest.importorskip("cupy").asarray(array)


KINDS = {
    "NumPy": np.asarray,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "torch": lambda x: torch.tensor(x, requires_grad=True),
    "dask": da.from_array,
    "Zarr": in_zarr,
    "CuPy": pytest.param(
        on_gpu,
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
        ],
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
AXES = {"P": 1, "C": 2, "H": 3, "W": 4}
CELLS = st.slices(3).filter(lambda part: part.step is None or part.step > 0)


def same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for member in members(one):
            np.testing.assert_array_equal(getattr(one, member.name), getattr(other, member.name))


@every_kind
def test_arrays_of_every_kind(kind):
    arrays = {"heatmap": kind(C), "net": {"locref": kind(O)}, "stride": 8, "names": ["a", "b"]}
    frames = mdn.open_fields(arrays)
    assert len(frames) == 5
    for t in (3, 0, -1):
        assert_frame(frames[t], t)
    assert (frames[2].stride, frames[2].names) == (8.0, ("a", "b"))
    (one,) = mdn.open_fields({"heatmap": kind(C[1]), "locref": kind(O[1]), "image": None})
    assert_frame(one, 1)
    part = mdn.open_fields(arrays, region=(slice(1, 3), slice(None, None, 2)))[4]
    np.testing.assert_array_equal(part.offsets, O[4, :, :, 1:3, ::2])
    assert part.stride == (8.0, 16.0)


@given(
    text=st.sampled_from(["PCHW", "CPHW", "(PC)HW", "(CP)HW", "HWPC", "HW(PC)", "HWCP"]),
    order=st.sampled_from(["xy", "yx"]),
    scale=st.one_of(st.floats(-9, 9), st.tuples(st.floats(0.1, 9), st.floats(0.1, 9))),
    sigmoid=st.booleans(),
    several=st.booleans(),
    image=st.sampled_from([None, (12, 16), (12, 16, 3), (5, 12, 16), (5, 12, 16, 3)]),
    beside=st.fixed_dictionaries(
        {},
        optional={
            "stride": st.sampled_from([4, (4, 3), np.arange(1.0, 6)[:, None]]),
            "names": st.just(["a", "b"]),
            "sigma": st.sampled_from([3.0, np.full((2, 1, 1), 3.0)]),
            "cross_offsets": st.just(np.stack([O, -O], 1)),
            "source": st.just("a test"),
        },
    ),
)
def test_arrays_are_read_as_from_a_file(
    tmp_path_factory, text, order, scale, sigmoid, several, image, beside
):
    letters = [letter for letter in text if letter in AXES]
    c = C.transpose(0, *("PHW".index(x) + 1 for x in letters if x != "C"))
    o = O.transpose(0, *(AXES[x] for x in letters))
    if "(" in text:
        at = 1 + text.index("(")
        o = o.reshape(*o.shape[:at], -1, *o.shape[at + 2 :])
    arrays = {"heatmap": c, "locref": o, **beside}
    if image is not None:
        arrays["image"] = np.arange(np.prod(image)).reshape(image) % 255
    if not several:
        arrays = {n: x[0] if np.ndim(x) and len(x) == len(C) else x for n, x in arrays.items()}
    options = {"layout": text, "order": order, "scale": scale, "sigmoid": sigmoid}
    path = npz(tmp_path_factory.mktemp("same"), **arrays)
    from_file = mdn.open_fields(path, **options)
    same(mdn.open_fields(arrays, **options), from_file)
    with np.load(path) as archive:
        same(mdn.open_fields(archive, **options), from_file)


def test_an_open_hdf5_group_has_its_attributes(tmp_path):
    with h5py.File(hdf5(tmp_path, heatmap=C, locref=O), "a") as file:
        file["net"].attrs["stride"] = 4
        file["loop"] = h5py.SoftLink("/net")
        for group, stride in ((file, 4), (file["net"], 4)):
            frames = mdn.open_fields(group)
            assert_frame(frames[3], 3)
            assert frames[3].stride == stride


def test_a_group_within_a_mapping_is_read_as_one_that_is_open_alone(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        group = file.create_group("net")
        group["confidence"], group["offsets"] = np.zeros((2, 4, 5)), np.zeros((2, 2, 4, 5))
        group["nothing"], group.attrs["stride"] = h5py.Empty("f4"), 8.0
        (fields,) = mdn.open_fields({"run": group})
        assert (fields.confidence.shape, fields.stride) == ((2, 4, 5), 8.0)


def test_what_is_neither_a_path_nor_arrays_is_refused():
    with pytest.raises(TypeError, match=r"path must be a path, or arrays by their names in a dict"):
        mdn.open_fields(np.zeros((4, 5)))
    integers = {"confidence": np.zeros((2, 4, 5), np.uint8), "offsets": np.zeros((2, 2, 4, 5))}
    with pytest.raises(ValueError, match="make it float32, and divide it by 255"):
        mdn.open_fields(integers)


@pytest.mark.parametrize("chunks", [(1, 2, 3, 4), (1, 1, 2, 2)])
def test_only_what_is_asked_for_is_read(chunks):
    read = []

    def block(values, block_info):
        read.append(tuple(block_info[0]["chunk-location"]))
        return values

    lazy = da.from_array(C, chunks=chunks).map_blocks(block, dtype=C.dtype, meta=C[:0])
    frames = mdn.open_fields({"heatmap": lazy, "locref": O}, region=(slice(0, 1), slice(0, 2)))
    assert not read
    np.testing.assert_array_equal(frames[3].confidence, C[3, :, :1, :2])
    assert {place[0] for place in read} == {3}
    assert all(place[2:] == (0, 0) for place in read)


def test_values_that_are_contiguous_are_not_copied():
    frames = mdn.open_fields({"confidence": C, "offsets": torch.tensor(O)})
    assert np.shares_memory(frames[2].confidence, C)
    (one,) = mdn.open_fields(
        {"confidence": C[0], "offsets": np.moveaxis(O[0], 1, 0)}, layout="PHW CPHW"
    )
    assert np.shares_memory(one.offsets, O)


def test_the_scale_of_each_component():
    frames = mdn.open_fields({"c": C, "o": O}, confidence="c", offsets="o", scale=(4, 3))
    np.testing.assert_array_equal(frames[0].offsets, O[0] * np.float32([3, 4])[:, None, None])
    swapped = mdn.open_fields({"confidence": C, "offsets": O}, order="yx", scale=(4, 3))
    np.testing.assert_array_equal(swapped[0].offsets[:, 0], 3 * O[0, :, 1])


def test_frames_travel_with_their_arrays():
    frames = pickle.loads(pickle.dumps(mdn.open_fields({"heatmap": C, "locref": O})[1:]))
    assert_frame(frames[2], 3)
    assert repr(frames) == "FieldsSequence(4 frames of arrays)"


def test_an_adapter_takes_arrays():
    arrays = {"scoremap": torch.tensor(C), "locref": O.reshape(5, 4, 3, 4), "stride": 8}
    adapter = partial(mdn.adapters.deeplabcut, apply_sigmoid=False, locref_std=1)
    frames = mdn.open_fields(arrays, adapter=adapter)
    assert len(frames) == 5
    assert_frame(frames[4], 4)


@pytest.mark.parametrize(
    ("arrays", "error", "says"),
    [
        ({}, ValueError, "^confidence missing: give confidence='NAME'; it holds no array$"),
        (
            {"heatmap": C},
            ValueError,
            r"^offsets missing: .* it holds heatmap \(5, 2, 3, 4\) float32$",
        ),
        (
            {"heatmap": C, "locref": O[:, :1]},
            ValueError,
            r"^layout 'PCHW' wants confidence \(P, H, W\) .*; got heatmap \(5, 2, 3, 4\), locref ",
        ),
        ({"heatmap": C[:0], "locref": O[:0]}, ValueError, "^holds no frame; it holds heatmap"),
        (
            {"heatmap": C.astype(int), "locref": O},
            ValueError,
            "got int64 .heatmap.; make it float32",
        ),
        ({"heatmap": C, "locref": O, "sigma": "wide"}, ValueError, "^sigma must be a real number"),
        ({"heatmap": np.ma.array(C), "locref": O}, TypeError, "^heatmap is a masked array"),
        (
            {"heatmap": C, "locref": da.from_array(np.ma.array(O))},
            TypeError,
            "^locref is a masked array",
        ),
        (
            [("heatmap", C)],
            TypeError,
            "path must be a path, or arrays by their names in a dict, got list",
        ),
    ],
)
def test_what_holds_no_fields_is_refused(arrays, error, says):
    with pytest.raises(error, match=says):
        mdn.open_fields(arrays)[0]


def test_what_indexing_raises_is_not_changed():
    class Gone:
        shape, dtype = C.shape, C.dtype

        def __getitem__(self, index):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match=r"^the disk is gone$"):
        mdn.open_fields({"heatmap": Gone(), "locref": O})[0]
