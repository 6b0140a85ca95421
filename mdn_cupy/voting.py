"""The public array functions: NumPy in, NumPy out; CuPy in, CuPy out; torch keeps its graph."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Literal, overload

from mdn_cupy.arrays import Array, adopt, is_number, is_torch, namespace, on_device
from mdn_cupy.backends import module
from mdn_cupy.problem import Gradients, Rule, VoteOptions, VoteProblem, vote_problem

__all__ = ["additive", "additive_vjp", "compare", "noisy_or", "noisy_or_vjp"]


@overload
def noisy_or(
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    truncate: float = ...,
    stride: float | Sequence[float] = ...,
    origin: float | Sequence[float] = ...,
    output_shape: Sequence[int] | None = ...,
    aggregate: int | None = ...,
    deterministic: bool = ...,
    return_log_complement: Literal[False] = ...,
) -> Array: ...


@overload
def noisy_or(
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    truncate: float = ...,
    stride: float | Sequence[float] = ...,
    origin: float | Sequence[float] = ...,
    output_shape: Sequence[int] | None = ...,
    aggregate: int | None = ...,
    deterministic: bool = ...,
    return_log_complement: Literal[True],
) -> tuple[Array, Array]: ...


def noisy_or(
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
    return_log_complement: bool = False,
) -> Array | tuple[Array, Array]:
    r"""Combine displaced votes by the noisy-or rule.

    .. math:: m(x_0) = 1 - \prod_x (1 - w(x, x_0) c(x)), \quad
              w(x, x_0) = \exp(-\|x_0 - [x + o(x)]\|^2 / 2\sigma^2)

    which is Eq. 2 of Neverova & Kokkinos, *Mass Displacement Networks*, supplement.

    Parameters
    ----------
    confidence : array [..., H, W]
        Confidences c in [0, 1], floating. NumPy, CuPy, torch or any DLPack exporter. A NaN makes
        the pixels in its window NaN; see `mdn_cupy.check_fields` for what lies outside the domain.
    offsets : array [..., 2, H, W]
        Offsets (o_x, o_y): columns rightwards and rows downwards, in output pixels. A source whose
        position is not finite casts no vote.
    sigma : float or array
        Width σ of the Gaussian, in output pixels. An array broadcasts against `confidence`:
        (P, 1, 1) is one per part, (..., H, W) one per source.
    truncate : float
        A vote reaches the pixels within ``truncate * sigma`` of where it lands, along each axis;
        with ``math.inf`` every pixel, which is the paper's own sum. Weights beyond 37 sigma, below
        1e-296, are left out.
    stride, origin : float or (float, float)
        One number, or a pair (y, x) in the order of `output_shape`: source (i, j) sits at the
        output position ``(x, y) = (origin_x + stride_x * j, origin_y + stride_y * i)``.
    output_shape : (int, int), optional
        Size (Ho, Wo) of the map; by default (H, W) at stride 1, else
        ``floor(stride_y * (H - 1)) + 1`` by ``floor(stride_x * (W - 1)) + 1``.
    aggregate : int, optional
        Axis of the broadcast confidence shape, not one of the last two, whose maps all vote into
        one output map (cross-part voting).
    deterministic : bool
        On a GPU, accumulate in fixed point, so that a map's bits depend neither on the order of the
        votes nor on the batch around it; its unit is then 2⁻⁴⁶ or so of the map's strongest vote.
        False allows float atomics. The CPU is always deterministic.
    return_log_complement : bool
        Also return L = log(1 − m), exact where m rounds to 0 or 1; −L is the evidence.

    Returns
    -------
    m : array [..., Ho, Wo]
        The vote map, of the caller's kind of array; float64 if a field is, else float32.
    log_complement : array [..., Ho, Wo]
        L, only with `return_log_complement`.

    Raises
    ------
    TypeError
        If an argument is no array, not floating, or of another library or device than the others.
    ValueError
        If a shape or a scalar does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> c = np.zeros((3, 5), np.float32)
    >>> c[1, 0] = c[1, 4] = 0.5
    >>> o = np.zeros((2, 3, 5), np.float32)
    >>> o[0, 1] = [2, 0, 0, 0, -2]  # both vote for column 2
    >>> mdn.noisy_or(c, o, sigma=0.5)[1, 2]
    np.float32(0.75)
    """
    options = VoteOptions(truncate, stride, origin, output_shape, aggregate, deterministic)
    if is_torch(confidence) or is_torch(offsets) or is_torch(sigma):
        from mdn_cupy.torch.functional import complement
        from mdn_cupy.torch.operator import accumulate

        log_complement = accumulate(confidence, offsets, sigma, Rule.NOISY_OR, options)
        m = complement(log_complement)
    else:
        problem, backend = _problem(confidence, offsets, sigma, Rule.NOISY_OR, options)
        m, log_complement = backend.noisy_or(problem, keep=return_log_complement)
    return (m, log_complement) if return_log_complement else m


def additive(
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    normalized: bool = True,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Array:
    r"""Combine displaced votes by summation.

    .. math:: s(x_0) = \sum_x K_\sigma(x_0 - [x + o(x)]) c(x)

    which is Eq. 3 of Neverova & Kokkinos, *Mass Displacement Networks*, supplement.

    Parameters
    ----------
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `noisy_or`.
    normalized : bool
        Scale every vote by its own 1/(2πσ²) (Eq. 6), so that its mass is c; otherwise K(0) = 1 and
        agreeing votes add up beyond 1 (Eq. 4).

    Returns
    -------
    array [..., Ho, Wo]
        The vote map, of the caller's kind of array; float64 if a field is, else float32.

    Raises
    ------
    TypeError, ValueError
        As in `noisy_or`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> c = np.ones((1, 1), np.float32)
    >>> o = np.zeros((2, 1, 1), np.float32)
    >>> s = mdn.additive(c, o, sigma=2.0)
    >>> bool(np.isclose(s[0, 0], 1 / (2 * np.pi * 2.0**2)))  # Eq. 6
    True
    """
    rule = Rule.ADDITIVE if normalized else Rule.PLAIN_SUM
    options = VoteOptions(truncate, stride, origin, output_shape, aggregate, deterministic)
    if is_torch(confidence) or is_torch(offsets) or is_torch(sigma):
        from mdn_cupy.torch.operator import accumulate

        return accumulate(confidence, offsets, sigma, rule, options)
    problem, backend = _problem(confidence, offsets, sigma, rule, options)
    return backend.accumulate(problem)


def compare(
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    normalized: bool = True,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> tuple[Array, Array, Array]:
    r"""Combine displaced votes by both rules: the maps of `noisy_or` and of `additive`.

    Votes of NumPy arrays are placed and weighed once for both, which takes less time than two calls
    and gives the same bits. Tensors, which keep their graph, and CuPy arrays are voted on twice.

    Parameters
    ----------
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `noisy_or`.
    normalized : bool
        As in `additive`.

    Returns
    -------
    m : array [..., Ho, Wo]
        The map of the noisy-or (supplement, Eq. 2).
    log_complement : array [..., Ho, Wo]
        L = log(1 − m), as `noisy_or` returns it if asked.
    s : array [..., Ho, Wo]
        The map of the additive rule (supplement, Eq. 3).

    Raises
    ------
    TypeError, ValueError
        As in `noisy_or`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> c = np.full((1, 3), 0.5)
    >>> o = np.zeros((2, 1, 3))
    >>> o[0] = [[1, 0, -1]]  # all vote for column 1
    >>> m, _, s = mdn.compare(c, o, 1.0, normalized=False)
    >>> float(m[0, 1]), float(s[0, 1])
    (0.875, 1.5)
    """
    rule = Rule.ADDITIVE if normalized else Rule.PLAIN_SUM
    options = VoteOptions(truncate, stride, origin, output_shape, aggregate, deterministic)
    if is_torch(confidence) or is_torch(offsets) or is_torch(sigma):
        from mdn_cupy.torch.functional import complement
        from mdn_cupy.torch.operator import accumulate

        s = accumulate(confidence, offsets, sigma, rule, options)
        log_complement = accumulate(confidence, offsets, sigma, Rule.NOISY_OR, options)
        return complement(log_complement), log_complement, s
    problem, backend = _problem(confidence, offsets, sigma, rule, options)
    m, log_complement, s = backend.compare(problem)
    return m, log_complement, s


def noisy_or_vjp(
    cotangent: Array,
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    log_complement: Array | None = None,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Gradients:
    r"""Pull the cotangent of a noisy-or map back to the confidences, the offsets and sigma.

    With :math:`g = -\partial loss / \partial m \cdot e^L` (supplement, section 1):

    .. math:: \partial c = \sum -g w / (1 - wc), \quad
              \partial o_x = \sum -g w c (x_0 - p_x) / (\sigma^2 (1 - wc)), \quad
              \partial \sigma = \sum -g w c \|x_0 - p\|^2 / (\sigma^3 (1 - wc))

    Parameters
    ----------
    cotangent : array [..., Ho, Wo]
        ∂loss/∂m of the map that `noisy_or` returns for the same arguments, in any strides.
    log_complement : array [..., Ho, Wo], optional
        L from ``noisy_or(..., return_log_complement=True)``; computed again if not given.
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `noisy_or`.

    Returns
    -------
    Gradients
        ``g.confidence``, ``g.offsets`` and ``g.sigma``, each of the shape of its argument; sigma's
        has no dimensions where sigma is a number.

    Raises
    ------
    TypeError, ValueError
        As in `noisy_or`, and if the shape of `cotangent` is not the map's.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> c = np.full((1, 1), 0.5)
    >>> o = np.zeros((2, 1, 1))
    >>> g = mdn.noisy_or_vjp(np.ones((1, 1)), c, o, 1.0)
    >>> float(g.confidence[0, 0])  # m = c at the source's own pixel
    1.0
    """
    options = VoteOptions(truncate, stride, origin, output_shape, aggregate, deterministic)
    if is_torch(confidence):
        from mdn_cupy.torch import operator

        return operator.noisy_or_vjp(
            cotangent, confidence, offsets, sigma, options, log_complement=log_complement
        )
    problem, backend = _problem(confidence, offsets, sigma, Rule.NOISY_OR, options)
    if log_complement is None:
        log_complement = backend.accumulate(problem)
    else:
        log_complement = _map_like(problem, "log_complement", log_complement)
    cotangent = _map_like(problem, "cotangent", cotangent)
    with on_device(log_complement):
        cotangent = -cotangent * namespace(log_complement).exp(log_complement)
    gradients: Gradients = backend.gather(problem, cotangent)
    return problem.as_given(gradients)


def additive_vjp(
    cotangent: Array,
    confidence: Array,
    offsets: Array,
    sigma: Array | float,
    *,
    normalized: bool = True,
    truncate: float = 4.0,
    stride: float | Sequence[float] = 1.0,
    origin: float | Sequence[float] = 0.0,
    output_shape: Sequence[int] | None = None,
    aggregate: int | None = None,
    deterministic: bool = True,
) -> Gradients:
    r"""Pull the cotangent of an additive map back to the confidences, the offsets and sigma.

    .. math:: \partial c = \sum g K, \quad
              \partial o_x = \sum g K c (x_0 - p_x) / \sigma^2, \quad
              \partial \sigma = \sum g K c (\|x_0 - p\|^2 / \sigma^3 - 2 / \sigma)

    where the last term is the normaliser's and falls away with ``normalized=False``.

    Parameters
    ----------
    cotangent : array [..., Ho, Wo]
        ∂loss/∂s of the map that `additive` returns for the same arguments, in any strides.
    confidence, offsets, sigma, normalized, truncate, stride, origin, output_shape, aggregate, \
deterministic
        As in `additive`.

    Returns
    -------
    Gradients
        As in `noisy_or_vjp`.

    Raises
    ------
    TypeError, ValueError
        As in `noisy_or_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> g = mdn.additive_vjp(np.ones((1, 1)), np.ones((1, 1)), np.zeros((2, 1, 1)), 1.0,
    ...                      normalized=False)
    >>> float(g.confidence[0, 0])
    1.0
    """
    rule = Rule.ADDITIVE if normalized else Rule.PLAIN_SUM
    options = VoteOptions(truncate, stride, origin, output_shape, aggregate, deterministic)
    if is_torch(confidence):
        from mdn_cupy.torch import operator

        return operator.additive_vjp(cotangent, confidence, offsets, sigma, rule, options)
    problem, backend = _problem(confidence, offsets, sigma, rule, options)
    gradients: Gradients = backend.gather(problem, _map_like(problem, "cotangent", cotangent))
    return problem.as_given(gradients)


def _problem(
    confidence: Array, offsets: Array, sigma: Array | float, rule: Rule, options: VoteOptions
) -> tuple[VoteProblem, ModuleType]:
    named = {"confidence": confidence, "offsets": offsets}
    if not is_number(sigma):
        named["sigma"] = sigma
    backend, arrays = adopt(**named)
    return vote_problem(**{"sigma": sigma, **arrays}, rule=rule, options=options), module(backend)


def _map_like(problem: VoteProblem, name: str, value: Array) -> Array:
    """Adopt an array that must have the shape and the place of the vote map."""
    _, arrays = adopt(confidence=problem.confidence, **{name: value})
    problem.check_map(name, arrays[name])
    return arrays[name].astype(problem.dtype)
