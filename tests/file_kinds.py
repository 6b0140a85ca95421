"""Files of every kind that `mdn_cupy.open_fields` opens, each by a function that writes one."""

import dataclasses
import tracemalloc
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr

import mdn_cupy as mdn

RNG = np.random.default_rng(0)
C = RNG.random((5, 2, 3, 4), dtype=np.float32)
O = RNG.normal(size=(5, 2, 2, 3, 4)).astype(np.float32)  # noqa: E741


# Each writes arrays by name to a folder and returns the path to open.


def npz(folder, save=np.savez, suffix=".npz", **arrays):
    with (folder / f"fields{suffix}").open("wb") as file:
        save(file, **arrays)
    return folder / f"fields{suffix}"


def npz_packed(folder, **arrays):
    return npz(folder, np.savez_compressed, **arrays)


def npz_fortran(folder, **arrays):
    return npz(folder, **{name: np.asfortranarray(array) for name, array in arrays.items()})


def npz_fortran_packed(folder, **arrays):
    return npz_packed(folder, **{name: np.asfortranarray(array) for name, array in arrays.items()})


def npy(folder, **arrays):
    paths = [folder / f"hand_{name}.npy" for name in arrays]
    for path, array in zip(paths, arrays.values(), strict=True):
        np.save(path, array)
    return paths[0]


def tiff(folder, compression=None, **arrays):
    paths = [folder / f"hand_{name}.tif" for name in arrays]
    for path, array in zip(paths, arrays.values(), strict=True):
        tifffile.imwrite(path, array, photometric="minisblack", compression=compression)
    return paths[-1]


def tiff_packed(folder, **arrays):
    return tiff(folder, compression="zlib", **arrays)


def hdf5(folder, group="net", **options):
    arrays = {name: options.pop(name) for name in list(options) if name not in ("chunks", "gzip")}
    with h5py.File(folder / "fields.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(f"{group}/{name}", data=array, **options)
    return folder / "fields.h5"


def hdf5_packed(folder, **arrays):
    with h5py.File(folder / "fields.h5", "w") as file:
        for name, array in arrays.items():
            frame = (1, *np.shape(array)[1:])
            file.create_dataset(name, data=array, chunks=frame, compression="gzip")
    return folder / "fields.h5"


def zarr3(folder, version=3, **arrays):
    group = zarr.open_group(folder / "fields.zarr", mode="w", zarr_format=version)
    for name, array in arrays.items():
        array = np.asarray(array)
        group.create_array(f"net/{name}", data=array, chunks=(1, *array.shape[1:]))
    return folder / "fields.zarr"


def zarr2(folder, **arrays):
    return zarr3(folder, version=2, **arrays)


def pt(folder, **arrays):
    tensors = {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}
    torch.save({"net": tensors}, folder / "fields.pt")
    return folder / "fields.pt"


def pt_of_old(folder, **arrays):
    tensors = [torch.tensor(np.asarray(array)) for array in arrays.values()]
    torch.save(
        dict(zip(arrays, tensors, strict=True)),
        folder / "fields.pth",
        _use_new_zipfile_serialization=False,
    )
    return folder / "fields.pth"


def mdn_file(folder, confidence, offsets):
    fields = [mdn.Fields(c, o) for c, o in zip(confidence, offsets, strict=True)]
    mdn.save_fields(folder / "fields.mdn", fields)
    return folder / "fields.mdn"


def folder_of_files(folder, confidence, offsets):
    """Two files of one frame, then one of the rest."""
    inside = folder / "run"
    inside.mkdir()
    for name, c, o in zip((1, 2), confidence, offsets, strict=False):
        mdn.save_fields(inside / f"{name}.mdn", mdn.Fields(c, o))
    npz(inside, confidence=confidence[2:], offsets=offsets[2:]).rename(inside / "10.npz")
    (inside / "notes.txt").touch()
    return inside


WRITERS = [
    npz,
    npz_packed,
    npz_fortran,
    npz_fortran_packed,
    npy,
    tiff,
    tiff_packed,
    hdf5,
    hdf5_packed,
    zarr2,
    zarr3,
    pt,
    pt_of_old,
    mdn_file,
    folder_of_files,
]
every_kind = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


def assert_frame(fields, t, confidence=C, offsets=O):
    assert type(fields.confidence) is type(fields.offsets) is np.ndarray
    np.testing.assert_array_equal(fields.confidence, confidence[t])
    np.testing.assert_array_equal(fields.offsets, offsets[t])


# What the network of each adapter writes for one image, by its parameters, and the settings that
# it needs; no two axes alike.

H, W = 7, 10
EDGES = ((0, 1), (1, 2), (1, 3))  # of four parts

FAMILIES = {
    "deeplabcut": (
        {"scoremap": (2, H, W), "locref": (4, H, W)},
        {"stride": 8, "apply_sigmoid": True},
    ),
    "sleap_nn": ({"foreground": (1, H, W), "offsets": (2, H, W)}, {"stride": 2}),
    "mmpose_udp": ({"heatmaps": (9, H, W)}, {"input_size": (54, 36)}),
    "posenet": (
        {
            "heatmap": (H, W, 4),
            "offsets": (H, W, 8),
            "displacement_fwd": (H, W, 6),
            "displacement_bwd": (H, W, 6),
        },
        {"stride": 16, "edges": EDGES},
    ),
    "openpifpaf": ({"cif": (3, 5, H, W)}, {"stride": 8}),
    "centernet": (
        {
            "heatmap": (3, H, W),
            "offset": (2, H, W),
            "hps": (6, H, W),
            "center": (1, H, W),
            "center_offset": (2, H, W),
        },
        {},
    ),
    "movenet": (
        {"heatmap": (3, H, W), "offset": (6, H, W), "hps": (6, H, W), "center": (1, H, W)},
        {},
    ),
    "centerface": (
        {
            "heatmap": (1, H, W),
            "scale": (2, H, W),
            "offset": (2, H, W),
            "landmarks": (10, H, W),
        },
        {},
    ),
    "panoptic_deeplab": ({"semantic": (13, H, W), "offset": (2, H, W)}, {"things": [1, 2]}),
    "embedseg": ({"prediction": (5, H, W)}, {}),
    "spotiflow": ({"heatmap": (H, W), "subpix": (H, W, 2)}, {}),
}

SQUARE = RNG.random((3, 6, 6, 6), dtype=np.float32)


def written(family, most=9):
    """What a network wrote for three images, at most so many arrays of it, and the settings."""
    shapes, settings = FAMILIES[family]
    names = list(shapes)[:most]
    return {n: RNG.random((3, *shapes[n]), dtype=np.float32) for n in names}, settings


MANY = 500


@cache
def many_frames():
    """Arrays of so many frames that all of them would be seen in memory: 6 MB."""
    rng = np.random.default_rng(1)
    confidence = rng.random((MANY, 2, 16, 32), dtype=np.float32)
    offsets = rng.random((MANY, 2, 2, 16, 32), dtype=np.float32)
    return {"confidence": confidence, "offsets": offsets}


def peak_of(work):
    """Most bytes that Python and NumPy held at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path, **options):
    """The one line in which a file is refused, at the latest when its frames are read."""
    before = {file: file.lstat().st_mtime_ns for file in Path(path).parent.rglob("*")}
    with pytest.raises((ValueError, OSError)) as caught:
        list(mdn.open_fields(path, **options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    after = {file: file.lstat().st_mtime_ns for file in Path(path).parent.rglob("*")}
    assert after == before
    return message


def assert_same(got, want):
    """Compare all that two field sets hold."""
    for member in dataclasses.fields(mdn.Fields):
        np.testing.assert_array_equal(getattr(got, member.name), getattr(want, member.name))
