"""The CPU backend: the only importer of numba; the same two entry points as `mdn_cupy.cuda`.

Forward, an output map is cut into bands of rows. A task owns a band, walks through all votes in the
order of their sources and keeps what reaches the band, so that no two tasks write one pixel and the
order of a pixel's votes never depends on the threads: the bits are the same for any number of them.
Backward, a task owns some rows of sources and gathers, for the same reason.

The Gaussian is separable: a vote computes its weights per row and per column of its window. The
noisy-or multiplies factors 1 − w·c in float64 and keeps the exponent apart before a product could
underflow; one logarithm per pixel is taken at the end.

The kernels are serial and free the GIL; they run on a thread pool, which any number of Python
threads may enter at once (Numba's own thread layers may not be).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from mdn_cupy.problem import Gradients, Rule, Shape, VoteProblem

__all__ = ["accumulate", "gather", "thread_count"]

_BAND_PIXELS = 1 << 15  # a band's float64 products and exponents stay within a core's L2 cache
_ROWS_PER_TASK = 16  # of sources, backward: enough tasks to balance, few enough to dispatch
_FOLD_BELOW = 1e-150  # a product that may be smaller hands its exponent over before the next vote

_NOISY_OR = int(Rule.NOISY_OR)
_NORMALIZED = int(Rule.NORMALIZED)


class _Sources(NamedTuple):
    """What the kernels read: contiguous planes, and which of them vote into which map."""

    confidence: npt.NDArray[Any]  # [planes, H, W]
    offsets: npt.NDArray[Any]  # [planes, 2, H, W]
    sigma: npt.NDArray[Any]  # [planes, H or 1, W or 1]
    confidence_plane: npt.NDArray[np.int64]  # [maps, voters]
    offsets_plane: npt.NDArray[np.int64]  # [maps, voters]
    sigma_plane: npt.NDArray[np.int64]  # [maps, voters]


class _Geometry(NamedTuple):
    """The scalars of a problem, for the kernels."""

    rule: int
    truncate: float
    stride: float
    origin: float
    floor: float


def accumulate(problem: VoteProblem) -> npt.NDArray[Any]:
    """Sum the evidence Σφ of all votes for every output pixel.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.

    Returns
    -------
    numpy.ndarray
        `problem.result_shape`, `problem.dtype`: the log-complement L for the noisy-or, the sum for
        the additive rules.
    """
    height, width = problem.output_shape
    evidence = np.empty((problem.maps, height, width), problem.dtype)
    if evidence.size:
        sources, geometry = _sources(problem), _geometry(problem)
        rows = max(1, _BAND_PIXELS // width)
        _run(
            partial(_accumulate_band, sources, geometry, m, top, evidence[m, top : top + rows])
            for m in range(problem.maps)
            for top in range(0, height, rows)
        )
    return evidence.reshape(problem.result_shape)


def gather(
    problem: VoteProblem,
    cotangent: npt.NDArray[Any],
    wanted: tuple[bool, bool, bool] = (True, True, True),
) -> Gradients:
    """Gather, for every source, the gradients of a loss from the pixels it voted for.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    cotangent : numpy.ndarray
        ∂loss/∂Σφ, of `problem.result_shape`, in any strides.
    wanted : tuple of bool
        Which of the gradients of confidence, offsets and sigma to compute.

    Returns
    -------
    Gradients
        In the shapes of the problem's arrays (sigma: of zero dimensions for a number); None where
        not wanted.
    """
    sources, geometry = _sources(problem), _geometry(problem)
    height, width = problem.source_shape
    cotangent = np.ascontiguousarray(cotangent, problem.dtype)
    cotangent = cotangent.reshape(problem.maps, *problem.output_shape)
    outputs = (
        np.zeros(sources.confidence.shape, problem.dtype),
        np.zeros(sources.offsets.shape, problem.dtype),
        np.zeros((len(sources.sigma), height, width), problem.dtype),
    )
    kernel = partial(_gather_rows, sources, geometry, cotangent, outputs, wanted[1], wanted[2])
    _run(
        partial(kernel, first, min(first + _ROWS_PER_TASK, height))
        for first in range(0, height, _ROWS_PER_TASK)
    )
    confidence, offsets, sigma = outputs
    return Gradients(
        confidence.reshape(problem.confidence.shape) if wanted[0] else None,
        offsets.reshape(problem.offsets.shape) if wanted[1] else None,
        _reduce_sigma(problem, sigma) if wanted[2] else None,
    )


def thread_count() -> int:
    """Threads that share the work: `NUMBA_NUM_THREADS`, or the cores this process may use."""
    configured: int = numba.config.NUMBA_NUM_THREADS
    return configured


def _sources(problem: VoteProblem) -> _Sources:
    height, width = problem.source_shape
    sigma = np.asarray(problem.sigma, problem.dtype)
    if sigma.ndim == 0:
        sigma = sigma.reshape((1,) * (len(problem.batch) + 2))
    return _Sources(
        _flat(problem.confidence, height, width),
        _flat(problem.offsets, 2, height, width),
        _flat(sigma, *sigma.shape[-2:]),
        problem.planes(problem.confidence.shape[:-2]),
        problem.planes(problem.offsets.shape[:-3]),
        problem.planes(sigma.shape[:-2]),
    )


def _flat(array: npt.NDArray[Any], *plane: int) -> npt.NDArray[Any]:
    """All leading axes as one."""
    planes = math.prod(array.shape[: array.ndim - len(plane)])
    return np.ascontiguousarray(array).reshape(planes, *plane)


def _geometry(problem: VoteProblem) -> _Geometry:
    return _Geometry(
        int(problem.rule),
        problem.truncate,
        problem.stride,
        problem.origin,
        problem.saturation_floor,
    )


def _reduce_sigma(problem: VoteProblem, gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum ∂loss/∂σ of every source over what shared a sigma."""
    if isinstance(problem.sigma, float):
        return np.asarray(gradient.sum(dtype=np.float64), problem.dtype)
    shape: Shape = problem.sigma.shape
    shared = tuple(axis for axis in (1, 2) if shape[axis - 3] != gradient.shape[axis])
    return gradient.sum(axis=shared, dtype=np.float64).astype(problem.dtype).reshape(shape)


def _run(tasks: Iterable[Callable[[], None]]) -> None:
    """Run independent tasks on the pool, or here where there is one thread or one task."""
    tasks, threads = list(tasks), thread_count()
    if threads == 1 or len(tasks) == 1:
        for task in tasks:
            task()
    else:
        for done in [_pool(threads).submit(task) for task in tasks]:
            done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mdn-cupy")


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _jit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a kernel, cached on disk where there is a place for it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no writable cache directory: compiled once a process instead
            return numba.njit(nogil=True, **options)(function)

    return decorate


@_jit()
def _reach(p: float, radius: float, size: int) -> tuple[int, int]:
    """First pixel with |x0 − p| ≤ radius and one past the last, within [0, size)."""
    first = int(min(max(np.ceil(p - radius), 0.0), size))
    last = int(min(max(np.floor(p + radius) + 1.0, 0.0), size))
    # p ± radius is rounded, x0 − p hardly ever is: the specification's own words decide at the edge.
    if first > 0 and abs(first - 1 - p) <= radius:
        first -= 1
    if first < last and abs(first - p) > radius:
        first += 1
    if last < size and abs(last - p) <= radius:
        last += 1
    if first < last and abs(last - 1 - p) > radius:
        last -= 1
    return first, last


@_jit()
def _position(sources: Any, geometry: Any, m: int, v: int, i: int, j: int) -> Any:
    """Where a vote lands, (p_x, p_y), and its sigma; sigma 0 where no vote is cast."""
    o = sources.offsets_plane[m, v]
    s = sources.sigma_plane[m, v]
    rows, columns = sources.sigma.shape[1:]
    sigma = float(sources.sigma[s, min(i, rows - 1), min(j, columns - 1)])
    p_x = (geometry.origin + geometry.stride * j) + sources.offsets[o, 0, i, j]
    p_y = (geometry.origin + geometry.stride * i) + sources.offsets[o, 1, i, j]
    if not (np.isfinite(p_x) and np.isfinite(p_y) and sigma > 0.0):
        sigma = 0.0
    return p_x, p_y, sigma


@_jit()
def _gaussian(p: float, sigma: float, first: int, last: int, distance: Any, weight: Any) -> None:
    """Distances x0 − p and weights exp(−(x0 − p)² / 2σ²) of one axis of a window."""
    scale = -0.5 / (sigma * sigma)
    for n in range(last - first):
        d = first + n - p
        distance[n] = d
        weight[n] = np.exp(scale * d * d)


@_jit()
def _amplitude(rule: int, sigma: float) -> float:
    if rule == _NORMALIZED:
        return 1.0 / (2.0 * np.pi * sigma * sigma)
    return 1.0


@_jit()
def _accumulate_band(sources: Any, geometry: Any, m: int, top: int, evidence: Any) -> None:
    """Σφ of map m in the rows from `top` on, into evidence [rows, width]."""
    rows, width = evidence.shape
    noisy_or = geometry.rule == _NOISY_OR
    total = np.full((rows, width), 1.0 if noisy_or else 0.0)  # product of factors, or sum of votes
    exponent = np.zeros((rows if noisy_or else 0, width), np.int64)
    bound = np.ones(rows)  # no product of the row is smaller
    w_x, w_y = np.empty(width), np.empty(rows)
    distance = np.empty(max(width, rows))
    height, columns = sources.confidence.shape[1:]
    for v in range(sources.confidence_plane.shape[1]):
        plane = sources.confidence_plane[m, v]
        for i in range(height):
            for j in range(columns):
                c = float(sources.confidence[plane, i, j])
                if c == 0.0:
                    continue
                p_x, p_y, sigma = _position(sources, geometry, m, v, i, j)
                radius = geometry.truncate * sigma
                if sigma == 0.0 or p_y - radius > top + rows or p_y + radius < top - 1:
                    continue
                upper, lower = _reach(p_y - top, radius, rows)
                left, right = _reach(p_x, radius, width)
                if upper >= lower or left >= right:
                    continue
                _gaussian(p_y - top, sigma, upper, lower, distance, w_y)
                _gaussian(p_x, sigma, left, right, distance, w_x)
                amplitude = _amplitude(geometry.rule, sigma) * c
                for y in range(upper, lower):
                    a = amplitude * w_y[y - upper]
                    row = total[y, left:right]
                    if noisy_or:
                        least = _least_factor(a, geometry.floor)
                        if bound[y] * least < _FOLD_BELOW:
                            _fold(total[y], exponent[y])
                            bound[y] = 1.0
                        bound[y] *= least
                        _multiply(row, a, w_x, geometry.floor)
                    else:
                        for x in range(right - left):
                            row[x] += a * w_x[x]
    if noisy_or:
        for y in range(rows):
            for x in range(width):
                evidence[y, x] = np.log(total[y, x]) + exponent[y, x] * np.log(2.0)
    else:
        evidence[:] = total


@_jit()
def _least_factor(a: float, floor: float) -> float:
    """Smallest factor 1 − w·c of a row, or its inverse where c < 0; 1 for a NaN."""
    factor = max(1.0 - a, floor) if a >= 0.0 else 1.0 / (1.0 - a)
    return factor if factor > 0.0 else 1.0


@_jit()
def _multiply(row: Any, a: float, w_x: Any, floor: float) -> None:
    if a > 1.0 - floor:
        for x in range(row.shape[0]):
            factor = 1.0 - a * w_x[x]
            row[x] *= floor if factor < floor else factor
    else:
        for x in range(row.shape[0]):
            row[x] *= 1.0 - a * w_x[x]


@_jit()
def _fold(total: Any, exponent: Any) -> None:
    """Move the binary exponents of a row of products aside, so that they cannot underflow."""
    bits = total.view(np.int64)
    for x in range(bits.shape[0]):
        biased = (bits[x] >> 52) & 0x7FF
        if biased != 0x7FF:  # a NaN stays a NaN
            exponent[x] += biased - 1023
            bits[x] = (bits[x] & 0xFFFFFFFFFFFFF) | (1023 << 52)


@_jit(fastmath={"reassoc", "contract"})
def _gather_rows(
    sources: Any,
    geometry: Any,
    cotangent: Any,
    outputs: Any,
    want_offsets: bool,
    want_sigma: bool,
    first: int,
    last: int,
) -> None:
    """Add the gradients of the sources in rows [first, last) to the outputs, voter by voter."""
    grad_confidence, grad_offsets, grad_sigma = outputs
    maps, height, width = cotangent.shape
    w_x, w_y, d_x, d_y = np.empty(width), np.empty(height), np.empty(width), np.empty(height)
    for m in range(maps):
        for v in range(sources.confidence_plane.shape[1]):
            plane_c = sources.confidence_plane[m, v]
            plane_o = sources.offsets_plane[m, v]
            plane_s = sources.sigma_plane[m, v]
            for i in range(first, last):
                for j in range(sources.confidence.shape[2]):
                    p_x, p_y, sigma = _position(sources, geometry, m, v, i, j)
                    if sigma == 0.0:
                        continue
                    upper, lower = _reach(p_y, geometry.truncate * sigma, height)
                    left, right = _reach(p_x, geometry.truncate * sigma, width)
                    if upper >= lower or left >= right:
                        continue
                    _gaussian(p_y, sigma, upper, lower, d_y, w_y)
                    _gaussian(p_x, sigma, left, right, d_x, w_x)
                    c = float(sources.confidence[plane_c, i, j])
                    # Moments over the window of the pull g·φ′·w, in x0 − p.
                    pull, pull_x, pull_y, pull_square = 0.0, 0.0, 0.0, 0.0
                    for y in range(upper, lower):
                        g = cotangent[m, y, left:right]
                        a = c * w_y[y - upper]
                        r0, r1, r2 = 0.0, 0.0, 0.0
                        if geometry.rule == _NOISY_OR:
                            for x in range(right - left):
                                factor = 1.0 - a * w_x[x]
                                factor = geometry.floor if factor < geometry.floor else factor
                                t = -g[x] * w_x[x] / factor
                                r0 += t
                                r1 += t * d_x[x]
                                r2 += t * d_x[x] * d_x[x]
                        else:
                            for x in range(right - left):
                                t = g[x] * w_x[x]
                                r0 += t
                                r1 += t * d_x[x]
                                r2 += t * d_x[x] * d_x[x]
                        w, d = w_y[y - upper], d_y[y - upper]
                        pull += w * r0
                        pull_x += w * r1
                        pull_y += w * d * r0
                        pull_square += w * (r2 + d * d * r0)
                    amplitude = _amplitude(geometry.rule, sigma)
                    grad_confidence[plane_c, i, j] += amplitude * pull
                    if want_offsets:
                        scale = amplitude * c / (sigma * sigma)
                        grad_offsets[plane_o, 0, i, j] += scale * pull_x
                        grad_offsets[plane_o, 1, i, j] += scale * pull_y
                    if want_sigma:
                        spread = pull_square / (sigma * sigma)
                        if geometry.rule == _NORMALIZED:
                            spread -= 2.0 * pull
                        grad_sigma[plane_s, i, j] += amplitude * c * spread / sigma
