"""The CPU backend: the only importer of numba; the same entry points as `mdn_cupy.cuda`.

Forward, an output map is cut into tiles. A thread takes one from a queue, walks through the patches
of sources that reach it, in order, and keeps what falls into the tile: no two threads write one
pixel, and the order of a pixel's votes does not depend on them, so the bits are the same for any
number of them. A tile with very many voters (when the mass collapses, one has them all) is given to
several tasks, whose products are then combined in order. Backward, a task owns patches and gathers.

The Gaussian is separable: a vote has weights for the rows and the columns of its window, computed
for a group of sources at once. The noisy-or multiplies factors 1 − w·c in float64 and sets the
binary exponent aside before a product could underflow; m is read out as 1 − Π (1 − w·c), and one
logarithm per pixel is taken where L is wanted.

`planner` cuts maps into tiles and shares the sources among tasks; `thread_pool` runs these.
`forward` and `backward` are the kernels, compiled by Numba with `jit_options`; `sources`, `tiles`
and `atomic_counter` define their data; `windows`, `source_batch`, `gaussian`, `vote_batch`,
`product_range` and `moments` are their inner loops, in vectors of `simd`, which `inlining` compiles
into them. `peaks` finds where maps peak, `instances` which peak a source votes for, and
`peak_moments` how far a peak's votes spread. `landing` says where tiles of sources vote, for graphs
of chunks, and `half` reads half precision. docs/cpu_engine.md follows one vote through all this.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mdn_cupy.backend import Status
from mdn_cupy.cpu import backward, forward
from mdn_cupy.cpu.instances import label, new_targets
from mdn_cupy.cpu.jit_options import interpreted
from mdn_cupy.cpu.peak_moments import add_moments
from mdn_cupy.cpu.peaks import find_peaks
from mdn_cupy.cpu.planner import Share, ranges, shares
from mdn_cupy.cpu.sources import Scalars, Sources
from mdn_cupy.cpu.thread_pool import run
from mdn_cupy.cpu.tiles import Maps, Tile, new_forward_scratch, new_queue, new_tile
from mdn_cupy.maxima import cells_of
from mdn_cupy.problem import Gradients, Rule, VoteProblem
from mdn_cupy.problem import vote_problem as problem
from mdn_cupy.threads import get_num_threads, interruption

__all__ = [
    "accumulate",
    "compare",
    "find_peaks",
    "gather",
    "instances",
    "noisy_or",
    "peak_moments",
    "problem",
    "status",
]

_READ_TOGETHER = 1 << 14  # sources of a task that labels them
_MOST_PARTS, _MOST_MOMENTS = 16, 1 << 18  # of the votes for a map; peaks times parts
_PARTIALS = 8  # tiles of one place held at a time


def accumulate(problem: VoteProblem, rule: Rule) -> npt.NDArray[Any]:
    """Sum the terms φ(w·c) of all votes for every output pixel.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    rule : Rule
        Which φ.

    Returns
    -------
    numpy.ndarray
        `problem.result_shape`, `problem.dtype`: the log-complement L for the noisy-or, else the
        sum.
    """
    multiplied = rule is Rule.NOISY_OR
    maps = _vote(problem, rule, log_complement=multiplied, total=not multiplied)
    return (maps.log_complement if multiplied else maps.sum).reshape(problem.result_shape)


def noisy_or(problem: VoteProblem) -> npt.NDArray[Any]:
    """Compute the noisy-or map from products, without a logarithm.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.

    Returns
    -------
    numpy.ndarray
        m, of `problem.result_shape` and `problem.dtype`.
    """
    return _vote(problem, Rule.NOISY_OR, noisy_or=True).noisy_or.reshape(problem.result_shape)


def compare(
    problem: VoteProblem, rule: Rule
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Compute the maps of both rules, placing and weighing every vote once.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    rule : Rule
        Which sum.

    Returns
    -------
    m, log_complement, s : numpy.ndarray
        `problem.result_shape`, `problem.dtype` each.
    """
    maps = _vote(problem, rule, log_complement=True, noisy_or=True, total=True)
    m, log_complement, s = (
        each.reshape(problem.result_shape)
        for each in (maps.noisy_or, maps.log_complement, maps.sum)
    )
    return m, log_complement, s


def gather(
    problem: VoteProblem,
    rule: Rule,
    cotangent: npt.NDArray[Any],
    wanted: tuple[bool, bool, bool] = (True, True, True),
) -> Gradients:
    """Gather, for every source, the gradients of a loss from the pixels it voted for.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    rule : Rule
        Which φ.
    cotangent : numpy.ndarray
        ∂loss/∂Σφ, of `problem.result_shape`, in any strides.
    wanted : tuple of bool
        Which of the gradients of confidence, offsets and sigma to compute.

    Returns
    -------
    Gradients
        In the shapes of the caller's arrays (sigma: of zero dimensions for a number); None where
        not wanted.
    """
    sources, scalars = _sources(problem), _scalars(problem, rule)
    height, width = problem.source_shape
    cotangent = np.ascontiguousarray(cotangent, problem.dtype)
    cotangent = cotangent.reshape(problem.maps, *problem.output_shape)
    outputs = (
        np.zeros(sources.confidence.shape, problem.dtype),
        np.zeros(sources.offsets.shape if wanted[1] else (0, 2, 0, 0), problem.dtype),
        np.zeros((len(sources.sigma), height, width) if wanted[2] else (0, 0, 0), problem.dtype),
    )
    gather_patches = partial(backward.gather_patches, sources, scalars, cotangent, outputs, wanted)
    if _any_votes(problem):
        scratch = partial(backward.new_backward_scratch, *problem.output_shape)
        run(partial(gather_patches, scratch(), patches) for patches in ranges(problem))
    confidence, offsets, sigma = outputs
    return problem.as_given(
        Gradients(
            confidence if wanted[0] else None,
            offsets if wanted[1] else None,
            _reduce_sigma(problem, sigma) if wanted[2] else None,
        )
    )


def instances(
    problem: VoteProblem,
    number: npt.NDArray[np.int64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    radius: float,
) -> npt.NDArray[np.int32]:
    """Say for every source to which peak it adds most evidence.

    That is the peak nearest to where its vote lands, whatever the rule, since the kernel falls with
    the distance.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    number : int64 array [n]
        The map of each peak.
    x, y : float64 array [n]
        Where it is, in output pixels.
    radius : float
        Greatest distance of a landing point from its peak; may be infinite.

    Returns
    -------
    int32 array [*batch, H, W]
        1 for the first peak, and so on, the lower of two that are as near; 0 for a source that
        lands near none, whose window holds none, or whose confidence is not above 0.
    """
    height, width = problem.source_shape
    labels = np.zeros((math.prod(problem.batch), height, width), np.int32)
    shape = (*problem.batch, height, width)
    if not (labels.size and len(x)):
        return labels.reshape(shape)
    sources, scalars = _sources(problem), _scalars(problem, Rule.NOISY_OR)
    cells = cells_of(number, x, y, problem.maps, problem.output_shape)
    targets = new_targets(cells, problem.maps, x, y, radius)
    rows = max(1, _READ_TOGETHER // width)
    label_rows = partial(label, sources, scalars, problem.truncate, targets, labels)
    run(
        partial(label_rows, voter, int(plane), (first, min(first + rows, height)))
        for voter, plane in np.ndenumerate(problem.planes(problem.batch))
        for first in range(0, height, rows)
    )
    return labels.reshape(shape)


def peak_moments(
    problem: VoteProblem,
    rule: Rule,
    pixels: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    evidence: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], ...]:
    """Sum up the votes for the pixels of peaks: moments of the landing points about the pixel.

    The weight of a vote is its share of the pixel's evidence. The sums are those of fixed parts of
    the votes, in order: the same bits for any number of threads.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    rule : Rule
        What evidence is.
    pixels : three int64 arrays [n]
        Map, row and column of each peak.
    evidence : array [n]
        What the evidence is there.

    Returns
    -------
    float64 arrays [n]
        Σshare, Σshare², Σshare·dx, Σshare·dy, Σshare·dx², Σshare·dx·dy, Σshare·dy².
    """
    number, row, column = pixels
    height, width = problem.source_shape
    lines = problem.voters * height  # that vote for a map
    most = min(_MOST_PARTS, _MOST_MOMENTS // max(len(number), 1), lines)
    parts = max(1, min(most, lines * width // _READ_TOGETHER))
    moments = np.zeros((parts, len(number), 7))
    if moments.size and _any_votes(problem):
        sources, scalars = _sources(problem), _scalars(problem, rule)
        x, y = column.astype(np.float64), row.astype(np.float64)
        cells = cells_of(number, x, y, problem.maps, problem.output_shape)
        targets = new_targets(cells, problem.maps, x, y, math.inf)
        evidence = evidence.astype(np.float64)
        run(
            partial(add_moments, sources, scalars, targets, evidence, part, m, ends)
            for m in np.unique(number).tolist()
            for n, part in enumerate(moments)
            for ends in [(lines * n // parts, lines * (n + 1) // parts)]
        )
    return tuple(moments.sum(axis=0).T)


def status() -> Status:
    """Say whether the CPU works, with what and on how many threads."""
    how = ", interpreted since NUMBA_DISABLE_JIT is set" if interpreted else ""
    return Status(True, f"Numba {numba.__version__}, {get_num_threads()} threads{how}")


def _any_votes(problem: VoteProblem) -> bool:
    """Whether there are sources and pixels at all."""
    sizes = (problem.maps, problem.voters, *problem.source_shape, *problem.output_shape)
    return all(sizes)


def _vote(
    problem: VoteProblem,
    rule: Rule,
    log_complement: bool = False,
    noisy_or: bool = False,
    total: bool = False,
) -> Maps:
    """Fill in those of the maps that are wanted."""
    maps = Maps(
        *(
            np.zeros((problem.maps if wanted else 0, *problem.output_shape), problem.dtype)
            for wanted in (log_complement, noisy_or, total)
        )
    )
    if _any_votes(problem):
        sources, scalars = _sources(problem), _scalars(problem, rule)
        planned = list(shares(problem, sources, scalars))
        _fill([s for s in planned if len(s.pieces) == 1], sources, scalars, maps)
        for share in planned:
            if len(share.pieces) > 1:
                _fill_together(share, sources, scalars, maps)
    return maps


def _fill(shares: list[Share], sources: Sources, scalars: Scalars, maps: Maps) -> None:
    """Vote into tiles, which the threads take from one queue."""
    if not shares:
        return
    queue = new_queue([(share.place, share.pieces[0]) for share in shares])
    check = interruption()

    def work() -> None:
        try:
            tile, scratch = new_tile(maps, queue.frames), new_forward_scratch(queue.frames)
            while forward.fill(queue, sources, scalars, tile, scratch, maps):
                check()
        except BaseException:
            queue.taken[0] = len(shares)  # so that the other threads stop too
            raise

    run([work] * min(get_num_threads(), len(shares)))


def _fill_together(share: Share, sources: Sources, scalars: Scalars, maps: Maps) -> None:
    """The same with one tile, in several tasks; their results are combined in order."""
    nowhere = Maps(*(each[:0] for each in maps))

    def vote(patches: npt.NDArray[np.int64]) -> Tile:
        queue = new_queue([(share.place, patches)])
        tile, scratch = new_tile(maps, queue.frames), new_forward_scratch(queue.frames)
        forward.fill(queue, sources, scalars, tile, scratch, nowhere)
        return tile

    total = vote(share.pieces[0][:0])
    for n in range(0, len(share.pieces), _PARTIALS):
        for tile in run([partial(vote, piece) for piece in share.pieces[n : n + _PARTIALS]]):
            forward.merge(total, tile)
    forward.read_out(total, maps)


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
    """All leading axes as one, read-only: else Numba compiles for arrays of both kinds."""
    planes = math.prod(array.shape[: array.ndim - len(plane)])
    flat = np.ascontiguousarray(array).reshape(planes, *plane)
    flat.flags.writeable = False
    return flat


def _scalars(problem: VoteProblem, rule: Rule) -> Scalars:
    return Scalars(
        int(rule),
        problem.truncate,
        problem.stride,
        problem.origin,
        problem.saturation_floor,
    )


def _reduce_sigma(problem: VoteProblem, gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum ∂loss/∂σ of every source over what shared a sigma."""
    if isinstance(problem.sigma, float):
        return np.asarray(gradient.sum(dtype=np.float64), problem.dtype)
    shape: tuple[int, ...] = problem.sigma.shape
    shared = tuple(axis for axis in (1, 2) if shape[axis - 3] != gradient.shape[axis])
    summed: npt.NDArray[Any] = gradient.sum(axis=shared, dtype=np.float64)
    return summed.astype(problem.dtype).reshape(shape)
