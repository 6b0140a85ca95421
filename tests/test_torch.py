"""The torch layer: gradients, tracing, modules and losses on CPU tensors."""

import io
import threading

import numpy as np
import pytest
import torch

import mdn_cupy as mdn
from mdn_cupy.problem import Rule

RULES = {
    "noisy_or": mdn.torch.noisy_or,
    "log_complement": mdn.torch.noisy_or_log_complement,
    "additive": lambda *fields, **options: mdn.torch.additive(*fields, normalized=False, **options),
    "normalized": mdn.torch.additive,
}

by_rule = pytest.mark.parametrize("rule", RULES)


def fields(sigma="scalar", dtype=torch.float64, requires_grad=True, seed=0):
    """Two parts that differ in nothing special; no vote ends on the edge of its window."""
    torch.manual_seed(seed)
    confidence = 0.1 + 0.8 * torch.rand(2, 3, 4, dtype=dtype)
    offsets = torch.randn(2, 2, 3, 4, dtype=dtype)
    shape = {"scalar": (), "per part": (2, 1, 1), "per source": (2, 3, 4)}[sigma]
    widths = 0.7 + torch.rand(shape, dtype=dtype)
    return [x.requires_grad_(requires_grad) for x in (confidence, offsets, widths)]


def gradients(function, arguments, **options):
    result = function(*arguments, **options)
    weight = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
    return torch.autograd.grad((weight * result).sum(), arguments)


def assert_close(got, want, rtol=1e-12):
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert torch.linalg.vector_norm(a - b) <= rtol * torch.linalg.vector_norm(b)


# Gradients


@by_rule
@pytest.mark.parametrize("sigma", ["scalar", "per part", "per source"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"aggregate": -3},
        {"stride": 2.0, "origin": 0.5, "output_shape": (4, 6)},
        {"stride": 0.5, "truncate": 9.0},
    ],
    ids=["plain", "aggregate", "stride", "fine"],
)
def test_gradcheck(rule, sigma, options):
    options = {"truncate": 20.0, **options}  # finite differences must not cross a window's edge
    assert torch.autograd.gradcheck(lambda *x: RULES[rule](*x, **options), fields(sigma))


@by_rule
def test_gradcheck_of_broadcast_fields(rule):
    confidence, offsets, sigma = fields("per part")
    offsets = torch.stack([offsets.detach()] * 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *x: RULES[rule](*x, truncate=20.0, aggregate=-3), (confidence[:1], offsets, sigma)
    )


@pytest.mark.parametrize("wanted", range(3))
def test_only_the_gradients_that_are_asked_for_are_computed(monkeypatch, wanted):
    from mdn_cupy import cpu

    asked = []

    def gather(problem, cotangent, wanted):
        asked.append(wanted)
        return original(problem, cotangent, wanted)

    original = cpu.gather
    monkeypatch.setattr(cpu, "gather", gather)
    arguments = fields("per part", requires_grad=False)
    arguments[wanted].requires_grad_()
    mdn.torch.noisy_or(*arguments).sum().backward()
    assert asked == [tuple(n == wanted for n in range(3))]
    assert [x.grad is not None for x in arguments] == [n == wanted for n in range(3)]
    want = gradients(mdn.torch.noisy_or, fields("per part"))[wanted]
    assert_close(gradients_of(arguments, wanted), [want])


def gradients_of(arguments, wanted):
    result = mdn.torch.noisy_or(*arguments)
    weight = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
    return torch.autograd.grad((weight * result).sum(), arguments[wanted])


def test_without_a_gradient_there_is_no_graph():
    arguments = fields(requires_grad=False)
    assert mdn.torch.noisy_or(*arguments).grad_fn is None
    with torch.no_grad():
        assert not mdn.torch.noisy_or(*fields()).requires_grad


@by_rule
def test_a_number_for_sigma_is_the_tensor_of_that_number(rule):
    confidence, offsets, _ = fields()
    number, tensor = (
        gradients(lambda c, o, sigma=sigma: RULES[rule](c, o, sigma), (confidence, offsets))
        for sigma in (1.25, torch.tensor(1.25, dtype=torch.float64))
    )
    assert_close(number, tensor, 0)


@pytest.mark.parametrize("function", ["noisy_or", "additive"])
def test_the_array_functions_keep_the_graph_of_tensors(function):
    arguments = fields("per source")
    got = gradients(getattr(mdn, function), arguments)
    assert_close(got, gradients(getattr(mdn.torch, function), arguments))


def test_the_log_complement_of_the_array_function_keeps_the_graph_too():
    arguments = fields()
    got = gradients(lambda *x: mdn.noisy_or(*x, return_log_complement=True)[1], arguments)
    assert_close(got, gradients(mdn.torch.noisy_or_log_complement, arguments))


@pytest.mark.parametrize("function", [mdn.noisy_or, mdn.torch.noisy_or])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_beside_saturated_votes_is_right(function, dtype):
    confidence = torch.tensor([[1.0, 0.5, 0.25]], dtype=dtype, requires_grad=True)
    offsets = torch.zeros(2, 1, 3, dtype=dtype)
    offsets[0] = -torch.arange(3)
    m = function(confidence, offsets, 0.5, output_shape=(1, 1))
    (gradient,) = torch.autograd.grad(m.sum(), confidence)
    torch.testing.assert_close(
        gradient, torch.tensor([[0.375, 0, 0]], dtype=dtype), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("function", ["noisy_or", "additive"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_vjp_functions_are_autograd(function, dtype):
    arguments = fields("per part", dtype)
    result = getattr(mdn, function)(*arguments)
    g = torch.randn_like(result)
    vjp = getattr(mdn, f"{function}_vjp")(g, *arguments)
    assert not any(x.requires_grad for x in vjp)
    want = torch.autograd.grad(result, arguments, g)
    assert_close(vjp, want, 1e-4 if dtype == torch.float32 else 1e-12)


def test_the_gradient_of_a_gradient_raises():
    arguments = fields()
    first = torch.autograd.grad(mdn.torch.noisy_or(*arguments).sum(), arguments, create_graph=True)
    for each in first:
        with pytest.raises(RuntimeError, match="gather"):
            torch.autograd.grad(each.sum(), arguments, retain_graph=True)


def test_backward_may_run_in_another_thread():
    arguments = fields("per source")
    want = gradients(mdn.torch.noisy_or, arguments)
    found = []
    thread = threading.Thread(target=lambda: found.append(gradients(mdn.torch.noisy_or, arguments)))
    thread.start()
    thread.join()
    assert_close(found[0], want, 0)


# Tracing


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("sigma", ["scalar", "per part", "per source"])
@pytest.mark.parametrize("output_shape", [None, [5, 2]])
def test_opcheck_of_the_operators(rule, sigma, output_shape):
    aggregate = 0 if output_shape else None
    options = (int(rule), 4.0, 1.5, 0.5, output_shape, aggregate, True)
    arguments = fields(sigma, torch.float32)
    torch.library.opcheck(torch.ops.mdn_cupy.accumulate.default, (*arguments, *options))
    detached = [x.detach() for x in arguments]
    cotangent = torch.ones_like(torch.ops.mdn_cupy.accumulate(*detached, *options))
    for wanted in ([True, True, True], [False, True, False]):
        torch.library.opcheck(
            torch.ops.mdn_cupy.gather.default, (cotangent, *detached, *options, wanted)
        )


def test_compiled_votes_are_the_same():
    def loss(confidence, offsets, sigma):
        log_complement = mdn.torch.noisy_or_log_complement(confidence, offsets, sigma, stride=2.0)
        s = mdn.torch.additive(confidence, offsets, sigma, stride=2.0)
        return mdn.torch.noisy_or_bce(log_complement, torch.sigmoid(s))

    compiled = torch.compile(loss, fullgraph=True)
    for sigma in ("scalar", "per part"):
        arguments = fields(sigma, torch.float32)
        torch.testing.assert_close(compiled(*arguments), loss(*arguments))
        got, want = (torch.autograd.grad(f(*arguments), arguments) for f in (compiled, loss))
        assert_close(got, want, 1e-6)


def test_shapes_are_known_without_values():
    confidence, offsets, sigma = (x.detach().to("meta") for x in fields("per part"))
    m = mdn.torch.noisy_or(confidence, offsets, sigma, stride=2.0, aggregate=-3)
    assert (m.device.type, m.shape, m.dtype) == ("meta", (5, 7), torch.float64)


# Kinds of tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@by_rule
def test_half_types_give_float32_and_gradients_of_their_own_type(rule, dtype):
    arguments = [x.detach().to(dtype).requires_grad_() for x in fields("per part")]
    result = RULES[rule](*arguments)
    assert result.dtype == torch.float32
    exact = [x.detach().double().requires_grad_() for x in arguments]
    want = RULES[rule](*exact)
    torch.testing.assert_close(result.double(), want, rtol=0, atol=1e-5)
    got = torch.autograd.grad(result.sum(), arguments)
    assert {x.dtype for x in got} == {dtype}
    assert_close([x.double() for x in got], torch.autograd.grad(want.sum(), exact), 1e-2)


def test_sigma_takes_the_dtype_of_the_fields():
    confidence, offsets, sigma = fields("per part", torch.float32)
    wide = sigma.detach().double().requires_grad_()
    assert mdn.torch.noisy_or(confidence, offsets, wide).dtype == torch.float32
    (gradient,) = torch.autograd.grad(mdn.torch.noisy_or(confidence, offsets, wide).sum(), wide)
    assert gradient.dtype == torch.float64


@by_rule
def test_autocast_computes_in_float32(rule):
    arguments = fields("per part", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result = RULES[rule](*arguments)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, RULES[rule](*arguments), rtol=0, atol=0)


@by_rule
def test_negated_views_are_read_with_their_sign(rule):
    confidence, offsets, sigma = fields("per part", requires_grad=False)
    negated = torch._neg_view(-offsets)
    assert negated.is_neg()
    want = RULES[rule](confidence, offsets, sigma)
    torch.testing.assert_close(RULES[rule](confidence, negated, sigma), want, rtol=0, atol=0)
    views = [torch._neg_view(-x) for x in (confidence, offsets, sigma)]
    torch.testing.assert_close(RULES[rule](*views), want, rtol=0, atol=0)


def test_a_negated_cotangent_is_read_with_its_sign():
    arguments = fields(requires_grad=False)
    g = torch.randn(2, 3, 4, dtype=torch.float64)
    want = mdn.additive_vjp(g, *arguments)
    assert_close(mdn.additive_vjp(torch._neg_view(-g), *arguments), want, 0)
    assert_close(
        mdn.noisy_or_vjp(torch._neg_view(-g), *arguments), mdn.noisy_or_vjp(g, *arguments), 0
    )


@by_rule
def test_strided_and_expanded_tensors_are_their_contiguous_selves(rule):
    confidence, offsets, sigma = fields("per source", requires_grad=False)
    strided = (
        confidence.mT.contiguous().mT,
        torch.stack([offsets, offsets], dim=-1)[..., 0],
        sigma[:1, :1, :1].expand(2, 3, 4),
    )
    contiguous = [x.contiguous() for x in strided]
    assert not any(x.is_contiguous() for x in strided)
    got = RULES[rule](*strided)
    torch.testing.assert_close(got, RULES[rule](*contiguous), rtol=0, atol=0)
    strided = [x.requires_grad_() for x in strided[:2]] + [strided[2]]
    contiguous = [x.requires_grad_() for x in contiguous[:2]] + [contiguous[2]]
    got, want = (torch.autograd.grad(RULES[rule](*x).sum(), x[:2]) for x in (strided, contiguous))
    assert_close(got, want, 0)


def test_an_expanded_argument_gets_the_sum_of_its_gradients():
    confidence, offsets, _ = fields()
    shared = torch.tensor(1.25, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(
        mdn.torch.noisy_or(confidence, offsets, shared.expand(2, 3, 4)).sum(), shared
    )
    (single,) = torch.autograd.grad(mdn.torch.noisy_or(confidence, offsets, shared).sum(), shared)
    torch.testing.assert_close(whole, single)


@pytest.mark.parametrize("elsewhere", [["confidence"], ["offsets"], ["sigma"]], ids="".join)
def test_tensors_on_two_devices_are_refused(elsewhere):
    tensors = dict(zip(("confidence", "offsets", "sigma"), fields("per part"), strict=True))
    tensors.update({name: tensors[name].detach().to("meta") for name in elsewhere})
    for function in (mdn.noisy_or, mdn.torch.noisy_or, mdn.torch.additive):
        with pytest.raises(TypeError, match=r"(meta.*cpu|cpu.*meta)"):
            function(**tensors)


# The module


def test_the_module_votes_as_the_functions_do():
    confidence, offsets, _ = fields()
    options = {"stride": 2.0, "aggregate": -3, "truncate": 3.0}
    layer = mdn.torch.MassDisplacement("noisy_or", 1.5, **options).double()
    want = mdn.torch.noisy_or(confidence, offsets, 1.5, **options)
    torch.testing.assert_close(layer(confidence, offsets), want, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        layer.accumulate(confidence, offsets), torch.log1p(-want), rtol=1e-5, atol=1e-6
    )
    for normalized in (True, False):
        layer = mdn.torch.MassDisplacement("additive", 1.5, normalized=normalized, **options)
        want = mdn.torch.additive(confidence, offsets, 1.5, normalized=normalized, **options)
        torch.testing.assert_close(layer(confidence, offsets), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("sigma", [2.5, [1.0, 2.5]])
def test_a_saved_module_comes_back(sigma, learnable):
    layer = mdn.torch.MassDisplacement(sigma=sigma, learnable=learnable)
    other = mdn.torch.MassDisplacement(sigma=torch.ones(layer.log_sigma.shape).tolist())
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other.sigma, layer.sigma.detach(), rtol=0, atol=0)
    assert len(list(layer.parameters())) == learnable


def test_sigma_of_the_module_is_what_was_asked_for():
    layer = mdn.torch.MassDisplacement(sigma=[0.5, 2.0, 8.0])
    torch.testing.assert_close(layer.sigma, torch.tensor([0.5, 2.0, 8.0])[:, None, None])
    assert mdn.torch.MassDisplacement(sigma=3.0).sigma.ndim == 0


def test_a_learnable_sigma_stays_positive_however_far_it_is_driven():
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    layer = mdn.torch.MassDisplacement(sigma=[1.0, 2.0], learnable=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    before = layer.sigma.detach().clone()
    for _ in range(20):
        optimizer.zero_grad()
        layer(confidence, offsets).sum().backward()  # wider votes, larger sum: so it shrinks
        optimizer.step()
    assert (layer.sigma > 0).all()
    assert (layer.sigma < before).all()
    assert layer.sigma.isfinite().all()


def test_sigmas_per_part_learn_apart():
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    layer = mdn.torch.MassDisplacement(sigma=[1.0, 1.0], learnable=True)
    layer(confidence, offsets)[0].sum().backward()
    assert layer.log_sigma.grad[0] != 0
    assert layer.log_sigma.grad[1] == 0


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), [1.0, 0.0]])
def test_a_module_of_no_width_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be"):
        mdn.torch.MassDisplacement(sigma=sigma)


def test_a_module_of_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'noisy_or' or 'additive', got 'max'"):
        mdn.torch.MassDisplacement("max")


def test_a_module_says_what_it_is():
    layer = mdn.torch.MassDisplacement("additive", [1.0, 2.5], learnable=True)
    for word in ("additive", "1", "2.5", "learnable"):
        assert word in repr(layer)


# The loss


def bce(log_complement, target):
    """Cross-entropy of m = 1 − exp(L) in float64."""
    log_m = np.log(-np.expm1(log_complement))
    return -(target * log_m + (1 - target) * log_complement)


def test_the_loss_is_the_cross_entropy_of_the_map():
    log_complement = -torch.logspace(-20, 1.3, 60, dtype=torch.float64)[:, None]
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


def test_the_loss_of_saturated_votes_trains():
    confidence = torch.ones(1, 40, requires_grad=True)
    offsets = torch.zeros(2, 1, 40)
    offsets[0] = -torch.arange(40.0)
    log_complement = mdn.torch.noisy_or_log_complement(confidence, offsets, 1.0)
    target = torch.zeros(1, 40)
    loss = mdn.torch.noisy_or_bce(log_complement, target, reduction="sum")
    assert loss > 600  # forty saturated votes where there should be none
    (gradient,) = torch.autograd.grad(loss, confidence)
    assert (gradient > 0).all()
    assert gradient.isfinite().all()
