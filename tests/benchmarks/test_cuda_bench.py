"""`benchmarks/cuda.py`, on the host executor with a stub clock, and `kernel_resources.py`."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bench_support import ONCE, SMALL, products_of, refused
from cuda_host import HostExecutor, HostModule

from benchmarks import cuda, device, peers
from benchmarks import kernel_resources as resources
from benchmarks.inputs import collapsed, scattered
from benchmarks.report import Limits
from benchmarks.timing import Budget
from mdn_cupy import cuda as backend
from mdn_cupy.backend import Status


class HostDevice:
    """See `benchmarks.device.Device`; every call takes a millisecond."""

    name = "the host"
    blocks = 2
    torch = "cpu"

    def array(self, values):
        return np.array(values)

    def executor(self, array):
        return HostExecutor()

    def kernel(self, text, name):
        return HostModule(text, [name]).get_function(name)

    def seconds(self, call):
        call()
        return 1e-3


TINY_CUDA = cuda.Plan(
    ONCE, ((scattered, *SMALL), (collapsed, *SMALL)), copied_bytes=1000, roofline_times=1
)


def test_the_loop_on_the_device_computes_what_it_should():
    rng = np.random.default_rng(1)
    weight = rng.random(8, dtype=np.float32)
    confidence = rng.uniform(-0.05, 0.05, 256).astype(np.float32)
    got = cuda.roofline(HostDevice(), weight, confidence)(2)
    want = products_of(weight, confidence, 2)
    assert got.shape == (2, 256, 8)
    for thread in (0, 1, 255):
        np.testing.assert_allclose(got[1, thread], np.roll(want, -thread), rtol=1e-4)


def test_bench_cuda_measures_all_there_is_to_measure():
    report = cuda.measure(TINY_CUDA, HostDevice())
    assert report.notes == []
    assert report.limits == Limits(2 * 256 * 8 * 256 / 1e-3, 2 * 1000 / 1e-3)
    cases = ("2 × 9 × 12, σ 1", "2 × 9 × 12, σ 1, collapsed")
    rows = {title: [row.work for row in table] for title, table in report.speeds.items()}
    assert rows == {
        "forward": [
            f"{rule}, {case}"
            for case in cases
            for rule in ("noisy-or", "noisy-or by float atomics", "additive")
        ],
        "backward": [f"noisy-or, {case}" for case in cases],
        "forward + backward": [f"noisy-or, {case}" for case in cases],
    }
    assert list(report.speeds["forward"][0].seconds) == [
        "mdn-cupy",
        "torch windowed",
        "torch by rows",
    ]
    assert report.speeds["backward"][0].votes == scattered(*SMALL).votes
    assert "bandwidth" in str(report)


def test_without_torch_on_the_device_only_our_kernels_are_measured():
    alone = HostDevice()
    alone.torch = None
    report = cuda.measure(TINY_CUDA, alone)
    assert report.notes == ["no peers: there is no torch that can use this device"]
    assert all(list(row.seconds) == ["mdn-cupy"] for t in report.speeds.values() for row in t)


def test_a_peer_that_fails_on_the_device_is_left_out(monkeypatch):
    def fail(*_):
        raise RuntimeError("no kernel image\nfor this device")

    failing = replace(peers.peers()[0], vote=fail)
    monkeypatch.setattr(cuda, "peers", lambda: [failing, *peers.peers()[1:]])
    report = cuda.measure(TINY_CUDA, HostDevice())
    assert report.notes == ["left out: no kernel image"]
    assert list(report.speeds["forward"][0].seconds) == ["mdn-cupy", "torch by rows"]


def test_kernels_that_compute_something_else_are_found_out(capsys, monkeypatch):
    monkeypatch.setattr(backend, "accumulate", lambda problem, *_: np.zeros(problem.result_shape))
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr(device, "CupyDevice", HostDevice)
    line = refused(capsys, cuda)
    assert line == "cuda.py: noisy_or: off the specification by 1\n"


def test_cupys_device_times_by_events(monkeypatch):
    log = []

    class Event:
        def record(self):
            log.append("record")

        def synchronize(self):
            log.append("synchronize")

    fake = SimpleNamespace(
        asarray=np.asarray,
        RawModule=lambda code, options: SimpleNamespace(get_function=lambda name: (code, name)),
        cuda=SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda start, stop: 50.0,
            runtime=SimpleNamespace(
                getDevice=lambda: 1, getDeviceProperties=lambda n: {"multiProcessorCount": 100 * n}
            ),
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    gpu = device.CupyDevice()
    assert (gpu.name, gpu.blocks, gpu.torch) == ("a GPU", 800, "cuda:1")
    assert gpu.seconds(lambda: log.append("call")) == pytest.approx(0.005)
    assert log == ["record", *["call"] * 10, "record", "synchronize"]
    assert gpu.kernel("text", "name") == ("text", "name")
    assert isinstance(gpu.executor(SimpleNamespace(device=1)), backend.CupyExecutor)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device.CupyDevice().torch is None


def test_bench_cuda_measures_on_cupys_device(capsys, monkeypatch):
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr(device, "CupyDevice", HostDevice)
    monkeypatch.setattr(cuda, "QUICK", TINY_CUDA)
    assert cuda.main(["--quick"]) == 0
    assert capsys.readouterr().out.startswith("machine   the host\n")


def test_cuda_without_a_gpu_is_refused_with_the_reason(capsys, monkeypatch):
    monkeypatch.setattr(backend, "status", lambda: Status(False, "no driver"))
    assert refused(capsys, cuda) == "cuda.py: no driver\n"


def test_resources_without_cupy_are_refused_with_the_reason(capsys, monkeypatch):
    def fail():
        raise ImportError("No module named 'cupy'")

    monkeypatch.setattr(resources, "resources", fail)
    assert refused(capsys, resources) == "kernel_resources.py: No module named 'cupy'\n"


def test_resources_are_printed_and_written(capsys, monkeypatch, tmp_path):
    row = resources.Resources("sm_90", "gather<float, 0, true>", 40, 0, 0, 4096, 0)
    monkeypatch.setattr(resources, "resources", lambda: [row])
    assert resources.main(["--json", str(tmp_path / "r.json")]) == 0
    assert resources.resource_table([row]) in capsys.readouterr().out
    (written,) = json.loads((tmp_path / "r.json").read_text())["resources"]
    assert written["registers"] == 40
    assert 0 < written["occupancy"] <= 1


def fail():
    raise RuntimeError("CUDA out of memory\nand a long story")


def test_a_peer_that_fails_at_one_size_is_left_out_there_and_noted():
    notes = []
    plan = cuda.Plan(Budget(0, least=1), (), copied_bytes=1, roofline_times=1)
    device = SimpleNamespace(seconds=lambda call: 1e-3)
    contenders = {"mdn-cupy": int, "torch windowed": fail, "torch by rows": int}
    timings = cuda._compete(plan, device, contenders, notes)
    assert list(timings) == ["mdn-cupy", "torch by rows"]
    assert notes == ["left out once: torch windowed: CUDA out of memory"]
