"""Devices, streams and lifetimes: the public functions on a stand-in for CuPy."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cuda_host import fake_cupy
from cuda_host.fake_cupy import Device, ndarray, records

import mdn_cupy as mdn
from mdn_cupy import cuda, reference

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.random((3, 5, 6)).astype(np.float32)
OFFSETS = RNG.normal(0, 1, (3, 2, 5, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    """CuPy's stand-in, as if it were installed and had two devices."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    cuda._function.cache_clear()
    records.clear()
    yield fake_cupy
    cuda._function.cache_clear()


def on_device(device):
    with Device(device):
        return ndarray(CONFIDENCE), ndarray(OFFSETS)


def kernels_run():
    return [record for record in records if record.what.endswith(">")]


@pytest.mark.parametrize("device", [0, 1])
def test_everything_happens_on_the_device_of_the_arrays(device):
    """Device 0 is current all the while."""
    c, o = on_device(device)
    votes = mdn.Votes(c, o, 1.5)
    m, log_complement = votes.noisy_or(), votes.log_complement()
    gradients = votes.noisy_or_vjp(m, log_complement=log_complement)
    assert {record.device for record in records} == {device}
    assert {x.device.id for x in (m, log_complement, *gradients)} == {device}
    assert fake_cupy.current() == 0

    want = reference.noisy_or(CONFIDENCE, OFFSETS, 1.5)
    np.testing.assert_allclose(m.array, want, atol=1e-5)
    wanted = reference.noisy_or_vjp(m.array, CONFIDENCE, OFFSETS, 1.5)
    for gradient, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(gradient.array, want, atol=1e-4, rtol=1e-4)


def test_a_kernel_is_loaded_once_for_each_device():
    for device in (0, 1, 0, 1):
        mdn.additive(*on_device(device), 1.0)
    loaded = [record for record in records if record.what.startswith("load")]
    assert len(loaded) == len(set(loaded)) == 2 * 3
    assert len(kernels_run()) - len(loaded) == 4 * 3


def test_another_thread_finds_the_device_of_the_arrays():
    """As autograd's does: there, device 0 is current."""
    c, o = on_device(1)
    with Device(1), ThreadPoolExecutor() as pool:
        m = pool.submit(mdn.noisy_or, c, o, 1.0).result()
    assert m.device.id == 1
    assert {record.device for record in records} == {1}


def test_cupy_arrays_are_queued_on_cupys_current_stream():
    mdn.noisy_or(*on_device(1), 1.0)
    assert {record.stream for record in kernels_run()} == {None}


def test_nothing_waits_for_the_device_and_memory_comes_from_cupys_pool():
    """So that CuPy can capture a graph: the stand-in has nothing that would wait or copy."""
    fields = on_device(1)
    mdn.noisy_or(*fields, 1.0)
    records.clear()
    votes = mdn.Votes(*fields, 1.0)
    m = votes.noisy_or()
    votes.plain_sum_vjp(m)
    done = [record.what.partition("<")[0] for record in records]
    assert done == [
        *("empty", "zeros", "zeros", "peak", "accumulate", "read_out"),
        *("empty", "empty", "empty", "load gather", "gather", "sum"),
    ]


def test_arrays_are_copied_to_the_current_device():
    with Device(1):
        c, o = mdn.to_gpu(CONFIDENCE), mdn.to_gpu(OFFSETS)
        assert mdn.to_gpu(c) is c
    assert (c.device.id, o.device.id) == (1, 1)
    m = mdn.noisy_or(c, o, 1.5)
    np.testing.assert_allclose(m.array, reference.noisy_or(CONFIDENCE, OFFSETS, 1.5), atol=1e-5)


def test_an_array_that_finds_no_room(monkeypatch):
    def fail(*_):
        raise fake_cupy.OutOfMemoryError("8 TB")

    monkeypatch.setattr(fake_cupy, "asarray", fail)
    with pytest.raises(MemoryError, match=r"GPU's memory is full .8 TB"):
        mdn.to_gpu(CONFIDENCE)


def test_arrays_of_two_devices_are_refused():
    with pytest.raises(TypeError, match=r"confidence is on CuPy .CUDA device 0.*device 1"):
        mdn.noisy_or(on_device(0)[0], on_device(1)[1], 1.0)


def test_another_exporter_comes_in_by_dlpack_without_a_copy():
    class Exporter:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **_):
            raise AssertionError("the stand-in takes the array itself")

        def __dlpack_device__(self):
            return 2, 1

    m = mdn.noisy_or(*(Exporter(array) for array in on_device(1)), 1.0)
    assert isinstance(m, ndarray)
    assert [record.what for record in records[:2]] == ["from_dlpack", "from_dlpack"]


def test_strides_that_are_no_multiple_of_an_element_are_refused():
    packed = np.zeros((3, 5, 6), [("c", np.float32), ("flag", np.int8)])
    with pytest.raises(ValueError, match="ascontiguousarray"):
        mdn.noisy_or(ndarray(packed["c"], 1), on_device(1)[1], 1.0)


@pytest.mark.parametrize(
    ("raised", "becomes", "message"),
    [
        (fake_cupy.OutOfMemoryError("8 TB"), MemoryError, "GPU's memory is full .*free_all_blocks"),
        (fake_cupy.CUDARuntimeError("cudaErrorX"), RuntimeError, "CUDA failed: cudaErrorX; here, "),
        (fake_cupy.CUDADriverError("CUDA_ERROR_X"), RuntimeError, "CUDA failed: CUDA_ERROR_X"),
        (RuntimeError("no libnvrtc.so.13"), RuntimeError, r'NVRTC .*pip install "mdn-cupy\[cuda13'),
        (ImportError("libnvrtc is missing"), RuntimeError, "NVRTC"),
        (RuntimeError("something else"), RuntimeError, "^something else$"),
    ],
)
def test_what_cupy_raises_comes_with_a_remedy(monkeypatch, raised, becomes, message):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(fake_cupy.RawModule, "get_function", fail)
    with pytest.raises(becomes, match=message):
        mdn.noisy_or(*on_device(0), 1.0)


def test_memory_that_runs_out_in_an_allocation(monkeypatch):
    def fail(*_):
        raise fake_cupy.OutOfMemoryError("8 TB")

    monkeypatch.setattr(fake_cupy, "zeros", fail)
    with pytest.raises(MemoryError, match="vote for fewer maps"):
        mdn.noisy_or(*on_device(0), 1.0)


def test_status_names_the_device():
    assert cuda.status() == (True, "Imagined GPU and 1 more, CuPy 14.2.0")


@pytest.mark.parametrize(
    ("driver", "runtime", "message"),
    [
        (0, 13000, "no NVIDIA driver"),
        (12040, 13000, r"serves up to CUDA 12; update the driver or pip install .mdn-cupy\[cuda12"),
    ],
)
def test_status_says_what_is_wrong_with_the_driver(monkeypatch, driver, runtime, message):
    monkeypatch.setattr(fake_cupy, "driver_version", driver)
    monkeypatch.setattr(fake_cupy, "runtime_version", runtime)
    works, detail = cuda.status()
    assert not works
    assert re.search(message, detail)


def test_status_without_cupy(monkeypatch):
    monkeypatch.setattr(cuda, "find_spec", lambda _: None)
    assert cuda.status() == (
        False,
        'CuPy is not installed; pip install "mdn-cupy[cuda13]" (or cuda12)',
    )


def test_status_never_raises(monkeypatch):
    def fail():
        raise OSError("no home to cache in")

    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceCount", fail)
    works, detail = cuda.status()
    assert not works
    assert "no home to cache in" in detail
