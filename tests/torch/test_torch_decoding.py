"""Decoding of maps to points: peaks between the pixels, and the mean position."""

import math

import pytest
import torch

import mdn_cupy as mdn
from mdn_cupy.torch import soft_argmax, subpixel_argmax

SHAPE = (24, 31)


def gaussian(x, y, height=1.0, sigma=1.5, shape=SHAPE, dtype=torch.float64):
    rows, columns = (torch.arange(n, dtype=dtype) for n in shape)
    distance = (rows[:, None] - y) ** 2 + (columns - x) ** 2
    return height * torch.exp(-distance / (2 * sigma**2))


def positions(n, seed=0):
    """Anywhere at least a pixel from the edge of the map."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([SHAPE[1] - 3.0, SHAPE[0] - 3.0])
    return (1 + size * torch.rand(n, 2, generator=generator)).double()


def vote(position, confidence, sigma=1.5, rule=mdn.log_complement):
    offsets = torch.as_tensor(position).reshape(2, 1, 1)
    confidence = torch.full((1, 1), confidence, dtype=offsets.dtype)
    return rule(confidence, offsets, sigma, output_shape=SHAPE)


@pytest.mark.parametrize("height", [1e-12, 0.3, 40.0])
def test_the_peak_of_a_gaussian_is_exact(height):
    points = positions(50)
    found = subpixel_argmax(torch.stack([gaussian(x, y, height) for x, y in points]))
    torch.testing.assert_close(found.positions, points, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.scores, torch.full((50,), height).double())


def test_the_peak_of_a_slanted_gaussian_is_exact():
    rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in SHAPE), indexing="ij")
    x, y = columns - 12.3, rows - 9.6
    found = subpixel_argmax(0.7 * torch.exp(-(x * x + y * y - 1.2 * x * y) / 4))
    torch.testing.assert_close(found.positions, torch.tensor([12.3, 9.6]).double())
    torch.testing.assert_close(found.scores, torch.tensor(0.7).double())


@pytest.mark.parametrize(("confidence", "allowed"), [(0.1, 0.005), (0.5, 0.02), (1.0, 0.125)])
def test_a_lone_vote_is_found_where_it_landed(confidence, allowed):
    for point in positions(40):
        found = subpixel_argmax(-vote(point, confidence))
        assert (found.positions - point).abs().max() < allowed


def test_agreeing_votes_are_found_where_they_agree():
    torch.manual_seed(0)
    source = torch.stack(torch.meshgrid(torch.arange(31.0), torch.arange(24.0), indexing="xy"))
    target = torch.tensor([17.3, 8.8])
    confidence = torch.full(SHAPE, 0.05)
    offsets = target[:, None, None] - source + 0.3 * torch.randn(2, *SHAPE)
    L = mdn.log_complement(confidence, offsets, 1.5)
    assert (1 + torch.expm1(L)).min() == 0  # the map itself is flat at 1
    found = subpixel_argmax(-L)
    assert (found.positions - target).abs().max() < 0.05
    assert found.scores > 20


def test_leading_axes_stay_and_half_types_are_computed_in_float32():
    points = positions(6)
    maps = torch.stack([gaussian(x, y) for x, y in points]).reshape(2, 3, *SHAPE)
    for dtype, allowed in ((torch.bfloat16, 0.2), (torch.float16, 0.02), (torch.float32, 1e-5)):
        found = subpixel_argmax(maps.to(dtype))
        assert found.positions.dtype == found.scores.dtype == torch.float32
        assert (found.positions.shape, found.scores.shape) == ((2, 3, 2), (2, 3))
        assert (found.positions.reshape(6, 2) - points).abs().max() < allowed
    assert subpixel_argmax(maps[:0]).positions.shape == (0, 3, 2)


@pytest.mark.parametrize("x", [0.0, -3.0, 30.0, 34.0])
@pytest.mark.parametrize("y", [0.0, -2.0, 23.0, 25.5])
def test_at_an_edge_the_peak_is_a_pixel_of_it(x, y):
    found = subpixel_argmax(gaussian(x, y)).positions
    edge = torch.tensor([min(max(x, 0), 30), min(max(y, 0), 23)]).double()
    torch.testing.assert_close(found, edge)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_maps_of_few_pixels_have_peaks(shape):
    height, width = shape
    found = subpixel_argmax(gaussian(width // 2 + 0.2, height // 2, shape=shape))
    assert abs(found.positions[0] - width // 2) <= 0.5
    assert found.positions[1] == height // 2 or height == 2
    assert found.scores > 0.9


@pytest.mark.parametrize(
    "patch",
    [
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 1], [0, 0, 0]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
        [[-5, -math.inf, 0], [math.nan, 1, 0.5], [0, 0.5, math.nan]],
        [[0.9, 0, 0.9], [0, 1, 0], [0.9, 0, 0.9]],
        [[0, 0, 0], [0, 1e-38, 0], [0, 0, 0]],
    ],
    ids=["lone", "pair", "flat", "ridge", "holes", "saddle", "tiny"],
)
def test_a_fit_never_leaves_the_pixels_around_the_peak(patch):
    m = torch.zeros(9, 9)
    m[3:6, 3:6] = torch.tensor(patch)
    m.requires_grad_()
    found = subpixel_argmax(m)
    assert ((found.positions >= 2.5) & (found.positions <= 5.5)).all()
    assert found.scores >= m[4, 4]
    (gradient,) = torch.autograd.grad(found.scores + found.positions.sum(), m)
    assert gradient.isfinite().all()


def test_a_map_without_votes_scores_0_and_one_of_nan_is_nan():
    maps = torch.zeros(3, 5, 6)
    maps[1] = torch.nan
    maps[2] = torch.nan
    maps[2, 2:, 3:] = gaussian(1.25, 1, shape=(3, 3), dtype=torch.float32)
    found = subpixel_argmax(maps)
    assert found.scores[0] == 0
    assert found.positions[0].isfinite().all()
    assert found.scores[1].isnan()
    assert found.positions[1].isnan().all()
    torch.testing.assert_close(found.positions[2], torch.tensor([4.25, 3.0]))


def test_the_peak_of_logits_is_their_highest_pixel_where_all_are_negative():
    logits = gaussian(12.2, 7.9) - 9
    found = subpixel_argmax(logits)
    torch.testing.assert_close(found.positions, torch.tensor([12.0, 8.0]).double())
    assert found.scores == logits.max()


def test_the_position_has_the_gradient_of_the_vote():
    point = positions(1)[0].requires_grad_()
    found = subpixel_argmax(vote(point, 0.1, rule=mdn.additive))
    for axis in range(2):
        (gradient,) = torch.autograd.grad(found.positions[axis], point, retain_graph=True)
        assert (gradient - torch.eye(2)[axis]).abs().max() < 1e-3


def test_the_mean_position_is_that_of_the_softmax():
    logits = torch.randn(4, 3, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.softmax(logits.flatten(-2) / 0.5, -1).unflatten(-1, SHAPE)
    rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in SHAPE), indexing="ij")
    want = torch.stack(((weight * columns).sum((-2, -1)), (weight * rows).sum((-2, -1))), -1)
    torch.testing.assert_close(soft_argmax(logits, temperature=0.5), want)


def test_the_mean_position_follows_votes_and_trains_them():
    point = torch.tensor([20.4, 7.7], dtype=torch.float64, requires_grad=True)
    logits = mdn.torch.logit(vote(point, 0.9, sigma=2.5), leak=1e-9)
    mean = soft_argmax(logits)
    assert (mean - point).abs().max() < 0.01
    (gradient,) = torch.autograd.grad(mean[0], point)
    assert (gradient - torch.tensor([1.0, 0.0])).abs().max() < 0.1


def test_the_mean_position_is_blind_to_nan():
    logits = torch.full((2, 5, 6), torch.nan)
    logits[0, 1, 2:4] = 3.0
    logits.requires_grad_()
    mean = soft_argmax(logits)
    torch.testing.assert_close(mean[0], torch.tensor([2.5, 1.0]))
    assert mean[1].isnan().all()
    (gradient,) = torch.autograd.grad(mean[0, 0], logits)
    assert gradient[0].isfinite().all()


@pytest.mark.parametrize("function", [subpixel_argmax, soft_argmax])
def test_what_is_no_map_is_refused(function):
    with pytest.raises(TypeError, match=r"the map must be a torch tensor .* torch.as_tensor"):
        function(torch.zeros(3, 4).numpy())
    with pytest.raises(TypeError, match=r"floating dtype .*, got torch.int64"):
        function(torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"the map must be a dense tensor, got torch.sparse_coo"):
        function(torch.zeros(3, 4).to_sparse())
    for shape in ((4,), (3, 0, 4)):
        with pytest.raises(ValueError, match=r"must have the shape \(..., H, W\), got"):
            function(torch.zeros(shape))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, "warm", None])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises((TypeError, ValueError), match=r"temperature must be (greater|a number)"):
        soft_argmax(torch.zeros(3, 4), temperature)


def test_decoding_compiles_and_maps():
    maps = torch.stack([gaussian(x, y) for x, y in positions(3)]).float()
    compiled = torch.compile(subpixel_argmax, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(maps), subpixel_argmax(maps))
    torch.testing.assert_close(torch.func.vmap(subpixel_argmax)(maps), subpixel_argmax(maps))
    torch.testing.assert_close(torch.func.vmap(soft_argmax)(maps), soft_argmax(maps))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)], ids=str)
def test_no_maps_have_no_peaks_and_gradients_of_0(shape):
    scale = torch.ones((), requires_grad=True)
    maps = torch.zeros(*shape, 5, 6) * scale
    found = subpixel_argmax(maps)
    assert (found.positions.shape, found.scores.shape) == ((*shape, 2), shape)
    assert soft_argmax(maps).shape == (*shape, 2)
    sum(x.sum() for x in (*found, soft_argmax(maps))).backward()
    assert scale.grad == 0
