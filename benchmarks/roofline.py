"""The roofline of the CPU: the speed of the noisy-or's inner loop alone, in registers.

``q[k] *= 1 - g * a[k]``, one multiply-add and one multiply a pixel and vote, in float32, with q and
a in registers and a new g for every row: a vote without its window, its Gaussian, its memory and
its logarithm. No implementation of the noisy-or in product form can cast votes faster.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import LANES, element, load, store
from mdn_cupy.cpu.thread_pool import run
from mdn_cupy.threads import get_num_threads

__all__ = ["PIXELS", "pairs_per_second", "products"]

Single = npt.NDArray[np.float32]

_VECTORS = 6  # independent products that hide the latency of a multiply, in 16 vector registers
PIXELS = _VECTORS * LANES
"""Pixels that a thread keeps in registers."""

_ROWS = 1024  # different g, which stay in the L1 cache


@jit
def _repeat(product: Single, weight: Single, confidence: Single, times: int) -> None:
    """product[k] *= Π (1 − confidence[n]·weight[k]) over all n, in registers."""
    a, b, c = load(weight, 0, LANES), load(weight, LANES, LANES), load(weight, 2 * LANES, LANES)
    d, e = load(weight, 3 * LANES, LANES), load(weight, 4 * LANES, LANES)
    f = load(weight, 5 * LANES, LANES)
    for _ in range(times):
        p, q = load(product, 0, LANES), load(product, LANES, LANES)
        r, s = load(product, 2 * LANES, LANES), load(product, 3 * LANES, LANES)
        t, u = load(product, 4 * LANES, LANES), load(product, 5 * LANES, LANES)
        for n in range(confidence.shape[0]):
            g = element(confidence, n)
            p, q, r = p * (1.0 - a * g), q * (1.0 - b * g), r * (1.0 - c * g)
            s, t, u = s * (1.0 - d * g), t * (1.0 - e * g), u * (1.0 - f * g)
        store(product, 0, p)
        store(product, LANES, q)
        store(product, 2 * LANES, r)
        store(product, 3 * LANES, s)
        store(product, 4 * LANES, t)
        store(product, 5 * LANES, u)


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
