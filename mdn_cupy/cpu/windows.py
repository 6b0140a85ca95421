"""Windows: which sources vote, where the votes land, and which pixels they reach."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mdn_cupy.cpu import gaussian
from mdn_cupy.cpu.inlining import inlined, part
from mdn_cupy.cpu.jit_options import jit
from mdn_cupy.cpu.simd import (
    LANES,
    Floats,
    at_least,
    at_most,
    ceil,
    convert,
    floor,
    full,
    greatest,
    lanes_set,
    least,
    load,
    load_where,
    lowest_bit,
    move,
    present,
    ramp,
    rounded_product,
    store,
    where,
)
from mdn_cupy.cpu.sources import ADDITIVE, LandingBatch, Scalars, Sources, patch, sigma_of

__all__ = ["collect", "find_windows", "reach_of_patches"]

Doubles = npt.NDArray[np.float64]


@inlined
def collect(
    sources: Sources,
    scalars: Scalars,
    voter: tuple[int, int],
    i: int,
    columns: tuple[int, int],
    waiting: int,
    landings: LandingBatch,
    every: bool,
) -> int:
    """Append the sources of voter (m, v) in row i and columns [start, stop) that vote, or every
    one, to the batch; return its size. Up to LANES − 1 elements behind it are overwritten."""
    start, stop = columns
    _, _, height, width = sources.offsets.shape
    row = i * width
    at_c = sources.confidence_plane[voter] * height * width + row
    at_x = sources.offsets_plane[voter] * 2 * height * width + row
    (origin_y, origin_x), (stride_y, stride_x) = scalars.origin, scalars.stride
    y = origin_y + stride_y * i
    batch = landings.p_x, landings.p_y, landings.confidence, landings.number
    for j in range(start, stop, LANES):
        inside = present(j, stop, LANES)
        c = load_where(sources.confidence, at_c + j, inside)
        voting = lanes_set(inside if every else inside & (c != 0.0))
        if voting:
            o_x = convert(load_where(sources.offsets, at_x + j, inside), np.float64)
            o_y = convert(
                load_where(sources.offsets, at_x + height * width + j, inside), np.float64
            )
            # Rounded like the specification.
            x = rounded_product(ramp(j, np.float64, LANES), stride_x)
            store(batch[0], waiting, x + origin_x + o_x)
            store(batch[1], waiting, o_y + y)
            store(batch[2], waiting, c)
            store(batch[3], waiting, ramp(row + j, np.int64, LANES))
            if voting == lanes_set(inside):
                waiting += LANES if stop - j > LANES else stop - j
            else:
                begin = waiting
                while voting:  # close the gaps
                    move(batch, waiting, begin + lowest_bit(voting))
                    waiting, voting = waiting + 1, voting & (voting - 1)
    return waiting


@inlined
def find_windows(
    sources: Sources,
    scalars: Scalars,
    voter: tuple[int, int],
    count: int,
    region: tuple[int, int, int, int],
    landings: LandingBatch,
) -> None:
    """Compute how far the votes of `count` sources of a voter reach, and which pixels.

    `region` is the part of the map that counts: its top, left, rows and columns.
    """
    top, left, rows, width = region
    spread(sources, scalars, voter, count, landings)
    across, down = (float(left), left + width - 1.0), (float(top), top + rows - 1.0)
    _find_ends((landings.left, landings.right), landings.p_x, landings.radius, count, across)
    _find_ends((landings.upper, landings.lower), landings.p_y, landings.radius, count, down)


@inlined
def spread(
    sources: Sources, scalars: Scalars, voter: tuple[int, int], count: int, landings: LandingBatch
) -> None:
    """Fill in what follows from the sigma of `count` sources of a voter."""
    plane = sources.sigma_plane[voter]
    shared = sources.sigma.shape[1] == 1 and sources.sigma.shape[2] == 1
    if not (shared and landings.sigma[0] == sources.sigma[plane, 0, 0]):  # as those before
        _spread(sources, scalars, plane, count, landings)


@part
def _spread(
    sources: Sources, scalars: Scalars, plane: int, count: int, landings: LandingBatch
) -> None:
    width = sources.confidence.shape[2]
    _, rows, columns = sources.sigma.shape
    if rows == 1 and columns == 1:
        count = landings.sigma.shape[0]
    for n in range(count):
        i, j = landings.number[n] // width, landings.number[n] % width
        landings.sigma[n] = sigma_of(sources, plane, i, j)
    gaussian.curves(landings, count, scalars.truncate, scalars.rule == ADDITIVE)


@inlined
def _find_ends(
    ends: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    p: Doubles,
    radius: Doubles,
    count: int,
    pixels: tuple[float, float],
) -> None:
    """The pixels with |x0 − p| ≤ radius of every source: the first, and one past the last.

    They are counted from the first of the `pixels` that there are, which is given with the last;
    both are 0 where a source reaches none.
    """
    start, last = pixels
    for n in range(0, count, LANES):
        q, r = load(p, n, LANES), load(radius, n, LANES)
        low, high = ceil(q - r), floor(q + r)
        # q ± r is rounded, x0 − p hardly ever: the specification's words decide at the edge.
        low = where(q - (low - 1.0) <= r, low - 1.0, where(q - low > r, low + 1.0, low))
        high = where(high + 1.0 - q <= r, high + 1.0, where(high - q > r, high - 1.0, high))
        low, high = at_least(low, start), at_most(high, last)
        cast = (q > -math.inf) & (q < math.inf) & (low <= high)
        store(ends[0], n, where(cast, low - start, 0.0))
        store(ends[1], n, where(cast, high - start + 1.0, 0.0))


@jit
def reach_of_patches(
    sources: Sources, scalars: Scalars, m: int, first: int, landings: LandingBatch, reach: Doubles
) -> None:
    """Which points of the plane of map m the patches from number `first` on reach.

    reach[n] = top, left, bottom, right, with the bottom above the top where nothing votes.
    """
    height, width = sources.confidence.shape[1:]
    for n in range(reach.shape[0]):
        v, upper, lower, start, stop = patch(first + n, height, width)
        top = left = full(math.inf, LANES)
        bottom = right = full(-math.inf, LANES)
        for i in range(upper, lower):
            count = collect(sources, scalars, (m, v), i, (start, stop), 0, landings, False)
            spread(sources, scalars, (m, v), count, landings)
            left, right = _widen(left, right, landings.p_x, landings.radius, count)
            top, bottom = _widen(top, bottom, landings.p_y, landings.radius, count)
        reach[n, 0], reach[n, 1] = least(top), least(left)
        reach[n, 2], reach[n, 3] = greatest(bottom), greatest(right)


@inlined
def _widen(
    lowest: Floats, highest: Floats, p: Doubles, radius: Doubles, count: int
) -> tuple[Floats, Floats]:
    """Widen [lowest, highest] by p ± radius of the sources n < count, lane by lane."""
    for n in range(0, count, LANES):
        q, r = load(p, n, LANES), load(radius, n, LANES)
        votes = present(n, count, LANES) & (q > -math.inf) & (q < math.inf)
        lowest = where(votes & (q - r < lowest), q - r, lowest)
        highest = where(votes & (q + r > highest), q + r, highest)
    return lowest, highest
