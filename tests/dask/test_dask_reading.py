"""Fields in a store by chunks, in any layout, beside `mdn_cupy.open_fields` of the same."""

import functools
import http.server
import json
import threading

import numpy as np
import pytest
import zarr

import mdn_cupy as mdn
from mdn_cupy.__main__ import main

LENGTHS = {"P": 3, "C": 2, "H": 21, "W": 17}
LAYOUTS = ["PCHW", "(PC)HW", "(CP)HW", "HWPC", "HW(CP)", "HWP PHWC", "PHW HW(PC)", "PHW CHW", "CHW"]


def written(path, layout, frames=None, **attributes):
    """A group in a layout, with chunks that cut its axes."""
    from mdn_cupy.io import Layout

    rng = np.random.default_rng(0)
    axes = Layout(layout)
    before = () if frames is None else (frames,)
    shapes = [
        (*before, *(int(np.prod([LENGTHS[n] for n in axis])) for axis in each))
        for each in (axes.maps, axes.axes)
    ]
    group = zarr.open_group(path, mode="w", attributes=attributes)
    for name, shape in zip(("confidence", "offsets"), shapes, strict=True):
        values = rng.normal(0, 2, shape).astype(np.float32)
        group.create_array(name, data=values, chunks=tuple(min(n, 8) for n in shape))
    return path


@pytest.mark.parametrize("frames", [None, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read_by_chunks_as_it_is_whole(tmp_path, layout, frames):
    path = written(tmp_path / "fields.zarr", layout, frames, stride=[2, 4])
    given = {"layout": layout, "order": "yx", "scale": (1.5, 2.0), "sigmoid": True}
    whole = mdn.open_fields(path, **given)[2 if frames else 0]
    frame = 2 if frames else None
    lazy = mdn.dask.open_fields(path, chunks=(7, 6), frame=frame, **given)
    maps = whole.confidence[0] if layout == "CHW" else whole.confidence
    offsets = whole.offsets[0] if layout == "CHW" else whole.offsets
    assert lazy.confidence.dtype == maps.dtype
    np.testing.assert_array_equal(lazy.confidence.compute(), maps)
    np.testing.assert_array_equal(lazy.offsets.compute(), offsets)
    assert lazy.geometry["stride"] == (2.0, 4.0)
    part = mdn.dask.open_fields(
        path, chunks=(7, 6), frame=frame, part=len(whole.names) - 1, **given
    )
    np.testing.assert_array_equal(part.confidence.compute(), whole.confidence[-1])
    np.testing.assert_array_equal(part.offsets.compute(), whole.offsets[-1])
    votes = mdn.Votes(whole.confidence[-1], whole.offsets[-1], 1.5, **whole.geometry)
    m = mdn.dask.noisy_or(part.confidence, part.offsets, 1.5, **part.geometry)
    np.testing.assert_allclose(m.compute(), votes.noisy_or(), atol=1e-6)


def test_a_scale_is_the_same_in_whatever_it_is_given(tmp_path):
    path = written(tmp_path / "fields.zarr", "PCHW", None)
    one, *same = (
        mdn.dask.open_fields(path, scale=scale).fingerprint
        for scale in (2.0, (2.0, 2.0), np.array([2.0, 2.0]))
    )
    assert same == [one, one]  # else a store would not be gone on with
    pair = mdn.dask.open_fields(path, scale=np.array([2.0, 3.0])).fingerprint
    assert json.loads(json.dumps(pair))["scale"] == [2.0, 3.0]


def test_numbers_and_names_that_are_given_go_before_those_of_the_group(tmp_path):
    path = written(
        tmp_path / "fields.zarr", "PCHW", stride=[2, 4], sigma=2.0, names=["a", "b", "c"]
    )
    fields = mdn.dask.open_fields(path, stride=3, origin=(1, 2), names=["d", "e", "f"], part="e")
    assert (fields.geometry["stride"], fields.geometry["origin"]) == ((3.0, 3.0), (1.0, 2.0))
    assert (fields.sigma, fields.names) == (2.0, ("e",))
    fields = mdn.dask.open_fields(path, sigma=1.5, output_shape=(50, 60))
    assert (fields.sigma, fields.geometry["output_shape"]) == (1.5, (50, 60))
    assert fields.names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "PCHW", "frame": 0, "names": ["d"]}, "names must name 3 parts, got 1"),
        ({"layout": "PCHW", "frame": 0, "stride": 0}, "stride must be greater than 0"),
        ({"layout": "HWPC"}, r"got confidence \(4, 3, 21, 17\).*layout='PCHW'"),
        ({"layout": "PCHW"}, "and a frame where there are several"),
        ({"layout": "PCHW", "frame": 4}, "frame must be from 0 to 3, got 4"),
        (
            {"layout": "PCHW", "frame": 1, "part": "tail"},
            "no part 'tail'; the parts are part 0, part 1, part 2",
        ),
        ({"cross": True}, "cross-part voting needs cross_offsets; it holds "),
        ({"cross": True, "layout": "PCHW"}, "leave the layout out"),
        ({"order": "ab"}, "order must be 'xy' or 'yx'"),
        ({"layout": "PCHW", "frame": 0, "output_shape": [5]}, "output_shape must be two integers"),
        ({"layout": "PCHW", "frame": 0, "output_shape": [5.5, 7]}, r"two integers .* \[5.5, 7\]"),
        ({"device": "gpu"}, "device must be 'cpu' or 'cuda', got 'gpu'"),
        ({"frame": 0.5}, "frame must be a whole number, got 0.5"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, given, message):
    path = written(tmp_path / "fields.zarr", "PCHW", 4)
    with pytest.raises((TypeError, ValueError), match=message):
        mdn.dask.open_fields(path, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"origin": (1, 2, 3)}, r"origin must be a number or a pair .* got tuple"),
        ({"stride": (2, 0)}, "stride must be greater than 0, got 0.0"),
        ({"sigma": (1, 2)}, "sigma must be a number, got tuple"),
        ({"output_shape": (5, 6, 7)}, r"output_shape must be two integers \(Ho, Wo\), got"),
    ],
)
def test_numbers_are_refused_where_they_come_from(tmp_path, capsys, wrong, message):
    """A value that is given is not blamed on the store, and one of the store is."""
    path = written(tmp_path / "good.zarr", "CHW")
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        mdn.dask.open_fields(path, **wrong)
    path = written(tmp_path / "bad.zarr", "CHW", **wrong)
    ((name, _),) = wrong.items()
    with pytest.raises(ValueError, match=f"bad.zarr: {message}.*; give another {name}"):
        mdn.dask.open_fields(path)
    command = ["vote", str(tmp_path / "good.zarr"), "-o", str(tmp_path / "m.zarr")]
    assert main([*command, "--origin", "1,2,3"]) == 2
    assert capsys.readouterr().err.startswith("mdn-cupy: origin must be a number or a pair of")


def test_a_frame_of_a_store_without_frames_is_refused_as_that(tmp_path, capsys):
    said = "it has no frames: confidence has the shape (21, 17)"
    path = written(tmp_path / "fields.zarr", "CHW")
    command = ["vote", str(path), "--sigmoid", "--frames", "0", "-o", str(tmp_path / "m.zarr")]
    for given in ([], ["--layout", "CHW"]):
        assert main([*command, *given]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("chunks", [-3, 0, True, (4, 0), (True, 4), 0.5, (-2, 7), np.int64(-5)])
def test_chunks_that_are_no_sizes_are_refused(tmp_path, chunks):
    path = written(tmp_path / "fields.zarr", "CHW")
    with pytest.raises(ValueError, match="chunks must be numbers of at least 1, -1 for a whole"):
        mdn.dask.open_fields(path, chunks=chunks)
    fields = mdn.dask.open_fields(path)
    with pytest.raises(ValueError, match="chunks must be numbers of at least 1, -1 for a whole"):
        mdn.dask.noisy_or(fields.confidence, fields.offsets, 2.0, chunks=chunks)


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        (np.int64(9), ((9, 9, 3), (9, 8))),
        ((-1, 9), ((21,), (9, 8))),
        ("auto", ((21,), (17,))),
        (((20, 1), 17), ((20, 1), (17,))),
    ],
)
def test_chunks_are_what_dask_takes(tmp_path, chunks, wanted):
    fields = mdn.dask.open_fields(written(tmp_path / "fields.zarr", "CHW"), chunks=chunks)
    assert fields.confidence.chunks == wanted
    assert fields.offsets.chunks == ((2,), *wanted)


@pytest.mark.parametrize("command", ["peaks", "instances", "vote"])
def test_fields_of_one_map_need_no_layout_in_memory_either(tmp_path, capsys, command):
    path = written(tmp_path / "fields.zarr", "CHW")
    output = tmp_path / {"peaks": "n.csv", "instances": "i.npy", "vote": "m.npy"}[command]
    limits = [] if command == "vote" else ["--threshold", "0.5"]
    assert main([command, str(path), "--sigmoid", *limits, "-o", str(output)]) == 0
    found = output.read_bytes()
    given = ["--layout", "CHW", "--sigmoid", *limits, "-o", str(output)]
    assert main([command, str(path), *given]) == 0
    assert found == output.read_bytes()


@pytest.mark.parametrize("output", ["n.csv", "--chunks=9"])
def test_a_command_names_a_layout_as_its_option(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    written("fields.zarr", "(PC)HW")
    by_chunks = [output, "-o", "m.csv"] if output.startswith("-") else ["-o", output]
    given = ["--layout", "HWPC", "--threshold", "1"]
    assert main(["peaks", "fields.zarr", *given, *by_chunks]) == 2
    said = capsys.readouterr().err
    assert "give --layout '(PC)HW' (two channels" in said
    assert "layout=" not in said


@pytest.mark.parametrize("frame", [[], ["--frames", "1"]])
def test_the_table_names_frames_and_parts_by_chunks_as_otherwise(tmp_path, frame):
    path = written(tmp_path / "fields.zarr", "PCHW", frames=3 if frame else None)
    table = tmp_path / "n.json"
    found = []
    for given in ([], ["--chunks", "9"]):
        limits = ["--sigmoid", "--threshold", "0.5", *frame, *given]
        assert main(["peaks", str(path), *limits, "-o", str(table)]) == 0
        found.append({(row["frame"], row["part"]) for row in json.loads(table.read_text())})
    assert found == [{(1 if frame else 0, f"part {n}") for n in range(3)}] * 2


def test_names_are_of_the_parts_where_there_are_frames_too(tmp_path):
    path = written(tmp_path / "fields.zarr", "PCHW", frames=2, names=["a", "b", "c"])
    assert mdn.dask.open_fields(path).names == ("a", "b", "c")


def test_a_sample_by_chunks_is_refused_as_a_sample(tmp_path, capsys):
    assert main(["vote", "pose", "-o", str(tmp_path / "x.zarr")]) == 2
    said = capsys.readouterr().err
    assert "pose: it is a sample, which fits into memory; by chunks name a Zarr group" in said


@pytest.fixture
def people(tmp_path):
    """Three named parts that vote for themselves and for each other."""
    rng = np.random.default_rng(1)
    path = tmp_path / "people.zarr"
    group = zarr.open_group(path, attributes={"sigma": 2.0, "names": ["nose", "tail", "paw"]})
    c = (rng.random((3, 90, 80)) * (rng.random((3, 90, 80)) < 0.2)).astype(np.float32)
    cross = rng.normal(0, 3, (3, 3, 2, 90, 80)).astype(np.float32)
    own = cross[0].copy()
    cross[0, 1, :, :9] = np.nan  # where a part has no edge to another
    for name, values in (("confidence", c), ("offsets", own), ("cross_offsets", cross)):
        chunks = (1,) * (values.ndim - 2) + (32, 32)
        group.create_array(name, data=values, chunks=chunks)
    return path


@pytest.mark.parametrize(
    "given", [["--cross"], ["--cross", "--part", "tail"], ["--part", "paw"], ["--part", "all"], []]
)
def test_the_peaks_of_parts_and_crossed_votes_are_those_of_the_whole(people, tmp_path, given):
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    common = ["peaks", str(people), "--threshold", "1.5", "--min-distance", "3", *given]
    assert main([*common, "-o", str(whole)]) == 0
    assert main([*common, "--chunks", "40", "-o", str(parts)]) == 0
    left, right = (json.loads(file.read_text()) for file in (whole, parts))
    assert len(left) == len(right) > 5
    for rows in (left, right):
        rows.sort(key=lambda row: (row["part"], round(row["y"], 2), round(row["x"], 2)))
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        assert one["part"] == other["part"]
        for name in ("x", "y", "score", "evidence", "xx", "xy", "yy", "voters"):
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3)


def test_fields_at_urls_are_read_and_maps_written_there(people):
    c, o = (zarr.open_group(people)[name][:] for name in ("confidence", "offsets"))
    wanted = mdn.noisy_or(c, o, 2.0)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=people.parent)
    handler.func.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/people.zarr"
        for source, store in (
            (url, "memory://votes/a.zarr"),
            (f"file://{people}", "memory://b.zarr"),
        ):
            fields = mdn.dask.open_fields(
                source, chunks=40, confidence="confidence", offsets="offsets"
            )
            m = mdn.dask.noisy_or(fields.confidence, fields.offsets, 2.0, reach=25)
            assert mdn.dask.to_zarr(m, store) == m.npartitions
            assert mdn.dask.to_zarr(m, store) == 0
            np.testing.assert_allclose(mdn.dask.stored(store).compute(), wanted, atol=1e-6)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(OSError, match=r"votes\.zarr: cannot be read"):
        mdn.dask.open_fields(f"http://127.0.0.1:{server.server_port}/votes.zarr")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"order": "zy"}, ValueError, "order must be 'xy' or 'yx', got 'zy'"),
        ({"sigmoid": "no"}, TypeError, "sigmoid must be True or False, got 'no'"),
        ({"scale": "2"}, TypeError, r"scale must be a number or a pair of numbers \(y, x\)"),
    ],
)
def test_how_it_is_read_is_checked_as_for_files_in_memory(tmp_path, wrong, error, message):
    for opens in (mdn.open_fields, mdn.dask.open_fields):
        with pytest.raises(error, match=message):
            opens(tmp_path / "slide.zarr", **wrong)
