"""How files are refused that hold no fields: in one line, with nothing written."""

import os
import pickle
import shutil
from functools import partial

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from file_kinds import (
    C,
    O,
    every_kind,
    hdf5,
    hdf5_packed,
    mdn_file,
    npy,
    npz,
    npz_packed,
    pt,
    pt_of_old,
    refused,
    tiff,
    tiff_packed,
    zarr2,
    zarr3,
)

import mdn_cupy as mdn


class Trap:
    """Unpickling this would raise something that no test expects."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


ONE_FILE = [npz, npz_packed, npy, tiff, tiff_packed, hdf5, hdf5_packed, pt, pt_of_old, mdn_file]
one_file = pytest.mark.parametrize("write", ONE_FILE, ids=lambda write: write.__name__)


@one_file
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off(tmp_path, write, share):
    path = write(tmp_path, confidence=np.repeat(C, 40, axis=0), offsets=np.repeat(O, 40, axis=0))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path)


@one_file
@pytest.mark.parametrize(
    "content",
    [b"", b"x,y\n1,2\n", b"\x89PNG\r\n\x1a\n" + bytes(64), bytes(4096), pickle.dumps(Trap())],
    ids=["empty", "text", "image", "zeros", "pickle"],
)
def test_a_file_of_another_kind(tmp_path, write, content):
    path = write(tmp_path, confidence=C, offsets=O)
    path.write_bytes(content)
    refused(path)


@one_file
@pytest.mark.parametrize("other", [npz, npy, tiff, hdf5, pt], ids=lambda write: write.__name__)
def test_a_file_with_another_kinds_name(tmp_path, write, other):
    (tmp_path / "other").mkdir()
    path = write(tmp_path, confidence=C, offsets=O)
    wrong = other(tmp_path / "other", confidence=C, offsets=O)
    if wrong.suffix[:3] == path.suffix[:3] or {wrong.suffix, path.suffix} == {".npz", ".mdn"}:
        assert len(mdn.open_fields(path)) == 5
        return
    path.write_bytes(wrong.read_bytes())
    message = refused(path)
    assert f"by its content a {wrong.suffix} file; rename it to *{wrong.suffix}" in message


def test_a_zarr_group_in_an_archive_is_to_be_unpacked(tmp_path):
    folder = zarr3(tmp_path, confidence=C, offsets=O)
    archive = shutil.make_archive(str(tmp_path / "a.zarr"), "zip", folder)
    assert "a Zarr group in an archive; unpack it to a folder" in refused(archive)


WRONG = {
    "no frames": ({"confidence": C[:0], "offsets": O[:0]}, "no frame"),
    "other frames": ({"confidence": C, "offsets": O[:4]}, "got"),
    "other size": ({"confidence": C, "offsets": O[..., :3]}, "they fit in no common layout"),
    "three components": ({"confidence": C, "offsets": np.repeat(O, 3, axis=2)[:, :, :3]}, "(P, 2"),
    "few axes": (
        {"confidence": C[0, 0], "offsets": np.moveaxis(O[0, 0], 0, -1)},
        "give layout='HWC' (one map)",
    ),
    "many axes": ({"confidence": C[None], "offsets": O[None]}, "wants confidence (P, H, W)"),
    "integers": ({"confidence": (255 * C).astype(np.uint8), "offsets": O}, "floating dtype"),
    "integer offsets": ({"confidence": C, "offsets": O.astype(np.int16)}, "floating dtype"),
    "no offsets": ({"confidence": C}, "offsets missing: give offsets='NAME'; it holds"),
    "no confidence": ({"offsets": O}, "confidence missing"),
    "two heatmaps": ({"heatmap": C, "scoremap": C, "offsets": O}, "confidence could be"),
    "no parts": ({"confidence": C[:, :0], "offsets": O[:, :0]}, "at least one part"),
}


@pytest.mark.parametrize("write", [npz, npz_packed, npy, tiff, tiff_packed, hdf5, zarr2, zarr3, pt])
@pytest.mark.parametrize(("arrays", "fragment"), WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:.*zero-size array to nonconformant TIFF")
def test_arrays_that_are_no_fields(tmp_path, write, arrays, fragment):
    message = refused(write(tmp_path, **arrays))
    assert fragment in message


@pytest.mark.parametrize("write", [npz, npz_packed, hdf5, zarr2, zarr3])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("names", np.array([np.nan, np.nan])),
        ("names", np.array([b"left"])),
        ("stride", np.array([np.nan])),
        ("sigma", np.array([-1.0])),
        ("frames", np.array(4)),
        ("sigma", np.ones((4, 2, 3, 4))),
        ("output_shape", np.full((4, 2), 9)),
        ("stride", np.zeros(0)),
    ],
)
def test_values_that_do_not_fit(tmp_path, write, name, value):
    if write in (zarr2, zarr3):
        path = write(tmp_path, confidence=C, offsets=O)
        plain = value.astype(str).tolist() if value.dtype.kind == "S" else value.tolist()
        zarr.open_group(path)["net"].attrs[name] = plain
    else:
        path = write(tmp_path, confidence=C, offsets=O, **{name: value})
    assert name in refused(path)


@pytest.mark.parametrize("write", [npz, hdf5, zarr3])
def test_images_of_other_frames_are_not_read(tmp_path, write):
    path = write(tmp_path, confidence=C, offsets=O, image=np.zeros((4, 6, 8, 3), np.uint8))
    assert "image (4, 6, 8, 3) is not of 5 frames" in refused(path)
    (tmp_path / "adapted").mkdir()
    arrays = {"foreground": C[:, :1], "offsets": O[:, 0], "image": np.zeros((4, 6, 8, 3))}
    path = write(tmp_path / "adapted", **arrays)
    adapter = partial(mdn.adapters.sleap_nn, stride=2)
    assert "image (4, 6, 8, 3) is not of 5 frames" in refused(path, adapter=adapter)


@pytest.mark.parametrize("write", [npy, tiff])
def test_a_partner_that_cannot_be_read_is_named(tmp_path, write):
    write(tmp_path, confidence=C, offsets=O)
    path, partner = (next(tmp_path.glob(f"hand_{n}.*")) for n in ("confidence", "offsets"))
    partner.write_text("x")
    assert f"its partner {partner}: not a readable" in refused(path)
    partner.unlink()
    partner.mkdir()
    assert f"its partner {partner}: cannot be read (Is a directory)" in refused(path)
    partner.rmdir()
    partner.symlink_to("gone")
    assert f"its partner {partner}: no such file" in refused(path)


def test_tags_that_do_not_matter_are_no_line_more(tmp_path, caplog):
    path = tiff(tmp_path, confidence=C, offsets=O)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ResolutionUnit"].overwrite(38657)
    assert len(mdn.open_fields(path)) == 5
    assert caplog.records == []
    path.write_bytes(path.read_bytes()[:4] + b"\x00\x00\x17\x00" + path.read_bytes()[8:])
    assert "holds no page that can be read" in refused(path)
    assert caplog.records == []


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("write", [zarr2, zarr3])
def test_files_in_a_zarr_group_that_are_not_its_own(tmp_path, write):
    path = write(tmp_path, confidence=C, offsets=O)
    (path / "net" / "notes").mkdir()
    (path / "net" / "notes" / "a.txt").write_text("x")
    assert len(mdn.open_fields(path)) == 5


def test_hdf5_without_numbers(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["confidence"], file["offsets"] = h5py.Empty("f4"), O
    assert "confidence missing" in refused(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["confidence"], file["offsets"], file["sigma"] = C, O, h5py.Empty("f4")
        file.attrs["stride"] = h5py.Empty("f4")
    assert mdn.open_fields(tmp_path / "b.h5")[4].stride == 1.0
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("confidence", C.shape, h5py.ref_dtype)
        file["offsets"] = O
    assert "confidence (confidence) holds objects" in refused(tmp_path / "c.h5")


def test_shapes_that_no_machine_can_hold(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        side = 10**7
        for name, shape in (("heatmap", (9, 1)), ("offsets", (9, 1, 2))):
            file.create_dataset(name, (*shape, side, side), "f4", chunks=(*shape, 1, 1))
    refused(tmp_path / "a.h5")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name, shape in (("heatmap", (9, 1)), ("offsets", (9, 1, 2))):
        group.create_array(name, shape=(*shape, side, side), dtype="f4", chunks=(*shape, side, 1))
    refused(tmp_path / "a.zarr")
    path = tiff(tmp_path, heatmap=C, offsets=O)
    path.write_bytes(path.read_bytes().replace(b"[5, 2, 2, 3, 4]", b"[99,2, 2, 3, 4]"))
    refused(path)
    path = npy(tmp_path, confidence=C, offsets=O)
    path.write_bytes(path.read_bytes().replace(b"(5, 2, 3, 4)", b"(500,2,3,4) "))
    assert "needs 48000 bytes, there are 480" in refused(path)
    path = npz(tmp_path, confidence=C, offsets=O)
    path.write_bytes(path.read_bytes().replace(b"(5, 2, 3, 4)", b"(500,2,3,4) "))
    refused(path)


@pytest.mark.parametrize("content", [b"", b"text", b"hello world", b"PK"], ids=str)
def test_what_no_torch_wrote_is_said(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    said = "not a readable torch file (neither a ZIP archive nor a pickle)"
    assert refused(tmp_path / "a.pt").endswith(said)


@pytest.mark.parametrize("write", [npz, mdn_file, pt], ids=lambda write: write.__name__)
def test_an_archive_without_its_end_is_said_to_be_cut_off(tmp_path, write):
    path = write(tmp_path, confidence=C, offsets=O)
    path.write_bytes(path.read_bytes()[:-30])
    assert refused(path).endswith(" file (cut off?)")


def test_nothing_is_unpickled(tmp_path):
    torch.save({"heatmap": torch.tensor(C), "offsets": Trap()}, tmp_path / "a.pt")
    assert "pickled objects, which could run code" in refused(tmp_path / "a.pt")
    for name in ("a.pkl", "a.pickle", "a.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        assert "pickles are never opened" in refused(tmp_path / name)
    np.save(tmp_path / "heatmap.npy", np.array([Trap()], dtype=object))
    np.save(tmp_path / "offsets.npy", O)
    assert "pickled" in refused(tmp_path / "heatmap.npy")
    path = npz(tmp_path, confidence=C, offsets=O, meta=np.array({"a": Trap()}))
    assert len(mdn.open_fields(path)) == 5  # what is not asked for may be anything
    for trap in ({"names": np.array([Trap()], object)}, {"confidence": np.array([Trap()], object)}):
        path = npz(tmp_path, **{"confidence": C, "offsets": O, **trap})
        assert "pickled" in refused(path)


def test_places_where_there_is_nothing_to_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        mdn.open_fields(tmp_path / "a.h5")
    assert "holds no file to open" in refused(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        mdn.open_fields(tmp_path / "*.h5")
    (tmp_path / "fields.h5").mkdir()
    assert "holds no file to open" in refused(tmp_path / "fields.h5")
    (tmp_path / "a.zarr").mkdir()
    assert "not a Zarr group" in refused(tmp_path / "a.zarr")
    os.mkfifo(tmp_path / "pipe.npz")
    assert "not a regular file" in refused(tmp_path / "pipe.npz")
    (tmp_path / "b.zarr").touch()
    refused(tmp_path / "b.zarr")


def test_a_folder_of_several_kinds(tmp_path):
    npz(tmp_path, confidence=C, offsets=O)
    hdf5(tmp_path, confidence=C, offsets=O)
    assert "files of several kinds, .mdn and HDF5" in refused(tmp_path)


def test_a_bad_file_in_a_folder_is_named(tmp_path):
    mdn.save_fields(tmp_path / "1.mdn", mdn.Fields(C[0], O[0]))
    (tmp_path / "2.mdn").touch()
    with pytest.raises(ValueError, match=r"2\.mdn: not a readable \.mdn file"):
        mdn.open_fields(tmp_path)


@every_kind
def test_files_that_may_not_be_read(tmp_path_factory, write):
    """As another user, where the tests run as one who may read everything."""
    folder = tmp_path_factory.mktemp("denied")
    path = write(folder, confidence=C, offsets=O)
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(PermissionError, match="Permission denied") as caught:
            mdn.open_fields(path)
    finally:
        os.seteuid(user)
        path.chmod(0o700)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("write", "package", "extra"),
    [(hdf5, "h5py", "io"), (tiff, "tifffile", "io"), (zarr3, "zarr", "io"), (pt, "torch", "torch")],
)
def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch, write, package, extra):
    path = write(tmp_path, confidence=C, offsets=O)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"need {package}.*mdn-cupy.{extra}"):
        mdn.open_fields(path)
