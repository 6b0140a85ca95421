"""The cross-entropy of vote maps, from their log-complement."""

import re

import numpy as np
import pytest
import torch

import mdn_cupy as mdn


def bce(log_complement, target):
    """Cross-entropy of m = 1 − exp(L) in float64."""
    log_m = np.log(-np.expm1(log_complement))
    return -(target * log_m + (1 - target) * log_complement)


def test_the_loss_is_the_cross_entropy_of_the_map():
    log_complement = -torch.logspace(-20, 1.3, 60, dtype=torch.float64)[:, None].expand(-1, 11)
    target = torch.linspace(0, 1, 11, dtype=torch.float64)
    want = torch.from_numpy(bce(log_complement.numpy(), target.numpy()))
    got = mdn.torch.noisy_or_bce(log_complement, target, reduction="none")
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-11)
    got = mdn.torch.noisy_or_bce(log_complement.float(), target.float(), reduction="none")
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_the_loss_and_its_gradient_are_finite_where_m_is_0_or_1(dtype, target):
    log_complement = torch.tensor(
        [0.0, -0.0, -1e-38, -1e-12, -0.5, -16.6, -37.0, -104.0, -5000.0],
        dtype=dtype,
        requires_grad=True,
    )
    loss = mdn.torch.noisy_or_bce(log_complement, torch.tensor(target), reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), log_complement)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    assert (loss >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_the_loss_is_that_of_the_formula(dtype):
    log_complement = torch.tensor(
        [0.0, -1e-20, -1e-3, -0.1, -0.4999, -0.5001, -2.0, -12.0, -30.0],
        dtype=dtype,
        requires_grad=True,
    )
    for target in (0.0, 0.3, 1.0):
        loss = mdn.torch.noisy_or_bce(log_complement, torch.tensor(target), reduction="sum")
        (got,) = torch.autograd.grad(loss, log_complement)
        exact = log_complement.detach().double()
        slope = 1 / (-torch.expm1(exact) + 1e-12)  # of log m, bounded where m is 0
        want = target * torch.exp(exact) * slope - (1 - target)
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-30)


def test_the_loss_weighs_and_reduces():
    log_complement = -torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    target, weight = torch.eye(3, 4), torch.arange(4.0)
    each = mdn.torch.noisy_or_bce(log_complement, target, reduction="none")
    for reduction, reduce in (("none", lambda x: x), ("sum", torch.sum), ("mean", torch.mean)):
        got = mdn.torch.noisy_or_bce(log_complement, target, weight, reduction)
        torch.testing.assert_close(got, reduce(weight * each))
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'average'"):
        mdn.torch.noisy_or_bce(log_complement, target, reduction="average")


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_the_loss_and_its_gradient_are_those_of_float64(reduction):
    generator = torch.Generator().manual_seed(0)
    log_complement = -(10 ** (6 * torch.rand(5, 6, 7, generator=generator) - 4))
    target, weight = torch.rand(6, 7, generator=generator), torch.rand(7, generator=generator)
    found = []
    for dtype in (torch.float32, torch.float64):
        L = log_complement.to(dtype).requires_grad_()
        loss = mdn.torch.noisy_or_bce(L, target.to(dtype), weight.to(dtype), reduction)
        (gradient,) = torch.autograd.grad(loss.sum(), L)
        found.append((loss.detach().double(), gradient.double()))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_the_loss_takes_targets_of_integers_and_booleans():
    log_complement = torch.tensor([-0.5, -2.0])
    want = mdn.torch.noisy_or_bce(log_complement, torch.tensor([1.0, 0.0]))
    for dtype in (torch.bool, torch.int64, torch.float64):
        got = mdn.torch.noisy_or_bce(log_complement, torch.tensor([1, 0]).to(dtype))
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 3), (1, 3, 4), (5,)])
@pytest.mark.parametrize("name", ["target", "weight"])
def test_shapes_that_do_not_match_are_named(name, shape):
    arguments = {"target": torch.zeros(3, 4), "weight": torch.ones(4)}
    arguments[name] = torch.ones(shape)
    complaint = f"{name} of shape {shape} does not broadcast against the log-complement, (3, 4)"
    with pytest.raises(ValueError, match=re.escape(complaint)):
        mdn.torch.noisy_or_bce(torch.full((3, 4), -0.5), **arguments)


def test_a_target_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match=r"target must be a torch tensor .*, got float"):
        mdn.torch.noisy_or_bce(torch.zeros(3), 0.5)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (torch.ones(3).to_sparse(), "must be a dense tensor, got torch.sparse_coo"),
        (torch.ones(3, device="meta"), "is on meta, log_complement on cpu; move it with"),
        (torch.ones(3, dtype=torch.complex64), "of real numbers, got torch.complex64"),
    ],
    ids=["sparse", "elsewhere", "complex"],
)
def test_tensors_that_do_not_go_with_the_log_complement_are_named(value, complaint):
    L = torch.full((3,), -0.5)
    with pytest.raises(TypeError, match=f"target .*{complaint}"):
        mdn.torch.noisy_or_bce(L, value)
    with pytest.raises(TypeError, match=f"weight .*{complaint}"):
        mdn.torch.noisy_or_bce(L, torch.ones(3), value)


def test_the_loss_of_saturated_votes_trains():
    confidence = torch.ones(1, 40, requires_grad=True)
    offsets = torch.zeros(2, 1, 40)
    offsets[0] = -torch.arange(40.0)
    log_complement = mdn.log_complement(confidence, offsets, 1.0)
    target = torch.zeros(1, 40)
    loss = mdn.torch.noisy_or_bce(log_complement, target, reduction="sum")
    assert loss > 600  # forty saturated votes where there should be none
    (gradient,) = torch.autograd.grad(loss, confidence)
    assert (gradient > 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_halves_is_computed_in_float32(dtype):
    log_complement = torch.tensor([0.0, -0.5, -5000.0], dtype=dtype)
    target = torch.tensor([1.0, 0.25, 0.0], dtype=dtype)
    got = mdn.torch.noisy_or_bce(log_complement, target, reduction="none")
    want = mdn.torch.noisy_or_bce(log_complement.float(), target.float(), reduction="none")
    assert got.isfinite().all()
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_the_gradient_of_halves_is_finite_and_falls_as_m_grows(dtype, target):
    log_complement = torch.tensor([0.0, -6e-8, -1e-3, -0.5, -5.0, -5000.0], dtype=dtype)
    log_complement.requires_grad_()
    loss = mdn.torch.noisy_or_bce(log_complement, torch.tensor(target), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, log_complement)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    exact = log_complement.detach().float()
    m = -torch.expm1(exact)
    want = target * torch.exp(exact) / m - (1 - target)
    torch.testing.assert_close(gradient[2:].float(), want[2:], rtol=0.05, atol=1e-3)
    if target:
        assert (gradient[:2] > 10 * gradient[2]).all()


@pytest.mark.parametrize("log_complement", [-0.5, torch.tensor([0, -1])], ids=["number", "int64"])
def test_a_log_complement_that_is_no_floating_tensor_is_refused(log_complement):
    kind = "(float|torch.int64)"
    with pytest.raises(TypeError, match=f"log_complement must be a torch tensor .*, got {kind}"):
        mdn.torch.noisy_or_bce(log_complement, torch.zeros(2))


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (2, 0, 5, 6), (2, 3, 0, 6)], ids=str)
@pytest.mark.parametrize("weight", [None, torch.tensor(2.0)], ids=["all alike", "weighed"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_no_pixels_is_0_and_so_is_its_gradient(shape, weight, reduction):
    """A batch of images without persons has no regions."""
    bias = torch.zeros((), requires_grad=True)
    log_complement = torch.zeros(shape) - torch.exp(bias)
    loss = mdn.torch.noisy_or_bce(log_complement, torch.zeros(shape), weight, reduction)
    loss.backward()
    assert loss == 0
    assert bias.grad == 0


@pytest.mark.parametrize("leak", [0, 1.0, float("nan"), "0.1", None], ids=repr)
def test_a_leak_that_is_no_confidence_is_refused(leak):
    with pytest.raises(ValueError, match="leak must be between 0 and 1"):
        mdn.torch.logit(torch.tensor([-1.0]), leak)
