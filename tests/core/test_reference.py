"""The specification itself, against plain Python loops, finite differences and the paper."""

import math
from itertools import product

import numpy as np
import pytest
from helpers import RULES

from mdn_cupy import reference

by_rule = pytest.mark.parametrize("rule", RULES)
by_geometry = pytest.mark.parametrize(
    "options",
    [
        {},
        {"truncate": 1.0},
        {"stride": 2.0, "origin": -0.5},
        {"stride": 0.5, "origin": 0.25, "output_shape": (4, 3)},
        {"stride": 1.5, "truncate": 0.75, "output_shape": (2, 7)},
        {"stride": (1.5, 2.0), "origin": (-0.5, 0.25)},
    ],
)


def fields(seed=0, sides=(2, 3)):
    """Two parts: confidences, one saturated and one 0, offsets, a sigma for every source."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.05, 0.95, (2, *sides))
    confidence[0, 0, 0], confidence[0, -1, -1] = 1, 0
    offsets = rng.uniform(-2, 2, (2, 2, *sides))
    offsets[0, :, 0, 0] = 1, 0
    return confidence, offsets, rng.uniform(0.5, 2, (2, *sides))


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def weights(offsets, sigma, output_shape, stride=1.0, origin=0.0, truncate=4.0):
    """{(source, pixel): (w, x0_x − p_x, x0_y − p_y)} of one part, for votes in their windows."""
    found = {}
    (t_y, t_x), (s_y, s_x) = pair(origin), pair(stride)
    for i, j in np.ndindex(sigma.shape):
        p_x = t_x + s_x * j + offsets[0, i, j]
        p_y = t_y + s_y * i + offsets[1, i, j]
        for y, x in np.ndindex(*output_shape):
            d_x, d_y, reach = x - p_x, y - p_y, truncate * sigma[i, j]
            if abs(d_x) <= reach and abs(d_y) <= reach:
                w = math.exp(-(d_x**2 + d_y**2) / (2 * sigma[i, j] ** 2))
                found[(i, j), (y, x)] = w, d_x, d_y
    return found


def size_of(sides, options):
    """The default output shape, written out."""
    stride = pair(options.get("stride", 1.0))
    steps = zip(stride, sides, strict=True)
    return options.get("output_shape") or tuple(math.floor(s * (n - 1)) + 1 for s, n in steps)


def amplitude(rule, sigma):
    return 1 / (2 * math.pi * sigma**2) if rule == "additive" else 1.0


@by_rule
@by_geometry
def test_maps_are_the_products_and_sums_of_equations_2_and_3(rule, options):
    confidence, offsets, sigma = fields()
    got = getattr(reference, rule)(confidence, offsets, sigma, **options)
    shape = size_of((2, 3), options)
    assert got.shape == (2, *shape)
    for part in range(2):
        w = weights(offsets[part], sigma[part], shape, **drop(options, "output_shape"))
        for pixel in np.ndindex(*shape):
            others, total = 1.0, 0.0
            for source in np.ndindex(2, 3):
                if (source, pixel) in w:
                    vote = w[source, pixel][0] * confidence[part][source]
                    others *= 1 - vote
                    total += amplitude(rule, sigma[part][source]) * vote
            want = 1 - others if rule == "noisy_or" else total
            assert got[part][pixel] == pytest.approx(want, rel=1e-12, abs=1e-12)


@by_rule
@by_geometry
def test_gradients_are_the_sums_of_equation_1(rule, options):
    confidence, offsets, sigma = (x[0] for x in fields())
    shape = size_of((2, 3), options)
    g = np.random.default_rng(1).normal(size=shape)
    got = getattr(reference, f"{rule}_vjp")(g, confidence, offsets, sigma, **options)
    w = weights(offsets, sigma, shape, **drop(options, "output_shape"))
    for source in np.ndindex(2, 3):
        c, s = confidence[source], sigma[source]
        want_c = want_x = want_y = want_s = 0.0
        for pixel in np.ndindex(*shape):
            if (source, pixel) not in w:
                continue
            k, d_x, d_y = w[source, pixel]
            pull = g[pixel] * amplitude(rule, s) * k
            if rule == "noisy_or":
                pull *= math.prod(
                    1 - w[other, pixel][0] * confidence[other]
                    for other in np.ndindex(2, 3)
                    if other != source and (other, pixel) in w
                )
            want_c += pull
            want_x += pull * c * d_x / s**2
            want_y += pull * c * d_y / s**2
            want_s += pull * c * (d_x**2 + d_y**2) / s**3
            want_s -= 2 / s * pull * c if rule == "additive" else 0
        assert got.confidence[source] == pytest.approx(want_c, rel=1e-12, abs=1e-12)
        assert got.offsets[(0, *source)] == pytest.approx(want_x, rel=1e-12, abs=1e-12)
        assert got.offsets[(1, *source)] == pytest.approx(want_y, rel=1e-12, abs=1e-12)
        assert got.sigma[source] == pytest.approx(want_s, rel=1e-12, abs=1e-12)


@by_rule
@pytest.mark.parametrize("stride", [1.0, 1.5])
def test_gradients_are_those_of_finite_differences(rule, stride):
    confidence, offsets, sigma = fields(seed=2)
    confidence = np.clip(confidence, 0.1, 0.9)
    options = {"stride": stride, "truncate": 30.0}  # no window has an edge in the frame
    m = getattr(reference, rule)(confidence, offsets, sigma, **options)
    g = np.random.default_rng(3).normal(size=m.shape)
    got = getattr(reference, f"{rule}_vjp")(g, confidence, offsets, sigma, **options)

    def loss(*changed):
        return (g * getattr(reference, rule)(*changed, **options)).sum()

    step = 1e-5
    for which, gradient in enumerate(got):
        for index in np.ndindex(gradient.shape):
            up, down = fields_with(which, index, step), fields_with(which, index, -step)
            arguments = [confidence, offsets, sigma]
            ends = [
                loss(*(a + d if n == which else a for n, a in enumerate(arguments)))
                for d in (up, down)
            ]
            assert gradient[index] == pytest.approx(
                (ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8
            )


def fields_with(which, index, step):
    """An array of zeros but for one step, of the shape of one of the fields."""
    change = np.zeros([(2, 2, 3), (2, 2, 2, 3), (2, 2, 3)][which])
    change[index] = step
    return change


@by_rule
def test_shared_arguments_get_the_sum_of_the_gradients(rule):
    confidence, offsets, sigma = fields(seed=4)
    g = np.random.default_rng(5).normal(size=(2, 2, 3))

    def shared_and_single(*shared):
        shapes = (2, 2, 3), (2, 2, 2, 3), (2, 2, 3)
        single = (np.broadcast_to(x, shape) for x, shape in zip(shared, shapes, strict=True))
        return getattr(reference, f"{rule}_vjp")(g, *shared), getattr(reference, f"{rule}_vjp")(
            g, *single
        )

    shared, single = shared_and_single(confidence[0], offsets, sigma)
    np.testing.assert_allclose(shared.confidence, single.confidence.sum(0))
    shared, single = shared_and_single(confidence, offsets[:1], sigma)
    np.testing.assert_allclose(shared.offsets, single.offsets.sum(0, keepdims=True))
    shared, single = shared_and_single(confidence, offsets, 1.5)
    np.testing.assert_allclose(shared.sigma, single.sigma.sum())
    shared, single = shared_and_single(confidence, offsets, sigma[:, :1, :1])
    np.testing.assert_allclose(shared.sigma, single.sigma.sum(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("aggregate", [0, 1, -3, -4])
def test_aggregated_maps_are_the_product_over_the_axis(aggregate):
    rng = np.random.default_rng(6)
    confidence, offsets = rng.random((1, 3, 2, 3)), rng.normal(size=(2, 3, 2, 2, 3))
    apart = reference.noisy_or(confidence, offsets, 1.0)
    together = reference.noisy_or(confidence, offsets, 1.0, aggregate=aggregate)
    axis = aggregate % 4
    np.testing.assert_allclose(together, 1 - np.prod(1 - apart, axis=axis))
    assert together.shape == ((3, 2, 3) if axis == 0 else (2, 2, 3))


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 24), (np.float32, 24), (np.float64, 53)])
def test_the_floor_is_one_ulp_below_one_of_the_dtype_computed_in(dtype, bits):
    fields = np.ones((1, 1), dtype), np.zeros((2, 1, 1), dtype), 1.0
    m, log_complement = reference.noisy_or(*fields), reference.log_complement(*fields)
    assert log_complement.item() == pytest.approx(bits * math.log(0.5), rel=1e-15)
    assert 0 < 1 - m.item() <= 2.0**-bits


def test_agreeing_votes_of_a_plain_kernel_exceed_one_equation_4():
    sides = (5, 7)
    target = np.array([3, 2])[:, None, None]  # x0 as (x, y)
    offsets = target - np.indices(sides)[::-1]
    s = reference.plain_sum(np.ones(sides), offsets, 1.0)
    assert s[2, 3] == 35  # ΣK(x) with K(0) = 1 for each of the sources
    m = reference.noisy_or(np.ones(sides), offsets, 1.0)
    assert m.max() == 1


@pytest.mark.parametrize("sigma", [0.75, 2.0, 5.0])
def test_a_perfect_delta_is_worth_one_over_two_pi_sigma_squared_equation_6(sigma):
    confidence, offsets = np.zeros((9, 11)), np.zeros((2, 9, 11))
    confidence[4, 3], offsets[0, 4, 3], offsets[1, 4, 3] = 1, 2, -1  # for row 3, column 5
    s = reference.additive(confidence, offsets, sigma, truncate=30.0)
    for row, column in product(range(9), range(11)):
        square = (row - 3) ** 2 + (column - 5) ** 2
        want = math.exp(-square / (2 * sigma**2)) / (2 * math.pi * sigma**2)
        assert s[row, column] == pytest.approx(want, rel=1e-12)
    assert s.argmax() == 3 * 11 + 5
    m = reference.noisy_or(confidence, offsets, sigma)
    assert m[3, 5] == 1 - 2.0**-53  # one ulp below one: the floor


@by_rule
@pytest.mark.parametrize("sides", [(0, 3), (3, 0), (0, 0)])
def test_a_field_without_sources_gives_an_empty_map_or_an_empty_frame(rule, sides):
    nothing = np.zeros(sides), np.zeros((2, *sides)), 1.0
    assert getattr(reference, rule)(*nothing).shape == sides
    assert (getattr(reference, rule)(*nothing, output_shape=(2, 3)) == np.zeros((2, 3))).all()


def test_nan_confidence_makes_its_window_nan_and_a_nan_offset_casts_no_vote():
    confidence, offsets = np.full((1, 9), 0.5), np.zeros((2, 1, 9))
    confidence[0, 2], offsets[0, 0, 7] = np.nan, np.nan
    m = reference.noisy_or(confidence, offsets, 0.25)
    assert np.flatnonzero(np.isnan(m)).tolist() == [1, 2, 3]
    assert m[0, 7] < 0.01


def drop(options, name):
    return {key: value for key, value in options.items() if key != name}
