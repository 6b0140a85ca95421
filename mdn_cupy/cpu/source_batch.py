"""Groups of sources in vectors: which reach a tile, their box, and their least product."""

from __future__ import annotations

from typing import NamedTuple

from mdn_cupy.cpu.inlining import inlined
from mdn_cupy.cpu.simd import (
    LANES,
    Mask,
    at_least,
    element,
    greatest,
    lanes_set,
    least,
    load,
    lowest_bit,
    move,
    present,
    product,
    where,
)
from mdn_cupy.cpu.sources import LandingBatch

__all__ = ["Box", "bring_to_front", "enclose", "least_product", "survey"]

_FAR = 2**31 - 1


class Box(NamedTuple):
    """Around all windows of a group."""

    upper: int
    lower: int
    left: int
    right: int
    longest: int  # side of a window
    alike: bool  # whether all are the same window


@inlined
def _reaching(landings: LandingBatch, first: int, count: int) -> Mask:
    """Which of `count` sources, from the first on, reach a pixel."""
    rows = load(landings.upper, first, LANES) < load(landings.lower, first, LANES)
    columns = load(landings.left, first, LANES) < load(landings.right, first, LANES)
    return present(first, count, LANES) & rows & columns


@inlined
def survey(landings: LandingBatch, count: int, most: float) -> tuple[bool, bool]:
    """Whether one of `count` sources reaches no pixel, and whether the confidence of one is above
    `most`."""
    silent = certain = present(0, 0, LANES)
    for n in range(0, count, LANES):
        inside = present(n, count, LANES)
        silent = silent | (inside ^ _reaching(landings, n, count))
        certain = certain | (inside & (load(landings.confidence, n, LANES) > most))
    return lanes_set(silent) != 0, lanes_set(certain) != 0


@inlined
def bring_to_front(landings: LandingBatch, count: int) -> int:
    """Move what is known of the sources that reach a pixel to the front; return how many."""
    window = landings.upper, landings.lower, landings.left, landings.right
    vote = landings.p_x, landings.p_y, landings.confidence
    curve = landings.scale, landings.change, landings.peak
    end = 0
    for first in range(0, count, LANES):
        reaching = lanes_set(_reaching(landings, first, count))
        while reaching:
            n = first + lowest_bit(reaching)
            move(window, end, n)
            move(vote, end, n)
            move(curve, end, n)
            end, reaching = end + 1, reaching & (reaching - 1)
    return end


@inlined
def enclose(landings: LandingBatch, first: int, end: int) -> Box:
    """Find the box around the windows of up to LANES sources from the first on."""
    inside = present(first, end, LANES)
    upper, lower = load(landings.upper, first, LANES), load(landings.lower, first, LANES)
    left, right = load(landings.left, first, LANES), load(landings.right, first, LANES)
    rows, columns = lower - upper, right - left
    differ = (
        (upper != element(landings.upper, first))
        | (lower != element(landings.lower, first))
        | (left != element(landings.left, first))
        | (right != element(landings.right, first))
    )
    return Box(
        least(where(inside, upper, _FAR)),
        greatest(where(inside, lower, 0)),
        least(where(inside, left, _FAR)),
        greatest(where(inside, right, 0)),
        greatest(where(inside, where(rows > columns, rows, columns), 0)),
        lanes_set(differ & inside) == 0,
    )


@inlined
def least_product(landings: LandingBatch, first: int, end: int, floor: float) -> float:
    """A product that those of the factors 1 − w·c of a group cannot fall below.

    The least factor of a vote is 1 − c, and its inverse where c < 0; below −10¹⁷, a group's product
    may leave the range whatever is done.
    """
    factor = 1.0 - load(landings.confidence, first, LANES)
    factor = where(factor <= 1.0, at_least(factor, floor), 1.0 / factor)
    counts = present(first, end, LANES) & (factor > 0.0)  # a NaN does not
    return product(where(counts, factor, 1.0))
