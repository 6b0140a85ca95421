"""The vote maps as functions of the fields: one line each over `mdn_cupy.Votes`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from mdn_cupy.arrays import Array, is_proxy
from mdn_cupy.validation import called
from mdn_cupy.votes import Votes

__all__ = ["additive", "compare", "log_complement", "noisy_or", "plain_sum"]

P = ParamSpec("P")
Result = TypeVar("Result")


class _Traced:
    """In place of votes where torch.fx traces: each method is one node of its graph."""

    def __init__(self, *fields: Any, **options: Any) -> None:
        self._call = (), fields, options
        self._proxy = fields[0] if fields else options["confidence"]

    def __getattr__(self, name: str) -> Callable[[], Any]:
        return partial(self._proxy.__torch_function__, globals()[name], *self._call)


def _votes(function: str, fields: tuple[Any, ...], options: dict[str, Any]) -> Votes:
    """The votes of the arguments of a function."""
    if is_proxy(fields[0] if fields else options.get("confidence")):
        return cast(Votes, _Traced(*fields, **options))
    return called(function, Votes, *fields, **options)


def _takes_arguments_of(
    votes: Callable[P, Votes],
) -> Callable[[Callable[..., Result]], Callable[P, Result]]:
    """Give a function the signature of `Votes`, for `help`, editors and type checkers.

    So the options are named once, in `VoteOptions`.
    """

    def decorate(function: Callable[..., Result]) -> Callable[P, Result]:
        returned = inspect.signature(function).return_annotation
        signature = inspect.signature(votes).replace(return_annotation=returned)
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


@_takes_arguments_of(Votes)
def noisy_or(*fields: Any, **options: Any) -> Array:
    r"""Combine displaced votes by the noisy-or rule.

    .. math:: m(x_0) = 1 - \prod_x (1 - w(x, x_0) c(x)), \quad
              w(x, x_0) = \exp(-\|x_0 - [x + o(x)]\|^2 / 2\sigma^2)

    which is Eq. 2 of Neverova & Kokkinos, *Mass Displacement Networks*, supplement.

    Parameters
    ----------
    confidence, offsets, sigma, truncate, stride, origin, output_shape, aggregate, deterministic
        As in `mdn_cupy.Votes`; this is `Votes.noisy_or`.

    Returns
    -------
    array [..., Ho, Wo]
        The vote map m, of the caller's kind of array; float64 if a field is, else float32.

    Raises
    ------
    TypeError, ValueError
        As in `mdn_cupy.Votes`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> c, o = np.full((1, 2), 0.5), np.array([[[0.0, -1.0]], [[0.0, 0.0]]])  # both vote for (0, 0)
    >>> float(mdn.noisy_or(c, o, sigma=0.1)[0, 0])
    0.75
    """
    return _votes("noisy_or", fields, options).noisy_or()


@_takes_arguments_of(Votes)
def log_complement(*fields: Any, **options: Any) -> Array:
    """Accumulate L = Σ log(1 − w·c) = log(1 − m): `Votes.log_complement` of `Votes(...)`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> float(mdn.log_complement(np.full((1, 1), 0.5), np.zeros((2, 1, 1)), 1.0)[0, 0])
    -0.6931471805599453
    """
    return _votes("log_complement", fields, options).log_complement()


@_takes_arguments_of(Votes)
def additive(*fields: Any, **options: Any) -> Array:
    """Sum displaced votes of the mass c each: `Votes.additive` of `Votes(...)`, Eq. 3 and 6.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> s = mdn.additive(np.ones((1, 1), np.float32), np.zeros((2, 1, 1), np.float32), sigma=2.0)
    >>> bool(np.isclose(s[0, 0], 1 / (2 * np.pi * 2.0**2)))
    True
    """
    return _votes("additive", fields, options).additive()


@_takes_arguments_of(Votes)
def plain_sum(*fields: Any, **options: Any) -> Array:
    """Sum displaced votes with K(0) = 1: `Votes.plain_sum` of `Votes(...)`, Eq. 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> float(mdn.plain_sum(np.full((1, 1), 0.75), np.zeros((2, 1, 1)), 1.0)[0, 0])
    0.75
    """
    return _votes("plain_sum", fields, options).plain_sum()


@_takes_arguments_of(Votes)
def compare(*fields: Any, **options: Any) -> tuple[Array, Array, Array]:
    """Combine displaced votes by both rules: m, L and the additive s; `Votes.compare`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> m, L, s = mdn.compare(np.full((1, 1), 0.5), np.zeros((2, 1, 1)), 1.0)
    >>> float(m[0, 0]), float(s[0, 0].round(4))
    (0.5, 0.0796)
    """
    return _votes("compare", fields, options).compare()
