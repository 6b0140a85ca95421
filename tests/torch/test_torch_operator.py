"""The operator on tensors: its gradients, and the kinds of tensors that it takes."""

import numpy as np
import pytest
import torch
from torch_support import RULES, assert_close, fields, gradients, weighted

import mdn_cupy as mdn

by_rule = pytest.mark.parametrize("rule", RULES)


# Gradients


@by_rule
@pytest.mark.parametrize("sigma", ["scalar", "per part", "per source"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"aggregate": -3},
        {"stride": (2.0, 1.5), "origin": (0.5, -1.0), "output_shape": (4, 6)},
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

    def gather(problem, rule, cotangent, wanted):
        asked.append(wanted)
        return original(problem, rule, cotangent, wanted)

    original = cpu.gather
    monkeypatch.setattr(cpu, "gather", gather)
    arguments = fields("per part", requires_grad=False)
    arguments[wanted].requires_grad_()
    mdn.noisy_or(*arguments).sum().backward()
    assert asked == [tuple(n == wanted for n in range(3))]
    assert [x.grad is not None for x in arguments] == [n == wanted for n in range(3)]
    want = gradients(mdn.noisy_or, fields("per part"))[wanted]
    assert_close(gradients_of(arguments, wanted), [want])


def gradients_of(arguments, wanted):
    return torch.autograd.grad(weighted(mdn.noisy_or(*arguments)), arguments[wanted])


def test_without_a_gradient_there_is_no_graph():
    arguments = fields(requires_grad=False)
    assert mdn.noisy_or(*arguments).grad_fn is None
    with torch.no_grad():
        assert not mdn.noisy_or(*fields()).requires_grad


@by_rule
def test_a_number_for_sigma_is_the_tensor_of_that_number(rule):
    confidence, offsets, _ = fields()
    number, tensor = (
        gradients(lambda c, o, sigma=sigma: RULES[rule](c, o, sigma), (confidence, offsets))
        for sigma in (1.25, torch.tensor(1.25, dtype=torch.float64))
    )
    assert_close(number, tensor, 0)


def test_a_number_for_sigma_goes_to_no_default_device():
    confidence, offsets, _ = fields()
    with torch.device("meta"):
        got = mdn.noisy_or(confidence, offsets, 1.25)
    torch.testing.assert_close(got, mdn.noisy_or(confidence, offsets, 1.25))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_beside_saturated_votes_is_right(dtype):
    confidence = torch.tensor([[1.0, 0.5, 0.25]], dtype=dtype, requires_grad=True)
    offsets = torch.zeros(2, 1, 3, dtype=dtype)
    offsets[0] = -torch.arange(3)
    m = mdn.noisy_or(confidence, offsets, 0.5, output_shape=(1, 1))
    (gradient,) = torch.autograd.grad(m.sum(), confidence)
    torch.testing.assert_close(
        gradient, torch.tensor([[0.375, 0, 0]], dtype=dtype), rtol=1e-5, atol=1e-6
    )


@by_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_vjps_are_autograd(rule, dtype):
    arguments = fields("per part", dtype)
    votes = mdn.Votes(*arguments)
    result = getattr(votes, rule)()
    g = torch.randn_like(result)
    vjp = getattr(votes, f"{rule}_vjp")(g)
    assert not any(x.requires_grad for x in vjp)
    want = torch.autograd.grad(result, arguments, g)
    assert_close(vjp, want, 1e-4 if dtype == torch.float32 else 1e-12)


@by_rule
def test_votes_of_tensors_keep_their_graph(rule):
    arguments = fields("per source")
    votes = mdn.Votes(*arguments)
    assert all(
        x is y
        for x, y in zip((votes.confidence, votes.offsets, votes.sigma), arguments, strict=True)
    )
    part = votes.replace(stride=2).crop(slice(1, 4), slice(2, None)).to("cpu")
    got = torch.autograd.grad(weighted(getattr(part, rule)()), arguments)
    want = gradients(lambda *x: RULES[rule](*x, stride=2)[..., 1:4, 2:], arguments)
    assert_close(got, want)


def test_a_comparison_of_tensors_keeps_their_graph():
    arguments = fields()
    for rule in ("additive", "plain_sum"):
        maps = mdn.Votes(*arguments).compare(rule)
        for m, name in zip(maps, ("noisy_or", "log_complement", rule), strict=True):
            got = torch.autograd.grad(weighted(m), arguments, retain_graph=True)
            assert_close(got, gradients(RULES[name], arguments))


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
    assert mdn.noisy_or(confidence, offsets, wide).dtype == torch.float32
    (gradient,) = torch.autograd.grad(mdn.noisy_or(confidence, offsets, wide).sum(), wide)
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
    votes = mdn.Votes(*arguments)
    assert_close(votes.additive_vjp(torch._neg_view(-g)), votes.additive_vjp(g), 0)
    assert_close(votes.noisy_or_vjp(torch._neg_view(-g)), votes.noisy_or_vjp(g), 0)


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
        mdn.noisy_or(confidence, offsets, shared.expand(2, 3, 4)).sum(), shared
    )
    (single,) = torch.autograd.grad(mdn.noisy_or(confidence, offsets, shared).sum(), shared)
    torch.testing.assert_close(whole, single)


@pytest.mark.parametrize("elsewhere", [["confidence"], ["offsets"], ["sigma"]], ids="".join)
def test_tensors_on_two_devices_are_refused(elsewhere):
    tensors = dict(zip(("confidence", "offsets", "sigma"), fields("per part"), strict=True))
    tensors.update({name: tensors[name].detach().to("meta") for name in elsewhere})
    with pytest.raises(TypeError, match=r"is on torch \((meta|cpu)\).*; move them .*tensor.to"):
        mdn.Votes(**tensors)


@pytest.mark.parametrize("array", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_a_cotangent_of_integers_is_refused(array):
    votes = mdn.Votes(*(array(x) for x in (np.ones((3, 4)), np.zeros((2, 3, 4)))), 1.0)
    cotangent = array(np.ones((3, 4), int))
    with pytest.raises(TypeError, match=r"cotangent must be .* floating dtype .* got .*int64"):
        votes.additive_vjp(cotangent)
    with pytest.raises(TypeError, match=r"log_complement must be .* floating dtype"):
        votes.noisy_or_vjp(array(np.ones((3, 4))), log_complement=cotangent)


def test_a_cotangent_that_does_not_go_with_the_fields_is_refused():
    votes = mdn.Votes(*fields(requires_grad=False))
    cotangent = torch.ones_like(votes.confidence)
    with pytest.raises(TypeError, match=r"cotangent is on torch \(meta\); move them"):
        votes.noisy_or_vjp(cotangent.to("meta"))
    with pytest.raises(TypeError, match="cotangent must be a dense tensor"):
        votes.noisy_or_vjp(cotangent.to_sparse())


@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma"])
def test_tensors_of_eight_bits_are_refused(name):
    tensors = dict(
        zip(("confidence", "offsets", "sigma"), fields(requires_grad=False), strict=True)
    )
    tensors[name] = tensors[name].to(torch.float8_e5m2)
    with pytest.raises(TypeError, match=rf"{name} must be a .* of a floating dtype \(float16, "):
        mdn.Votes(**tensors)


@pytest.mark.parametrize("value", [torch.nan, 0.0, -1.0])
def test_a_part_whose_sigma_is_no_width_casts_no_votes(value):
    confidence, offsets, sigma = fields("per part", requires_grad=False)
    sigma[1] = value
    sigma.requires_grad_()
    m = mdn.noisy_or(confidence, offsets, sigma)
    assert m[0].min() > 0
    assert not m[1].any()
    (gradient,) = torch.autograd.grad(m.sum(), sigma)
    assert gradient[0] != 0
    assert gradient[1] == 0


@by_rule
@pytest.mark.parametrize("value", [torch.nan, 0.0, -0.0, -1.0, 1e-60])
def test_a_single_sigma_that_is_no_width_casts_no_votes_either(rule, value):
    """A number raises; a tensor's value is not looked at, whatever its dimensions."""
    confidence, offsets, _ = fields(dtype=torch.float32)
    sigma = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    result = RULES[rule](confidence, offsets, sigma)
    assert not result.any()
    assert not any(x.any() for x in torch.autograd.grad(result.sum(), (confidence, offsets, sigma)))
    assert torch.equal(RULES[rule](confidence, offsets, sigma.reshape(1)), result)
    votes = mdn.Votes(confidence, offsets, sigma)
    assert not votes.noisy_or_vjp(result.detach()).confidence.any()
    complaint = r"sigma(, 1e-60, is out of| must be greater| must be fin)"
    with pytest.raises(ValueError, match=complaint):
        RULES[rule](confidence, offsets, value)


@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma"])
@pytest.mark.parametrize("convert", [torch.Tensor.to_sparse, torch.Tensor.to_mkldnn])
def test_tensors_that_are_not_dense_are_refused(name, convert):
    arguments = fields("per part", torch.float32, requires_grad=False)
    tensors = dict(zip(("confidence", "offsets", "sigma"), arguments, strict=True))
    tensors[name] = convert(tensors[name])
    complaint = rf"{name} must be a dense tensor, got torch\..*; convert it with .to_dense\(\)"
    with pytest.raises(TypeError, match=complaint):
        mdn.Votes(**tensors)


def test_nested_tensors_are_refused():
    confidence, offsets, sigma = fields(requires_grad=False)
    ragged = torch.nested.nested_tensor([*confidence], layout=torch.jagged)
    with pytest.raises(TypeError, match=r"dense tensor, got a nested one; .*to_padded_tensor"):
        mdn.noisy_or(ragged, offsets, sigma)


@pytest.mark.parametrize("leading", [(), (3,)], ids=str)
def test_exchanged_fields_are_suspected(leading):
    confidence, offsets = torch.rand(*leading, 4, 5), torch.zeros(*leading, 2, 4, 5)
    with pytest.raises(ValueError, match=r"are confidence and offsets exchanged\?"):
        mdn.noisy_or(offsets, confidence, 1.0)


@pytest.mark.parametrize("function", [mdn.torch.one_minus_exp, mdn.torch.logit])
@pytest.mark.parametrize("value", ["L", np.zeros(3), torch.zeros(3, dtype=torch.int64)], ids=repr)
def test_what_is_no_log_complement_is_refused(function, value):
    complaint = "log_complement must be a torch tensor of a floating dtype"
    with pytest.raises(TypeError, match=complaint):
        function(value)
