"""A crop is the problem with its origin moved: it equals the whole map there."""

from itertools import product

import numpy as np
import pytest
from helpers import RULES, assert_maps_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import votes as drawn_votes

import mdn_cupy as mdn
from mdn_cupy.cpu import planner

CLOSE = {np.float32: 2e-7, np.float64: 1e-9}  # CUDA sums in float32, or in a unit of its strongest


def partition(draw, size, step):
    """Cut [0, size) anywhere into up to four parts, and each into every step-th of its pixels."""
    cuts = draw(st.lists(st.integers(0, size), max_size=3).map(sorted))
    ends = zip([0, *cuts], [*cuts, size], strict=True)
    return [slice(first + n, last, step) for first, last in ends for n in range(step)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CLOSE)
@given(data=st.data(), rule=st.sampled_from(RULES))
def test_any_partition_into_crops_is_the_whole_map(backend, dtype, data, rule):
    drawn = data.draw(drawn_votes(dtype))
    step = data.draw(st.sampled_from([1, 2]))  # by which all that is divided stays exact
    votes = backend.votes(*drawn.fields, **drawn.options)
    whole = backend.to_numpy(getattr(votes, rule)())
    together = np.full_like(whole, np.inf)
    for rows, columns in product(*(partition(data.draw, size, step) for size in whole.shape[-2:])):
        part = getattr(votes.crop(rows, columns), rule)()
        together[..., rows, columns] = backend.to_numpy(part)
    if rule == "additive":  # a density per pixel
        together /= step**2
    assert_maps_close(together, whole, CLOSE[dtype], np.maximum(1, np.abs(whole)))


@pytest.mark.parametrize("truncate", [2.5, np.inf])
@pytest.mark.parametrize("step", [2, 3, 7])
@pytest.mark.parametrize("rule", RULES)
def test_a_crop_with_a_step_is_the_map_at_these_pixels(backend, rule, step, truncate):
    rng = np.random.default_rng(step)
    confidence, offsets = rng.random((2, 9, 8)), rng.normal(0, 4, (2, 2, 9, 8))
    sigma = rng.uniform(0.5, 3, (2, 1, 1))
    options = {"stride": (2.5, 3), "origin": (-1.5, 2), "truncate": truncate}
    whole = backend.votes(confidence, offsets, sigma, **options)
    rows, columns = slice(3, 19, step), slice(None, None, step)
    part = backend.to_numpy(getattr(whole.crop(rows, columns), rule)())
    area = step**2 if rule == "additive" else 1  # a density per pixel
    want = area * backend.to_numpy(getattr(whole, rule)())[..., rows, columns]
    assert_maps_close(part, want, 1e-9, np.maximum(1, np.abs(want)))


@pytest.mark.parametrize(("truncate", "weight"), [(4.0, np.exp(-8)), (np.inf, 0)])
def test_a_pixel_on_the_edge_of_a_window_may_differ_by_its_weight(truncate, weight):
    offsets = np.array([[[0.4]], [[0.0]]])  # lands on 5.4, and the window begins on 5.0
    options = {"truncate": truncate, "origin": (0, 5), "output_shape": (1, 12)}
    votes = mdn.Votes(np.ones((1, 1)), offsets, 0.1, **options)
    part = votes.crop(slice(None), slice(2, None)).noisy_or()
    difference = np.abs(part - votes.noisy_or()[:, 2:])
    assert difference.max() == pytest.approx(weight, rel=1e-6, abs=1e-15)
    assert (difference > 1e-15).sum() == (weight > 0)


def test_a_crop_of_half_types_is_divided_in_float32():
    rng = np.random.default_rng(0)
    fields = rng.random((9, 8)), rng.normal(0, 4, (2, 9, 8)), rng.uniform(0.5, 3, (9, 8))
    whole = mdn.Votes(*(x.astype(np.float16) for x in fields))
    part = whole.crop(slice(1, None, 3), slice(None, None, 3)).noisy_or()
    np.testing.assert_allclose(part, whole.noisy_or()[1::3, ::3], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "columns", "error", "message"),
    [
        (
            3,
            slice(4),
            TypeError,
            "rows must be a slice of integers.* got 3",
        ),
        (slice(4), slice(0.5, 2), TypeError, "columns must be a slice of integers"),
        (slice(4), slice(4, 1, -1), ValueError, "columns must be a slice with a step from 1 on"),
        (slice(0, 4, 0), slice(4), ValueError, "rows must be a slice with a step from 1 on"),
        (slice(0, 4, 2), slice(4), ValueError, "the same step, .* got 2 and 1"),
    ],
    ids=["number", "half", "backwards", "standing", "two steps"],
)
def test_what_is_no_part_of_a_map_is_refused(rows, columns, error, message):
    votes = mdn.Votes(np.ones((4, 4)), np.zeros((2, 4, 4)), 1.0)
    with pytest.raises(error, match=message):
        votes.crop(rows, columns)


@pytest.mark.parametrize("options", [{}, {"stride": (1.5, 0.5), "origin": (2.5, -1)}], ids=str)
@pytest.mark.parametrize("aggregate", [None, 0])
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_crop_that_is_a_tile_of_the_cpu_has_its_bits(monkeypatch, dtype, aggregate, options):
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 20, (3, 2, 60, 90)).astype(np.float32)  # positions are then exact
    fields = rng.random((3, 60, 90)).astype(dtype), offsets.astype(dtype), 1.7
    monkeypatch.setattr(planner, "_LARGEST_TILE", 1 << 10)
    votes = mdn.Votes(*fields, **options, aggregate=aggregate)
    m = votes.noisy_or()
    tiles = planner._cut(*m.shape[-2:], 1 << 10)
    assert len(tiles) > 4
    for top, left, rows, columns in tiles:
        where = slice(top, top + rows), slice(left, left + columns)
        np.testing.assert_array_equal(votes.crop(*where).noisy_or(), m[..., *where])
