"""The roofline of the CPU: the speed of the noisy-or's inner loop alone, in registers.

``q[k] *= 1 - g * a[k]``, one multiply-add and one multiply a pixel and vote, in float32, with q and
a in registers and a new g for every row: a vote without its window, its Gaussian, its memory and
its logarithm. No implementation of the noisy-or in product form can cast votes faster.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import LANES, Lanes, Memory, lane_function
from mdn_cupy.cpu.thread_pool import run
from mdn_cupy.threads import get_num_threads

__all__ = ["PIXELS", "pairs_per_second", "products"]

_VECTORS = 6  # independent products that hide the latency of a multiply, in 16 vector registers
PIXELS = _VECTORS * LANES
"""Pixels that a thread keeps in registers."""

_ROWS = 1024  # different g, which stay in the L1 cache


def _multiply_rows(
    builder: Any, product: Memory, weight: Memory, confidence: Memory, rows: Any
) -> None:
    """product[k] *= Π (1 − confidence[n]·weight[k]) over n < rows, in registers."""
    starts = [rows.type(k * LANES) for k in range(_VECTORS)]
    loaded = [product.load(start) for start in starts]
    weights = [weight.load(start) for start in starts]
    before = builder.block
    loop, done = (builder.append_basic_block(name) for name in ("rows", "done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    row = builder.phi(rows.type)
    registers = [builder.phi(lanes.value.type) for lanes in loaded]
    g = confidence.scalar(row)
    updated = [Lanes(builder, q) * (1.0 - a * g) for q, a in zip(registers, weights, strict=True)]
    following = builder.add(row, row.type(1))
    row.add_incoming(row.type(0), before)
    row.add_incoming(following, loop)
    for register, first, then in zip(registers, loaded, updated, strict=True):
        register.add_incoming(first.value, before)
        register.add_incoming(then.value, loop)
    builder.cbranch(builder.icmp_signed("<", following, rows), loop, done)
    builder.position_at_end(done)
    for start, then in zip(starts, updated, strict=True):
        product.store(start, then)


_multiply = lane_function(_multiply_rows)


@jit
def _repeat(product: Any, weight: Any, confidence: Any, times: int) -> None:
    for _ in range(times):
        _multiply(product, weight, confidence, confidence.shape[0])


def products(
    weight: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32], times: int
) -> npt.NDArray[np.float32]:
    """Run the loop: Π (1 − confidence[n]·weight[k]) over all n, `times` times over.

    Parameters
    ----------
    weight : array [PIXELS]
        a.
    confidence : array [rows], not empty
        g.
    times : int
        How often to go through the rows.

    Returns
    -------
    array [PIXELS]
        q.
    """
    product = np.ones(PIXELS, np.float32)
    _repeat(product, weight, confidence, times)
    return product


def pairs_per_second(seconds: float = 1.0) -> float:
    """Measure the loop on all threads at once.

    Parameters
    ----------
    seconds : float
        How long to measure, about; the fastest of many runs counts.

    Returns
    -------
    float
        Pixel-vote pairs per second.
    """
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 1.0, PIXELS).astype(np.float32)
    # Signs alternate, so that the products stay near 1 however long the loop runs.
    confidence = (rng.uniform(0.5, 1.0, _ROWS) * 1e-3).astype(np.float32)
    confidence[1::2] *= -1
    threads, times = get_num_threads(), 4000  # long, beside what it takes to wake a thread
    products(weight, confidence, 1)
    fastest, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run([partial(products, weight, confidence, times)] * threads)
        fastest = min(fastest, time.perf_counter() - start)
    return threads * times * _ROWS * PIXELS / fastest
