"""The keypoint head: the shapes it promises, where it starts, and that it trains."""

import copy
import itertools
import math
import pickle
import re

import numpy as np
import pytest
import torch
import torch_support  # noqa: F401 — one thread
from torch._dynamo.testing import CompileCounter
from torch.export import Dim
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import mdn_cupy as mdn
from mdn_cupy.torch import MDNKeypointHead, logit, subpixel_argmax

EDGES = [(0, 1), (1, 2)]


def features(n=2, channels=8, height=7, width=6, seed=0):
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed))


def head(*arguments, seed=0, **options):
    torch.manual_seed(seed)
    return MDNKeypointHead(*arguments, **options)


# The contract


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("edges", [[], [(0, 1), (3, 2)]], ids=["within", "cross"])
def test_it_takes_the_place_of_the_predictor_of_a_keypoint_rcnn(n, edges):
    """RoI features (N, 512, 14, 14) to logits (N, K, 56, 56), and a softmax over all pixels."""
    predictor = head(512, 17, edges=edges)
    logits = predictor(features(n, 512, 14, 14))
    assert (logits.shape, logits.dtype) == ((n, 17, 56, 56), torch.float32)
    if n:
        loss = F.cross_entropy(logits.flatten(0, 1).flatten(1), torch.arange(n * 17))
        loss.backward()
        assert all(p.grad.isfinite().all() for p in predictor.parameters())


@pytest.mark.parametrize("stride", [1, 2, 5, (3, 2)])
@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_maps_are_stride_times_as_fine_as_the_features(stride, edges):
    y, x = stride if isinstance(stride, tuple) else (stride, stride)
    network = head(8, 3, stride=stride, edges=edges)
    assert network(features()).shape == (2, 3, 7 * y, 6 * x)


def test_a_cell_is_at_the_centre_of_its_pixels():
    network = head(8, 1, stride=(4, 3), sigma=1.0)
    fields = network.fields(features(1))
    confidence = torch.zeros_like(fields.confidence)
    confidence[0, 0, 2, 3] = 0.5
    L = network.vote(fields._replace(confidence=confidence, offsets=0 * fields.offsets))
    assert (subpixel_argmax(-L).positions[0, 0] - torch.tensor([10.0, 9.5])).abs().max() < 0.05


def test_offsets_are_predicted_in_cells():
    network = head(8, 1, stride=(4, 3))
    with torch.no_grad():
        network.offsets.bias[:] = torch.tensor([1.0, -2.0])
    offsets = network.fields(0 * features(1)).offsets[0, 0]
    assert offsets[0].eq(3.0).all()
    assert offsets[1].eq(-8.0).all()


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_is_its_fields_voted_and_read_out(edges):
    network = head(8, 3, edges=edges, sigma=[1.0, 2.0, 3.0])
    confidence, offsets, cross_offsets = network.fields(features())
    options = {"stride": 4, "origin": 1.5, "output_shape": (28, 24)}
    sigma = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    if edges:
        trusted = confidence[:, None] * network.trust[..., None, None]
        options["aggregate"] = -3
        L = mdn.log_complement(trusted, cross_offsets, sigma, **options)
    else:
        assert cross_offsets is None
        L = mdn.log_complement(confidence, offsets, sigma, **options)
    torch.testing.assert_close(network.log_complement(features()), L)
    torch.testing.assert_close(network(features()), logit(L))


def test_parts_vote_along_edges_and_nowhere_else():
    network = head(8, 4, edges=EDGES)
    _, offsets, cross_offsets = network.fields(features())
    joined = {(k, k) for k in range(4)} | set(EDGES) | {(b, a) for a, b in EDGES}
    for k, p in itertools.product(range(4), repeat=2):
        assert cross_offsets[:, k, p].isnan().all() == ((k, p) not in joined)
        assert (network.trust[k, p] == 0) == ((k, p) not in joined)
    torch.testing.assert_close(torch.stack([cross_offsets[:, k, k] for k in range(4)], 1), offsets)
    torch.testing.assert_close(network.trust.diagonal(), torch.ones(4))


def test_fields_are_those_of_an_mdn_file():
    with torch.no_grad():
        fields = head(8, 4, edges=EDGES).fields(features(1))
    saved = mdn.Fields(*(x[0].numpy() for x in fields[:2]), cross_offsets=fields[2][0].numpy())
    assert saved.votes(1, sigma=2.0, cross=True).offsets.shape == (4, 2, 7, 6)


# Where it starts


@pytest.mark.parametrize(("stride", "sigma"), [(1, 1.0), (1, 2.0), (4, 2.0), (4, 5.0), (8, 2.0)])
@pytest.mark.parametrize("edges", [[], list(itertools.combinations(range(5), 2))], ids=len)
def test_before_training_few_votes_are_expected_at_a_pixel(stride, sigma, edges):
    network = head(8, 5, stride=stride, sigma=sigma, edges=edges)
    x = features(1, 8, 24, 24)
    inner = slice(10 * stride, 14 * stride)  # away from the edges
    with torch.no_grad():
        assert network.fields(x).offsets.abs().max() < 0.1 * stride
        evidence = -network.log_complement(x)[..., inner, inner]
        assert evidence.mean() < 0.12
        if 2 * math.pi * sigma**2 > stride**2:  # the windows leave no gaps
            assert evidence.mean() > 0.08
            assert evidence.min() > 0.01
        network.confidence.bias.zero_()  # confidences of a half
        assert -network.log_complement(x)[..., inner, inner].mean() > 5 * evidence.mean()


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_every_parameter_gets_a_gradient(edges):
    network = head(8, 3, edges=edges, learnable=True)
    target = torch.zeros(2, 3, 28, 24)
    target[..., 10, 9] = 1
    mdn.torch.noisy_or_bce(network.log_complement(features()), target).backward()
    for name, parameter in network.named_parameters():
        if parameter.numel():
            assert parameter.grad.abs().max() > 0, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_it_learns_to_point_at_a_pixel_between_the_cells(edges):
    network = head(8, 3, edges=edges)
    x = features(3)
    target = torch.tensor([[9.0, 14.0], [13.0, 7.0], [5.0, 22.0]])
    index = (24 * target[:, 1] + target[:, 0]).long().expand(3, 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        F.cross_entropy(network(x).flatten(2).transpose(1, 2), index).backward()
        optimizer.step()
    found = subpixel_argmax(-network.log_complement(x))
    assert (found.positions - target).abs().max() < 1


# Logits


def test_logits_are_the_log_odds_of_a_leaky_map():
    L = -torch.logspace(-6, 1.5, 40, dtype=torch.float64)
    want = torch.log(torch.expm1(-L - math.log1p(-1e-4)))  # m/(1 − m), of a map with a leak
    torch.testing.assert_close(logit(L), want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(logit(L.float()).double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_and_their_gradients_are_finite_where_m_is_0_or_1(dtype):
    L = torch.tensor([0.0, -1e-30, -1e-3, -16.6, -104.0, -5000.0], dtype=dtype, requires_grad=True)
    logits = logit(L)
    (gradient,) = torch.autograd.grad(logits.sum(), L)
    assert (logits.diff() >= 0).all()
    assert logits.isfinite().all()
    exact = -1 / -torch.expm1(L.detach().double() + math.log1p(-1e-4))
    torch.testing.assert_close(gradient.double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("leak", [0.0, 1.0, -0.1, math.nan])
def test_a_leak_that_is_no_probability_is_refused(leak):
    with pytest.raises(ValueError, match="leak must be between 0 and 1"):
        logit(torch.zeros(3), leak)


# The module


def test_a_saved_head_comes_back():
    network, other = head(8, 3, edges=EDGES, learnable=True), head(8, 3, edges=EDGES, seed=1)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(features()), network(features()))
    torch.testing.assert_close(copy.deepcopy(network)(features()), network(features()))


ORDERS = [[(0, 1), (1, 2), (2, 4)], [(2, 4), (1, 2), (0, 1)], [(4, 2), (1, 0), (1, 2), (0, 1)]]


@pytest.mark.parametrize("edges", ORDERS, ids=str)
def test_the_order_and_direction_of_edges_make_no_other_head(edges):
    trained = head(8, 5, edges=ORDERS[0], sigma=1.5)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_()
    other = head(8, 5, edges=edges, sigma=1.5, seed=1)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other(features()), trained(features()))


@pytest.mark.parametrize("edges", [[(0, 1), (0, 2)], [(0, 2), (1, 2)]], ids=str)
@pytest.mark.parametrize("strict", [True, False])
def test_a_checkpoint_of_other_edges_is_refused(edges, strict):
    network = torch.nn.Sequential(head(8, 3, edges=edges))
    state = torch.nn.Sequential(head(8, 3, edges=EDGES)).state_dict()
    complaint = f"edges of the checkpoint are {EDGES}, those of this head {edges}"
    with pytest.raises(RuntimeError, match=re.escape(complaint)):
        network.load_state_dict(state, strict=strict)
    assert network[0].pairs == head(8, 3, edges=edges).pairs
    fields = network[0].fields(features())
    assert not fields.cross_offsets[:, edges[0][0], edges[0][1]].isnan().any()


def test_a_checkpoint_that_does_not_say_its_edges_is_refused():
    state = head(8, 3, edges=EDGES).state_dict()
    del state["places"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"places"'):
        head(8, 3, edges=EDGES).load_state_dict(state)


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_a_head_made_without_memory_knows_its_shapes(edges):
    """As large networks are made, before they are spread over devices."""
    with torch.device("meta"):
        under = MDNKeypointHead(8, 3, edges=edges, sigma=[1.0, 2.0, 3.0])
    network = MDNKeypointHead(8, 3, edges=edges, sigma=[1.0, 2.0, 3.0], device="meta")
    for each in (network, under):
        assert {x.device.type for x in (*each.parameters(), *each.buffers())} == {"meta"}
        assert each(features().to("meta")).shape == (2, 3, 28, 24)
        assert "sigma=(1, 2, 3)" in repr(each)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_a_head_made_without_memory_comes_to_life(edges, learnable):
    made = {"in_channels": 8, "parts": 3, "edges": edges, "sigma": 1.5, "learnable": learnable}
    want = head(**made)
    loaded = torch.nn.utils.skip_init(MDNKeypointHead, **made)
    loaded.load_state_dict(want.state_dict())
    assert torch.equal(loaded(features()), want(features()))
    begun = MDNKeypointHead(**made, device="meta").to_empty(device="cpu")
    begun.reset_parameters()
    for (name, got), parameter in zip(
        begun.state_dict().items(), want.state_dict().values(), strict=True
    ):
        if not name.endswith("weight"):  # those are random
            assert torch.equal(got, parameter), name


def test_a_head_is_of_the_dtype_that_was_asked_for():
    network = head(8, 3, edges=EDGES, dtype=torch.float64)
    assert {x.dtype for x in network.parameters()} == {torch.float64}
    assert network(features().double()).dtype == torch.float64


def test_a_head_says_what_it_is():
    text = repr(head(8, 3, edges=EDGES))
    assert "parts=3, stride=4, edges=2" in text
    assert "MassDisplacement(rule=noisy_or, sigma=2, stride=4, origin=1.5, aggregate=-3)" in text


@pytest.mark.parametrize("edge", [(0, 0), (0, 3), (-1, 1)])
def test_an_edge_that_joins_no_two_parts_is_refused(edge):
    with pytest.raises(ValueError, match="an edge must join two of the parts 0 … 2, got"):
        MDNKeypointHead(8, 3, edges=[edge])


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_compiles_and_exports(edges):
    network = head(8, 3, edges=edges)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features()), network(features()))
    program = torch.export.export(network, (features(),))
    torch.testing.assert_close(program.module()(features()), network(features()))


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_takes_any_size_without_a_compilation_for_each(edges):
    torch.compiler.reset()
    network, counter = head(8, 3, edges=edges), CompileCounter()
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    for n in range(3, 13):
        x = features(n, 8, n + 1, n + 2)
        torch.testing.assert_close(compiled(x), network(x))
    assert counter.frame_count <= 2


@pytest.mark.slow
@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_compiles_with_every_size_dynamic(edges):
    torch.compiler.reset()
    network = head(8, 3, edges=edges, learnable=True)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (2, 3, 5):
        x = features(n, 8, n + 1, n + 2)
        torch.testing.assert_close(compiled(x), network(x))


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_exports_with_dynamic_sizes(edges):
    network = head(8, 3, edges=edges)
    sizes = {0: Dim("n", min=1, max=64), 2: Dim("h", min=2, max=64), 3: Dim("w", min=2, max=64)}
    program = torch.export.export(network, (features(),), dynamic_shapes=(sizes,))
    for n, height, width in ((2, 7, 6), (3, 9, 10), (1, 4, 12)):
        x = features(n, 8, height, width)
        torch.testing.assert_close(program.module()(x), network(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_logits_are_float32(dtype):
    network = head(8, 3, edges=EDGES)
    with torch.autocast("cpu", dtype):
        logits = network(features())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, network(features()), rtol=0.05, atol=0.05)
    logits.logsumexp((-2, -1)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_the_head_maps_over_a_stack_of_batches(edges):
    network = head(8, 3, edges=edges)
    stack = features(6).unflatten(0, (3, 2))
    mapped = torch.func.vmap(network)(stack)
    torch.testing.assert_close(mapped, torch.stack([network(x) for x in stack]))


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpointed_head_has_the_same_gradients(use_reentrant):
    network = head(8, 3, edges=EDGES, learnable=True)
    x = features().requires_grad_()
    everything = [x, *network.parameters()]
    want = torch.autograd.grad(network(x).logsumexp((-2, -1)).sum(), everything)
    logits = checkpoint(network, x, use_reentrant=use_reentrant)
    logits.logsumexp((-2, -1)).sum().backward()
    for got, gradient in zip(everything, want, strict=True):
        torch.testing.assert_close(got.grad, gradient)


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_a_pickled_head_is_the_same(edges):
    network = head(8, 3, edges=edges, learnable=True)
    twin = pickle.loads(pickle.dumps(network))
    assert repr(twin) == repr(network)
    assert torch.equal(twin(features()), network(features()))


@pytest.mark.parametrize("name", ["in_channels", "parts", "stride"])
@pytest.mark.parametrize("value", [0, -1, 2.0, float("nan"), "8", None])
def test_what_counts_nothing_is_refused_by_name(name, value):
    arguments = {"in_channels": 8, "parts": 3, "stride": 2, name: value}
    wanted = "be at least 1" if isinstance(value, int) else "be a whole number"
    with pytest.raises((TypeError, ValueError), match=f"{name} must {wanted}, got"):
        mdn.torch.MDNKeypointHead(**arguments)


@pytest.mark.parametrize("edges", [3, "01", [0, 1], [(0, 1, 2)], [(0.0, 1.0)]], ids=str)
def test_edges_that_are_no_pairs_are_refused(edges):
    with pytest.raises(TypeError, match=r"edges must be pairs of parts, such as \[\(0, 1\)\]"):
        mdn.torch.MDNKeypointHead(8, 3, edges=edges)


def test_edges_may_be_none_or_an_array():
    assert mdn.torch.MDNKeypointHead(8, 3, edges=None).pairs == []
    assert (
        mdn.torch.MDNKeypointHead(8, 3, edges=np.array(EDGES)).pairs
        == head(8, 3, edges=EDGES).pairs
    )


@pytest.mark.parametrize(
    ("sigma", "edges", "allowed"),
    [
        ([1.0, 2.0], [], r"\(\) or \(3,\), got \(2,\); \(3, 3\) takes edges"),
        ([[1.0] * 3] * 3, [], r"\(\) or \(3,\), got \(3, 3\); \(3, 3\) takes edges"),
        ([[[1.0] * 3] * 3] * 2, EDGES, r"\(\), \(3,\) or \(3, 3\), got \(2, 3, 3\)"),
    ],
    ids=["parts", "pairs", "batch"],
)
def test_a_sigma_of_another_shape_is_refused(sigma, edges, allowed):
    with pytest.raises(ValueError, match=f"sigma must have the shape {allowed}"):
        mdn.torch.MDNKeypointHead(8, 3, sigma=sigma, edges=edges)


def test_arguments_of_another_kind_are_refused():
    network = head(8, 3)
    with pytest.raises(TypeError, match=r"features must be a torch tensor .*, got numpy.ndarray"):
        network(np.zeros((2, 8, 4, 4), np.float32))
    with pytest.raises(TypeError, match=r"fields must be VoteFields, .* got Tensor"):
        network.vote(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("edges", [[], EDGES], ids=["within", "cross"])
def test_fields_of_another_head_are_refused(edges):
    fields = head(8, 3, edges=[] if edges else EDGES).fields(features())
    with pytest.raises(ValueError, match="cross_offsets must be "):
        head(8, 3, edges=edges).vote(fields)


def test_features_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"features must have the shape \(N, C, H, W\)"):
        mdn.torch.MDNKeypointHead(8, 3)(torch.zeros(8, 4, 4))
