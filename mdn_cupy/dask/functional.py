"""The vote maps and their gradients on Dask arrays: the functions of `mdn_cupy`, lazily."""

from __future__ import annotations

from typing import Any, Unpack

import dask.array as da

from mdn_cupy.dask.blocks import Blocks, blocks_of, check_dask
from mdn_cupy.dask.graph import gathered, voted
from mdn_cupy.dask.options import takes_arguments_of, takes_options
from mdn_cupy.dask.reach import Reach, measure, promise
from mdn_cupy.problem import Gradients, Rule, VoteKwargs

__all__ = [
    "additive",
    "additive_vjp",
    "compare",
    "log_complement",
    "log_complement_vjp",
    "noisy_or",
    "noisy_or_vjp",
    "plain_sum",
    "plain_sum_vjp",
    "problem",
]


def problem(
    confidence: da.Array,
    offsets: da.Array,
    sigma: Any,
    *,
    reach: float | Reach | None = None,
    chunks: Any = None,
    **options: Unpack[VoteKwargs],
) -> tuple[Blocks, Reach]:
    """Check the arguments of a map, and measure the reach unless it is given."""
    blocks = blocks_of(confidence, offsets, sigma, chunks, options)
    return blocks, _reach_of(blocks, reach, gradients=False)


def _pulling(
    confidence: da.Array,
    offsets: da.Array,
    sigma: Any,
    cotangent: da.Array,
    *,
    reach: float | Reach | None = None,
    **options: Unpack[VoteKwargs],
) -> tuple[Blocks, Reach, da.Array]:
    """The problem through which a cotangent is pulled back, in the chunks of that, and it."""
    cotangent = check_dask("cotangent", cotangent)
    blocks = blocks_of(confidence, offsets, sigma, cotangent.chunks[-2:], options)
    _check(blocks, "cotangent", cotangent)
    return blocks, _reach_of(blocks, reach, gradients=True), cotangent


def _reach_of(blocks: Blocks, reach: Any, gradients: bool) -> Reach:
    """The reach of a problem, measured unless it is given."""
    if reach is None:
        return measure(blocks, gradients)
    if not isinstance(reach, Reach):
        return promise(blocks, reach, gradients)
    if not reach.token.endswith(blocks.token):
        raise ValueError("reach was measured of other fields, options or chunks; measure it again")
    if gradients and not reach.gradients:
        raise ValueError("reach must be measured for gradients: measure_reach(gradients=True, ...)")
    return reach


def _check(blocks: Blocks, name: str, array: Any) -> None:
    check_dask(name, array)
    if array.chunks != blocks.output_chunks:
        raise ValueError(
            f"{name} must have the shape and chunks of the vote map, {blocks.output_chunks}, "
            f"got {array.chunks}"
        )


@takes_arguments_of(problem)
def noisy_or(*fields: Any, **options: Any) -> da.Array:
    """Combine displaced votes by the noisy-or rule, Eq. 2: `mdn_cupy.noisy_or`, in chunks.

    A chunk of the map is one task. It has exactly the votes that reach it, from however many chunks
    of the fields, and is the same as in the map of the whole, to the rounding of a few sums.

    Parameters
    ----------
    confidence : dask array [..., H, W]
        Confidences, of NumPy or CuPy chunks, along any axes.
    offsets : dask array [..., 2, H, W]
        Offsets, with the confidence's chunks along rows and columns, and x and y in one chunk.
    sigma : float or array
        As in `mdn_cupy.Votes`; an array of NumPy or Dask.
    reach : float or Reach, optional
        Which chunks of the fields a chunk of the map needs. By default every vote is looked at
        first: the call reads the fields once. A number promises that offsets are no longer than
        so many output pixels along an axis, and saves that; a longer one is a ValueError when the
        map is computed. A `Reach` was measured before, by `measure_reach` of the same arguments.
    chunks : optional
        Chunks of the rows and columns of the map, as Dask takes them; by default those of the
        fields, times the stride.
    **options
        truncate, stride, origin, output_shape, aggregate and deterministic, as in
        `mdn_cupy.Votes`.

    Returns
    -------
    dask array [..., Ho, Wo]
        m, of the kind of array that the chunks are.

    Raises
    ------
    TypeError, ValueError
        As in `mdn_cupy.Votes`, and where chunks do not fit: none are changed without a word.

    Warns
    -----
    OutlierWarning
        If a few very long offsets tie chunks to each other; see `measure_reach`.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> coins = mdn.samples.load("coins")
    >>> c = da.from_array(coins.confidence, chunks=(-1, 100, 128))
    >>> o = da.from_array(coins.offsets, chunks=(-1, -1, 100, 128))
    >>> m = mdn.dask.noisy_or(c, o, 2.0, aggregate=0)
    >>> m.chunks
    ((100, 100, 100, 3), (128, 128, 128))
    >>> bool(np.allclose(m, mdn.noisy_or(coins.confidence, coins.offsets, 2.0, aggregate=0)))
    True
    """
    return voted(*problem(*fields, **options), ("noisy_or",))[0]


@takes_arguments_of(problem)
def log_complement(*fields: Any, **options: Any) -> da.Array:
    """Accumulate L = log(1 − m): `mdn_cupy.log_complement`, with the options of `noisy_or`."""
    return voted(*problem(*fields, **options), ("log_complement",))[0]


@takes_arguments_of(problem)
def additive(*fields: Any, **options: Any) -> da.Array:
    """Sum votes of the mass c each: `mdn_cupy.additive`, with the options of `noisy_or`."""
    return voted(*problem(*fields, **options), ("additive",))[0]


@takes_arguments_of(problem)
def plain_sum(*fields: Any, **options: Any) -> da.Array:
    """Sum votes with K(0) = 1: `mdn_cupy.plain_sum`, with the options of `noisy_or`."""
    return voted(*problem(*fields, **options), ("plain_sum",))[0]


@takes_arguments_of(problem)
def compare(*fields: Any, **options: Any) -> tuple[da.Array, da.Array, da.Array]:
    """Combine votes by both rules: `mdn_cupy.compare`, with the options of `noisy_or`.

    Returns
    -------
    m, log_complement, s : dask array [..., Ho, Wo]
        One task makes a chunk of all three.
    """
    return tuple(voted(*problem(*fields, **options), ("noisy_or", "log_complement", "additive")))


@takes_options
def noisy_or_vjp(
    confidence: da.Array,
    offsets: da.Array,
    sigma: Any,
    cotangent: da.Array,
    *,
    log_complement: da.Array | None = None,
    reach: float | Reach | None = None,
    **options: Unpack[VoteKwargs],
) -> Gradients:
    """Pull a cotangent of m back: `mdn_cupy.Votes.noisy_or_vjp`, in chunks.

    Parameters
    ----------
    confidence, offsets, sigma, reach, **options
        As in `noisy_or`; there are no chunks to choose.
    cotangent : dask array [..., Ho, Wo]
        ∂loss/∂m. The map has its chunks.
    log_complement : dask array [..., Ho, Wo], optional
        L, if it is known already; computed again if not given.

    Returns
    -------
    Gradients
        Dask arrays in the chunks of the fields.
    """
    blocks, found, _ = _pulling(confidence, offsets, sigma, cotangent, reach=reach, **options)
    if log_complement is None:
        (log_complement,) = voted(blocks, found, ("log_complement",))
    _check(blocks, "log_complement", log_complement)
    return gathered(Rule.NOISY_OR, blocks, found, -cotangent * da.exp(log_complement))


@takes_arguments_of(_pulling)
def log_complement_vjp(*fields: Any, **options: Any) -> Gradients:
    """Pull a cotangent of L back: `mdn_cupy.Votes.log_complement_vjp`; see `noisy_or_vjp`."""
    return gathered(Rule.NOISY_OR, *_pulling(*fields, **options))


@takes_arguments_of(_pulling)
def additive_vjp(*fields: Any, **options: Any) -> Gradients:
    """Pull a cotangent of the additive map back: `mdn_cupy.Votes.additive_vjp`."""
    return gathered(Rule.ADDITIVE, *_pulling(*fields, **options))


@takes_arguments_of(_pulling)
def plain_sum_vjp(*fields: Any, **options: Any) -> Gradients:
    """Pull a cotangent of the plain sum back: `mdn_cupy.Votes.plain_sum_vjp`."""
    return gathered(Rule.PLAIN_SUM, *_pulling(*fields, **options))
