"""Zarr in and out: whole shards, resuming, pyramids, and what may go wrong with a disk."""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import fsspec
import numpy as np
import pytest
import zarr

import mdn_cupy as mdn
from mdn_cupy.__main__ import main
from mdn_cupy.dask import reading, scheduling

SIZE, SIDE = 300, 128


@pytest.fixture
def slide(tmp_path):
    """Fields of float16 in a group, and what is in them."""
    rng = np.random.default_rng(0)
    c = (rng.random((SIZE, SIZE)) * 0.4 * (rng.random((SIZE, SIZE)) < 0.1)).astype(np.float16)
    o = rng.normal(0, 5, (2, SIZE, SIZE)).astype(np.float16)
    path = tmp_path / "slide.zarr"
    group = zarr.open_group(path, attributes={"sigma": 2.0})
    group.create_array("confidence", data=c, chunks=(64, 64))
    group.create_array("offsets", data=o, chunks=(1, 64, 64))
    return path, c, o


def evidence(path):
    fields = mdn.dask.open_fields(path, chunks=SIDE)
    complement = mdn.dask.log_complement(fields.confidence, fields.offsets, fields.sigma)
    return 0 - complement


def shards(store, level=0):
    return sorted(p for p in (Path(store) / str(level) / "c").rglob("*") if p.is_file())


def test_a_store_has_the_map_and_a_pyramid_of_maxima(slide, tmp_path):
    _path, _c, _o = slide
    store = tmp_path / "votes.zarr"
    array = da.from_array(np.random.default_rng(1).random((1111, 700)), chunks=(256, 256))
    mdn.dask.to_zarr(array, store)
    group = zarr.open_group(store, mode="r")
    np.testing.assert_array_equal(group["0"][:], array.compute())
    below = np.pad(group["0"][:], ((0, 1), (0, 0)), mode="edge")
    halved = below.reshape(556, 2, 350, 2).max((1, 3))
    np.testing.assert_array_equal(group["1"][:], halved)
    assert group["2"].shape == (278, 175)
    assert group["0"].shards == (256, 256)
    (scales,) = group.attrs["ome"]["multiscales"]
    assert group.attrs["ome"]["version"] == "0.5"
    assert [axis["name"] for axis in scales["axes"]] == ["y", "x"]
    assert scales["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 4.0]},
        {"type": "translation", "translation": [1.5, 1.5]},
    ]
    assert len(shards(store)) == array.npartitions


def test_only_what_is_missing_or_cut_off_is_computed_again(slide, tmp_path):
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    assert mdn.dask.to_zarr(evidence(path), store) == 9
    assert mdn.dask.to_zarr(evidence(path), store) == 0
    first, second, third, *_ = shards(store)
    first.unlink()
    os.truncate(second, second.stat().st_size - 8)
    (third.parent / "2.123.partial").write_bytes(b"half")
    assert mdn.dask.to_zarr(evidence(path), store) == 2
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)
    assert not list(store.rglob("*.partial"))


def test_a_url_of_a_local_file_is_the_path_that_it_names(slide, tmp_path, capsys):
    path, c, o = slide
    store = tmp_path / "new" / "votes.zarr"
    arguments = ["vote", f"file://{path}", "--chunks", "128", "-o"]
    assert main([*arguments, f"file://{store}"]) == 0
    assert main([*arguments[:1], str(path), *arguments[2:], str(store)]) == 0
    assert "had been done" in capsys.readouterr().out
    left = shards(store)[0].with_suffix(".0.partial")
    left.touch()
    shards(store)[0].unlink()
    assert main([*arguments, f"file://{store}"]) == 0
    assert not left.exists()
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-5)


@pytest.mark.parametrize("meanwhile", ["begun", "deleted"])
def test_a_run_ends_where_another_has_taken_its_store_meanwhile(slide, tmp_path, meanwhile):
    path, _, _ = slide
    store = tmp_path / "votes.zarr"
    other = da.full((SIZE, SIZE), 0.25, np.float32, chunks=SIDE)

    def progress(level, done, total):
        if meanwhile == "deleted" and done == 0:
            shutil.rmtree(store)
        elif done == 0:
            mdn.dask.to_zarr(other, store)

    with pytest.raises(ValueError, match=r"votes\.zarr: .*since this run began"):
        mdn.dask.to_zarr(evidence(path), store, progress=progress)
    if meanwhile == "begun":
        assert (mdn.dask.stored(store) == 0.25).all().compute()
    else:
        assert mdn.dask.to_zarr(evidence(path), store) == 9


def test_runs_that_begin_a_store_together_make_it_once(slide, tmp_path, monkeypatch):
    """Each sees no store, or no array, where the other makes it just then."""
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    makers = {name: getattr(zarr, name) for name in ("create_group", "create_array")}
    begun = []

    def made(maker, /, *arguments, **options):
        if maker not in begun:
            begun.append(maker)
            mdn.dask.to_zarr(evidence(path), store)
        return makers[maker](*arguments, **options)

    for name in makers:
        monkeypatch.setattr(zarr, name, functools.partial(made, name))
    assert mdn.dask.to_zarr(evidence(path), store) == 0
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)


def test_a_shard_that_another_run_sweeps_up_is_written_again(slide, tmp_path, monkeypatch):
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    replace, swept = Path.replace, []

    def meanwhile(partial, target):
        if "/c/" in str(target) and not swept:
            swept.append(partial)
            mdn.dask.to_zarr(evidence(path), store)
            assert not partial.exists()
        return replace(partial, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    with dask.config.set(scheduler="sync"):
        assert mdn.dask.to_zarr(evidence(path), store) == 9
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_a_shard_for_which_nothing_votes_is_there_too(tmp_path, kind):
    store = tmp_path / "votes.zarr"
    values = np.zeros((1111, 700), np.float32)
    values[300, 300] = 1
    array = da.from_array(values, chunks=256)
    assert mdn.dask.to_zarr(array, store, kind=kind) > array.npartitions
    np.testing.assert_array_equal(mdn.dask.stored(store).compute(), values)
    assert mdn.dask.to_zarr(array, store, kind=kind) == 0


@pytest.mark.parametrize("command", ["peaks", "instances"])
def test_a_slide_with_empty_chunks_has_peaks_and_labels(tmp_path, capsys, command):
    group = zarr.open_group(tmp_path / "slide.zarr", attributes={"sigma": 2.0})
    c = np.zeros((300, 300), np.float32)
    c[40, 40] = 0.9
    group.create_array("confidence", data=c, chunks=(64, 64))
    group.create_array("offsets", data=np.zeros((2, 300, 300), np.float32), chunks=(1, 64, 64))
    output = tmp_path / ("n.csv" if command == "peaks" else "n.zarr")
    given = ["--threshold", "0.5", "--chunks", "128", "-o", str(output)]
    assert main([command, str(tmp_path / "slide.zarr"), *given]) == 0
    assert capsys.readouterr().out.startswith("1 ")


@pytest.mark.parametrize("size", [0, 1, 20, 200])
def test_a_shard_of_too_few_bytes_is_not_done(slide, tmp_path, capsys, size):
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    command = ["vote", str(path), "--sigma", "2", "--chunks", "128", "-o", str(store)]
    assert main(command) == 0
    os.truncate(shards(store)[4], size)
    assert mdn.dask.stored(store) is None
    capsys.readouterr()
    assert main(command) == 0
    assert "1 shard computed" in capsys.readouterr().out
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-6)
    assert main(command) == 0
    assert "which had been done" in capsys.readouterr().out


def test_an_empty_file_of_the_fields_is_named(slide):
    path, _c, _o = slide
    (chunk,) = path.glob("confidence/c/3/3")
    chunk.write_bytes(b"")
    with pytest.raises(ValueError, match=r"confidence/c/3/3 is empty: was it cut off\?"):
        mdn.dask.open_fields(path)


@pytest.mark.parametrize("gone", ["0", "1", "2", "1/zarr.json"])
def test_a_level_that_is_gone_is_made_again(tmp_path, gone):
    store = tmp_path / "votes.zarr"
    array = da.from_array(np.random.default_rng(1).random((1111, 700)), chunks=(256, 256))
    count = mdn.dask.to_zarr(array, store)
    levels = [zarr.open_array(store, path=str(n), mode="r")[:] for n in range(3)]
    place = store / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert mdn.dask.stored(store) is None
    again = mdn.dask.to_zarr(array, store)
    assert again == 0 if gone.endswith("json") else 0 < again <= count  # its shards are there
    for n, level in enumerate(levels):
        np.testing.assert_array_equal(zarr.open_array(store, path=str(n), mode="r")[:], level)
    assert mdn.dask.stored(store) is not None


@pytest.mark.parametrize("made", [0, 1, 2])
def test_a_run_that_was_stopped_when_it_made_the_levels_goes_on(tmp_path, monkeypatch, made):
    create, store, levels = zarr.create_array, tmp_path / "votes.zarr", []

    def interrupted(*arguments, **options):
        if len(levels) == made:
            raise KeyboardInterrupt
        levels.append(create(*arguments, **options))

    array = da.from_array(np.random.default_rng(1).random((1111, 700)), chunks=(256, 256))
    with monkeypatch.context() as patched:
        patched.setattr(zarr, "create_array", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mdn.dask.to_zarr(array, store)
    assert mdn.dask.stored(store) is None
    mdn.dask.to_zarr(array, store)
    np.testing.assert_array_equal(mdn.dask.stored(store).compute(), array.compute())


@pytest.mark.parametrize("text", ["", "{}", "[]"])
@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_damaged_metadata_names_the_store_and_the_remedy(slide, tmp_path, capsys, name, text):
    store = tmp_path / "votes.zarr"
    command = ["vote", str(slide[0]), "--chunks", "128", "-o", str(store)]
    assert main(command) == 0
    (store / name).write_text(text)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{store}: " in said
    assert "name another output" in said
    with pytest.raises(ValueError, match="name another output"):
        mdn.dask.to_zarr(evidence(slide[0]), store)


def test_a_store_without_a_shard_is_for_other_arguments_too(slide, tmp_path, capsys):
    table = tmp_path / "peaks.csv"
    command = ["peaks", str(slide[0]), "--threshold", "0.5", "--chunks", "128", "-o", str(table)]
    partial = Path(f"{table}.partial.zarr")
    assert main([*command, "--reach", "1"]) == 2
    assert partial.is_dir()
    assert main([*command, "--sigma", "3"]) == 0
    assert not partial.exists()
    assert main([*command, "--reach", "1"]) == 2
    shard = partial / "0" / "c" / "0" / "0"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"kept")
    capsys.readouterr()
    assert main([*command, "--sigma", "3"]) == 2
    assert f"{partial}: there is a result of other" in (said := capsys.readouterr().err)
    assert "delete it, or name another output" in said
    assert shard.read_bytes() == b"kept"


def test_a_promise_that_was_broken_leaves_no_wrong_shard(tmp_path, capsys):
    """The chunk that lacks a vote is written before the vote is found that breaks the promise."""
    c, o = np.zeros((SIZE, SIZE), np.float32), np.zeros((2, SIZE, SIZE), np.float32)
    c[32, 32], o[:, 32, 32] = 0.9, 258
    path, store = tmp_path / "slide.zarr", tmp_path / "votes.zarr"
    group = zarr.open_group(path, attributes={"sigma": 2.0})
    group.create_array("confidence", data=c, chunks=(64, 64))
    group.create_array("offsets", data=o, chunks=(1, 64, 64))
    command = ["vote", str(path), "--chunks", "64", "-o", str(store)]
    assert main([*command, "--reach", "10"]) == 2
    assert shards(store)
    for other in ([], ["--reach", "300"]):
        capsys.readouterr()
        assert main([*command, *other]) == 2
        said = capsys.readouterr().err
        assert re.search(r"\(reach \['promised-10-\w+'\] instead of .*\); delete it", said)
    shutil.rmtree(store)
    assert main([*command, "--reach", "300"]) == 0
    assert zarr.open_array(store, path="0")[290, 290] == pytest.approx(0.9)


@pytest.fixture
def reads(monkeypatch):
    """What is read of the fields."""
    read, seen = reading.read, []

    def recorded(array, index):
        if array.path in ("confidence", "offsets"):
            seen.append(f"{array.path} {index}")
        return read(array, index)

    monkeypatch.setattr(reading, "read", recorded)
    return seen


def test_peaks_read_no_field_again_to_check_a_promise_that_the_votes_kept(
    slide, tmp_path, reads, capsys
):
    common = [str(slide[0]), "--chunks", "128", "-o"]
    high = ["--threshold", "1e9"]  # no peak, near which fields are read again
    peaks = ["peaks", *common, str(tmp_path / "n.csv"), *high]
    store = f"{tmp_path}/n.csv.partial.zarr"
    assert main(["vote", *common, str(tmp_path / "votes.zarr"), "--reach", "40"]) == 0
    votes = sorted(reads)
    reads.clear()
    assert main([*peaks, "--reach", "40"]) == 0
    assert sorted(reads) == votes

    given = ["vote", *common, store, "--rule", "evidence"]
    for reach in ([], ["--reach", "41"]):  # votes that kept no such promise
        assert main([*given, *reach]) == 0
        reads.clear()
        assert main([*peaks, "--reach", "40"]) == 0
        assert len(reads) == 2 * 9  # of both fields, each chunk once
    assert main(given) == 0
    assert main([*peaks, "--reach", "10"]) == 2
    assert "beyond the promised reach of 10 pixels" in capsys.readouterr().err


def test_a_run_that_measured_goes_on_with_a_promise(slide, tmp_path, capsys):
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    command = ["vote", str(path), "--chunks", "128", "-o", str(store)]
    assert main(command) == 0
    shards(store)[4].unlink()
    capsys.readouterr()
    assert main([*command, "--reach", "40"]) == 0
    assert "1 shard computed" in capsys.readouterr().out
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-6)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (da.zeros(()), {}, "array must have 2 to 5 axes"),
        (da.zeros(7), {}, "array must have 2 to 5 axes"),
        (da.zeros((1, 1, 1, 1, 7, 7)), {}, "array must have 2 to 5 axes"),
        (da.zeros((8, 8), chunks=((3, 5), 8)), {}, r"chunks must be of one size.*chunks=3"),
        (da.zeros((8, 8), dtype="complex64"), {}, "array must be of real numbers, got complex64"),
        (da.zeros((8, 8))[da.zeros(8) > 0], {}, "array has chunks of unknown size"),
        (np.zeros((8, 8)), {}, "array must be a Dask array, got ndarray"),
        (da.zeros((8, 8)), {"kind": "mask"}, "kind must be one of 'image', 'labels', got 'mask'"),
        (da.zeros((8, 8)), {"fingerprint": {"a": {1}}}, "fingerprint must be of texts and numbers"),
    ],
)
def test_an_array_that_is_no_map_is_refused(tmp_path, array, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mdn.dask.to_zarr(array, tmp_path / "votes.zarr", **options)
    assert not (tmp_path / "votes.zarr").exists()
    with pytest.raises(TypeError, match=r"url must be a str or os\.PathLike, got NoneType"):
        mdn.dask.to_zarr(da.zeros((8, 8)), None)


def test_a_store_of_other_inputs_or_of_somebody_else_is_not_touched(slide, tmp_path):
    path, _, _ = slide
    store = tmp_path / "votes.zarr"
    mdn.dask.to_zarr(evidence(path), store)
    group = zarr.open_group(path)
    time.sleep(0.01)
    group["confidence"][:4] = 0.5
    with pytest.raises(ValueError, match="result of other arguments or inputs"):
        mdn.dask.to_zarr(evidence(path), store)
    with pytest.raises(ValueError, match="not written by mdn-cupy"):
        mdn.dask.to_zarr(evidence(path), path)
    (tmp_path / "text.zarr").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        mdn.dask.to_zarr(evidence(path), tmp_path / "text.zarr")
    assert (tmp_path / "text.zarr").read_text() == "mine"


def test_fields_are_read_in_the_task_that_votes_and_no_more_of_them_than_it_needs(
    slide, monkeypatch
):
    path, c, o = slide
    seen = []

    def recorded(array, index):
        seen.append(index[-2:])
        return array[index]

    monkeypatch.setattr(reading, "read", recorded)
    fields = mdn.dask.open_fields(path, chunks=SIDE)
    given = fields.confidence, fields.offsets, fields.sigma
    whole = mdn.Votes(c, o, 2.0)
    for reach in (None, 40):
        m = mdn.dask.noisy_or(*given, reach=reach)
        tasks = dict(da.Array.__dask_optimize__(m.__dask_graph__(), m.__dask_keys__()))
        assert len(tasks) == m.npartitions
        np.testing.assert_allclose(m.compute(), whole.noisy_or(), atol=1e-6)
        seen.clear()
        m.blocks[0, 0].compute()
        assert len(seen) == 2  # one of each field, from all chunks of the store together
        assert max(max(rows.stop, columns.stop) for rows, columns in seen) < SIDE + 60
        cotangent = da.ones(m.shape, chunks=m.chunks, dtype=np.float32)
        found = mdn.dask.additive_vjp(*given, cotangent, reach=reach)
        wanted = whole.additive_vjp(np.ones(m.shape, np.float32))
        np.testing.assert_allclose(found.offsets.compute(), wanted.offsets, atol=1e-6)
    with pytest.raises(ValueError, match=r"go beyond the promised reach of 10 pixels"):
        mdn.dask.noisy_or(*given, reach=10).compute()
    with pytest.raises(ValueError, match=r"go beyond the promised reach of 10 pixels"):
        mdn.dask.noisy_or(*given, reach=10, origin=5000, output_shape=(9, 9)).compute()


@pytest.mark.parametrize("version", [2, 3])
def test_fields_are_read_from_either_version_with_their_numbers(tmp_path, version):
    path = tmp_path / "fields.zarr"
    group = zarr.open_group(path, zarr_format=version, attributes={"sigma": 1.5, "stride": [2, 4]})
    c = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    group.create_array("heatmap", data=c, chunks=(1, 8, 8))
    group.create_array("locref", data=np.zeros((3, 2, 20, 30), np.float32), chunks=(1, 1, 8, 8))
    fields = mdn.dask.open_fields(path)
    assert fields.confidence.chunksize == (1, 8, 8)
    assert fields.offsets.chunksize == (1, 2, 8, 8)
    assert (fields.sigma, fields.geometry["stride"]) == (1.5, (2.0, 4.0))
    np.testing.assert_array_equal(fields.confidence.compute(), c)
    from_url = mdn.dask.open_fields(f"file://{path}")
    np.testing.assert_array_equal(from_url.confidence.compute(), c)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zarr"):
        mdn.dask.open_fields(tmp_path / "nowhere.zarr")
    with pytest.raises(ValueError, match=r"fields\.zarr: offsets .* must have the shape"):
        mdn.dask.open_fields(path, offsets="heatmap")


def test_the_commands_do_by_chunks_what_they_do_in_memory(slide, tmp_path, capsys):
    path, c, o = slide
    common = [str(path), "--sigma", "2"]
    store = tmp_path / "votes.zarr"
    assert main(["vote", *common, "--chunks", "128", "-o", str(store)]) == 0
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-6)
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    peaks = ["--threshold", "0.5", "--min-distance", "4"]
    assert main(["peaks", *common, *peaks, "--layout", "CHW", "-o", str(whole)]) == 0
    assert main(["peaks", *common, *peaks, "--chunks", "128", "-o", str(parts)]) == 0
    left, right = (json.loads(file.read_text()) for file in (whole, parts))
    assert len(left) == len(right) > 10
    for name in ("x", "y", "evidence"):
        a, b = (sorted(row[name] for row in rows) for rows in (left, right))
        np.testing.assert_allclose(a, b, atol=1e-3)
    labels = tmp_path / "labels.zarr"
    given = [*common, *peaks, "--radius", "5", "--chunks", "128"]
    assert main(["instances", *given, "-o", str(labels)]) == 0
    found = zarr.open_array(labels, path="0", mode="r")[:]
    assert found.max() == len(right)
    assert not list(tmp_path.glob("*.partial*"))
    assert "written to" in capsys.readouterr().out


@pytest.mark.parametrize("is_url", [False, True])
def test_labels_that_are_there_are_not_voted_for_again(
    slide, tmp_path, monkeypatch, capsys, is_url
):
    output = f"memory://{tmp_path.name}/l.zarr" if is_url else str(tmp_path / "l.zarr")
    command = ["instances", str(slide[0]), "--threshold", "0.5", "--chunks", "128", "-o", output]
    assert main([*command, "--radius", "5"]) == 0
    assert f"labels [300, 300] written to {output}" in capsys.readouterr().out
    labels = zarr.open_array(output, path="0", mode="r")[:]
    assert labels.max() > 10
    filesystem, folder = fsspec.url_to_fs(output.rpartition("/")[0])
    assert not filesystem.exists(f"{folder}/l.zarr.partial.zarr")
    zarr.create_group(f"{output}.partial.zarr")  # as a run leaves it that was stopped at its end
    with monkeypatch.context() as patched:
        patched.setattr(mdn.dask, "measure_reach", None)
        assert main([*command, "--radius", "5"]) == 0
    assert [Path(found).name for found in filesystem.glob(f"{folder}/l.*")] == ["l.zarr"]
    said = capsys.readouterr().out
    assert f"labels [300, 300], which had been done: written to {output}" in said
    assert main([*command, "--radius", "4"]) == 2
    assert "there is a result of other arguments or inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chunks", "0", "-o", "votes.zarr"], "--chunks must be at least 1"),
        (["--memory", "lots", "-o", "votes.zarr"], "memory must be a number of bytes such as 2GB"),
        (["--memory", "5MB", "-o", "votes.zarr"], "memory must be at least"),
        (["--chunks", "99", "-o", "votes.npy"], "votes.npy: name a .zarr store"),
        (["--reach", "1", "-o", "votes.zarr"], "beyond the promised reach of 1 pixels"),
        (["--part", "7", "-o", "votes.zarr"], "no part '7'"),
        (["--chunks", "1", "-o", "votes.zarr"], "--chunks 1 makes 90000 chunks; give more pixels"),
        (["--set", "a=1", "-o", "votes.zarr"], "--set is for the settings of an adapter"),
        (["-o", "nothing://votes.zarr"], "Protocol not known"),
    ],
)
def test_a_command_that_cannot_be_done_is_refused_in_one_line(
    slide, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["vote", str(slide[0]), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("confidence", np.nan, "confidence: 6 of "),
        ("confidence", 1.5, r"outside \[0, 1\], the first at \(5, 7\) is 1.5"),
        (
            "offsets",
            -np.inf,
            r"offsets\[0:2, 0:128, 0:128\]: offsets: 12 of 32768 values not finite",
        ),
    ],
)
@pytest.mark.parametrize("reach", [[], ["--reach", "40"]])
def test_values_that_are_no_votes_are_refused_and_named(
    slide, tmp_path, capsys, name, value, message, reach
):
    path, _c, _o = slide
    zarr.open_group(path)[name][..., 5:8, 7:9] = value
    store = tmp_path / "votes.zarr"
    assert main(["vote", str(path), "--chunks", "128", *reach, "-o", str(store)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said) or reach
    assert f"{name}: " in said
    fields = mdn.dask.open_fields(path, chunks=SIDE)
    m = mdn.dask.noisy_or(fields.confidence, fields.offsets, fields.sigma).compute()
    assert np.isnan(m).any() == bool(np.isnan(value))


def test_a_slide_without_a_pixel_has_a_map_without_one(tmp_path):
    group = zarr.open_group(tmp_path / "empty.zarr")
    group.create_array("confidence", data=np.zeros((0, 7)), chunks=(1, 1))
    group.create_array("offsets", data=np.zeros((2, 0, 7)), chunks=(1, 1, 1))
    arguments = ["vote", str(tmp_path / "empty.zarr"), "--chunks", "64", "-o"]
    assert main([*arguments, str(tmp_path / "votes.zarr")]) == 0
    assert zarr.open_array(tmp_path / "votes.zarr", path="0", mode="r").shape == (0, 7)


def test_a_chunk_that_is_cut_off_is_named_and_what_is_done_stays(slide, tmp_path, capsys):
    path, _c, _o = slide
    (chunk,) = path.glob("confidence/c/3/3")
    kept = chunk.read_bytes()
    chunk.write_bytes(kept[:20])
    store = tmp_path / "votes.zarr"
    arguments = ["vote", str(path), "--chunks", "64", "--reach", "30", "-o", str(store)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(r"confidence\[\d+:\d+, \d+:\d+\] cannot be read", said)
    assert not list(store.rglob("*.partial"))


@pytest.mark.parametrize(
    ("command", "output", "message"),
    [
        (["peaks", "--min-distance", "nan"], "n.csv", "min_distance must not be negative"),
        (["peaks", "--max-peaks", "0"], "n.csv", "max_peaks must be at least 1"),
        (["peaks"], "folder.csv", "folder.csv: is a directory; name a file in it"),
        (["instances", "--radius", "nan"], "n.zarr", "radius must not be negative"),
    ],
)
def test_limits_and_outputs_are_checked_before_anything_is_voted(
    slide, tmp_path, monkeypatch, capsys, command, output, message
):
    monkeypatch.chdir(tmp_path)
    Path("folder.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    name, *given = command
    common = ["--threshold", "0.5", "--chunks", "128", "-o", output]
    assert main([name, str(slide[0]), *given, *common]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_one_far_offset_of_a_store_is_read_alone(slide, monkeypatch):
    path, _c, _o = slide
    group = zarr.open_group(path)
    group["confidence"][5, 7], group["offsets"][:, 5, 7] = 0.5, 280.0
    read, seen = reading.read, []

    def recorded(array, index):
        seen.append(index[-2:])
        return read(array, index)

    monkeypatch.setattr(reading, "read", recorded)
    fields = mdn.dask.open_fields(path, chunks=SIDE)
    given = fields.confidence, fields.offsets, fields.sigma
    with pytest.warns(mdn.dask.OutlierWarning):
        m = mdn.dask.noisy_or(*given)
    seen.clear()
    whole = mdn.noisy_or(group["confidence"][:], group["offsets"][:], fields.sigma)
    np.testing.assert_allclose(m.blocks[2, 2].compute(), whole[256:, 256:], atol=1e-6)
    sizes = {(r.stop - r.start, k.stop - k.start) for r, k in seen}
    assert (1, 1) in sizes
    assert max(max(size) for size in sizes) < SIDE


def in_process(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)


def test_a_full_disk_ends_in_one_line_and_the_rest_is_done_later(slide, tmp_path):
    """The system refuses to write files beyond a size, as it does where no room is left."""
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    code = """
        import resource, sys
        from mdn_cupy.__main__ import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        sys.exit(main(["vote", sys.argv[1], "--chunks", "128", "-o", sys.argv[2]]))
        """
    process = in_process(code, path, store)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.count("\n") == 1, said
    assert f"{store}: cannot be written (File too large)" in said
    assert not list(store.rglob("*.partial"))
    assert main(["vote", str(path), "--chunks", "128", "-o", str(store)]) == 0
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-6)


_UNPRIVILEGED = """
import ctypes, os
if os.geteuid() == 0:  # root is refused nothing, unless it gives up its capabilities
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
"""


def permit(folder, bits):
    for place in (folder, *folder.rglob("*")):
        place.chmod(bits | 0o111 if place.is_dir() else bits)


def test_a_store_that_may_not_be_written_stays_good(slide, tmp_path):
    path, c, o = slide
    code = (
        _UNPRIVILEGED
        + """
import sys
from mdn_cupy.__main__ import main
sys.exit(main(["vote", sys.argv[1], "--chunks", "128", "-o", sys.argv[2]]))
"""
    )
    closed = tmp_path / "closed"
    closed.mkdir()
    store = tmp_path / "votes.zarr"
    assert main(["vote", str(path), "--chunks", "128", "-o", str(store)]) == 0
    first, *others = shards(store)
    first.unlink()
    before = [shard.read_bytes() for shard in others]
    permit(path, 0o444)  # the fields may be read-only, too
    for place in (closed, store):
        permit(place, 0o444)
        try:
            output = place if place == store else place / "votes.zarr"
            process = in_process(code, path, output)
            _, said = process.communicate(timeout=120)
        finally:
            permit(place, 0o644)
        assert process.returncode == 2, said
        assert said.count("\n") == 1, said
        assert "Permission denied" in said
    assert not list(closed.iterdir())
    assert [shard.read_bytes() for shard in others] == before
    assert main(["vote", str(path), "--chunks", "128", "-o", str(store)]) == 0
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 2.0), atol=1e-6)
    permit(path, 0o644)


@pytest.mark.slow
def test_a_program_that_was_killed_goes_on_with_the_rest(slide, tmp_path):
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    code = """
        import os, signal, sys
        import mdn_cupy as mdn
        fields = mdn.dask.open_fields(sys.argv[1], chunks=64)
        array = 0 - mdn.dask.log_complement(fields.confidence, fields.offsets, fields.sigma)
        def progress(level, done, total):
            if done == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        mdn.dask.to_zarr(array, sys.argv[2], progress=progress)
        """
    process = in_process(code, path, store)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    done = len(shards(store))
    assert 7 <= done < 25
    fields = mdn.dask.open_fields(path, chunks=64)
    array = 0 - mdn.dask.log_complement(fields.confidence, fields.offsets, fields.sigma)
    assert mdn.dask.to_zarr(array, store) == 25 - done
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)


@pytest.mark.slow
def test_a_worker_that_was_killed_loses_nothing_and_has_its_own_threads(slide, tmp_path):
    distributed = pytest.importorskip("distributed")
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
    )
    with cluster, distributed.Client(cluster) as client:
        assert set(client.run(lambda: mdn.get_num_threads()).values()) >= {1}
        assert client.submit(mdn.get_num_threads).result() == 1
        pids = list(client.run(os.getpid).values())
        killed = []

        def progress(level, done, total):
            if done == 3 and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        fields = mdn.dask.open_fields(path, chunks=64)
        array = 0 - mdn.dask.log_complement(fields.confidence, fields.offsets, fields.sigma)
        mdn.dask.to_zarr(array, store, progress=progress)
        assert killed
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)
    shutil.rmtree(store)


def test_what_is_no_address_is_refused_before_there_is_a_client(monkeypatch):
    """One that refuses it waits 20 s for itself when the process ends, and prints a traceback."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", None)
    for address in ("nowhere", "", "tcp://127.0.0.1", "foo://a:1", "tcp://127.0.0.1:x"):
        with pytest.raises(ValueError, match=r"scheduler must be the address of a Dask cluster"):
            mdn.dask.working(address).__enter__()


def test_a_port_where_something_listens_and_says_nothing_is_no_scheduler(monkeypatch):
    """A client of Dask's waits for ever for its first word."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(scheduling, "_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=r"no scheduler of Dask answers there within 0\.5 s"):
            mdn.dask.working(address).__enter__()


@pytest.mark.parametrize("command", ["peaks", "instances"])
def test_evidence_that_another_run_deletes_is_not_read_as_zeros(
    slide, tmp_path, monkeypatch, capsys, command
):
    path, _, _ = slide
    output = tmp_path / ("peaks.csv" if command == "peaks" else "labels.zarr")
    finder = "peaks" if command == "peaks" else "find_peaks"
    find = getattr(mdn.dask, finder)

    def meanwhile(*arguments, **options):
        found = find(*arguments, **options)
        shutil.rmtree(f"{output}.partial.zarr")
        return found

    arguments = [command, str(path), "--chunks", "128", "--threshold", "0.5", "-o", str(output)]
    with monkeypatch.context() as patch:
        patch.setattr(mdn.dask, finder, meanwhile)
        assert main(arguments) == 2
    said = capsys.readouterr().err
    assert (said.count("\n"), "another run has deleted it" in said) == (1, True)
    assert not output.exists()
    assert main(arguments) == 0


@pytest.mark.slow
def test_a_cluster_without_workers_or_that_is_lost_ends_in_one_line(
    slide, tmp_path, capsys, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    path, c, o = slide
    store = tmp_path / "votes.zarr"
    cluster = distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None)
    address = cluster.scheduler_address
    arguments = ["vote", str(path), "--chunks", "64", "--scheduler", address, "-o", str(store)]
    with monkeypatch.context() as patch:
        patch.setattr(scheduling, "_ANSWER", 2.0)
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert (said.count("\n"), "has had no worker" in said) == (1, True)
        assert not store.exists()
        for nowhere in ("nowhere", "tcp://127.0.0.1:1"):
            with pytest.raises((OSError, ValueError), match=r"scheduler must be|no scheduler of"):
                mdn.dask.working(nowhere).__enter__()
            assert da.ones(4).sum().compute() == 4  # Dask is as it was
    cluster.scale(1)

    def leave(level, done, total):
        if done == 3:
            cluster.scale(0)

    monkeypatch.setattr(scheduling, "_PATIENCE", 1.0)
    with mdn.dask.working(address), pytest.raises(RuntimeError, match="has had no worker for 1 s"):
        mdn.dask.to_zarr(evidence(path), store, progress=leave)
    cluster.scale(1)

    def progress(level, done, total):
        if done == 6:
            cluster.close()

    with mdn.dask.working(address), pytest.raises(RuntimeError, match="cluster was lost"):
        mdn.dask.to_zarr(evidence(path), store, progress=progress)
    assert mdn.dask.to_zarr(evidence(path), store) < 9
    found = zarr.open_array(store, path="0", mode="r")[:]
    np.testing.assert_allclose(found, -mdn.log_complement(c, o, 2.0), atol=1e-5)


def test_a_task_that_runs_when_another_fails_is_waited_for():
    """At the end of the process its reads of Zarr would fail, and asyncio would print them."""
    begun, failed, ended = (threading.Event() for _ in range(3))

    def failing(block):
        assert begun.wait(60)
        raise OSError("no space left")

    def running(block):
        begun.set()
        assert failed.wait(60)
        time.sleep(0.2)
        ended.set()
        return block

    blocks = [da.ones(1, chunks=1).map_blocks(each, meta=np.ones(1)) for each in (failing, running)]
    mdn.set_num_threads(2)  # other tests lower torch's number, which counts
    try:
        with mdn.dask.working(None):
            with pytest.raises(OSError, match="no space"):
                dask.compute(*blocks)
            failed.set()
    finally:
        mdn.set_num_threads(None)
    assert ended.is_set()
