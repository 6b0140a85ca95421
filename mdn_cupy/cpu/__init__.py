"""The CPU backend: the only importer of numba; the same two entry points as `mdn_cupy.cuda`.

Forward, an output map is cut into bands of rows that fit a core's cache. A task owns a band, walks
through the rows of sources that reach it, in order, and keeps what falls into the band: no two
tasks write one pixel, and the order of a pixel's votes does not depend on the threads, so the bits
are the same for any number of them. A band with very many voters (when the mass collapses, all have
one band) is split among tasks whose partial products are then combined in order. Backward, a task
owns rows of sources and gathers.

The Gaussian is separable: a vote computes its weights per row and per column of its window. The
noisy-or multiplies factors 1 − w·c in float64 and sets the binary exponent aside before a product
could underflow; one logarithm per pixel is taken at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mdn_cupy.backends import Status
from mdn_cupy.cpu import kernels
from mdn_cupy.cpu.kernels import BLOCK_COLUMNS, BLOCK_ROWS, Geometry, Sources, Tile
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.pool import run, thread_count
from mdn_cupy.problem import Gradients, Rule, VoteProblem

__all__ = ["accumulate", "gather", "status"]

_BAND_PIXELS = 1 << 17  # 1 MiB of products: a band stays within a core's L2 cache
_BAND_ROWS = 32  # no fewer: a window that straddles bands is computed in each of them
_TASKS = 8  # wanted at least, so that two to four threads end together
_VOTERS = 1 << 17  # of one task; more are split, or a collapsed map would keep one thread busy
_PARTIALS = 8  # partial tiles of a split band held at a time
_SOURCE_ROWS = 8  # of one task, backward


@dataclass(frozen=True)
class _Band:
    """Rows [top, bottom) of output map m, and the rows of sources (voter·H + i) that reach them."""

    m: int
    top: int
    bottom: int
    source_rows: npt.NDArray[np.int64]


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
    evidence = np.zeros((problem.maps, *problem.output_shape), problem.dtype)
    if evidence.size and problem.confidence.size:
        sources, geometry = _sources(problem), _geometry(problem)
        bands = list(_bands(problem, sources, geometry))
        voters_per_row = problem.source_shape[1]
        split = [b for b in bands if len(b.source_rows) * voters_per_row > _VOTERS]
        whole = [b for b in bands if len(b.source_rows) * voters_per_row <= _VOTERS]
        run(partial(_vote_whole, sources, geometry, band, evidence) for band in whole)
        for band in split:
            _vote_split(sources, geometry, band, evidence, max(1, _VOTERS // voters_per_row))
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
        np.zeros(sources.offsets.shape if wanted[1] else (0, 2, 0, 0), problem.dtype),
        np.zeros((len(sources.sigma), height, width) if wanted[2] else (0, 0, 0), problem.dtype),
    )
    kernel = partial(kernels.gather_rows, sources, geometry, cotangent, outputs, wanted)
    run(
        partial(kernel, first, min(first + _SOURCE_ROWS, height), kernels.no_aim(width))
        for first in range(0, height, _SOURCE_ROWS)
    )
    confidence, offsets, sigma = outputs
    return Gradients(
        confidence.reshape(problem.confidence.shape) if wanted[0] else None,
        offsets.reshape(problem.offsets.shape) if wanted[1] else None,
        _reduce_sigma(problem, sigma) if wanted[2] else None,
    )


def status() -> Status:
    """Say that the CPU works, with what and on how many threads."""
    return Status(True, f"Numba {numba.__version__}, {thread_count()} threads")


def _bands(problem: VoteProblem, sources: Sources, geometry: Geometry) -> Iterator[_Band]:
    height, width = problem.output_shape
    fits = max(1, _BAND_PIXELS // width)
    shared = max(_BAND_ROWS, math.ceil(problem.maps * height / _TASKS))
    rows = min(fits, shared, height)
    every = np.arange(problem.voters * problem.source_shape[0])
    aim, reach = kernels.no_aim(problem.source_shape[1]), np.empty((len(every), 2), np.int64)
    for m in range(problem.maps):
        if rows < height:
            kernels.reach_of_rows(sources, geometry, m, height, width, aim, reach)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            reaches = (reach[:, 0] < bottom) & (reach[:, 1] > top) if rows < height else ...
            yield _Band(m, top, bottom, every[reaches])


def _tile(rule: int, rows: int, width: int) -> Tile:
    """A tile with no votes."""
    pitch = math.ceil((width + LANES - 1) / LANES) * LANES
    noisy_or = rule == Rule.NOISY_OR
    return Tile(
        np.ones((rows, pitch)) if noisy_or else np.zeros((rows, pitch)),
        np.zeros((rows, pitch) if noisy_or else (0, 0), np.int32),
        np.ones((math.ceil(rows / BLOCK_ROWS), math.ceil(pitch / BLOCK_COLUMNS))),
    )


def _vote_whole(
    sources: Sources, geometry: Geometry, band: _Band, evidence: npt.NDArray[Any]
) -> None:
    tile = _vote(sources, geometry, band, evidence.shape[2], band.source_rows)
    _read_out(tile, geometry, band, evidence)


def _vote_split(
    sources: Sources,
    geometry: Geometry,
    band: _Band,
    evidence: npt.NDArray[Any],
    rows_per_task: int,
) -> None:
    """Share a band's voters among tasks, a few at a time, and combine their tiles in order."""
    width, noisy_or = evidence.shape[2], geometry.rule == Rule.NOISY_OR
    tile = _tile(geometry.rule, band.bottom - band.top, width)
    starts = range(0, len(band.source_rows), rows_per_task)
    for n in range(0, len(starts), _PARTIALS):
        partials = run(
            partial(_vote, sources, geometry, band, width, band.source_rows[s : s + rows_per_task])
            for s in starts[n : n + _PARTIALS]
        )
        for other in partials:
            kernels.merge(tile, other, noisy_or)
    _read_out(tile, geometry, band, evidence)


def _vote(
    sources: Sources,
    geometry: Geometry,
    band: _Band,
    width: int,
    source_rows: npt.NDArray[np.int64],
) -> Tile:
    tile = _tile(geometry.rule, band.bottom - band.top, width)
    aim = kernels.no_aim(sources.confidence.shape[2])
    kernels.vote(tile, sources, geometry, band.m, band.top, width, source_rows, aim)
    return tile


def _read_out(tile: Tile, geometry: Geometry, band: _Band, evidence: npt.NDArray[Any]) -> None:
    rows = evidence[band.m, band.top : band.bottom]
    kernels.read_out(tile, geometry.rule == Rule.NOISY_OR, rows)


def _sources(problem: VoteProblem) -> Sources:
    height, width = problem.source_shape
    sigma = np.asarray(problem.sigma, problem.dtype)
    if sigma.ndim == 0:
        sigma = sigma.reshape((1,) * (len(problem.batch) + 2))
    return Sources(
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


def _geometry(problem: VoteProblem) -> Geometry:
    return Geometry(
        int(problem.rule),
        problem.truncate,
        problem.stride,
        problem.origin,
        problem.saturation_floor,
        problem.dtype == np.float64,
    )


def _reduce_sigma(problem: VoteProblem, gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum ∂loss/∂σ of every source over what shared a sigma."""
    if isinstance(problem.sigma, float):
        return np.asarray(gradient.sum(dtype=np.float64), problem.dtype)
    shape: tuple[int, ...] = problem.sigma.shape
    shared = tuple(axis for axis in (1, 2) if shape[axis - 3] != gradient.shape[axis])
    summed: npt.NDArray[Any] = gradient.sum(axis=shared, dtype=np.float64)
    return summed.astype(problem.dtype).reshape(shape)
