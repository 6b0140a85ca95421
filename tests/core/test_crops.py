"""A crop is the problem with its origin moved: it equals the whole map there."""

import numpy as np
import pytest
from backends import BACKENDS
from helpers import RULES, assert_maps_close, vote
from hypothesis import given
from hypothesis import strategies as st
from strategies import Drawn, votes

import mdn_cupy as mdn
from mdn_cupy.cpu import planner

CLOSE = {np.float32: 2e-7, np.float64: 1e-9}  # CUDA sums in float32, or in a unit of its strongest


def crop(drawn, top, left, rows, columns):
    """The voting problem of the map on some rows and columns."""
    origin = np.broadcast_to(drawn.options.get("origin", 0.0), 2) - [top, left]
    options = {**drawn.options, "origin": origin, "output_shape": (rows, columns)}
    return Drawn(drawn.confidence, drawn.offsets, drawn.sigma, options)


def partition(draw, size):
    """Cut [0, size) anywhere into up to four parts: the first of each and its length."""
    cuts = draw(st.lists(st.integers(0, size), max_size=3).map(sorted))
    return [(a, b - a) for a, b in zip([0, *cuts], [*cuts, size], strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("rule", RULES)
@given(data=st.data())
def test_any_partition_into_crops_is_the_whole_map(backend, rule, dtype, data):
    drawn = data.draw(votes(dtype))
    whole = vote(backend, rule, drawn)
    height, width = whole.shape[-2:]
    parts = [
        [
            vote(backend, rule, crop(drawn, top, left, rows, columns))
            for left, columns in partition(data.draw, width)
        ]
        for top, rows in partition(data.draw, height)
    ]
    together = np.concatenate([np.concatenate(row, axis=-1) for row in parts], axis=-2)
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
    drawn = Drawn(*fields, {**options, "aggregate": aggregate})
    m = vote(BACKENDS["cpu"], "noisy_or", drawn)
    tiles = planner._cut(*m.shape[-2:], 1 << 10)
    assert len(tiles) > 4
    for top, left, rows, columns in tiles:
        got = vote(BACKENDS["cpu"], "noisy_or", crop(drawn, top, left, rows, columns))
        np.testing.assert_array_equal(got, m[..., top : top + rows, left : left + columns])
