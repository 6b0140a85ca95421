"""The CPU kernels: what one task does with one band of pixels or some rows of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import lanes
from mdn_cupy.problem import Rule

__all__ = [
    "Geometry",
    "Sources",
    "Tile",
    "gather_rows",
    "merge",
    "no_aim",
    "reach_of_rows",
    "read_out",
    "vote",
]

BLOCK_ROWS, BLOCK_COLUMNS = 32, 64  # pixels of a tile that share one bound
_LANES = lanes.LANES
_FOLD_BELOW = 1e-280  # products that may be smaller hand their exponents over first
_SINGLE_UP_TO = 0.875  # above this confidence, 1 − w·c needs weights in double precision

_NOISY_OR = int(Rule.NOISY_OR)
_NORMALIZED = int(Rule.NORMALIZED)


class Sources(NamedTuple):
    """What the kernels read: contiguous planes, and which of them vote into which map."""

    confidence: npt.NDArray[Any]  # [planes, H, W]
    offsets: npt.NDArray[Any]  # [planes, 2, H, W]
    sigma: npt.NDArray[Any]  # [planes, H or 1, W or 1]
    confidence_plane: npt.NDArray[np.int64]  # [maps, voters]
    offsets_plane: npt.NDArray[np.int64]  # [maps, voters]
    sigma_plane: npt.NDArray[np.int64]  # [maps, voters]


class Geometry(NamedTuple):
    """The scalars of a problem."""

    rule: int
    truncate: float
    stride: float
    origin: float
    floor: float  # least factor 1 − w·c
    double: bool  # whether the fields are float64


class Tile(NamedTuple):
    """Votes gathered so far for a band of rows: product · 2^exponent, or a sum, per pixel."""

    total: npt.NDArray[np.float64]  # [rows, pitch], the pitch a multiple of LANES past the width
    exponent: npt.NDArray[np.int32]  # [rows, pitch]
    bound: npt.NDArray[np.float64]  # of each block: no product in it is smaller; 1 with no votes


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that frees the GIL, cached on disk where there is a place for it."""
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no writable cache directory: compiled once a process instead
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


class Aim(NamedTuple):
    """Where the votes of one row of sources land, and which pixels they reach."""

    p_x: npt.NDArray[np.float64]  # [W]
    p_y: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]  # one past the last column; not after left where no vote is cast
    upper: npt.NDArray[np.int32]
    lower: npt.NDArray[np.int32]


def no_aim(columns: int) -> Aim:
    """Room for the aim of a row of sources; made here, where it need not be compiled."""
    p_x, p_y, sigma = np.empty((3, columns))
    left, right, upper, lower = np.empty((4, columns), np.int32)
    return Aim(p_x, p_y, sigma, left, right, upper, lower)


@jit
def _aim(
    sources: Any,
    geometry: Any,
    m: int,
    v: int,
    i: int,
    columns: Any,
    top: int,
    rows: int,
    width: int,
    aim: Any,
) -> None:
    """Fill `aim` for some columns of row i of voter v, over the output rows [top, top + rows)."""
    o_x, o_y = sources.offsets[sources.offsets_plane[m, v], :, i]
    sigmas = sources.sigma[sources.sigma_plane[m, v], min(i, sources.sigma.shape[1] - 1)]
    y = geometry.origin + geometry.stride * i
    for n in range(columns.shape[0]):
        j = columns[n]
        aim.p_x[n] = (geometry.origin + geometry.stride * j) + o_x[j]
        aim.p_y[n] = y + o_y[j]
        aim.sigma[n] = sigmas[j] if sigmas.shape[0] > 1 else sigmas[0]
    count = columns.shape[0]
    _reach(aim.p_x, 0.0, aim.sigma, geometry.truncate, width, aim.left, aim.right, count)
    _reach(aim.p_y, float(top), aim.sigma, geometry.truncate, rows, aim.upper, aim.lower, count)


@jit
def _reach(
    p: Any, start: float, sigma: Any, truncate: float, size: int, first: Any, last: Any, count: int
) -> None:
    """Pixels start + n, 0 ≤ n < size, with |x0 − p| ≤ truncate·σ: n from first to before last.

    Without branches, so that it is done for many sources at once.
    """
    for j in range(count):
        radius, q = truncate * sigma[j], p[j]
        low, high = np.ceil(q - radius), np.floor(q + radius)
        # q ± radius is rounded, x0 − p hardly ever: the specification's words decide at the edge.
        low = low - 1.0 if q - (low - 1.0) <= radius else (low + 1.0 if q - low > radius else low)
        high = (
            high + 1.0 if high + 1.0 - q <= radius else (high - 1.0 if high - q > radius else high)
        )
        low, high = low - start, high - start
        low = low if low > 0.0 else 0.0
        high = high if high < size - 1.0 else size - 1.0
        cast = abs(q) < np.inf and sigma[j] > 0.0 and low <= high
        first[j] = np.int32(low if cast else 0.0)
        last[j] = np.int32(high + 1.0 if cast else 0.0)


@jit
def _amplitude(rule: int, sigma: float) -> float:
    return 1.0 / (2.0 * np.pi * sigma * sigma) if rule == _NORMALIZED else 1.0


@jit
def _exponent_scale(sigma: float) -> float:
    """The factor of (x0 − p)² in the exponent of 2; finite for any sigma, so that 0 · it is 0."""
    scale: float = max(-0.5 / (sigma * sigma * np.log(2.0)), -1e30)
    return scale


@jit
def reach_of_rows(
    sources: Any, geometry: Any, m: int, height: int, width: int, aim: Any, reach: Any
) -> None:
    """Which output rows the sources of map m reach: reach[voter·H + i] = first, last + 1."""
    rows, columns = sources.confidence.shape[1:]
    chosen = np.empty(columns, np.int64)
    for n in range(reach.shape[0]):
        v, i = n // rows, n % rows
        voting = _voting(sources.confidence[sources.confidence_plane[m, v], i], chosen)
        _aim(sources, geometry, m, v, i, chosen[:voting], 0, height, width, aim)
        first, last = height, 0
        for j in range(voting):
            if aim.upper[j] < aim.lower[j]:
                first, last = min(first, aim.upper[j]), max(last, aim.lower[j])
        reach[n, 0], reach[n, 1] = first, last


@jit
def _voting(confidence: Any, chosen: Any) -> int:
    """Write the columns with a confidence other than 0 into `chosen`; return how many there are."""
    count = 0
    for j in range(confidence.shape[0]):
        chosen[count] = j
        count += confidence[j] != 0.0
    return count


@jit
def vote(
    tile: Any,
    sources: Any,
    geometry: Any,
    m: int,
    top: int,
    width: int,
    source_rows: Any,
    aim: Any,
) -> None:
    """Add the votes of some rows of sources (voter·H + i) of map m to the band from `top` on."""
    rows, pitch = tile.total.shape
    height, columns = sources.confidence.shape[1:]
    total, bound = tile.total.reshape(-1), tile.bound
    w_x, a_y = np.empty(pitch), np.empty(rows + _LANES)
    chosen = np.empty(columns, np.int64)
    last_sigma, scale, amplitude = 0.0, 0.0, 0.0
    for source_row in source_rows:
        v, i = source_row // height, source_row % height
        confidence = sources.confidence[sources.confidence_plane[m, v], i]
        voting = _voting(confidence, chosen)
        _aim(sources, geometry, m, v, i, chosen[:voting], top, rows, width, aim)
        for j in range(voting):
            c = float(confidence[chosen[j]])
            left, reached = aim.left[j], aim.right[j] - aim.left[j]
            upper, deep = aim.upper[j], aim.lower[j] - aim.upper[j]
            if reached <= 0 or deep <= 0:
                continue
            if not np.isfinite(c):
                _vote_non_finite(tile, geometry, c, upper, upper + deep, left, left + reached)
                continue
            if aim.sigma[j] != last_sigma:
                last_sigma = aim.sigma[j]
                scale, amplitude = (
                    _exponent_scale(last_sigma),
                    _amplitude(geometry.rule, last_sigma),
                )
            d_x, d_y = left - aim.p_x[j], upper + top - aim.p_y[j]
            if geometry.double or c > _SINGLE_UP_TO:
                lanes.gaussian_double(a_y, deep, d_y, scale, amplitude * c)
                lanes.gaussian_double(w_x, reached, d_x, scale, 1.0)
            else:
                lanes.gaussian_single(a_y, deep, d_y, scale, amplitude * c)
                lanes.gaussian_single(w_x, reached, d_x, scale, 1.0)
            base = upper * pitch + left
            if geometry.rule != _NOISY_OR:
                lanes.add_votes(total, base, pitch, deep, reached, w_x, a_y, 0.0)
                continue
            least = _least_factor(c, geometry.floor)
            for n in range(upper // BLOCK_ROWS, (upper + deep - 1) // BLOCK_ROWS + 1):
                for k in range(left // BLOCK_COLUMNS, (left + reached - 1) // BLOCK_COLUMNS + 1):
                    if bound[n, k] * least < _FOLD_BELOW:
                        _fold(tile, n, k)
                    bound[n, k] *= least
            if c <= 1.0 - geometry.floor:
                lanes.multiply_factors(total, base, pitch, deep, reached, w_x, a_y, 0.0)
            else:
                lanes.multiply_floored_factors(
                    total, base, pitch, deep, reached, w_x, a_y, geometry.floor
                )


@jit
def _least_factor(c: float, floor: float) -> float:
    """Smallest factor 1 − w·c of a vote, or its inverse where c < 0."""
    return max(1.0 - c, floor) if c >= 0.0 else 1.0 / (1.0 - c)


@jit
def _vote_non_finite(
    tile: Any, geometry: Any, c: float, upper: int, lower: int, left: int, right: int
) -> None:
    """A NaN shows in its window, and an infinite vote saturates it; no lane beyond is touched."""
    for y in range(upper, lower):
        for x in range(left, right):
            if geometry.rule != _NOISY_OR:
                tile.total[y, x] += c
            elif c > 0.0:
                _fold(tile, y // BLOCK_ROWS, x // BLOCK_COLUMNS)
                tile.bound[y // BLOCK_ROWS, x // BLOCK_COLUMNS] *= geometry.floor
                tile.total[y, x] *= geometry.floor
            else:
                tile.total[y, x] = np.nan


@jit
def _fold(tile: Any, n: int, k: int) -> None:
    """Move the binary exponents of a block of products aside, so that they cannot underflow."""
    rows, pitch = tile.total.shape
    top, left = n * BLOCK_ROWS, k * BLOCK_COLUMNS
    lanes.fold_exponents(
        tile.total.reshape(-1),
        tile.exponent.reshape(-1),
        top * pitch + left,
        pitch,
        min(BLOCK_ROWS, rows - top),
        min(BLOCK_COLUMNS, pitch - left),
    )
    tile.bound[n, k] = 0.5  # any number but 1, which is that of a block with no votes


@jit
def merge(tile: Any, other: Any, noisy_or: bool) -> None:
    """Combine the votes of another tile of the same band into the first."""
    if not noisy_or:
        tile.total[:] += other.total
        return
    for n in range(tile.bound.shape[0]):
        for k in range(tile.bound.shape[1]):
            _fold(tile, n, k)
            _fold(other, n, k)
    tile.total[:] *= other.total
    tile.exponent[:] += other.exponent


@jit
def read_out(tile: Any, noisy_or: bool, evidence: Any) -> None:
    """Write a tile's Σφ into evidence [rows, width]."""
    pitch = tile.total.shape[1]
    logs, total, exponent = np.empty(pitch), tile.total.reshape(-1), tile.exponent.reshape(-1)
    for y in range(evidence.shape[0]):
        if not noisy_or:
            _copy(tile.total[y], evidence[y])
        elif _has_votes(tile.bound[y // BLOCK_ROWS]):
            lanes.log_complement(logs, total, exponent, y * pitch, pitch)
            _copy(logs, evidence[y])


@jit
def _copy(values: Any, row: Any) -> None:
    for x in range(row.shape[0]):
        row[x] = values[x]


@jit
def _has_votes(bounds: Any) -> bool:
    for bound in bounds:  # noqa: SIM110 (Numba compiles no generator)
        if bound != 1.0:
            return True
    return False


@jit
def gather_rows(
    sources: Any,
    geometry: Any,
    cotangent: Any,
    outputs: Any,
    wanted: Any,
    first: int,
    last: int,
    aim: Any,
) -> None:
    """Add the gradients of the sources in rows [first, last) to the outputs, voter by voter."""
    grad_confidence, grad_offsets, grad_sigma = outputs
    maps, height, width = cotangent.shape
    flat = cotangent.reshape(-1)
    w_x, w_y = np.empty(width + _LANES), np.empty(height + _LANES)
    every = np.arange(sources.confidence.shape[2])
    moments = np.empty(
        4
    )  # over the window, of the pull g·φ′·w: 1, x0_x − p_x, x0_y − p_y, ‖x0 − p‖²
    for m in range(maps):
        for v in range(sources.confidence_plane.shape[1]):
            plane, sigmas = sources.confidence_plane[m, v], sources.sigma_plane[m, v]
            offsets = sources.offsets_plane[m, v]
            for i in range(first, last):
                _aim(sources, geometry, m, v, i, every, 0, height, width, aim)
                for j in range(sources.confidence.shape[2]):
                    left, reached = aim.left[j], aim.right[j] - aim.left[j]
                    upper, deep = aim.upper[j], aim.lower[j] - aim.upper[j]
                    if reached <= 0 or deep <= 0:
                        continue
                    c, sigma = float(sources.confidence[plane, i, j]), aim.sigma[j]
                    d_x, d_y = left - aim.p_x[j], upper - aim.p_y[j]
                    base = (m * height + upper) * width + left
                    _moments(
                        flat, base, width, deep, reached, d_x, d_y, sigma, c, geometry, w_x, w_y,
                        moments,
                    )  # fmt: skip
                    pull, pull_x, pull_y, pull_square = moments
                    amplitude = _amplitude(geometry.rule, sigma)
                    grad_confidence[plane, i, j] += amplitude * pull
                    if wanted[1]:
                        slope = amplitude * c / (sigma * sigma)
                        grad_offsets[offsets, 0, i, j] += slope * pull_x
                        grad_offsets[offsets, 1, i, j] += slope * pull_y
                    if wanted[2]:
                        spread = pull_square / (sigma * sigma)
                        if geometry.rule == _NORMALIZED:
                            spread -= 2.0 * pull
                        grad_sigma[sigmas, i, j] += amplitude * c * spread / sigma


@jit
def _moments(
    cotangent: Any,
    base: int,
    pitch: int,
    rows: int,
    columns: int,
    d_x: float,
    d_y: float,
    sigma: float,
    c: float,
    geometry: Any,
    w_x: Any,
    w_y: Any,
    moments: Any,
) -> None:
    """Sum the pull of a window's pixels; see `lanes`."""
    moments[:] = 0.0
    scale, floor = _exponent_scale(sigma), geometry.floor
    single = not geometry.double and c <= _SINGLE_UP_TO
    if single:
        lanes.gaussian_single(w_x, columns, d_x, scale, 1.0)
        lanes.gaussian_single(w_y, rows, d_y, scale, 1.0)
    else:
        lanes.gaussian_double(w_x, columns, d_x, scale, 1.0)
        lanes.gaussian_double(w_y, rows, d_y, scale, 1.0)
    if geometry.rule == _NOISY_OR:
        if single:
            lanes.gather_noisy_or_single(
                cotangent, base, pitch, rows, columns, w_x, w_y, d_x, d_y, c, floor, moments
            )
        else:
            lanes.gather_noisy_or_double(
                cotangent, base, pitch, rows, columns, w_x, w_y, d_x, d_y, c, floor, moments
            )
        moments[:] *= -1.0
    elif single:
        lanes.gather_single(
            cotangent, base, pitch, rows, columns, w_x, w_y, d_x, d_y, c, floor, moments
        )
    else:
        lanes.gather_double(
            cotangent, base, pitch, rows, columns, w_x, w_y, d_x, d_y, c, floor, moments
        )
