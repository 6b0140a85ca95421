"""The part of a map that is on the screen, at the screen's resolution: votes for that alone."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn

__all__ = ["Widths", "Window", "votes_in", "widths_of"]

_RATIO = 1.07  # of two widths, between whose maps others are a mean to 0.3 % of the peak
_ROOM = 2**28  # bytes of maps that are kept

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]

_lock = Lock()  # several workers compute at the same time
_prepared: WeakKeyDictionary[mdn.Fields, dict[Any, Any]] = WeakKeyDictionary()
_widths: WeakKeyDictionary[mdn.Fields, Widths] = WeakKeyDictionary()


class Window(NamedTuple):
    """Rows and columns of the output, of which every `step`-th pixel is wanted."""

    top: int
    left: int
    bottom: int
    right: int
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns of pixels are wanted."""
        rows, columns = self.bottom - self.top, self.right - self.left
        return -(-rows // self.step), -(-columns // self.step)


class _Sources(NamedTuple):
    """Offsets in pixels of a window, and where the votes of every row and column land."""

    offsets: Array
    by_row: tuple[Array, Array]  # lowest and highest y
    by_column: tuple[Array, Array]  # lowest and highest x


def votes_in(fields: mdn.Fields, key: Hashable, votes: mdn.Votes, window: Window) -> mdn.Votes:
    """Return the votes for the pixels of a window, without the sources that do not reach it.

    A vote's weight depends on distance over sigma only. So with positions, offsets and sigma all
    divided by the step, the map at pixel (i, j) is the whole map at pixel (top + step·i,
    left + step·j); of the additive rule, times step².

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The field set; its divided offsets are kept while it exists, for the next sigma.
    key : hashable
        Which of the fields vote.
    votes : mdn_cupy.Votes
        Their votes, in NumPy arrays.
    window : Window
        The pixels.

    Examples
    --------
    >>> fields = mdn.samples.load("pose")
    >>> votes = fields.votes("nose", sigma=8.0)
    >>> coarse = votes_in(fields, "nose", votes, Window(80, 100, 120, 220, 4)).noisy_or()
    >>> bool(np.allclose(coarse, votes.noisy_or()[80:120:4, 100:220:4], atol=1e-6))
    True
    """
    step = window.step
    (dy, dx), (y, x) = (
        (np.broadcast_to(pair, 2) / step).tolist() for pair in (votes.stride, votes.origin)
    )
    sources = _sources(fields, (key, step), votes, (dy, dx), (y, x))
    reach = votes.truncate * float(votes.sigma) / step
    top, left = window.top / step, window.left / step
    rows = _reaching(sources.by_row, top, window.shape[0], reach)
    columns = _reaching(sources.by_column, left, window.shape[1], reach)
    return votes.replace(
        confidence=votes.confidence[..., rows, columns],
        offsets=sources.offsets[..., rows, columns],
        sigma=votes.sigma / step,
        stride=(dy, dx),
        origin=(y - top + dy * rows.start, x - left + dx * columns.start),
        output_shape=window.shape,
    )


class Widths:
    """Maps of some widths, between which those of other widths are a mean.

    Examples
    --------
    >>> widths = Widths()
    >>> for sigma in (2.0, 2.1):
    ...     _ = widths.find("nose", sigma, lambda: (np.array([sigma**2]),))
    >>> widths.knows("nose", 2.05), widths.knows("nose", 2.2), widths.knows("eye", 2.05)
    (True, False, False)
    >>> print(widths.find("nose", 2.05, lambda: ())[0].round(2))
    [4.21]
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._known: list[tuple[float, Arrays]] = []

    def knows(self, key: Hashable, sigma: float) -> bool:
        """Whether `find` has nothing to compute."""
        with _lock:
            return self._around(key, sigma) is not None

    def find(self, key: Hashable, sigma: float, compute: Callable[[], Arrays]) -> Arrays:
        """Return the maps of a width, computed only where none of nearly this width are known.

        Parameters
        ----------
        key : hashable
            What else the maps depend on; those of one key are kept.
        sigma : float
            The width.
        compute : callable
            Returns the maps of just this width.
        """
        with _lock:
            around = self._around(key, sigma)
        if around is None:
            maps = compute()
            with _lock:
                self._keep(key, sigma, maps)
            return maps
        (low, below), (high, above) = around
        share = math.log(sigma / low) / math.log(high / low) if high > low else 0.0
        return tuple(a + share * (b - a) for a, b in zip(below, above, strict=True))

    def _around(
        self, key: Hashable, sigma: float
    ) -> tuple[tuple[float, Arrays], tuple[float, Arrays]] | None:
        known = self._known if key == self._key else []
        n = bisect(known, sigma, key=lambda each: each[0])
        if n and known[n - 1][0] == sigma:
            return known[n - 1], known[n - 1]
        if 0 < n < len(known) and known[n][0] <= _RATIO * known[n - 1][0]:
            return known[n - 1], known[n]
        return None

    def _keep(self, key: Hashable, sigma: float, maps: Arrays) -> None:
        if key != self._key:
            self._key, self._known = key, []
        known = self._known
        if (len(known) + 1) * sum(each.nbytes for each in maps) > _ROOM:
            known.clear()
        known.insert(bisect(known, sigma, key=lambda each: each[0]), (sigma, maps))


def widths_of(fields: mdn.Fields) -> Widths:
    """Return the maps of a field set that are known; they are kept while it exists."""
    with _lock:
        return _widths.setdefault(fields, Widths())


def _sources(
    fields: mdn.Fields,
    key: Hashable,
    votes: mdn.Votes,
    stride: tuple[float, float],
    origin: tuple[float, float],
) -> _Sources:
    """Return the sources of votes at a coarser resolution, which are kept for the next window."""
    with _lock:
        kept = _prepared.setdefault(fields, {})
        if kept.get("key") != key:  # one at a time: each is as large as the offsets
            offsets = np.asarray(votes.offsets)
            step = float(np.broadcast_to(votes.stride, 2)[0]) / stride[0]
            offsets = offsets / offsets.dtype.type(step) if step != 1 else offsets
            silent = votes.confidence == 0
            extents = []
            for axis, (d, o) in enumerate(zip(stride, origin, strict=True)):
                ways = offsets[..., 1 - axis, :, :]
                ways = np.where(silent, np.nan, ways)
                across = tuple(n for n in range(ways.ndim) if n != ways.ndim - 2 + axis)
                at = o + d * np.arange(ways.shape[axis - 2])
                extents.append(
                    (at + np.fmin.reduce(ways, across), at + np.fmax.reduce(ways, across))
                )
            kept.update(key=key, sources=_Sources(offsets, *extents))
        sources: _Sources = kept["sources"]
        return sources


def _reaching(extents: tuple[Array, Array], first: float, size: int, reach: float) -> slice:
    """Return the rows, or columns, between the first and the last that reach some pixels."""
    lowest, highest = extents
    reach += 1e-3 * (1 + reach)  # of rounding
    (at,) = np.nonzero((highest >= first - reach) & (lowest <= first + size - 1 + reach))
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 1)
