"""A crop is the problem with its origin moved: it equals the whole map there."""

import numpy as np
import pytest
from backends import BACKENDS
from helpers import RULES, assert_maps_close, vote
from hypothesis import given
from hypothesis import strategies as st
from strategies import Drawn, votes

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
