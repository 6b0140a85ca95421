"""Voting problems for hypothesis: what shapes, layouts and values the tests of the votes draw."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

MOST_SOURCES = 300  # the specification takes some 100 µs a vote

GRIDS = st.one_of(
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.sampled_from([(1, 1), (1, 13), (11, 1), (7, 5), (0, 3), (4, 0)]),
)
OUTPUT_SHAPES = st.one_of(
    st.none(), st.tuples(st.integers(1, 19), st.integers(1, 19)), st.sampled_from([(0, 5), (1, 1)])
)
LAYOUTS = st.sampled_from(["contiguous", "fortran", "sliced", "reversed"])
ONE_STRIDE = st.sampled_from((1.0, 2.0, 16.0, 0.5, 1.5))
STRIDES = st.one_of(ONE_STRIDE, st.tuples(ONE_STRIDE, ONE_STRIDE))
ONE_ORIGIN = st.sampled_from((0.0, 0.5, -3.25, 7.0))
ORIGINS = st.one_of(ONE_ORIGIN, st.tuples(ONE_ORIGIN, ONE_ORIGIN))
LEADING_SHAPES = mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)
TRUNCATES = st.sampled_from((4.0, 0.5, 1.0, 2.5, 6.0, math.inf))


@dataclass(frozen=True)
class Drawn:
    """The arguments of `mdn_cupy.Votes`, in NumPy arrays."""

    confidence: np.ndarray
    offsets: np.ndarray
    sigma: Any
    options: dict[str, Any]

    @property
    def fields(self) -> tuple[Any, ...]:
        return self.confidence, self.offsets, self.sigma


@st.composite
def votes(draw: Any, dtype: type = np.float32) -> Drawn:
    """Draw a voting problem, its values representable in `dtype`.

    Half of the problems are on a grid of 1/8 pixel, with votes that saturate, land on pixels and
    half pixels, and reach exactly to the edge of their window. The others have any offsets and
    widths, and confidences up to 0.99, so that no factor 1 − w·c loses its digits.
    """
    on_grid = draw(st.booleans())
    height, width = draw(GRIDS)
    leading = draw(LEADING_SHAPES)
    shapes = leading.input_shapes
    if draw(st.integers(0, 19)) == 0:
        axes = len(leading.result_shape)
        shapes = [(0, *s[1:]) if s and len(s) == axes else s for s in shapes]
    shape_c, shape_o, shape_s = shapes
    plane = draw(st.sampled_from([(height, width), (1, 1), (height, 1), (1, width)]))
    shape_s = draw(st.sampled_from([None, (), plane, (*shape_s, *plane)]))
    batch = np.broadcast_shapes(shape_c, shape_o, (shape_s or ())[:-2])
    assume(np.prod(batch, dtype=int) * height * width <= MOST_SOURCES)
    options = {
        "truncate": draw(TRUNCATES),
        "stride": draw(STRIDES),
        "origin": draw(ORIGINS),
        "output_shape": draw(OUTPUT_SHAPES),
        "aggregate": _aggregate(draw, len(batch)),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sigma = _sigma(rng, shape_s, on_grid)
    return Drawn(
        laid_out(_confidence(rng, (*shape_c, height, width), on_grid).astype(dtype), draw(LAYOUTS)),
        laid_out(
            _offsets(rng, (*shape_o, 2, height, width), sigma, options, on_grid).astype(dtype),
            draw(LAYOUTS),
        ),
        float(dtype(sigma)) if shape_s is None else laid_out(sigma.astype(dtype), draw(LAYOUTS)),
        options,
    )


def cotangent(draw: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Draw ∂loss/∂map, in any layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return laid_out(rng.normal(size=shape).astype(dtype), draw(LAYOUTS))


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in other strides."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "sliced" and array.ndim:
        roomy = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
        roomy[..., ::2] = array
        return roomy[..., ::2]
    if layout == "reversed" and array.ndim:
        return np.flip(np.flip(array).copy())
    return array


def _aggregate(draw: Any, axes: int) -> int | None:
    axis = draw(st.one_of(st.none(), st.integers(0, axes - 1))) if axes else None
    return axis if axis is None or draw(st.booleans()) else axis - axes - 2


def _sigma(rng: np.random.Generator, shape: tuple[int, ...] | None, on_grid: bool) -> np.ndarray:
    if on_grid:
        return rng.choice([0.25, 0.5, 1.0, 1.75, 3.0, 6.0], shape or ())
    return np.where(rng.random(shape or ()) < 0.2, 0.05, rng.uniform(0.05, 6, shape or ()))


def _confidence(rng: np.random.Generator, shape: tuple[int, ...], on_grid: bool) -> np.ndarray:
    anything = rng.uniform(0, 0.99, shape)
    return _choose(rng, anything, anything**4, np.zeros(shape), np.ones(shape) * on_grid)


def _offsets(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    sigma: np.ndarray,
    options: dict[str, Any],
    on_grid: bool,
) -> np.ndarray:
    """Offsets from every source to a target of some kind."""
    grid = shape[-2:]
    stride, origin = (np.broadcast_to(options[n], 2)[:, None, None] for n in ("stride", "origin"))
    size = np.array(options["output_shape"] or stride.ravel() * grid)[::-1, None, None]
    source = (origin + stride * np.indices(grid))[::-1]
    spread = rng.choice([1.0, 1.0, 0.2])  # the votes of some problems meet
    anywhere = spread * rng.uniform(-2, 1 + size, shape)
    pixel = np.round(anywhere)
    reach = min(options["truncate"], 4.0) * (
        rng.choice(sigma.ravel(), shape) if sigma.size else 1.0
    )
    if on_grid:
        edge = pixel + np.where(rng.random(shape) < 0.5, reach, -reach)
        target = _choose(rng, pixel, pixel, pixel, pixel + 0.5, np.round(8 * anywhere) / 8, edge)
    else:
        target = np.where(rng.random(shape) < 0.9, anywhere, pixel)
    outside = rng.choice([-1e4, 1e4, 1e30, -1e30, np.nan, np.inf, -np.inf], shape)
    return np.where(rng.random(shape) < 0.05, outside, target) - source


def _choose(rng: np.random.Generator, *values: np.ndarray) -> np.ndarray:
    return np.choose(rng.integers(len(values), size=values[0].shape), values)
