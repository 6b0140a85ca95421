"""The operator under torch's transforms: compile, export, vmap, func, autocast, checkpoint."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend
from torch.autograd import forward_ad
from torch.export import Dim
from torch.utils.checkpoint import checkpoint
from torch_support import RULES, assert_close, fields, gradients, weighted

import mdn_cupy as mdn
from mdn_cupy.problem import Rule, VoteOptions
from mdn_cupy.torch.library import scalars

# Tracing


@pytest.mark.parametrize(
    ("rule", "sigma", "output_shape"),
    [
        (Rule.NOISY_OR, "scalar", None),
        (Rule.NOISY_OR, "per source", [5, 2]),
        (Rule.PLAIN_SUM, "per part", None),
        (Rule.ADDITIVE, "scalar", [5, 2]),
    ],
)
def test_opcheck_of_the_operators(rule, sigma, output_shape):
    aggregate = 0 if output_shape else None
    options = (int(rule), 4.0, (1.5, 2.0), (0.5, 0.0), output_shape, aggregate, True)
    arguments = fields(sigma, torch.float32)
    torch.library.opcheck(torch.ops.mdn_cupy.accumulate.default, (*arguments, *options))
    detached = [x.detach() for x in arguments]
    cotangent = torch.ones_like(torch.ops.mdn_cupy.accumulate(*detached, *options))
    for wanted in ([True, True, True], [False, True, False]):
        torch.library.opcheck(
            torch.ops.mdn_cupy.gather.default, (cotangent, *detached, *options, wanted)
        )


@pytest.mark.slow
def test_compiled_votes_are_the_same():
    def loss(confidence, offsets, sigma):
        log_complement = mdn.log_complement(confidence, offsets, sigma, stride=2.0)
        s = mdn.additive(confidence, offsets, sigma, stride=2.0)
        return mdn.torch.noisy_or_bce(log_complement, torch.sigmoid(s))

    for sigma, backend in (("scalar", "aot_eager"), ("per part", "inductor")):
        torch.compiler.reset()
        compiled = torch.compile(loss, fullgraph=True, backend=backend)
        arguments = fields(sigma, torch.float32)
        torch.testing.assert_close(compiled(*arguments), loss(*arguments))
        got, want = (torch.autograd.grad(f(*arguments), arguments) for f in (compiled, loss))
        assert_close(got, want, 1e-6)


def test_shapes_are_known_without_values():
    confidence, offsets, sigma = (x.detach().to("meta") for x in fields("per part"))
    m = mdn.noisy_or(confidence, offsets, sigma, stride=2.0, aggregate=-3)
    assert (m.device.type, m.shape, m.dtype) == ("meta", (5, 7), torch.float64)


def test_compiled_votes_do_not_recompile_for_another_sigma():
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    layer = mdn.torch.MassDisplacement(sigma=[1.0, 2.0], learnable=True)
    counter = CompileCounter()
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    for log_sigma in torch.linspace(-0.5, 1, 12):
        with torch.no_grad():
            layer.log_sigma.fill_(log_sigma)
        torch.testing.assert_close(compiled(confidence, offsets), layer(confidence, offsets))
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", [torch.tensor, float], ids=["tensor", "number"])
def test_compiled_functions_do_not_recompile_for_every_sigma(kind):
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(mdn.noisy_or, backend=counter, fullgraph=True)
    for sigma in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0):
        want = mdn.noisy_or(confidence, offsets, sigma)
        torch.testing.assert_close(compiled(confidence, offsets, kind(sigma)), want)
    assert counter.frame_count <= 2  # a number is a constant once


def test_compiled_votes_take_any_size_without_a_compilation_for_each():
    torch.compiler.reset()
    counter = CompileCounter()
    layer = mdn.torch.MassDisplacement(stride=2.0)
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    for n in range(3, 14):
        confidence, offsets = torch.rand(n, n + 1, n + 2), torch.randn(n, 2, n + 1, n + 2)
        torch.testing.assert_close(compiled(confidence, offsets), layer(confidence, offsets))
    assert counter.frame_count <= 2


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed sizes", "dynamic sizes"])
@pytest.mark.parametrize("rule", ["noisy_or", "additive"])
def test_an_exported_layer_votes_the_same(rule, dynamic):
    layer = mdn.torch.MassDisplacement(rule, [1.0, 2.0], learnable=True, stride=1.5, aggregate=-3)
    arguments = torch.rand(4, 2, 5, 6), torch.randn(4, 2, 2, 5, 6)
    shapes = None
    if dynamic:
        batch, height, width = (Dim(name, min=2, max=64) for name in ("batch", "height", "width"))
        shapes = ({0: batch, 2: height, 3: width}, {0: batch, 3: height, 4: width})
    program = torch.export.export(layer, arguments, dynamic_shapes=shapes)
    assert "mdn_cupy.accumulate" in str(program.graph)
    sizes = [(4, 5, 6), (2, 3, 9), (7, 8, 4)] if dynamic else [(4, 5, 6)]
    for n, height, width in sizes:
        arguments = torch.rand(n, 2, height, width), torch.randn(n, 2, 2, height, width)
        torch.testing.assert_close(program.module()(*arguments), layer(*arguments))


def doubled(confidence, offsets):
    height, width = confidence.shape[-2:]
    return mdn.noisy_or(confidence, offsets, 1.5, output_shape=(2 * height, 2 * width))


# What is done with Votes inside a compiled function; the window is of one size, or grows with them.
PIPELINES = {
    "maps": lambda votes: (
        *(votes.noisy_or(), votes.log_complement(), votes.additive(), votes.plain_sum()),
        *(*votes.compare(), *votes.compare("plain_sum")),
        *(votes.evidence(), votes.evidence("additive")),
    ),
    "vjps": lambda votes: (
        *votes.noisy_or_vjp(torch.ones(votes.shape)),
        *votes.noisy_or_vjp(votes.additive(), log_complement=votes.log_complement()),
        *votes.log_complement_vjp(votes.additive()),
        *votes.additive_vjp(votes.noisy_or()),
        *votes.plain_sum_vjp(votes.noisy_or()),
    ),
    "others": lambda votes: (
        votes.replace(
            sigma=2 * votes.sigma, stride=(1.5, 2), aggregate=0, output_shape=votes.shape[1:]
        ).additive(),
        votes.to("cpu").noisy_or(),
    ),
    "crop": lambda votes: (
        votes.crop(slice(1, 4), slice(None, -1)).noisy_or(),
        votes.crop(slice(None, 4, 2), slice(None, None, 2)).noisy_or(),
        votes.replace(output_shape=(9, 8)).crop(slice(2, None), slice(3, 7)).noisy_or(),
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("dynamic", [False, None, True], ids=["static", "automatic", "dynamic"])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_votes_are_made_and_used_inside_a_compiled_function(pipeline, dynamic):
    def voted(confidence, offsets, sigma):
        return PIPELINES[pipeline](mdn.Votes(confidence, offsets, sigma, stride=2, origin=(0, 1)))

    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(voted, backend=counter, fullgraph=True, dynamic=dynamic)
    confidence, offsets, sigma = fields("per part", torch.float32, requires_grad=False)
    for columns in (4, 3) if dynamic is False else (4, 3, 2):
        cut = (confidence[..., :columns], offsets[..., :columns], sigma)
        arguments = [x.clone().requires_grad_() for x in cut]
        got, want = compiled(*arguments), voted(*arguments)
        torch.testing.assert_close(got, want)
        if pipeline != "vjps":
            got, want = (
                torch.autograd.grad(sum(map(weighted, maps)), arguments) for maps in (got, want)
            )
            assert_close(got, want, 1e-5)
    if dynamic is not False and pipeline != "crop":  # the bounds of a slice are constants
        assert counter.frame_count <= 2


def test_an_output_shape_made_of_sizes_stays_dynamic():
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(doubled, backend=counter, fullgraph=True)
    for n in range(3, 13):
        arguments = torch.rand(2, n, n + 1), torch.randn(2, 2, n, n + 1)
        torch.testing.assert_close(compiled(*arguments), doubled(*arguments))
    assert counter.frame_count <= 2


def test_wrong_shapes_are_named_while_tracing():
    confidence, offsets, sigma = (x.detach().to("meta") for x in fields())
    with pytest.raises(ValueError, match=r"offsets must .* is \(..., 2, 3, 4\) for confidence"):
        mdn.noisy_or(confidence, offsets[..., :2, :], sigma)


OPTIONS = {  # values of one option, of a kind each
    "sigma": [1.5, 2.0, 3],
    "stride": [1.0, 1.5, 3, (2, 1.5)],
    "origin": [0.0, -1.5, 2, (0.25, 3)],
    "truncate": [4.0, 2.5, 3, torch.inf],
    "output_shape": [(4, 5), (7, 8), None],
    "aggregate": [-3, 0, 1, None],
    "deterministic": [True, False],
}


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(  # only a sigma is checked by the rule
    ("name", "option"), [("noisy_or", "sigma"), *(("additive", option) for option in OPTIONS)]
)
def test_compiled_votes_take_options_as_arguments(name, option, dynamic):
    function = RULES[name]
    arguments = torch.rand(3, 2, 4, 5), torch.randn(3, 2, 2, 4, 5)

    def vote(confidence, offsets, value):
        return function(confidence, offsets, **{"sigma": 1.5, option: value})

    torch.compiler.reset()
    compiled = torch.compile(vote, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for value in OPTIONS[option]:
        torch.testing.assert_close(compiled(*arguments, value), vote(*arguments, value))


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda maps, leak: mdn.torch.logit(-maps, leak), [1e-4, 0.01, 0.5]),
        (lambda maps, t: mdn.torch.soft_argmax(maps, t), [1.0, 0.5, 2]),
        (lambda maps, how: mdn.torch.noisy_or_bce(-maps, maps, reduction=how), ["mean", "none"]),
        (lambda maps, factor: mdn.torch.subpixel_argmax(factor * maps), [1.0, 0.5, 2]),
    ],
    ids=["leak", "temperature", "reduction", "peaks"],
)
def test_compiled_readings_of_a_map_take_options_as_arguments(function, values, dynamic):
    maps = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.compiler.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for value in values:
        torch.testing.assert_close(compiled(maps, value), function(maps, value))


@pytest.mark.parametrize("size", [(), (2,)], ids=["one sigma", "per part"])
def test_a_layer_compiles_with_every_size_dynamic(size):
    layer = mdn.torch.MassDisplacement(
        sigma=torch.full(size, 1.5), learnable=True, stride=1.5, origin=0.5, truncate=3.0
    )
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (2, 3, 5):
        arguments = torch.rand(n, 2, n + 1, n + 2), torch.randn(n, 2, 2, n + 1, n + 2)
        torch.testing.assert_close(compiled(*arguments), layer(*arguments))


def test_a_compiled_sigma_that_is_no_width_is_refused():
    confidence, offsets, _ = fields(dtype=torch.float32, requires_grad=False)
    torch.compiler.reset()
    compiled = torch.compile(mdn.noisy_or, backend="eager")
    compiled(confidence, offsets, 1.0)
    compiled(confidence, offsets, 2.0)
    for sigma in (0.0, -1.0, torch.inf, torch.nan):
        with pytest.raises(ValueError, match=r"sigma must be (greater than 0|finite)"):
            compiled(confidence, offsets, sigma)


@pytest.mark.parametrize("L", [[0.0, -1e-20, -1e-6], [-0.999, -1.0, -1.001], [-20.0, -5e3, -1e-3]])
def test_the_compiled_one_minus_exp_is_exact_at_both_ends(L):
    L = torch.tensor(L, requires_grad=True)
    compiled = torch.compile(mdn.torch.one_minus_exp, backend="aot_eager", fullgraph=True)
    got, want = compiled(L), mdn.torch.one_minus_exp(L)
    torch.testing.assert_close(got, want, rtol=3e-7, atol=0)
    (got,), (want,) = (torch.autograd.grad(m.sum(), L) for m in (got, want))
    torch.testing.assert_close(got, want, rtol=3e-7, atol=0)


# Function transforms

MAPPED = [  # in_dims of confidence, offsets and sigma
    (0, 0, None),
    (0, None, None),
    (None, 0, None),
    (None, None, 0),
    (None, 2, 0),
    (1, None, 1),
    (-1, -2, -1),
    (3, 4, 3),
]


def stacked(x, dim, n=4):
    """Different copies of a tensor along a new axis."""
    return torch.stack([x.roll(k) * (1 + k / 8) for k in range(n)], dim)


def mapped_fields(in_dims, sigma="per part"):
    c, o, s = fields(sigma, requires_grad=False)
    if sigma == "scalar" and in_dims[2]:
        in_dims = (*in_dims[:2], 0)
    stacks = [
        x if dim is None else stacked(x, dim) for x, dim in zip((c / 2, o, s), in_dims, strict=True)
    ]
    return stacks, in_dims


def one_by_one(function, arguments, in_dims, n=4):
    """What vmap does, as a loop."""
    results = [
        function(
            *(
                x if dim is None else x.select(dim, k)
                for x, dim in zip(arguments, in_dims, strict=True)
            )
        )
        for k in range(n)
    ]
    if isinstance(results[0], tuple):
        return tuple(torch.stack(each) for each in zip(*results, strict=True))
    return torch.stack(results)


@pytest.mark.parametrize("sigma", ["scalar", "per part"])
@pytest.mark.parametrize("options", [{}, {"aggregate": -3}, {"aggregate": 0}], ids=str)
@pytest.mark.parametrize("in_dims", MAPPED, ids=str)
def test_mapped_votes_are_those_of_a_loop(in_dims, options, sigma):
    arguments, in_dims = mapped_fields(in_dims, sigma)

    def vote(*arguments):
        return mdn.noisy_or(*arguments, **options)

    got = torch.func.vmap(vote, in_dims)(*arguments)
    torch.testing.assert_close(got, one_by_one(vote, arguments, in_dims), rtol=0, atol=1e-14)
    got = torch.func.vmap(vote, in_dims, out_dims=-1)(*arguments)
    torch.testing.assert_close(got.movedim(-1, 0), one_by_one(vote, arguments, in_dims))


@pytest.mark.parametrize("options", [{}, {"aggregate": 0}], ids=str)
@pytest.mark.parametrize("in_dims", MAPPED, ids=str)
def test_mapped_gradients_are_those_of_a_loop(in_dims, options):
    arguments, in_dims = mapped_fields(in_dims)

    def loss(*arguments):
        return weighted(mdn.noisy_or(*arguments, **options))

    for wanted in ((0, 1, 2), (1,), (0, 2)):
        gradient = torch.func.grad(loss, wanted)
        got = torch.func.vmap(gradient, in_dims)(*arguments)
        want = one_by_one(gradient, arguments, in_dims)
        assert_close(got, want, 1e-13)


def test_votes_mapped_twice_are_those_of_two_loops():
    confidence, offsets, sigma = fields("per part", requires_grad=False)
    offsets = stacked(stacked(offsets, 0, 2), 0, 3)
    sigma = stacked(sigma, 1, 2)
    inner = torch.func.vmap(mdn.noisy_or, (None, 0, 1))
    got = torch.func.vmap(inner, (None, 0, None))(confidence, offsets, sigma)
    want = [
        [mdn.noisy_or(confidence, offsets[j, k], sigma[:, k]) for k in range(2)] for j in range(3)
    ]
    torch.testing.assert_close(got, torch.stack([torch.stack(row) for row in want]))


def test_the_operator_itself_maps_and_keeps_its_graph():
    confidence, offsets, sigma = fields("per part")
    options = scalars(Rule.NOISY_OR, VoteOptions())

    def vote(confidence, offsets):
        return torch.ops.mdn_cupy.accumulate(confidence, offsets, sigma.detach(), *options)

    stack = stacked(offsets.detach(), 0)
    got = torch.func.vmap(vote, (None, 0))(confidence.detach(), stack)
    torch.testing.assert_close(got, one_by_one(vote, (confidence.detach(), stack), (None, 0)))
    result = torch.ops.mdn_cupy.accumulate(confidence, offsets, sigma, *options)
    got = torch.autograd.grad(weighted(result), (confidence, offsets, sigma))
    want = gradients(mdn.log_complement, (confidence, offsets, sigma))
    assert_close(got, want)


def test_the_jacobian_by_torch_func_is_that_of_autograd():
    arguments = fields("per part", requires_grad=False)
    got = torch.func.jacrev(mdn.noisy_or, (0, 1, 2))(*arguments)
    want = torch.autograd.functional.jacobian(mdn.noisy_or, tuple(arguments))
    assert_close(got, want)


def test_batched_cotangents_are_pulled_back_as_one_by_one():
    arguments = fields("per part")
    result = mdn.noisy_or(*arguments)
    cotangents = torch.randn(3, *result.shape, dtype=result.dtype)
    got = torch.autograd.grad(
        result, arguments, cotangents, is_grads_batched=True, retain_graph=True
    )
    want = [torch.autograd.grad(result, arguments, g, retain_graph=True) for g in cotangents]
    assert_close(got, [torch.stack(each) for each in zip(*want, strict=True)])


def test_gradients_per_example_of_a_layer():
    layer = mdn.torch.MassDisplacement(sigma=[1.0, 2.0], learnable=True).double()
    confidence, offsets, _ = fields(requires_grad=False)
    confidence = stacked(confidence * 0.5, 0, 3)

    def loss(parameters, confidence):
        return weighted(torch.func.functional_call(layer, parameters, (confidence, offsets)))

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    got = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, confidence)["log_sigma"]
    for each, c in zip(got, confidence, strict=True):
        want = torch.autograd.grad(weighted(layer(c, offsets)), layer.log_sigma)
        assert_close([each], want)


# What is not there


def jvp(vote, x):
    return torch.func.jvp(vote, (x,), (torch.ones_like(x),))


def dual(vote, x):
    with forward_ad.dual_level():
        return vote(forward_ad.make_dual(x, torch.ones_like(x)))


def hessian(vote, x):
    return torch.func.hessian(lambda x: vote(x).sum())(x)


@pytest.mark.parametrize("transform", [jvp, dual, hessian, lambda f, x: torch.func.jacfwd(f)(x)])
@pytest.mark.parametrize("wanted", range(3))
def test_forward_mode_raises(transform, wanted):
    arguments = fields("per part", requires_grad=False)

    def vote(x):
        return mdn.noisy_or(*arguments[:wanted], x, *arguments[wanted + 1 :])

    with pytest.raises(NotImplementedError, match=r"forward-mode .* use reverse mode"):
        transform(vote, arguments[wanted])


def test_compiled_forward_mode_raises():
    confidence, offsets, sigma = fields(requires_grad=False)

    @torch.compile(backend="eager")
    def derivative(x):
        return torch.func.jvp(lambda x: mdn.noisy_or(x, offsets, sigma), (x,), (x,))[1]

    # torch 2.6 and 2.7 fail before that: they cannot trace NumPy's function within jvp.
    errors = NotImplementedError, AssertionError, torch._dynamo.exc.InternalTorchDynamoError
    with pytest.raises(errors, match=r"forward-mode .* use reverse mode|np\.broadcast_shapes"):
        derivative(confidence)


@pytest.mark.parametrize("transform", [jvp, dual, hessian, lambda f, x: torch.func.jacfwd(f)(x)])
def test_forward_mode_through_one_minus_exp_raises(transform):
    L = torch.tensor([-0.5, -1.0])
    with pytest.raises(NotImplementedError, match=r"forward-mode .* use reverse mode"):
        transform(mdn.torch.one_minus_exp, L)


@pytest.mark.parametrize("function", [mdn.noisy_or, mdn.additive])
def test_compiled_second_derivatives_raise(function):
    arguments = fields(dtype=torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    first = torch.autograd.grad(compiled(*arguments).sum(), arguments, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivatives .* not implemented"):
        torch.autograd.grad(first[0].sum(), arguments)
    torch.compiler.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    first = torch.autograd.grad(compiled(*arguments).sum(), arguments, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        torch.autograd.grad(first[0].sum(), arguments)


@pytest.mark.parametrize("function", [mdn.noisy_or, mdn.additive])
def test_second_derivatives_raise(function):
    arguments = fields()
    first = torch.autograd.grad(function(*arguments).sum(), arguments, create_graph=True)
    assert_close(
        [x.detach() for x in first], torch.autograd.grad(function(*arguments).sum(), arguments)
    )
    for each in first:
        with pytest.raises(NotImplementedError, match=r"second derivatives .* not implemented"):
            torch.autograd.grad(each.sum(), arguments, retain_graph=True)
    c, o, s = (x.detach() for x in arguments)
    slope = torch.func.grad(lambda c: function(c, o, s).sum())
    with pytest.raises(NotImplementedError, match=r"second derivatives .* not implemented"):
        torch.func.grad(lambda c: slope(c).sum())(c)


@pytest.mark.parametrize("function", [mdn.noisy_or, mdn.additive])
def test_the_tangent_of_a_cotangent_raises(function):
    """A backward pass that is not recorded, but differentiated in forward mode."""
    arguments = fields()
    result = function(*arguments)
    with forward_ad.dual_level():
        cotangent = forward_ad.make_dual(torch.ones_like(result), torch.ones_like(result))
        with pytest.raises(NotImplementedError, match=r"forward-mode .* use reverse mode"):
            torch.autograd.grad(result, arguments, cotangent)


# Autocast and checkpoints


class Network(torch.nn.Module):
    """A linear layer that autocast computes in half, and votes with what comes out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(6, 6)
        self.vote = mdn.torch.MassDisplacement(sigma=1.5, learnable=True)

    def forward(self, confidence, offsets):
        x = self.linear(confidence)
        self.seen = x.dtype
        return self.vote.votes(torch.sigmoid(x), offsets + x[..., None, :, :]).log_complement()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_votes_are_computed_in_float32(dtype):
    network = Network()
    confidence, offsets = torch.rand(2, 5, 6), torch.randn(2, 2, 5, 6)
    with torch.autocast("cpu", dtype):
        log_complement = network(confidence, offsets)
        loss = mdn.torch.noisy_or_bce(log_complement, torch.rand(2, 5, 6))
    assert network.seen == dtype
    assert log_complement.dtype == loss.dtype == torch.float32
    loss.backward()
    assert network.vote.log_sigma.grad.dtype == torch.float32
    exact = network(confidence, offsets)
    assert network.seen == torch.float32
    torch.testing.assert_close(log_complement, exact, rtol=0.1, atol=0.05)
    assert all(p.grad.abs().max() > 0 for p in network.parameters())


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpointed_layer_has_the_same_gradients(use_reentrant):
    network = Network()
    confidence, offsets = torch.rand(2, 5, 6, requires_grad=True), torch.randn(2, 2, 5, 6)
    everything = [confidence, *network.parameters()]
    want = torch.autograd.grad(weighted(network(confidence, offsets)), everything)
    loss = weighted(checkpoint(network, confidence, offsets, use_reentrant=use_reentrant))
    loss.backward()
    assert_close([x.grad for x in everything], want, 0)
