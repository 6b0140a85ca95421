"""The backward kernel: what one task gathers for some patches of sources."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, moments
from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import LANES, Floats, by_type, element, store
from mdn_cupy.cpu.sources import (
    ADDITIVE,
    NOISY_OR,
    PATCH_COLUMNS,
    LandingBatch,
    Scalars,
    Sources,
    new_landings,
    patch,
)
from mdn_cupy.cpu.windows import collect, find_windows

__all__ = ["BackwardScratch", "gather_patches", "new_backward_scratch"]

_SINGLE_UP_TO = 0.984375  # |c|, in float32: the factor 1 − w·c keeps 17 bits at least


Row = tuple[tuple[int, int], int, tuple[int, int]]
"""Voter (m, v), row, and columns [start, stop) of sources."""


class BackwardScratch(NamedTuple):
    """Working memory of a task that gathers."""

    landings: LandingBatch
    single: npt.NDArray[np.float32]  # [4, length]: a row of weights, and the profile of a column
    double: npt.NDArray[np.float64]
    moments: npt.NDArray[np.float64]  # [PATCH_COLUMNS, 4]


def new_backward_scratch(height: int, width: int) -> BackwardScratch:
    """Allocate memory to gather from maps [height, width]."""
    size = (4, math.ceil(max(height, width) / LANES) * LANES)
    return BackwardScratch(
        new_landings(), np.empty(size, np.float32), np.empty(size), np.empty((PATCH_COLUMNS, 4))
    )


@jit
def gather_patches(
    sources: Sources,
    scalars: Scalars,
    cotangent: Floats,
    outputs: tuple[Floats, Floats, Floats],
    wanted: tuple[bool, bool, bool],
    scratch: BackwardScratch,
    patches: tuple[int, int],
) -> None:
    """Add the gradients of the sources in the patches [first, last) of every plane to the outputs.

    Map by map and voter by voter: planes may be shared.
    """
    shape = sources.confidence.shape[1:]
    for number in range(patches[0], patches[1]):
        _, first, last, start, stop = patch(number, shape[0], shape[1])
        for m in range(cotangent.shape[0]):
            for v in range(sources.confidence_plane.shape[1]):
                for i in range(first, last):
                    row = ((m, v), i, (start, stop))
                    _moments(sources, scalars, cotangent, row, scratch)
                    _add_gradients(sources, scalars, row, scratch, outputs, wanted)


@inlined
def _moments(
    sources: Sources, scalars: Scalars, cotangent: Floats, row: Row, scratch: BackwardScratch
) -> None:
    """Sum g·w, or g·w / (1 − w·c), and its moments, over the windows of a row; see `moments`."""
    voter, i, columns = row
    m, height, width = voter[0], cotangent.shape[1], cotangent.shape[2]
    landings = scratch.landings
    count = collect(sources, scalars, voter, i, columns, 0, landings, True)
    find_windows(sources, scalars, voter, count, (0, 0, height, width), landings)
    for n in range(count):
        if landings.right[n] <= landings.left[n] or landings.lower[n] <= landings.upper[n]:
            continue
        single: Floats = by_type(cotangent, scratch.single, scratch.double)
        if by_type(cotangent, abs(landings.confidence[n]) <= _SINGLE_UP_TO, False):
            _moments_of(scalars, cotangent, m, n, single, scratch)
        else:
            _moments_of(scalars, cotangent, m, n, scratch.double, scratch)


@inlined
def _moments_of(
    scalars: Scalars, cotangent: Floats, m: int, n: int, weights: Floats, scratch: BackwardScratch
) -> None:
    """Sum up for one source, with weights in float32 or float64."""
    landings, (_, height, width) = scratch.landings, cotangent.shape
    upper, left, scale = landings.upper[n], landings.left[n], landings.scale[n]
    rows, columns = landings.lower[n] - upper, landings.right[n] - left
    d_x, d_y = left - landings.p_x[n], upper - landings.p_y[n]
    gaussian.profile(weights, 0, 0, columns, d_x, scale)
    gaussian.profile(weights, 2, 1, rows, d_y, scale)
    window = ((m * height + upper) * width + left, width, rows, columns)
    factor, noisy_or = (landings.confidence[n], scalars.floor), scalars.rule == NOISY_OR
    moments.of_window(scratch.moments, n, noisy_or, cotangent, window, weights, d_x, factor)


@inlined
def _add_gradients(
    sources: Sources,
    scalars: Scalars,
    row: Row,
    scratch: BackwardScratch,
    outputs: tuple[Floats, Floats, Floats],
    wanted: tuple[bool, bool, bool],
) -> None:
    """Turn the moments of a row of sources into gradients, and add them to the outputs."""
    voter, i, (start, stop) = row
    height, width = sources.confidence.shape[1:]
    first = i * width + start  # in a plane
    at_c = sources.confidence_plane[voter] * height * width + first
    at_x = sources.offsets_plane[voter] * 2 * height * width + first
    at_s = sources.sigma_plane[voter] * height * width + first
    landings, moments = scratch.landings, scratch.moments
    for n in range(stop - start):
        if element(landings.right, n) <= element(landings.left, n):
            continue
        if element(landings.lower, n) <= element(landings.upper, n):
            continue
        sigma, weight = element(landings.sigma, n), element(landings.peak, n)
        if scalars.rule == NOISY_OR:
            weight = -weight
        pull, square = element(moments, 4 * n), element(moments, 4 * n + 3)
        _add(outputs[0], at_c + n, weight * pull)
        slope = weight * element(landings.confidence, n) / (sigma * sigma)
        if wanted[1]:
            _add(outputs[1], at_x + n, slope * element(moments, 4 * n + 1))
            _add(outputs[1], at_x + height * width + n, slope * element(moments, 4 * n + 2))
        if wanted[2]:
            if scalars.rule == ADDITIVE:
                square -= 2.0 * sigma * sigma * pull
            _add(outputs[2], at_s + n, slope * square / sigma)


@inlined
def _add(gradient: Floats, at: int, value: float) -> None:
    store(gradient, at, element(gradient, at) + value)
