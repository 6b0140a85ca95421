"""The equations in float64 NumPy, one vote at a time: the specification of this library.

Nothing here is clever or fast; every backend is tested against it. The functions have the names and
arguments of the public ones and return float64 arrays. They share no code with them but the types
and the refusal of masked arrays.

Only the saturation floor depends on the dtype given: a factor 1 − w·c is floored at one ulp below
one of the dtype in which the library computes (2⁻²⁴ for float32 fields, 2⁻⁵³ for float64), where
the log-complement would be −∞. Gradients are exact: the product over the *other* voters, even where
a factor is 0.

**Crops.** The map on rows r0 … and columns c0 … is the problem with origin − (r0, c0) and that
output shape. Positions p = (t + s·i) + o and distances x0 − p are float64, so that moving the
origin by whole pixels changes a distance by its rounding only. On maps of up to 2¹³ pixels a side:

- Nothing is rounded where t and s have few binary digits (16, 1.5, −0.25) and the offsets are
  float32 and 0 or at least 2⁻¹⁷: their last bit is then 2⁻⁴⁰ or more, and p has that bit. A crop
  has the very windows of the whole map, a pixel whose distance *is* truncate·σ included.
- Elsewhere (t = 0.1, s = 1/3, float64 offsets) each of the operations, of t − r0 too, is off by
  2⁻⁴¹ at most, and two distances by less than 2⁻³⁸ of a pixel. Only a pixel that is so close to a
  window's edge could change sides: one in 10¹¹ of those next to an edge.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import refuse_masked
from mdn_cupy.peaks import Peaks
from mdn_cupy.problem import Gradients, VoteKwargs

__all__ = [
    "additive",
    "additive_vjp",
    "find_peaks",
    "instances",
    "log_complement",
    "log_complement_vjp",
    "noisy_or",
    "noisy_or_vjp",
    "peak_spread",
    "peaks",
    "plain_sum",
    "plain_sum_vjp",
]

Array = npt.ArrayLike
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Vote:
    """One source's vote: where it reaches and with what weight."""

    source: tuple[int, ...]  # index into the broadcast (..., H, W)
    window: tuple[Any, ...]  # index of the output pixels within truncate·σ: leading, rows, columns
    c: float
    sigma: float
    dx: Float64  # x0_x − p_x, [1, columns]
    dy: Float64  # x0_y − p_y, [rows, 1]
    w: Float64  # exp(−‖x0 − p‖² / 2σ²), [rows, columns]


@dataclass(frozen=True)
class _Fields:
    """The fields in float64, broadcast against each other, and the geometry of the vote."""

    confidence: Float64  # [..., H, W]
    offsets: Float64  # [..., 2, H, W]
    sigma: Float64  # [..., H, W]
    truncate: float
    stride: tuple[float, float]  # y, x
    origin: tuple[float, float]
    aggregate: int | None
    output_shape: tuple[int, int]
    floor: float

    @property
    def result_shape(self) -> tuple[int, ...]:
        leading = list(self.confidence.shape[:-2])
        if self.aggregate is not None:
            del leading[self.aggregate]
        return (*leading, *self.output_shape)

    def cotangent(self, given: Any) -> Float64:
        """∂loss/∂map in float64, of the map's shape."""
        refuse_masked("cotangent", given)
        return np.broadcast_to(np.asarray(given, dtype=np.float64), self.result_shape)

    def votes(self) -> Iterator[_Vote]:
        for source in np.ndindex(self.confidence.shape):
            *leading, i, j = source
            o_x, o_y = (float(o) for o in self.offsets[(*leading, slice(None), i, j)])
            p_x = (self.origin[1] + self.stride[1] * j) + o_x
            p_y = (self.origin[0] + self.stride[0] * i) + o_y
            c, sigma = float(self.confidence[source]), float(self.sigma[source])
            if not (np.isfinite(p_x) and np.isfinite(p_y) and sigma > 0):
                continue
            rows, dy = self._reach(p_y, sigma, self.output_shape[0])
            columns, dx = self._reach(p_x, sigma, self.output_shape[1])
            if self.aggregate is not None:
                del leading[self.aggregate]
            yield _Vote(
                source=source,
                window=(*leading, rows, columns),
                c=c,
                sigma=sigma,
                dx=dx[None, :],
                dy=dy[:, None],
                w=np.exp(-(dx[None, :] ** 2 + dy[:, None] ** 2) / (2 * sigma**2)),
            )

    def _reach(self, p: float, sigma: float, size: int) -> tuple[slice, Float64]:
        """Return the pixels of one axis within truncate·σ of p, and their distances x0 − p."""
        distance = np.arange(size, dtype=np.float64) - p
        within = np.flatnonzero(np.abs(distance) <= self.truncate * sigma)
        if within.size == 0:
            return slice(0, 0), distance[:0]
        reach = slice(within[0], within[-1] + 1)
        return reach, distance[reach]


def noisy_or(
    confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Float64:
    """Noisy-or map m = 1 − Π(1 − w·c), Eq. 2; see `mdn_cupy.Votes.noisy_or`.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy import reference
    >>> c = np.zeros((5, 5)); c[2, 1] = 0.5
    >>> o = np.zeros((2, 5, 5)); o[0] = 1.0
    >>> float(reference.noisy_or(c, o, 1.0)[2, 2])
    0.5
    """
    m: Float64 = 0 - np.expm1(log_complement(confidence, offsets, sigma, **options))
    return m


def log_complement(
    confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Float64:
    """L = Σ log(1 − w·c) = log(1 − m); see `mdn_cupy.Votes.log_complement`."""
    fields = _fields(confidence, offsets, sigma, **options)
    total = np.zeros(fields.result_shape)
    for vote in fields.votes():
        total[vote.window] += np.log1p(np.maximum(-vote.w * vote.c, fields.floor - 1))
    return total


def additive(
    confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Float64:
    """Additive map s = Σ w·c / (2πσ²), Eq. 3 and 6; see `mdn_cupy.Votes.additive`."""
    fields = _fields(confidence, offsets, sigma, **options)
    s = np.zeros(fields.result_shape)
    for vote in fields.votes():
        s[vote.window] += vote.w * vote.c / (2 * np.pi * vote.sigma**2)
    return s


def plain_sum(
    confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Float64:
    """Plain sum s = Σ w·c, Eq. 3 and 4; see `mdn_cupy.Votes.plain_sum`.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy import reference
    >>> c = np.zeros((5, 5)); c[2, 1] = 0.5
    >>> float(reference.plain_sum(c, np.zeros((2, 5, 5)), 1.0)[2, 1])
    0.5
    """
    fields = _fields(confidence, offsets, sigma, **options)
    s = np.zeros(fields.result_shape)
    for vote in fields.votes():
        s[vote.window] += vote.w * vote.c
    return s


def noisy_or_vjp(
    cotangent: Array, confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Gradients:
    """Return the gradients of a loss whose cotangent ∂loss/∂m is given (supplement, section 1)."""
    fields = _fields(confidence, offsets, sigma, **options)
    log_product = np.zeros(fields.result_shape)  # over the factors that are not 0
    zeros = np.zeros(fields.result_shape, dtype=int)
    for vote in fields.votes():
        factor = np.maximum(1 - vote.w * vote.c, 0)
        log_product[vote.window] += np.log(np.where(factor == 0, 1, factor))
        zeros[vote.window] += factor == 0

    gradients = _Accumulator(fields, cotangent)
    for vote in fields.votes():
        factor = np.maximum(1 - vote.w * vote.c, 0)
        own = factor == 0
        others = np.exp(log_product[vote.window] - np.log(np.where(own, 1, factor)))
        others = np.where(zeros[vote.window] - own > 0, 0, others)
        gradients.add(vote, others)
    return gradients.reduced(confidence, offsets, sigma)


def log_complement_vjp(
    cotangent: Array, confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Gradients:
    """Return the gradients of a loss whose cotangent ∂loss/∂L is given: φ′ = −1 / (1 − w·c)."""
    fields = _fields(confidence, offsets, sigma, **options)
    gradients = _Accumulator(fields, cotangent)
    for vote in fields.votes():
        gradients.add(vote, -1 / np.maximum(1 - vote.w * vote.c, fields.floor))
    return gradients.reduced(confidence, offsets, sigma)


def additive_vjp(
    cotangent: Array, confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Gradients:
    """Return the gradients of a loss whose cotangent ∂loss/∂s of the additive map is given."""
    fields = _fields(confidence, offsets, sigma, **options)
    gradients = _Accumulator(fields, cotangent)
    for vote in fields.votes():
        gradients.add(vote, 1 / (2 * np.pi * vote.sigma**2))
        gradients.sigma[vote.source] -= 2 / vote.sigma * vote.c * gradients.confidence[vote.source]
    return gradients.reduced(confidence, offsets, sigma)


def plain_sum_vjp(
    cotangent: Array, confidence: Array, offsets: Array, sigma: Array, **options: Unpack[VoteKwargs]
) -> Gradients:
    """Return the gradients of a loss whose cotangent ∂loss/∂s of the plain sum is given."""
    fields = _fields(confidence, offsets, sigma, **options)
    gradients = _Accumulator(fields, cotangent)
    for vote in fields.votes():
        gradients.add(vote, 1.0)
    return gradients.reduced(confidence, offsets, sigma)


def find_peaks(
    evidence: Array,
    *,
    threshold: float,
    min_distance: float = 1.0,
    max_peaks: int | None = None,
    border: int = 0,
    score: Array | None = None,
) -> Peaks:
    """Return all peaks of evidence maps; see `mdn_cupy.find_peaks`.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy import reference
    >>> evidence = np.zeros((4, 9)); evidence[1, 2:5] = 2.0  # a plateau
    >>> peaks = reference.find_peaks(evidence, threshold=1.0)
    >>> peaks.x.tolist(), peaks.y.tolist(), peaks.evidence.tolist()
    ([3.0], [1.0], [2.0])
    """
    return _located(evidence, score, threshold, min_distance, max_peaks, border)[0]


def peaks(
    confidence: Array,
    offsets: Array,
    sigma: Array,
    *,
    threshold: float,
    rule: str = "noisy_or",
    min_distance: float = 1.0,
    max_peaks: int | None = None,
    border: int = 0,
    **options: Unpack[VoteKwargs],
) -> Peaks:
    """Return all peaks of the evidence with the spread of their votes; see `mdn_cupy.Votes.peaks`.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy import reference
    >>> c, o = np.full((1, 5), 0.5), np.zeros((2, 1, 5))
    >>> o[0] = [[1.75, 1.25, 0, -0.75, -2.25]]  # all land around column 2
    >>> found = reference.peaks(c, o, 4.0, rule="plain_sum", threshold=1.0)
    >>> found.voters.round(2).tolist(), found.xx.round(2).tolist()
    ([5.0], [0.05])
    """
    maps = {"noisy_or": log_complement, "additive": additive, "plain_sum": plain_sum}
    total = maps[rule](confidence, offsets, sigma, **options)
    evidence, score = (-total, -np.expm1(total)) if rule == "noisy_or" else (total, total)
    found, pixels = _located(evidence, score, threshold, min_distance, max_peaks, border)
    number, row, column = pixels.T
    columns: Any = peak_spread(
        number, row, column, confidence, offsets, sigma, rule=rule, **options
    )
    return dataclasses.replace(found, **columns)


def peak_spread(
    number: Array,
    row: Array,
    column: Array,
    confidence: Array,
    offsets: Array,
    sigma: Array,
    *,
    rule: str = "noisy_or",
    **options: Unpack[VoteKwargs],
) -> dict[str, Float64]:
    """Return the columns xx, xy, yy and voters of `mdn_cupy.Peaks` for pixels of the maps.

    The share of a vote is its term of the pixel's evidence over the sum of all terms. The
    covariance is that of the landing points with the shares as weights, and the effective number
    of voters is (Σ share)² / Σ share²; all are 0 where nothing voted.
    """
    fields = _fields(confidence, offsets, sigma, **options)
    pixels = list(zip(*(np.ravel(x).tolist() for x in (number, row, column)), strict=True))
    found: list[list[tuple[float, float, float]]] = [[] for _ in pixels]  # term, p_x, p_y
    for vote in fields.votes():
        *leading, rows, columns = vote.window
        shape = fields.result_shape[:-2]
        of_map = np.ravel_multi_index(leading, shape) if leading else 0
        for votes, (m, i, j) in zip(found, pixels, strict=True):
            if m != of_map or not (rows.start <= i < rows.stop):
                continue
            if not columns.start <= j < columns.stop:
                continue
            dx, dy = vote.dx[0, j - columns.start], vote.dy[i - rows.start, 0]
            v = vote.w[i - rows.start, j - columns.start] * vote.c
            term = {
                "noisy_or": -np.log(max(1 - v, fields.floor)),
                "additive": v / (2 * np.pi * vote.sigma**2),
                "plain_sum": v,
            }[rule]
            votes.append((float(term), j - dx, i - dy))
    table = {name: np.zeros(len(pixels)) for name in ("xx", "xy", "yy", "voters")}
    for n, votes in enumerate(found):
        term, x, y = np.array(votes).reshape(-1, 3).T
        if not term.sum() > 0:
            continue
        share = term / term.sum()
        dx, dy = x - (share * x).sum(), y - (share * y).sum()
        for name, product in (("xx", dx * dx), ("xy", dx * dy), ("yy", dy * dy)):
            table[name][n] = (share * product).sum()
        table["voters"][n] = share.sum() ** 2 / (share**2).sum()
    return table


def instances(
    peaks: Peaks,
    confidence: Array,
    offsets: Array,
    sigma: Array,
    *,
    radius: float,
    **options: Unpack[VoteKwargs],
) -> npt.NDArray[np.int32]:
    """Return the number from 1 of the peak to which each source adds most evidence, [..., H, W].

    0 where it adds none to any, or where that peak is farther from its landing point than `radius`.
    A peak's evidence is taken at its sub-pixel position; all evidence terms of a vote fall with the
    distance, so that the largest is that of the nearest peak. Of two as near it is the first.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy import reference
    >>> c, o = np.full((1, 7), 0.5), np.zeros((2, 1, 7))
    >>> peaks = reference.find_peaks([[0.0, 1, 0, 0, 0, 1, 0]], threshold=0.5)
    >>> reference.instances(peaks, c, o, 1.0, radius=1)
    array([[1, 1, 1, 0, 2, 2, 2]], dtype=int32)
    """
    fields = _fields(confidence, offsets, sigma, **options)
    labels = np.zeros(fields.confidence.shape, np.int32)
    for source in np.ndindex(labels.shape):
        *leading, i, j = source
        c, width = fields.confidence[source], fields.sigma[source]
        p_x = (fields.origin[1] + fields.stride[1] * j) + fields.offsets[(*leading, 0, i, j)]
        p_y = (fields.origin[0] + fields.stride[0] * i) + fields.offsets[(*leading, 1, i, j)]
        if not (c > 0 and width > 0 and np.isfinite(p_x) and np.isfinite(p_y)):
            continue
        if fields.aggregate is not None:
            del leading[fields.aggregate]
        number = np.ravel_multi_index(leading, fields.result_shape[:-2]) if leading else 0
        dx, dy = np.abs(peaks.x - p_x), np.abs(peaks.y - p_y)
        near = (dx**2 + dy**2 <= radius**2) & (peaks.map == number)
        near &= (dx <= fields.truncate * width) & (dy <= fields.truncate * width)
        distance = np.where(near, dx**2 + dy**2, np.inf)
        labels[source] = 1 + distance.argmin() if near.any() else 0
    return labels


def _located(
    evidence: Array,
    score: Array | None,
    threshold: float,
    min_distance: float,
    max_peaks: int | None,
    border: int,
) -> tuple[Peaks, npt.NDArray[np.int64]]:
    """Return peaks, and map, row and column of the pixel of each, [n, 3]."""
    given = np.asarray(evidence)
    maps = given.astype(np.float64).reshape(math.prod(given.shape[:-2]), *given.shape[-2:])
    scores = maps if score is None else np.asarray(score, np.float64).reshape(maps.shape)
    least = float(np.result_type(given, np.float32).type(threshold))
    rows: list[tuple[float, ...]] = []
    pixels: list[tuple[int, int, int]] = []
    for number, values in enumerate(maps):
        height, width = values.shape
        middles = [_middle(plateau) for plateau in _plateaus(values, least)]
        inside = [
            (i, j)
            for i, j in middles
            if border <= i < height - border and border <= j < width - border
        ]
        kept: list[tuple[int, int]] = []
        for i, j in sorted(inside, key=lambda pixel: (-values[pixel], pixel)):
            near = ((y - i) ** 2 + (x - j) ** 2 < min_distance * min_distance for y, x in kept)
            if not any(near):
                kept.append((i, j))
        for i, j in kept[:max_peaks]:
            x, y = _vertex(values, i, j)
            rows.append((x, y, float(scores[number, i, j]), float(values[i, j])))
            pixels.append((number, i, j))
    table = np.array(rows, np.float64).reshape(-1, 4)
    where = np.array(pixels, np.int64).reshape(-1, 3)
    columns = dict(zip(("x", "y", "score", "evidence"), table.T, strict=True))
    return Peaks(map=where[:, 0], maps_shape=given.shape[:-2], **columns), where


def _plateaus(values: Float64, least: float) -> Iterator[list[tuple[int, int]]]:
    """Find connected pixels of one value, `least` or more, that no neighbour exceeds."""
    seen = np.zeros(values.shape, bool)
    for start in np.ndindex(*values.shape):
        value = values[start]
        if seen[start] or not (value >= least and value > -np.inf):
            continue
        plateau, exceeded = [start], False
        seen[start] = True
        for i, j in plateau:  # which grows meanwhile
            for pixel in np.ndindex(3, 3):
                y, x = i + pixel[0] - 1, j + pixel[1] - 1
                if not (0 <= y < values.shape[0] and 0 <= x < values.shape[1]):
                    continue
                exceeded |= bool(values[y, x] > value)
                if values[y, x] == value and not seen[y, x]:
                    seen[y, x] = True
                    plateau.append((y, x))
        if not exceeded:
            yield plateau


def _middle(plateau: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the pixel nearest to the mean: by row, then by column; of two the first."""
    mean_i, mean_j = (int(np.ceil(sum(n) / len(plateau) - 0.5)) for n in zip(*plateau, strict=True))
    return min(
        plateau,
        key=lambda p: (abs(p[0] - mean_i), p[0] > mean_i, abs(p[1] - mean_j), p[1] > mean_j),
    )


def _vertex(values: Float64, i: int, j: int) -> tuple[float, float]:
    """(x, y) of the top of the paraboloid through the logarithms of the 3 × 3 pixels around (i, j).

    A neighbour beyond the edge is the one opposite, and where there is none either, the pixel.
    """

    def log(di: int, dj: int) -> float:
        height, width = values.shape
        di, dj = (0 if height == 1 else di), (0 if width == 1 else dj)
        di, dj = (di if 0 <= i + di < height else -di), (dj if 0 <= j + dj < width else -dj)
        value, peak = values[i + di, j + dj], values[i, j]
        if value == peak or peak <= 0:
            return 0.0
        return float(np.log(max(value / peak, 1e-6))) if np.isfinite(value) else np.log(1e-6)

    slope = np.array([log(0, 1) - log(0, -1), log(1, 0) - log(-1, 0)]) / 2
    xx, yy = log(0, 1) + log(0, -1), log(1, 0) + log(-1, 0)
    xy = (log(1, 1) + log(-1, -1) - log(-1, 1) - log(1, -1)) / 4
    if not xx * yy - xy * xy > 0.1 * xx * yy:
        xy = 0.0  # a ridge
    if xx * yy - xy * xy <= 0:
        return float(j), float(i)
    step = np.clip(-np.linalg.solve([[xx, xy], [xy, yy]], slope), -1, 1)
    return float(j + step[0]), float(i + step[1])


class _Accumulator:
    """∂/∂c, ∂/∂o and ∂/∂σ of every source, from the slope ∂map/∂(w·c) at each of its votes."""

    def __init__(self, fields: _Fields, cotangent: Array) -> None:
        self.cotangent = fields.cotangent(cotangent)
        self.confidence = np.zeros(fields.confidence.shape)
        self.offsets = np.zeros(fields.offsets.shape)
        self.sigma = np.zeros(fields.confidence.shape)

    def add(self, vote: _Vote, slope: Float64 | float) -> None:
        *leading, i, j = vote.source
        pull = self.cotangent[vote.window] * slope * vote.w
        self.confidence[vote.source] = pull.sum()
        self.offsets[(*leading, 0, i, j)] = (pull * vote.c * vote.dx).sum() / vote.sigma**2
        self.offsets[(*leading, 1, i, j)] = (pull * vote.c * vote.dy).sum() / vote.sigma**2
        square = vote.dx**2 + vote.dy**2
        self.sigma[vote.source] = (pull * vote.c * square).sum() / vote.sigma**3

    def reduced(self, confidence: Any, offsets: Any, sigma: Any) -> Gradients:
        return Gradients(
            _sum_to(self.confidence, np.shape(confidence)),
            _sum_to(self.offsets, np.shape(offsets)),
            _sum_to(self.sigma, np.shape(sigma)),
        )


def _fields(
    confidence: Any,
    offsets: Any,
    sigma: Any,
    *,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> _Fields:
    for name, value in (("confidence", confidence), ("offsets", offsets), ("sigma", sigma)):
        refuse_masked(name, value)
    confidence, offsets = np.asarray(confidence), np.asarray(offsets)
    computed = np.result_type(confidence, offsets, np.float32)
    c, o_x, o_y, sigma = np.broadcast_arrays(
        *(
            np.asarray(x, dtype=np.float64)
            for x in (confidence, offsets[..., 0, :, :], offsets[..., 1, :, :], sigma)
        )
    )
    s_y, s_x = (float(s) for s in np.broadcast_to(stride, 2))
    t_y, t_x = (float(t) for t in np.broadcast_to(origin, 2))
    height, width = c.shape[-2:]
    if output_shape is None:
        last = (int(np.floor(s * (n - 1))) if n else -1 for s, n in ((s_y, height), (s_x, width)))
        output_shape = tuple(n + 1 for n in last)
    if aggregate is not None and aggregate < 0:
        aggregate += c.ndim
    return _Fields(
        confidence=c,
        offsets=np.stack([o_x, o_y], axis=-3),
        sigma=sigma,
        truncate=truncate,
        stride=(s_y, s_x),
        origin=(t_y, t_x),
        aggregate=aggregate,
        output_shape=(int(output_shape[0]), int(output_shape[1])),
        floor=float(np.finfo(computed).epsneg),
    )


def _sum_to(gradient: Float64, shape: tuple[int, ...]) -> Float64:
    """Sum over the axes along which an argument of this shape was broadcast."""
    added = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(added)))
    stretched = tuple(n for n, size in enumerate(shape) if size == 1 and gradient.shape[n] != 1)
    return np.asarray(gradient.sum(axis=stretched, keepdims=True))
