"""The backward kernel: what one task gathers for some patches of sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdn_cupy.cpu import gaussian, moments
from mdn_cupy.cpu.compiled import inlined, jit
from mdn_cupy.cpu.lanes import LANES
from mdn_cupy.cpu.sources import (
    NOISY_OR,
    NORMALIZED,
    PATCH_COLUMNS,
    aim_row,
    amplitude,
    exponent_scale,
    patch,
)

__all__ = ["gather"]

_SINGLE_UP_TO = 0.984375  # |c|, in float32: the factor 1 − w·c keeps 17 bits at least


@jit
def gather(
    sources: Any, geometry: Any, cotangent: Any, outputs: Any, wanted: Any, patches: Any, aim: Any
) -> None:
    """Add the gradients of the sources in the patches [first, last) of every plane to the outputs.

    Map by map and voter by voter: planes may be shared.
    """
    shape = sources.confidence.shape[1:]
    length = (max(cotangent.shape[1:]) + LANES - 1) // LANES * LANES
    single, double = np.empty((4, length), np.float32), np.empty((4, length))
    found = np.empty((PATCH_COLUMNS, 4))
    for number in range(patches[0], patches[1]):
        _, first, last, start, stop = patch(number, shape[0], shape[1])
        for m in range(cotangent.shape[0]):
            for v in range(sources.confidence_plane.shape[1]):
                for i in range(first, last):
                    row = ((m, v), i, (start, stop))
                    _moments(sources, geometry, cotangent, row, aim, (single, double), found)
                    _add_gradients(sources, geometry, row, aim, found, outputs, wanted)


@inlined
def _moments(
    sources: Any, geometry: Any, cotangent: Any, row: Any, aim: Any, scratch: Any, found: Any
) -> None:
    """Sum the pull g·φ′·w of the pixels in the windows of a row of sources; see `moments`."""
    voter, i, columns = row
    m, height, width = voter[0], cotangent.shape[1], cotangent.shape[2]
    single, double = scratch
    flat, stride = cotangent.reshape(-1), single.shape[1]
    confidence = sources.confidence[sources.confidence_plane[voter], i]
    aim_row(sources, geometry, voter, i, columns, (0, 0, height, width), aim)
    last_sigma, scale = 0.0, 0.0
    for n in range(columns[1] - columns[0]):
        left, reached = aim.left[n], aim.right[n] - aim.left[n]
        upper, deep = aim.upper[n], aim.lower[n] - aim.upper[n]
        if reached <= 0 or deep <= 0:
            continue
        if aim.sigma[n] != last_sigma:
            last_sigma = aim.sigma[n]
            scale = exponent_scale(last_sigma)
        c = float(confidence[columns[0] + n])
        d_x, d_y = left - aim.p_x[n], upper - aim.p_y[n]
        window = ((m * height + upper) * width + left, width, deep, reached, stride)
        factor = (c, geometry.floor)
        if geometry.double or not abs(c) <= _SINGLE_UP_TO:
            w_x, w_y = double[0], double[1:].reshape(-1)
            gaussian.double(w_x, reached, d_x, scale, 1.0)
            gaussian.double_profile(w_y, stride, deep, d_y, scale)
            if geometry.rule == NOISY_OR:
                moments.noisy_or_double(found, n, flat, window, w_x, w_y, d_x, factor)
            else:
                moments.double(found, n, flat, window, w_x, w_y, d_x, factor)
        else:
            w_x32, w_y32 = single[0], single[1:].reshape(-1)
            gaussian.single(w_x32, reached, d_x, scale, 1.0)
            gaussian.single_profile(w_y32, stride, deep, d_y, scale)
            if geometry.rule == NOISY_OR:
                moments.noisy_or_single(found, n, flat, window, w_x32, w_y32, d_x, factor)
            else:
                moments.single(found, n, flat, window, w_x32, w_y32, d_x, factor)


@inlined
def _add_gradients(
    sources: Any, geometry: Any, row: Any, aim: Any, found: Any, outputs: Any, wanted: Any
) -> None:
    """Turn the moments of a row of sources into gradients, and add them to the outputs."""
    voter, i, (start, stop) = row
    plane, offsets, sigmas = (
        sources.confidence_plane[voter],
        sources.offsets_plane[voter],
        sources.sigma_plane[voter],
    )
    grad_confidence, grad_offsets, grad_sigma = outputs
    confidence = sources.confidence[plane, i]
    for n in range(stop - start):
        if aim.right[n] <= aim.left[n] or aim.lower[n] <= aim.upper[n]:
            continue
        j, sigma = start + n, aim.sigma[n]
        weight = amplitude(geometry.rule, sigma)
        if geometry.rule == NOISY_OR:
            weight = -weight
        pull, pull_x, pull_y, pull_square = found[n]
        grad_confidence[plane, i, j] += weight * pull
        slope = weight * confidence[j] / (sigma * sigma)
        if wanted[1]:
            grad_offsets[offsets, 0, i, j] += slope * pull_x
            grad_offsets[offsets, 1, i, j] += slope * pull_y
        if wanted[2]:
            if geometry.rule == NORMALIZED:
                pull_square -= 2.0 * sigma * sigma * pull
            grad_sigma[sigmas, i, j] += slope * pull_square / sigma
