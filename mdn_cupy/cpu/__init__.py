"""The CPU backend: the only importer of numba; the same two entry points as `mdn_cupy.cuda`.

Forward, an output map is cut into tiles. A task owns a tile, walks through the patches of sources
that reach it, in order, and keeps what falls into the tile: no two tasks write one pixel, and the
order of a pixel's votes does not depend on the threads, so the bits are the same for any number of
them. A tile with very many voters (when the mass collapses, one has them all) is given to several
tasks, whose products are then combined in order. Backward, a task owns patches and gathers.

The Gaussian is separable: a vote computes its weights per row and per column of its window. The
noisy-or multiplies factors 1 − w·c in float64 and sets the binary exponent aside before a product
could underflow; one logarithm per pixel is taken at the end.

`plan` says who does what, and `pool` runs it on threads. `sources`, `forward` and `backward` are
the kernels, in Numba; `gaussian`, `votes` and `moments` their inner loops, in vectors of `lanes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mdn_cupy.backends import Status
from mdn_cupy.cpu import backward, forward
from mdn_cupy.cpu.forward import Tile, Workspace
from mdn_cupy.cpu.plan import Share, ranges, shares
from mdn_cupy.cpu.pool import run, thread_count
from mdn_cupy.cpu.sources import Geometry, Sources, new_aim
from mdn_cupy.problem import Gradients, VoteProblem

__all__ = ["accumulate", "gather", "status"]

_PARTIALS = 8  # tiles of one place held at a time


def accumulate(problem: VoteProblem) -> npt.NDArray[Any]:
    """Sum the evidence Σφ of all votes for every output pixel.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.

    Returns
    -------
    numpy.ndarray
        `problem.result_shape`, `problem.dtype`: the log-complement L for the noisy-or, the sum for
        the additive rules.
    """
    evidence = np.zeros((problem.maps, *problem.output_shape), problem.dtype)
    if _any_votes(problem):
        sources, geometry = _sources(problem), _geometry(problem)
        vote = partial(_vote, sources, geometry)
        planned, workspace = list(shares(problem, sources, geometry)), Workspace()
        run(partial(_fill, vote, s, workspace, evidence) for s in planned if len(s.pieces) == 1)
        for share in planned:
            if len(share.pieces) > 1:
                _fill_together(vote, share, evidence)
    return evidence.reshape(problem.result_shape)


def gather(
    problem: VoteProblem,
    cotangent: npt.NDArray[Any],
    wanted: tuple[bool, bool, bool] = (True, True, True),
) -> Gradients:
    """Gather, for every source, the gradients of a loss from the pixels it voted for.

    Parameters
    ----------
    problem : VoteProblem
        With NumPy arrays.
    cotangent : numpy.ndarray
        ∂loss/∂Σφ, of `problem.result_shape`, in any strides.
    wanted : tuple of bool
        Which of the gradients of confidence, offsets and sigma to compute.

    Returns
    -------
    Gradients
        In the shapes of the problem's arrays (sigma: of zero dimensions for a number); None where
        not wanted.
    """
    sources, geometry = _sources(problem), _geometry(problem)
    height, width = problem.source_shape
    cotangent = np.ascontiguousarray(cotangent, problem.dtype)
    cotangent = cotangent.reshape(problem.maps, *problem.output_shape)
    outputs = (
        np.zeros(sources.confidence.shape, problem.dtype),
        np.zeros(sources.offsets.shape if wanted[1] else (0, 2, 0, 0), problem.dtype),
        np.zeros((len(sources.sigma), height, width) if wanted[2] else (0, 0, 0), problem.dtype),
    )
    pull = partial(backward.gather, sources, geometry, cotangent, outputs, wanted)
    if _any_votes(problem):
        run(partial(pull, patches, new_aim()) for patches in ranges(problem))
    confidence, offsets, sigma = outputs
    return Gradients(
        confidence.reshape(problem.confidence.shape) if wanted[0] else None,
        offsets.reshape(problem.offsets.shape) if wanted[1] else None,
        _reduce_sigma(problem, sigma) if wanted[2] else None,
    )


def status() -> Status:
    """Say that the CPU works, with what and on how many threads."""
    return Status(True, f"Numba {numba.__version__}, {thread_count()} threads")


def _any_votes(problem: VoteProblem) -> bool:
    """Whether there are sources and pixels at all."""
    sizes = (problem.maps, problem.voters, *problem.source_shape, *problem.output_shape)
    return all(sizes)


def _vote(
    sources: Sources,
    geometry: Geometry,
    share: Share,
    patches: npt.NDArray[np.int64],
    workspace: Workspace,
) -> Tile:
    tile = workspace.new_tile(geometry.rule, *share.place)
    forward.vote(tile, sources, geometry, patches, workspace.aim)
    return tile


def _fill(
    vote: Callable[..., Tile], share: Share, workspace: Workspace, evidence: npt.NDArray[Any]
) -> None:
    """Vote into a tile, and write what came of it."""
    forward.read_out(vote(share, share.pieces[0], workspace), evidence)


def _fill_together(vote: Callable[..., Tile], share: Share, evidence: npt.NDArray[Any]) -> None:
    """The same in several tasks, a few at a time; their tiles are combined in order."""
    total = vote(share, share.pieces[0][:0], Workspace())
    for n in range(0, len(share.pieces), _PARTIALS):
        pieces = share.pieces[n : n + _PARTIALS]
        for tile in run(partial(vote, share, piece, Workspace()) for piece in pieces):
            forward.merge(total, tile)
    forward.read_out(total, evidence)


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
    """All leading axes as one."""
    planes = math.prod(array.shape[: array.ndim - len(plane)])
    return np.ascontiguousarray(array).reshape(planes, *plane)


def _geometry(problem: VoteProblem) -> Geometry:
    return Geometry(
        int(problem.rule),
        problem.truncate,
        problem.stride,
        problem.origin,
        problem.saturation_floor,
        problem.dtype == np.float64,
    )


def _reduce_sigma(problem: VoteProblem, gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum ∂loss/∂σ of every source over what shared a sigma."""
    if isinstance(problem.sigma, float):
        return np.asarray(gradient.sum(dtype=np.float64), problem.dtype)
    shape: tuple[int, ...] = problem.sigma.shape
    shared = tuple(axis for axis in (1, 2) if shape[axis - 3] != gradient.shape[axis])
    summed: npt.NDArray[Any] = gradient.sum(axis=shared, dtype=np.float64)
    return summed.astype(problem.dtype).reshape(shape)
