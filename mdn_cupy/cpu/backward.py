"""The backward kernel: what one task gathers for some patches of sources."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian, moments
from mdn_cupy.cpu.jit_options import inlined, jit
from mdn_cupy.cpu.simd import LANES
from mdn_cupy.cpu.sources import (
    ADDITIVE,
    NOISY_OR,
    PATCH_COLUMNS,
    LandingBatch,
    collect,
    find_windows,
    new_landings,
    patch,
)

__all__ = ["BackwardScratch", "gather", "new_backward_scratch"]

_SINGLE_UP_TO = 0.984375  # |c|, in float32: the factor 1 − w·c keeps 17 bits at least


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
def gather(
    sources: Any,
    scalars: Any,
    cotangent: Any,
    outputs: Any,
    wanted: Any,
    scratch: Any,
    patches: Any,
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
def _moments(sources: Any, scalars: Any, cotangent: Any, row: Any, scratch: Any) -> None:
    """Sum the pull g·φ′·w of the pixels in the windows of a row of sources; see `moments`."""
    voter, i, columns = row
    m, height, width = voter[0], cotangent.shape[1], cotangent.shape[2]
    landings, single, double, found = scratch
    flat, stride = cotangent.reshape(-1), single.shape[1]
    count = collect(sources, scalars, voter, i, columns, 0, landings, every=True)
    find_windows(sources, scalars, voter, count, (0, 0, height, width), landings)
    for n in range(count):
        left, reached = landings.left[n], landings.right[n] - landings.left[n]
        upper, deep = landings.upper[n], landings.lower[n] - landings.upper[n]
        if reached <= 0 or deep <= 0:
            continue
        c = landings.confidence[n]
        d_x, d_y, scale = left - landings.p_x[n], upper - landings.p_y[n], landings.scale[n]
        window = ((m * height + upper) * width + left, width, deep, reached, stride)
        factor = (c, scalars.floor)
        if scalars.double or not abs(c) <= _SINGLE_UP_TO:
            w_x, w_y = double[0], double[1:].reshape(-1)
            gaussian.double(w_x, reached, d_x, scale)
            gaussian.double_profile(w_y, stride, deep, d_y, scale)
            if scalars.rule == NOISY_OR:
                moments.noisy_or_double(found, n, flat, window, w_x, w_y, d_x, factor)
            else:
                moments.double(found, n, flat, window, w_x, w_y, d_x, factor)
        else:
            w_x32, w_y32 = single[0], single[1:].reshape(-1)
            gaussian.single(w_x32, reached, d_x, scale)
            gaussian.single_profile(w_y32, stride, deep, d_y, scale)
            if scalars.rule == NOISY_OR:
                moments.noisy_or_single(found, n, flat, window, w_x32, w_y32, d_x, factor)
            else:
                moments.single(found, n, flat, window, w_x32, w_y32, d_x, factor)


@inlined
def _add_gradients(
    sources: Any, scalars: Any, row: Any, scratch: Any, outputs: Any, wanted: Any
) -> None:
    """Turn the moments of a row of sources into gradients, and add them to the outputs."""
    voter, i, (start, stop) = row
    plane, offsets, sigmas = (
        sources.confidence_plane[voter],
        sources.offsets_plane[voter],
        sources.sigma_plane[voter],
    )
    grad_confidence, grad_offsets, grad_sigma = outputs
    landings = scratch.landings
    for n in range(stop - start):
        if landings.right[n] <= landings.left[n] or landings.lower[n] <= landings.upper[n]:
            continue
        j, sigma = start + n, landings.sigma[n]
        weight = landings.peak[n]
        if scalars.rule == NOISY_OR:
            weight = -weight
        pull, pull_x, pull_y, pull_square = scratch.moments[n]
        grad_confidence[plane, i, j] += weight * pull
        slope = weight * landings.confidence[n] / (sigma * sigma)
        if wanted[1]:
            grad_offsets[offsets, 0, i, j] += slope * pull_x
            grad_offsets[offsets, 1, i, j] += slope * pull_y
        if wanted[2]:
            if scalars.rule == ADDITIVE:
                pull_square -= 2.0 * sigma * sigma * pull
            grad_sigma[sigmas, i, j] += slope * pull_square / sigma
