"""What only a GPU can show. Elsewhere these tests are skipped, by name."""

import numpy as np
import pytest
import torch
from backends import Cupy, TorchCuda
from helpers import RULES, assert_agrees, pull, vote
from hypothesis import given
from hypothesis import strategies as st
from mdn_viewer.core import device
from mdn_viewer.core.losses import Loss, loss_gradient
from mdn_viewer.core.session import KINDS, VotingSession
from strategies import Drawn, votes

import mdn_cupy as mdn
from mdn_cupy import cuda, reference

WORKS, WHY_NOT = cuda.status()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not WORKS, reason=WHY_NOT)]

by_rule = pytest.mark.parametrize("rule", RULES)


GPU_BACKENDS = [Cupy()] + ([TorchCuda()] if torch.cuda.is_available() else [])
by_backend = pytest.mark.parametrize("backend", GPU_BACKENDS, ids=lambda b: type(b).__name__)


def crowded(size=128, maps=17):
    rng = np.random.default_rng(0)
    confidence = rng.random((maps, size, size), np.float32)
    target = np.array([size / 2, size / 3], np.float32)[:, None, None]
    offsets = target - np.indices((size, size), np.float32)[::-1]
    offsets = offsets + rng.normal(0, 1, (maps, 2, size, size)).astype(np.float32)
    return Drawn(confidence, offsets.astype(np.float32), 2.0, {})


@by_backend
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_maps_are_those_of_the_specification(backend, dtype, data):
    assert_agrees(backend, data.draw(votes(dtype)))


@by_backend
@by_rule
def test_a_collapsed_batch_agrees_with_the_cpu(backend, rule):
    drawn = crowded()
    got, want = vote(backend, rule, drawn), vote(mdn, rule, drawn)
    np.testing.assert_allclose(got, want, atol=1e-5 * max(1, np.abs(want).max()))
    cotangent = np.random.default_rng(1).normal(size=want.shape).astype(np.float32)
    for g, w in zip(
        pull(backend, rule, cotangent, drawn), pull(mdn, rule, cotangent, drawn), strict=True
    ):
        assert np.linalg.norm(g - w) <= 1e-4 * np.linalg.norm(w) + 1e-6


@by_backend
@by_rule
def test_the_same_bits_on_every_run(backend, rule):
    drawn = crowded()
    assert len({vote(backend, rule, drawn).tobytes() for _ in range(10)}) == 1


@by_backend
@by_rule
def test_a_map_has_the_same_bits_alone_and_within_a_batch(backend, rule):
    drawn = crowded()
    alone = Drawn(drawn.confidence[5:6], drawn.offsets[5:6], drawn.sigma, {})
    np.testing.assert_array_equal(vote(backend, rule, alone)[0], vote(backend, rule, drawn)[5])


def test_a_side_stream_and_the_last_device():
    import cupy

    drawn = crowded(32, 3)
    last = cupy.cuda.runtime.getDeviceCount() - 1
    with cupy.cuda.Device(last):
        fields = [cupy.asarray(x) for x in drawn.fields[:2]]
        with cupy.cuda.Stream(non_blocking=True) as stream:
            m = mdn.noisy_or(*fields, 2.0)
            stream.synchronize()
    assert m.device.id == last
    np.testing.assert_allclose(m.get(), reference.noisy_or(*drawn.fields), atol=1e-5)


def test_an_unknown_exporter_comes_back_as_cupy():
    import cupy

    class Exporter:
        def __init__(self, array):
            self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__

    drawn = crowded(32, 3)
    m = mdn.noisy_or(*(Exporter(cupy.asarray(x)) for x in drawn.fields[:2]), 2.0)
    assert isinstance(m, cupy.ndarray)
    np.testing.assert_allclose(m.get(), reference.noisy_or(*drawn.fields), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch has no CUDA")
def test_tensors_of_the_last_device_while_the_first_is_current():
    drawn = crowded(32, 3)
    last = torch.device("cuda", torch.cuda.device_count() - 1)
    with torch.cuda.device(0):
        c, o = (torch.from_numpy(x).to(last).requires_grad_() for x in drawn.fields[:2])
        m = mdn.noisy_or(c, o, 2.0)
        m.sum().backward()
    assert m.device == c.grad.device == o.grad.device == last
    np.testing.assert_allclose(m.detach().cpu(), reference.noisy_or(*drawn.fields), atol=1e-5)


def test_arrays_go_to_the_gpu_and_back():
    import cupy

    drawn = crowded(32, 3)
    fields = [mdn.to_gpu(x) for x in drawn.fields[:2]]
    assert {type(x) for x in fields} == {cupy.ndarray}
    m = mdn.to_numpy(mdn.noisy_or(*fields, 2.0))
    np.testing.assert_allclose(m, reference.noisy_or(*drawn.fields), atol=1e-5)


@pytest.mark.parametrize(("part", "cross"), [("nose", False), ("all", False), ("nose", True)])
def test_a_session_of_the_viewer(monkeypatch, part, cross):
    monkeypatch.setattr(device, "_backends", mdn.backends)
    session = VotingSession(mdn.samples.load("pose"), part, 8.0, cross=cross)
    target = np.zeros(session.output_shape, np.float32)
    target[95, 166] = 1
    got, pull = session.vote(KINDS), loss_gradient(session, target, Loss.CROSS_ENTROPY)
    assert session.place.on_gpu, session.place.detail
    assert len(device._copies[session.fields]) == 2

    monkeypatch.setattr(device, "place", lambda _: device.Place(False, "on the CPU", ""))
    want = session.vote(KINDS)
    for kind in KINDS:
        scale = max(1, np.abs(want[kind].values).max())
        np.testing.assert_allclose(got[kind].values, want[kind].values, atol=1e-5 * scale)
    expected = loss_gradient(session, target, Loss.CROSS_ENTROPY)
    for g, w in zip(pull[1:], expected[1:], strict=True):
        assert np.linalg.norm(g - w) <= 1e-4 * np.linalg.norm(w)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch has no CUDA")
def test_training_on_a_side_stream_and_in_a_cuda_graph():
    drawn = crowded(32, 3)
    c, o = (torch.from_numpy(x).cuda().requires_grad_() for x in drawn.fields[:2])
    static = c.detach().clone()

    def step():
        return torch.autograd.grad(mdn.noisy_or(c, o, 2.0).sum(), (c, o))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            want = step()
    torch.cuda.current_stream().wait_stream(side)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        m, gradients = mdn.noisy_or(static, o.detach(), 2.0), step()
    graph.replay()
    torch.cuda.synchronize()
    np.testing.assert_allclose(m.cpu(), reference.noisy_or(*drawn.fields), atol=1e-5)
    for again in (gradients, step()):
        assert all(torch.equal(a, b) for a, b in zip(want, again, strict=True))
