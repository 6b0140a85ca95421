"""Provenance: the sources that voted for a pixel, and the footprint of one source's vote.

Both rules add up one evidence term a vote. `voters` lists the terms of one output pixel,
`footprint` those of one source. They are computed in float64 on the CPU, for arrays of any library,
and decide which pixels a vote reaches in the words of the specification; so the terms of a pixel
add up to what the maps have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array, integer, to_numpy
from mdn_cupy.problem import Rule, VoteProblem
from mdn_cupy.validation import is_ordered

__all__ = ["Footprint", "Voters", "footprint", "voters"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Voters:
    """The sources that voted for one output pixel, the strongest first.

    Attributes
    ----------
    source : int64 array [n, axes]
        Index of each source into the broadcast confidence shape (..., H, W): the row and the column
        come last, and before them, where sources of several parts vote, the part.
    confidence : float64 array [n]
        c.
    offsets : float64 array [n, 2]
        (o_x, o_y), in output pixels.
    landing : float64 array [n, 2]
        Where the vote lands: p = (p_x, p_y), columns and rows of the output.
    weight : float64 array [n]
        w = exp(−‖x₀ − p‖² / 2σ²) at the pixel.
    terms : float64 array [n]
        What the vote adds to the pixel's evidence: −log(1 − w·c) for the noisy-or, w·c / (2πσ²)
        for the additive rule, w·c for the plain sum.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> delta = mdn.samples.load("delta")
    >>> who = delta.votes("agreement", sigma=2.0).voters((34, 30))
    >>> len(who), float(who.share[0].round(4)), who.landing[0].tolist()
    (81, 0.0123, [30.0, 34.0])
    """

    source: Int64
    confidence: Float64
    offsets: Float64
    landing: Float64
    weight: Float64
    terms: Float64

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def evidence(self) -> float:
        """The pixel's evidence, the sum of the terms: −L for the noisy-or, else the map's value."""
        return float(self.terms.sum())

    @property
    def share(self) -> Float64:
        """Each vote's share of the pixel's evidence, [n]; the shares add up to 1."""
        return _shares(self.terms, np.asarray(self.evidence))


@dataclass(frozen=True, eq=False)
class Footprint:
    """What one source's vote adds, and to which pixels.

    Attributes
    ----------
    source : tuple of int
        Index of the source into the broadcast confidence shape (..., H, W).
    confidence : float
        c.
    offsets : (float, float)
        (o_x, o_y), in output pixels.
    landing : (float, float)
        Where the vote lands: p = (p_x, p_y), columns and rows of the output.
    window : tuple of int and slice
        Index of the pixels that it reaches in the vote map (..., Ho, Wo); empty slices where it
        reaches none.
    weight : float64 array [rows, columns]
        w at the pixels of the window.
    terms : float64 array [rows, columns]
        What the vote adds to their evidence; see `Voters`.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> vote = mdn.Votes(np.ones((1, 3)), np.zeros((2, 1, 3)), 0.25).footprint((0, 1))
    >>> vote.landing, vote.window, vote.weight.round(3).tolist()
    ((1.0, 0.0), (slice(0, 1, None), slice(0, 3, None)), [[0.0, 1.0, 0.0]])
    """

    source: Index
    confidence: float
    offsets: tuple[float, float]
    landing: tuple[float, float]
    window: tuple[Any, ...]
    weight: Float64
    terms: Float64

    def share(self, evidence: Array) -> Float64:
        """Return the vote's share of the evidence of each pixel in its window.

        Parameters
        ----------
        evidence : array [..., Ho, Wo]
            Of the whole map, `Votes.evidence`: −L for the noisy-or, else the map itself.

        Returns
        -------
        float64 array [rows, columns]
            0 where there is no evidence.
        """
        return _shares(self.terms, to_numpy(evidence, "evidence")[self.window])


def voters(problem: VoteProblem, pixel: Sequence[int], rule: Rule) -> Voters:
    """List the sources that voted for an output pixel; see `mdn_cupy.Votes.voters`."""
    *leading, row, column = _index("pixel", pixel, problem.result_shape, "the vote map")
    found = list(_votes_for(problem, tuple(leading), row, column))
    joined = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    source, c, o, p, s = joined if found else _no_voters(len(problem.batch) + 2)
    distance = np.array([column, row]) - p
    weight = _weight(distance[:, 0], distance[:, 1], s)
    terms = _terms(problem, rule, weight, c, s)
    order = np.argsort(-np.where(np.isnan(terms), np.inf, np.abs(terms)), kind="stable")
    return Voters(source[order], c[order], o[order], p[order], weight[order], terms[order])


def footprint(problem: VoteProblem, source: Sequence[int], rule: Rule) -> Footprint:
    """Find what one source's vote adds, and where; see `mdn_cupy.Votes.footprint`."""
    shape = (*problem.batch, *problem.source_shape)
    where = _index("source", source, shape, "the broadcast confidence")
    *leading, i, j = where
    all_c, all_o, all_s = _broadcast(problem)
    c, s = float(all_c[where]), float(all_s[where])
    o_x, o_y = (float(o) for o in all_o[(*leading, slice(None), i, j)])
    (y, x) = (t + s * n for t, s, n in zip(problem.origin, problem.stride, (i, j), strict=True))
    p = x + o_x, y + o_y
    casts = bool(np.isfinite(p).all()) and s > 0
    reach = problem.truncate * s if casts else -1.0
    rows, dy = _reach(p[1], reach, problem.output_shape[0])
    columns, dx = _reach(p[0], reach, problem.output_shape[1])
    if problem.aggregate is not None:
        del leading[problem.aggregate]
    weight = _weight(dx[None, :], dy[:, None], np.asarray(s))
    terms = _terms(problem, rule, weight, np.asarray(c), np.asarray(s))
    return Footprint(where, c, (o_x, o_y), p, (*leading, rows, columns), weight, terms)


def _index(name: str, index: Sequence[int], shape: Index, what: str) -> Index:
    """Check an index into an array of some shape; it does not count from the end."""
    try:
        if not is_ordered(index):
            raise TypeError
        found = tuple(integer(n) for n in index)
    except TypeError:
        raise TypeError(f"{name} must be integers, an index into {what}, got {index!r}") from None
    if len(found) != len(shape) or any(not 0 <= n < m for n, m in zip(found, shape, strict=True)):
        raise IndexError(f"{name} {found} is no index into {what} of shape {shape}")
    return found


def _broadcast(problem: VoteProblem) -> tuple[Any, Any, Any]:
    """Broadcast the fields' leading axes: [*batch, H, W], offsets [*batch, 2, H, W]."""
    shape = (*problem.batch, *problem.source_shape)
    return (
        np.broadcast_to(problem.confidence, shape),
        np.broadcast_to(problem.offsets, (*problem.batch, 2, *problem.source_shape)),
        np.broadcast_to(np.asarray(problem.sigma), shape),
    )


def _votes_for(
    problem: VoteProblem, leading: Index, row: int, column: int
) -> Iterator[tuple[Int64, Float64, Float64, Float64, Float64]]:
    """Find the voters of one pixel, plane by plane: source, c, o, p and σ of each."""
    confidence, offsets, sigma = _broadcast(problem)
    height, width = problem.source_shape
    y, x = (
        t + s * np.arange(size, dtype=np.float64)
        for t, s, size in zip(problem.origin, problem.stride, (height, width), strict=True)
    )
    axis = problem.aggregate
    for v in range(problem.voters):
        plane = leading if axis is None else (*leading[:axis], v, *leading[axis:])
        # The scalar is spread only over those that are near along the rows: most are not.
        shared = isinstance(problem.sigma, float)
        reach = problem.truncate * (problem.sigma if shared else sigma[plane].astype(np.float64))
        near = np.abs((x + offsets[plane][0]) - column) <= reach
        i, j = np.divmod(np.flatnonzero(near), max(width, 1))
        c, s = (np.asarray(field[plane][i, j], np.float64) for field in (confidence, sigma))
        o = np.asarray(offsets[plane][:, i, j], np.float64)
        p = np.stack([x[j] + o[0], y[i] + o[1]])
        cast = (np.abs(p[1] - row) <= problem.truncate * s) & (c != 0) & (s > 0)
        cast &= np.isfinite(p).all(axis=0)
        source = np.stack([*(np.full(len(i), n) for n in plane), i, j], axis=-1)
        yield source[cast], c[cast], o.T[cast], p.T[cast], s[cast]


def _no_voters(axes: int) -> tuple[Int64, Float64, Float64, Float64, Float64]:
    none = np.zeros(0)
    return np.zeros((0, axes), np.int64), none, np.zeros((0, 2)), np.zeros((0, 2)), none


def _reach(p: float, reach: float, size: int) -> tuple[slice, Float64]:
    """Return the pixels of one axis within reach of p, and their distances x0 − p."""
    distance = np.arange(size, dtype=np.float64) - p
    within = np.flatnonzero(np.abs(distance) <= reach)
    found = slice(int(within[0]), int(within[-1]) + 1) if within.size else slice(0, 0)
    return found, distance[found]


def _weight(dx: Float64, dy: Float64, sigma: Float64) -> Float64:
    weight: Float64 = np.exp(-((dx / sigma) ** 2 + (dy / sigma) ** 2) / 2)
    return weight


def _terms(
    problem: VoteProblem, rule: Rule, weight: Float64, c: Float64, sigma: Float64
) -> Float64:
    """Return evidence −log(1 − w·c) or (1/2πσ²)·w·c of votes."""
    with np.errstate(invalid="ignore", over="ignore"):  # as the map has it: 0 · ∞ is NaN
        votes = np.asarray(weight * c)
        if rule is Rule.NOISY_OR:
            return np.asarray(-np.log1p(-np.minimum(votes, 1 - problem.saturation_floor)))
        if rule is Rule.ADDITIVE:
            return votes / (2 * np.pi) / sigma / sigma
        return votes


def _shares(terms: Float64, evidence: npt.NDArray[Any]) -> Float64:
    whole = np.broadcast_to(np.asarray(evidence, np.float64), terms.shape)
    return np.divide(terms, whole, out=np.zeros(terms.shape), where=whole != 0)
