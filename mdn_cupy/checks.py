"""Checks of values: what lies outside the domain of the votes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array, is_number, to_numpy
from mdn_cupy.problem import VoteOptions, vote_problem

__all__ = ["check_fields"]


def check_fields(confidence: Array, offsets: Array, sigma: Array | float) -> None:
    """Look at every value and name what lies outside the domain of the votes.

    The voting functions never do this themselves: they would have to wait for the GPU.

    Parameters
    ----------
    confidence, offsets, sigma
        As in `mdn_cupy.Votes`.

    Raises
    ------
    TypeError
        If a field is not of a floating dtype.
    ValueError
        If confidences lie outside [0, 1], offsets are not finite, or sigma is not positive and
        finite; the message counts them and gives the first index.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> mdn.check_fields(np.array([[0.5, 1.5]]), np.zeros((2, 1, 2)), 1.0)
    Traceback (most recent call last):
        ...
    ValueError: confidence: 1 of 2 values outside [0, 1], the first at (0, 1) is 1.5
    """
    c, o = to_numpy(confidence, "confidence"), to_numpy(offsets, "offsets")
    s = np.asarray(float(sigma)) if is_number(sigma) else to_numpy(sigma, "sigma")
    vote_problem(c, o, 1.0 if is_number(sigma) else s, VoteOptions())
    found = [
        outside("confidence", c, (c >= 0) & (c <= 1), "outside [0, 1]"),
        outside("offsets", o, np.isfinite(o), "not finite"),
        outside("sigma", s, (s > 0) & np.isfinite(s), "not positive and finite"),
    ]
    if any(found):
        raise ValueError("; ".join(message for message in found if message))


def outside(name: str, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], what: str) -> str:
    """Count the values that are not valid and show the first; an empty text if all are."""
    count = values.size - int(np.count_nonzero(valid))
    if count == 0:
        return ""
    first = tuple(int(n) for n in np.unravel_index(int(np.argmin(valid)), valid.shape))
    return (
        f"{name}: {count} of {values.size} values {what}, the first at {first} is {values[first]}"
    )
