"""Sessions on the GPU: on a stand-in for CuPy, whose kernels run on the CPU."""

import gc
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import sleep

import numpy as np
import pytest
from cuda_host import fake_cupy
from helpers import assert_gradients_close
from mdn_viewer.core import device
from mdn_viewer.core.losses import Loss, loss_gradient
from mdn_viewer.core.session import ALL, KINDS, VotingSession
from mdn_viewer.core.sigma_sweep import sweep
from viewer_support import add_fields, dock, two_parts, wrong

import mdn_cupy as mdn
from mdn_cupy import cuda


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    """A machine without CuPy, of which nothing is known yet."""
    monkeypatch.setattr(cuda, "find_spec", lambda _: None)
    monkeypatch.setattr(device, "_backends", mdn.backends)
    cuda._function.cache_clear()
    yield
    cuda._function.cache_clear()


@pytest.fixture
def gpu(cpu, monkeypatch):
    """A machine with a GPU and CuPy; unlike elsewhere, arrays may be copied from it."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    monkeypatch.setattr(fake_cupy.ndarray, "get", lambda x: x.array.copy(), raising=False)
    fake_cupy.records.clear()


def copied():
    """How many arrays have been copied to the GPU."""
    return Counter(record.what for record in fake_cupy.records)["asarray"]


def cross_offsets():
    return np.random.default_rng(1).normal(0, 3, (1, 2, 2, 6, 8)).astype(np.float32)


def on_the_cpu(function, *arguments):
    """Call a function as if there were no GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "place", lambda _: device.Place(False, "on the CPU", ""))
        return function(*arguments)


CHOICES = {
    "a part": {"part": "left"},
    "all parts": {"part": ALL},
    "cross": {"part": "left", "cross": True},
    "plain": {"part": "right", "sum_rule": "plain_sum", "truncate": 2.0},
}
chosen_by = pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES)


@chosen_by
def test_the_maps_are_those_of_the_cpu(gpu, chosen):
    session = VotingSession(two_parts(cross_offsets=cross_offsets()), sigma=1.5, **chosen)
    assert session.place.on_gpu
    got, want = session.vote(KINDS), on_the_cpu(session.vote, KINDS)
    assert fake_cupy.records
    for kind in KINDS:
        assert type(got[kind].values) is np.ndarray
        scale = max(1, np.abs(want[kind].values).max())
        np.testing.assert_allclose(got[kind].values, want[kind].values, atol=1e-5 * scale)
        assert got[kind].total == pytest.approx(want[kind].total, rel=1e-4)


@chosen_by
@pytest.mark.parametrize("loss", Loss)
def test_the_gradients_are_those_of_the_cpu(gpu, chosen, loss):
    session = VotingSession(two_parts(cross_offsets=cross_offsets()), sigma=1.5, **chosen)
    target = np.random.default_rng(0).random(session.votes.shape).astype(np.float32)
    asked = session, target, loss
    got, want = loss_gradient(*asked), on_the_cpu(loss_gradient, *asked)
    assert any(record.what.startswith("gather") for record in fake_cupy.records)
    assert got.loss == pytest.approx(want.loss, rel=1e-5)
    gradients = (mdn.Gradients(*map(np.asarray, pull[1:])) for pull in (got, want))
    assert_gradients_close(*gradients, 1e-4)


def test_fields_are_copied_once(gpu):
    fields = two_parts(cross_offsets=cross_offsets())
    for sigma in (1.0, 2.0, 3.0):
        VotingSession(fields, "left", sigma).vote()
    assert copied() == 2
    session = VotingSession(fields, "right", 1.0)
    session.vote()
    sweep(session)
    assert copied() == 4
    VotingSession(fields, "left", 1.0).vote()
    assert copied() == 4
    together = VotingSession(fields, ALL, 1.0)
    together.vote()
    assert copied() == 6
    VotingSession(fields, "left", 1.0, cross=True).vote()
    assert copied() == 8


def test_fields_are_copied_once_whoever_else_is_at_it(gpu, monkeypatch):
    """Without kernels: those of the stand-in run one at a time."""
    copy = fake_cupy.asarray
    monkeypatch.setattr(fake_cupy, "asarray", lambda array: (sleep(0.01), copy(array))[1])
    session = VotingSession(two_parts(), "left", 1.5)
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda _: device._on_gpu(session.fields, 0, session.votes), range(8))
    for found in done:
        np.testing.assert_array_equal(mdn.to_numpy(found.confidence), session.votes.confidence)
    assert copied() == 2


def test_nothing_stays_of_fields_that_are_gone(gpu):
    fields = two_parts()
    VotingSession(fields, "left", 1.0).vote()
    assert fields in device._copies
    others = len(device._copies) - 1
    del fields
    gc.collect()
    assert len(device._copies) <= others


def test_other_fields_on_the_same_grid_are_other_copies(gpu):
    session = VotingSession(two_parts(), "left", 1.5)
    session.vote()
    halved = replace(session.fields, confidence=session.fields.confidence / 2)
    moved = replace(session, fields=halved)
    want = on_the_cpu(moved.vote)
    for rule, found in moved.vote().items():
        np.testing.assert_allclose(found.values, want[rule].values, atol=1e-5)


class CompileException(Exception):
    """CuPy's, which is no RuntimeError."""


FAILURES = [
    (fake_cupy, "asarray", fake_cupy.OutOfMemoryError("8 TB"), "the GPU's memory is full"),
    (fake_cupy, "zeros", fake_cupy.OutOfMemoryError("8 TB"), "the GPU's memory is full"),
    (fake_cupy.ndarray, "get", fake_cupy.CUDARuntimeError("cudaErrorX"), "the GPU failed"),
    (fake_cupy.RawModule, "get_function", RuntimeError("no libnvrtc.so.13"), "the GPU failed"),
    (fake_cupy.RawModule, "get_function", CompileException("sm_999"), "the GPU failed"),
]


@pytest.mark.parametrize(
    ("where", "name", "error", "brief"), FAILURES, ids=[f"{f[1]}-{f[2]}" for f in FAILURES]
)
def test_what_the_gpu_fails_to_do_the_cpu_does(gpu, monkeypatch, where, name, error, brief):
    def fail(*_, **__):
        raise error

    session, other = (VotingSession(two_parts(), "left", 1.5) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, fail)
        got = session.vote()
    want = on_the_cpu(session.vote)
    for rule, found in got.items():
        np.testing.assert_array_equal(found.values, want[rule].values)

    assert not session.place.on_gpu
    assert session.place.text.startswith("on the CPU (Numba")
    assert session.place.text.endswith(brief)
    assert str(error) in session.place.detail
    assert session.fields not in device._copies
    fake_cupy.records.clear()
    replace(session, sigma=2.0).vote()
    assert not fake_cupy.records  # tried no more
    other.vote()
    assert other.place.on_gpu  # other fields may find room


def test_what_the_cpu_refuses_too_is_not_the_gpus_fault(gpu):
    session = VotingSession(two_parts(), "left", 1.5)
    with pytest.raises(ValueError, match="cotangent must have the shape"):
        session.compute("additive_vjp", np.zeros((2, 2), np.float32))
    assert session.place.on_gpu


def test_without_a_gpu_the_cpu_votes():
    session = VotingSession(two_parts(), "left", 1.5)
    expected = session.votes.additive()
    np.testing.assert_array_equal(session.vote()["additive"].values, expected)
    assert not session.place.on_gpu
    assert session.place.text == f"on the CPU ({mdn.backends()['cpu'].detail})"
    assert "cuda not here: CuPy is not installed; pip install" in session.place.detail


def test_the_panel_says_that_the_cpu_votes(two):
    assert two.compare.place.text().startswith("Computed on the CPU (Numba ")
    assert "CuPy is not installed" in two.compare.place.toolTip()


def test_the_panel_says_that_the_gpu_votes_and_when_it_no_longer_does(gpu, viewer, monkeypatch):
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    said = widget.compare.place
    assert said.text() == "Computed on the GPU (Imagined GPU and 1 more, CuPy 14.2.0)"
    assert "cpu works: Numba" in said.toolTip()

    def fail(*_):
        raise fake_cupy.OutOfMemoryError("8 TB")

    monkeypatch.setattr(fake_cupy, "zeros", fail)
    widget.controls.sigma.value = 3.0
    widget.wait()
    assert said.text().startswith("Computed on the CPU (")
    assert said.text().endswith("the GPU's memory is full")
    assert "8 TB" in said.toolTip()
    assert wrong(widget) == ""
    assert set(widget.model.maps) == set(widget.model.kinds)
