"""Plateaus of pixels of one value, which may lie in any number of chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["components", "middles"]

Int64 = npt.NDArray[np.int64]


def components(place: Int64, values: npt.NDArray[Any], width: int, pixels: int) -> Int64:
    """Number the plateaus to which pixels belong, by the 8 neighbours.

    Parameters
    ----------
    place : int64 array [n]
        Flat indices into maps of `pixels` pixels and `width` columns, ascending.
    values : array [n]
        What the maps have there.
    width, pixels : int
        Of one map.

    Returns
    -------
    int64 array [n]
        The same number for all pixels of a plateau: the index of its first one.
    """
    found = np.arange(len(place))
    first, second = [], []
    column = place % width
    for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = place + down * width + across
        index = np.searchsorted(place, there).clip(0, len(place) - 1)
        near = (place[index] == there) & (values[index] == values)
        near &= (column + across >= 0) & (column + across < width)
        near &= place // pixels == there // pixels
        first.append(np.flatnonzero(near))
        second.append(index[near])
    one, other = np.concatenate(first), np.concatenate(second)
    while True:  # the least number spreads; shortcuts make that logarithmic in a plateau's width
        least = np.minimum(found[one], found[other])
        before = found.copy()
        np.minimum.at(found, found[one], least)
        np.minimum.at(found, found[other], least)
        found = found[found]
        if np.array_equal(found, before):
            return found


def middles(place: Int64, number: Int64, width: int) -> Int64:
    """Return the index of the pixel nearest to the mean of each plateau; see `find_peaks`.

    Parameters
    ----------
    place, number : int64 array [n]
        Pixels, and the plateaus to which they belong.
    width : int
        Columns of a map.

    Returns
    -------
    int64 array [plateaus]
        Indices into `place`.
    """
    _, group = np.unique(number, return_inverse=True)
    size = np.bincount(group)
    away = []
    for each in (place // width, place % width):
        total = np.zeros(len(size), np.int64)
        np.add.at(total, group, each)
        distance = each - ((2 * total + size - 1) // (2 * size))[group]
        away.append(2 * np.abs(distance) + (distance > 0))
    order = np.lexsort((away[1], away[0], group))
    firsts = np.flatnonzero(np.diff(group[order], prepend=-1))
    found: Int64 = order[firsts]
    return found
