"""The voting layer as a module: what it votes, learns, saves and says."""

import copy
import io
import pickle

import pytest
import torch
from torch_support import RULES, assert_close, fields, weighted

import mdn_cupy as mdn


def test_the_module_votes_as_the_functions_do():
    confidence, offsets, _ = fields()
    options = {"stride": 2.0, "aggregate": -3, "truncate": 3.0}
    layer = mdn.torch.MassDisplacement("noisy_or", 1.5, **options).double()
    want = mdn.noisy_or(confidence, offsets, 1.5, **options)
    torch.testing.assert_close(layer(confidence, offsets), want, rtol=1e-6, atol=1e-6)
    L = layer.votes(confidence, offsets).log_complement()
    torch.testing.assert_close(L, torch.log1p(-want), rtol=1e-5, atol=1e-6)
    for rule in ("additive", "plain_sum"):
        layer = mdn.torch.MassDisplacement(rule, 1.5, **options)
        want = RULES[rule](confidence, offsets, 1.5, **options)
        torch.testing.assert_close(layer(confidence, offsets), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("sigma", [2.5, [1.0, 2.5]])
def test_a_saved_module_comes_back(sigma, learnable):
    layer = mdn.torch.MassDisplacement(sigma=sigma, learnable=learnable)
    other = mdn.torch.MassDisplacement(sigma=torch.ones(layer.initial_sigma.shape).tolist())
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


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_or_pickled_module_is_the_same_and_its_own(again, learnable):
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    layer = mdn.torch.MassDisplacement(
        "plain_sum", [1.0, 2.0], learnable=learnable, stride=2.0, aggregate=-3
    )
    twin = again(layer)
    assert repr(twin) == repr(layer)
    torch.testing.assert_close(
        twin(confidence, offsets), layer(confidence, offsets), rtol=0, atol=0
    )
    with torch.no_grad():
        twin.log_sigma += 1
    torch.testing.assert_close(layer.sigma.flatten(), torch.tensor([1.0, 2.0]))
    if learnable:
        twin(confidence, offsets).sum().backward()
        assert (twin.log_sigma.grad is not None, layer.log_sigma.grad is None) == (True, True)


def test_a_module_follows_its_network_to_a_dtype_and_a_device():
    layer = mdn.torch.MassDisplacement(sigma=[1.0, 2.0], learnable=True).double().to("meta")
    assert (layer.sigma.dtype, layer.sigma.device.type) == (torch.float64, "meta")
    m = layer(torch.empty(3, 2, 4, 5, device="meta"), torch.empty(3, 2, 2, 4, 5, device="meta"))
    assert (m.shape, m.device.type) == ((3, 2, 4, 5), "meta")


def test_sigmas_may_be_one_per_pair_of_parts():
    confidence, _, _ = fields(requires_grad=False)
    offsets = torch.randn(2, 2, 2, 3, 4, dtype=torch.float64)
    sigma = [[0.5, 1.0], [2.0, 4.0]]
    layer = mdn.torch.MassDisplacement(sigma=sigma, aggregate=-3).double()
    widths = torch.tensor(sigma, dtype=torch.float64)[..., None, None]
    want = mdn.noisy_or(confidence, offsets, widths, aggregate=-3)
    torch.testing.assert_close(layer(confidence, offsets), want, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_log_sigma_is_sigma_times_that_of_sigma():
    confidence, offsets, _ = fields(requires_grad=False)
    layer = mdn.torch.MassDisplacement(sigma=[0.8, 1.7], learnable=True).double()
    sigma = layer.sigma.detach().requires_grad_()
    want = torch.autograd.grad(weighted(mdn.noisy_or(confidence, offsets, sigma)), sigma)[0]
    got = torch.autograd.grad(weighted(layer(confidence, offsets)), layer.log_sigma)
    assert_close(got, [(want * sigma).flatten()])


def test_a_call_may_name_its_own_output_shape():
    confidence, offsets, _ = fields(requires_grad=False)
    layer = mdn.torch.MassDisplacement(sigma=1.5, stride=2.0, origin=0.5)
    got = layer.votes(confidence, offsets, output_shape=(6, 8)).noisy_or()
    assert got.shape == (2, 6, 8)
    torch.testing.assert_close(got[:, :5, :7], layer(confidence, offsets))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), [1.0, 0.0], 1e-60])
def test_a_module_of_no_width_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be greater than 0 and finite, got"):
        mdn.torch.MassDisplacement(sigma=sigma)


@pytest.mark.parametrize(
    "sigma", ["x", None, [1.0, "x"], [[1.0], [1.0, 2.0]], True, [True], 1j, []], ids=str
)
def test_a_sigma_that_is_no_number_is_refused(sigma):
    with pytest.raises(TypeError, match="sigma must be a number, or numbers such as one per part"):
        mdn.torch.MassDisplacement(sigma=sigma)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"stride": 0}, "stride must be greater than 0, got 0"),
        ({"aggregate": "parts"}, "aggregate must be an axis number or None, got 'parts'"),
        ({"output_shape": 8}, "output_shape must be two integers"),
    ],
)
def test_an_option_out_of_range_is_refused_when_the_module_is_made(option, complaint):
    with pytest.raises((TypeError, ValueError), match=complaint):
        mdn.torch.MassDisplacement(**option)


@pytest.mark.parametrize("learnable", [False, True])
def test_a_module_made_without_memory_comes_to_life(learnable):
    layer = mdn.torch.MassDisplacement(sigma=[0.5, 2.0], learnable=learnable, device="meta")
    assert layer.log_sigma.is_meta
    assert "sigma=(0.5, 2)" in repr(layer)
    layer.to_empty(device="cpu").reset_parameters()
    torch.testing.assert_close(layer.sigma.flatten(), torch.tensor([0.5, 2.0]))
    assert isinstance(layer.log_sigma, torch.nn.Parameter) == learnable


def test_a_reset_module_forgets_what_it_learned():
    layer = mdn.torch.MassDisplacement(sigma=2.0, learnable=True, dtype=torch.float64)
    with torch.no_grad():
        layer.log_sigma += 1
    layer.reset_parameters()
    assert layer.log_sigma.dtype == torch.float64
    torch.testing.assert_close(layer.sigma.item(), 2.0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, "float32"])
def test_a_dtype_that_is_not_floating_is_refused(dtype):
    for make in (mdn.torch.MassDisplacement, lambda **o: mdn.torch.MDNKeypointHead(8, 3, **o)):
        with pytest.raises(TypeError, match="dtype must be a floating dtype"):
            make(dtype=dtype)


def test_a_module_of_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'additive', 'plain_sum', got 'max'"):
        mdn.torch.MassDisplacement("max")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "rule=noisy_or, sigma=2"),
        ({"sigma": [1.0, 2.5], "learnable": True}, "rule=noisy_or, sigma=(1, 2.5), learnable"),
        (
            {"stride": (4, 3), "origin": [0.5, 0.5]},
            "rule=noisy_or, sigma=2, stride=(4, 3), origin=0.5",
        ),
        (
            {"rule": "plain_sum", "stride": 4, "aggregate": -3},
            "rule=plain_sum, sigma=2, stride=4, aggregate=-3",
        ),
        ({"sigma": [1.0, *[2.0] * 16]}, "rule=noisy_or, sigma=1…2 (17)"),
        ({"sigma": [[1.0] * 4, [3.0] * 4], "output_shape": (9, 7)},
         "rule=noisy_or, sigma=(1, 1, 1, 1, 3, 3, 3, 3), output_shape=(9, 7)"),
    ],
    ids=["default", "per part", "per axis", "options", "many", "per pair"],
)  # fmt: skip
def test_a_module_says_what_it_is(arguments, words):
    assert repr(mdn.torch.MassDisplacement(**arguments)) == f"MassDisplacement({words})"


@pytest.mark.parametrize("learnable", [False, True])
def test_a_single_log_sigma_of_no_dimensions_is_loaded(learnable):
    layer = mdn.torch.MassDisplacement(sigma=2.0, learnable=learnable)
    network = torch.nn.Sequential(layer)
    state = {"0.log_sigma": torch.tensor(1.5).log()}
    network.load_state_dict(state)
    assert (layer.sigma.shape, state["0.log_sigma"].ndim) == ((), 0)
    torch.testing.assert_close(layer.sigma.item(), 1.5)
