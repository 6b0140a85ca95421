"""Vectors: compiled they compute what they do as NumPy arrays, and the kernels run on both."""

import numpy as np
import pytest
from helpers import environment, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import (
    HALF,
    LANES,
    at_least,
    at_most,
    bits,
    by_type,
    ceil,
    convert,
    element,
    floats,
    floor,
    full,
    greatest,
    lanes_set,
    least,
    load,
    load_where,
    lowest_bit,
    move,
    polynomial,
    present,
    product,
    ramp,
    rounded_product,
    store,
    store_where,
    sums,
    transpose,
    where,
)

SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 2.0**-126, 1.5, -2.5, 2.0**100]


def vectors(dtype, elements=None):
    width = 8 * np.dtype(dtype).itemsize
    numbers = st.floats(-1e3, 1e3, width=width)
    return arrays(dtype, LANES, elements=numbers if elements is None else elements)


def any_numbers(dtype):
    return vectors(dtype, st.sampled_from(SPECIAL))


def same(kernel, *arguments):
    """Check that a kernel writes and returns the same compiled and on NumPy."""
    compiled, on_numpy = (
        [a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)
    )
    with np.errstate(all="ignore"):
        results = kernel(*compiled), kernel.py_func(*on_numpy)
    np.testing.assert_equal(*results)
    for one, other in zip(compiled, on_numpy, strict=True):
        np.testing.assert_array_equal(one, other)


@jit
def arithmetic(a, b, out):
    x, y = load(a, 0, LANES), load(b, 0, LANES)
    store(out, 0, x + y)
    store(out, LANES, x - 1.0)
    store(out, 2 * LANES, 2.0 * x)
    store(out, 3 * LANES, x / y)
    store(out, 4 * LANES, 1.0 / x)
    store(out, 5 * LANES, at_least(x, 0.25))
    store(out, 6 * LANES, at_most(x, y))
    store(out, 7 * LANES, floor(x))
    store(out, 8 * LANES, ceil(x))
    store(out, 9 * LANES, rounded_product(x, 3.0))
    store(out, 10 * LANES, full(element(a, 3), LANES))
    store(out, 11 * LANES, ramp(element(b, 2), a.dtype, LANES))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_arithmetic(dtype, data):
    a, b = data.draw(vectors(dtype) | any_numbers(dtype)), data.draw(vectors(dtype))
    same(arithmetic, a, b, np.zeros(12 * LANES, dtype))


@jit
def comparisons(a, b, out):
    x, y = load(a, 0, LANES), load(b, 0, LANES)
    store(out, 0, where(x < y, 1.0, x))
    store(out, LANES, where(x <= y, 1.0, x))
    store(out, 2 * LANES, where(x > y, x, y))
    store(out, 3 * LANES, where(x >= 0.0, x, 2.0))
    store(out, 4 * LANES, where(x == y, 1.0, y))
    store(out, 5 * LANES, where((x != x) | ((x < y) & (y > 1.0)) ^ (x > 2.0), 1.0, x))
    set_first = lanes_set(x == y) | 1 << LANES
    return set_first, lowest_bit(set_first), lanes_set(x != x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_comparisons_where_and_masks(dtype, data):
    a, b = (data.draw(any_numbers(dtype)) for _ in range(2))
    same(comparisons, a, b, np.zeros(6 * LANES, dtype))


@jit
def integers(a, out):
    x = load(a, 0, LANES)
    store(out, 0, (bits(x) >> 20) & 0x7FF)
    store(out, LANES, (bits(x) << 3) | 5)
    store(out, 2 * LANES, bits(floats(bits(x) ^ 1)))
    store(out, 3 * LANES, ramp(7, np.int64, LANES) - 3)
    store(out, 4 * LANES, where(bits(x) > 0, 4, bits(x)))
    store(out, 5 * LANES, convert(x, np.int64))
    store(out, 6 * LANES, convert(convert(convert(x, np.int32), np.float64), np.int64))
    return by_type(a, 1, 2), by_type(x, 3, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_integers_bits_and_conversions(dtype, data):
    out = np.zeros(7 * LANES, np.int32 if dtype is np.float32 else np.int64)
    same(integers, data.draw(vectors(dtype)), out)


@jit
def reductions(a, b, ints):
    x, y, n = load(a, 0, LANES), load(a, 0, HALF), load(ints, 0, LANES)
    z = load(a, LANES, LANES)
    store(b, 0, sums(x, z, x + 1.0, x + z))
    return least(x), greatest(x), product(y), least(n), greatest(n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_reductions_are_in_the_same_order(dtype, data):
    a = np.concatenate([data.draw(vectors(dtype)) for _ in range(2)])
    ints = np.random.default_rng(0).integers(-99, 99, LANES).astype(np.int32)
    same(reductions, a / 64, np.zeros(4, dtype), ints)


def test_a_nan_is_neither_least_nor_greatest():
    values = np.linspace(-1, 1, LANES)
    values[[0, 5, 15]] = np.nan
    values[3], values[4] = -7, 9
    found = reductions(np.tile(values, 2), np.zeros(4), np.zeros(LANES, np.int32))
    assert found[:2] == (-7, 9)


@jit
def memory(a, out, counts, first, end):
    inside = present(first, end, LANES)
    store_where(out, 1, load_where(a, first, inside) + 1.0, inside)
    store(out, LANES + 1, load(a, 0, HALF))
    transpose(a, 1, 9, out, 3 * LANES, HALF + 3)
    move((out, counts), 0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("first", "end"), [(0, 80), (75, 80), (79, 80), (80, 80), (81, 80)])
def test_memory_beyond_a_mask_is_not_touched(dtype, first, end):
    a = np.arange(80).reshape(8, 10).astype(dtype)  # an index counts through all axes
    same(memory, a, np.full(20 * LANES, -1.0, dtype), np.arange(2), first, end)


def test_a_square_is_transposed():
    a, out = np.arange(64.0), np.zeros(64)
    same(transposed, a, out)
    transposed(a, out)
    np.testing.assert_array_equal(out.reshape(HALF, HALF), a.reshape(HALF, HALF).T)


@jit
def transposed(a, out):
    transpose(a, 0, HALF, out, 0, HALF)


@inlined
def cubic(x):
    return polynomial(x, (1.0, -2.0, 0.5, 3.0))


@jit
def of_polynomial(a, out):
    store(out, 0, cubic(load(a, 0, LANES)))


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_a_polynomial(dtype, rtol):
    x, out = np.linspace(0, 1, LANES, dtype=dtype), np.zeros(LANES, dtype)
    of_polynomial(x, out)  # a·b + c is rounded once
    wanted = np.polynomial.Polynomial([1, -2, 0.5, 3])(x.astype(np.float64))
    np.testing.assert_allclose(out, wanted, rtol=rtol)
    np.testing.assert_allclose(cubic(x), wanted, rtol=rtol)


INTERPRETED = """
import numpy as np, mdn_cupy as mdn
from mdn_cupy import reference
rng = np.random.default_rng(0)
for dtype, most in ((np.float32, 1e-6), (np.float64, 1e-13)):
    c, o = rng.random((2, 7, 19)), rng.normal(0, 3, (2, 2, 7, 19))
    c[0, 2], c[0, 4, 5] = 0, 1
    c, o, sigma = c.astype(dtype), o.astype(dtype), rng.uniform(0.5, 2, (7, 19)).astype(dtype)
    m = mdn.noisy_or(c, o, sigma)
    assert abs(m - reference.noisy_or(c, o, sigma)).max() < most
    assert abs(mdn.additive(c, o, sigma) - reference.additive(c, o, sigma)).max() < most
    found, wanted = mdn.Votes(c, o, sigma).noisy_or_vjp(m), reference.noisy_or_vjp(m, c, o, sigma)
    for one, other in zip(found, wanted):
        assert np.linalg.norm(one - other) < 10 * most * np.linalg.norm(other)
print(mdn.backends()["cpu"].detail)
"""


def test_without_numbas_compiler_the_kernels_run_on_numpy():
    said = run_python("-W", "error", "-c", INTERPRETED, env=environment(NUMBA_DISABLE_JIT="1"))
    assert said.endswith("interpreted since NUMBA_DISABLE_JIT is set\n")
