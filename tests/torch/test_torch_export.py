"""Programs that leave Python: TorchScript, ONNX in its runtime, torch.fx; and plain operators."""

import io
import pickle
import warnings

import onnxruntime
import pytest
import torch
from torch.export import Dim
from torch_support import RULES, fields

import mdn_cupy as mdn
from mdn_cupy.torch import MassDisplacement, MDNKeypointHead, plain_operators


def head(edges):
    torch.manual_seed(0)
    network = MDNKeypointHead(4, 3, edges=edges, sigma=[1.0, 1.5, 2.0], learnable=bool(edges))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.eval()


def features(n=2, height=4, width=3):
    generator = torch.Generator().manual_seed(n)
    return (torch.randn(n, 4, height, width, generator=generator),)


def layer_fields(n=2, height=4, width=3):
    generator = torch.Generator().manual_seed(n)
    confidence = torch.rand(n, 2, height, width, generator=generator)
    return confidence, torch.randn(n, 2, 2, height, width, generator=generator)


MODULES = {
    "head": (lambda: head(()), features),
    "head with edges": (lambda: head([(0, 1), (1, 2)]), features),
    "one sigma": (lambda: MDNKeypointHead(4, 3, learnable=True), features),
    "noisy-or": (
        lambda: MassDisplacement(sigma=[1.0, 2.0], stride=1.5, aggregate=-3),
        layer_fields,
    ),
    "additive": (lambda: MassDisplacement("additive", stride=(2, 1.5), origin=0.5), layer_fields),
}
SIZES = [(2, 4, 3), (1, 5, 7), (3, 2, 6)]
exported = pytest.mark.parametrize("module", MODULES)


def sized(inputs, make):
    """The axes of every input that may have another size, each as `make` names it."""
    return [{0: make("n"), x.ndim - 2: make("h"), x.ndim - 1: make("w")} for x in inputs]


# Plain operators


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sigma", ["scalar", "per part", "per source"])
@pytest.mark.parametrize("options", [
    {}, {"aggregate": 0}, {"aggregate": -3, "truncate": 2.5}, {"stride": 1.5, "origin": -0.5},
    {"stride": 3, "output_shape": (7, 12)}, {"stride": (1.5, 3), "origin": (0.5, -1)},
    {"truncate": torch.inf},
], ids=str)  # fmt: skip
def test_plain_votes_are_those_of_the_operator(rule, sigma, options):
    arguments = fields(sigma, requires_grad=False)
    want = RULES[rule](*arguments, **options)
    with plain_operators():
        got = RULES[rule](*arguments, **options)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_plain_votes_outside_the_domain_are_those_of_the_operator(rule):
    confidence, offsets, sigma = fields("per source", torch.float32, requires_grad=False)
    offsets[0, 0, 0, 0], offsets[0, 1, 0, 1], offsets[0, :, 1, 1] = torch.nan, torch.inf, 0
    sigma[1, 0, :3] = torch.tensor([0.0, -1.0, torch.nan])
    confidence[0, 1, 1], confidence[1, 2, 2] = 1, torch.nan  # one is certain
    want = RULES[rule](confidence, offsets, sigma, truncate=1.5)
    with plain_operators():
        got = RULES[rule](confidence, offsets, sigma, truncate=1.5)
    assert want.isnan().any()
    torch.testing.assert_close(got, want, equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 2, 4, 5), (2, 0, 5), (2, 4, 0)], ids=str)
def test_plain_votes_of_nothing_have_the_shape_of_the_operators(shape):
    arguments = torch.zeros(shape), torch.zeros(*shape[:-2], 2, *shape[-2:]), 1.0
    with plain_operators():
        got = mdn.noisy_or(*arguments, stride=2)
    torch.testing.assert_close(got, mdn.noisy_or(*arguments, stride=2))


def test_plain_operators_end_with_their_context():
    layer, arguments = MassDisplacement(), layer_fields()
    with pytest.raises(RuntimeError, match="inside"), plain_operators(), plain_operators():
        raise RuntimeError("inside")
    assert "mdn_cupy" in str(torch.export.export(layer, arguments).graph)


@pytest.mark.slow
@exported
@pytest.mark.parametrize("strict", [True, False])
def test_a_program_of_plain_operators_needs_no_library(module, strict):
    make, inputs = MODULES[module]
    network = make()
    shapes = tuple(sized(inputs(), lambda _: Dim.DYNAMIC))
    with plain_operators():
        program = torch.export.export(network, inputs(), dynamic_shapes=shapes, strict=strict)
    assert "mdn_cupy" not in str(program.graph)
    for size in SIZES[:1] if strict else SIZES[:1] + SIZES[2:]:
        x = inputs(*size)
        torch.testing.assert_close(program.module()(*x), network(*x), rtol=1e-4, atol=1e-4)


# TorchScript


@exported
def test_a_traced_module_is_saved_and_takes_maps_of_any_size(module):
    make, inputs = MODULES[module]
    network = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(network, inputs())
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for size in SIZES:
        x = inputs(*size)
        torch.testing.assert_close(loaded(*x), network(*x), rtol=1e-4, atol=1e-5)


def test_a_traced_function_takes_an_output_shape_made_of_sizes():
    def doubled(confidence, offsets):
        height, width = confidence.shape[-2:]
        return mdn.noisy_or(confidence, offsets, 1.5, output_shape=(2 * height, 2 * width))

    traced = torch.jit.trace(doubled, layer_fields())
    for size in SIZES:
        x = layer_fields(*size)
        torch.testing.assert_close(traced(*x), doubled(*x))


def test_wrong_shapes_are_named_while_a_module_is_traced():
    confidence, offsets = layer_fields()
    with pytest.raises(ValueError, match="offsets must have the shape"):
        torch.jit.trace(MassDisplacement(), (confidence, offsets[..., :1, :]))
    with pytest.raises(ValueError, match=r"looks like \(\.\.\., 2P, H, W\), x and y of each part"):
        torch.jit.trace(MassDisplacement(), (confidence, offsets.flatten(-4, -3)))


@pytest.mark.parametrize("make", [MassDisplacement, lambda: head(())], ids=["layer", "head"])
def test_a_module_that_cannot_be_scripted_says_so_in_a_line(make):
    for module in (make(), torch.nn.Sequential(make())):
        with pytest.raises(
            NotImplementedError, match=r"^torch.jit.script cannot .*torch.jit.trace"
        ):
            torch.jit.script(module)


# ONNX


@pytest.mark.slow
@exported
@pytest.mark.parametrize("dynamo", [True, False], ids=["torch.export", "trace"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_an_onnx_file_votes_in_its_runtime(module, dynamo, tmp_path):
    make, inputs = MODULES[module]
    network, names = make(), [f"input_{k}" for k in range(len(inputs()))]
    if dynamo:
        sizes = {"dynamic_shapes": tuple(sized(inputs(), lambda _: Dim.DYNAMIC))}
    else:
        axes = dict(zip(names, sized(inputs(), str), strict=True))
        sizes = {"dynamic_axes": {**axes, "output": {0: "n", 2: "y", 3: "x"}}}
    path = tmp_path / "votes.onnx"
    torch.onnx.export(network, inputs(), path, dynamo=dynamo, input_names=names,
                      output_names=["output"], verbose=False, **sizes)  # fmt: skip
    session = onnxruntime.InferenceSession(path)
    for size in SIZES[:1] + SIZES[2:]:
        x = inputs(*size)
        feed = {name: each.numpy() for name, each in zip(names, x, strict=True)}
        got = torch.from_numpy(session.run(None, feed)[0])
        # ONNX has no log1p: log(1 + x) loses digits of weak votes.
        torch.testing.assert_close(got, network(*x).detach(), rtol=1e-3, atol=1e-3)


# torch.fx


@exported
def test_a_module_that_torch_fx_traces_votes_and_trains_the_same(module):
    make, inputs = MODULES[module]
    network = make()
    graph = pickle.loads(pickle.dumps(torch.fx.symbolic_trace(network)))
    for size in SIZES:
        x = inputs(*size)
        torch.testing.assert_close(graph(*x), network(*x), rtol=0, atol=0)
    for each in (network, graph):
        each(*(x.requires_grad_() for x in inputs())).sum().backward()
    for got, want in zip(graph.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)


def test_a_function_that_torch_fx_traces_votes_the_same():
    def loss(confidence, offsets):
        L = mdn.log_complement(confidence, offsets, 1.5, stride=2)
        s = mdn.additive(confidence, offsets, 1.5, aggregate=-3)
        return mdn.torch.logit(L), s, mdn.noisy_or(confidence, offsets, 2.0)

    torch.testing.assert_close(
        torch.fx.symbolic_trace(loss)(*layer_fields()), loss(*layer_fields())
    )
