"""Fields in a store that vote on a GPU by chunks, on a stand-in for CuPy."""

import sys

import dask
import numpy as np
import pytest
import zarr
from cuda_host import fake_cupy
from cuda_host.fake_cupy import records

import mdn_cupy as mdn
from mdn_cupy import cuda


def plain(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value.array if isinstance(value, fake_cupy.ndarray) else value


class Chunk(fake_cupy.ndarray):
    """What Dask asks of an array, too. As CuPy's, it becomes no NumPy array by itself."""

    def __getattr__(self, name):
        return getattr(self.array, name) if name == "size" else super().__getattr__(name)

    def __array_function__(self, function, types, arguments, options):
        found = function(*plain(arguments), **{n: plain(x) for n, x in options.items()})
        return Chunk(found) if isinstance(found, np.ndarray) else found

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __getitem__(self, index):
        return Chunk(self.array[index])

    def __setitem__(self, index, values):
        self.array[index] = plain(values)

    def copy(self):
        return Chunk(self.array.copy())

    def get(self):
        records.append(fake_cupy.Record("get", fake_cupy.current()))
        return self.array.copy()


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    """CuPy's stand-in, as if it were installed."""
    monkeypatch.setattr(fake_cupy, "ndarray", Chunk)
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    cuda._function.cache_clear()
    records.clear()
    yield fake_cupy
    cuda._function.cache_clear()


@pytest.mark.parametrize("reach", [None, 12])
def test_a_task_copies_votes_and_copies_back(tmp_path, reach):
    rng = np.random.default_rng(0)
    c = rng.random((50, 60)).astype(np.float16)
    o = rng.normal(0, 2, (2, 50, 60)).astype(np.float32)
    group = zarr.open_group(tmp_path / "fields.zarr")
    group.create_array("confidence", data=c, chunks=(20, 20))
    group.create_array("offsets", data=o, chunks=(2, 20, 20))
    fields = mdn.dask.open_fields(tmp_path / "fields.zarr", chunks=32, device="cuda")
    assert type(fields.confidence._meta) is Chunk
    m = mdn.dask.noisy_or(fields.confidence, fields.offsets, 1.5, reach=reach)
    assert type(m._meta) is Chunk
    with dask.config.set(scheduler="synchronous"):
        mdn.dask.to_zarr(m, tmp_path / "votes.zarr")
    found = zarr.open_array(tmp_path / "votes.zarr", path="0", mode="r")[:]
    np.testing.assert_allclose(found, mdn.noisy_or(c, o, 1.5), atol=1e-5)
    assert [each for each in records if each.what.endswith(">")]
    if reach is not None:  # only the four maps come back
        assert [each.what for each in records].count("get") == 4
