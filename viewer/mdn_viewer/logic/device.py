"""Where votes are computed: on the GPU where there is one, else on the CPU. Knows no window."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

import mdn_cupy as mdn

__all__ = ["Place", "call", "place"]


class Place(NamedTuple):
    """Where the votes of a field set are computed.

    Attributes
    ----------
    on_gpu : bool
        Whether that is the GPU.
    text : str
        A line that says so.
    detail : str
        What each backend says of itself, and why the GPU failed if it did.
    """

    on_gpu: bool
    text: str
    detail: str


_lock = Lock()  # several windows, and several workers of each, compute at the same time
_copies: WeakKeyDictionary[mdn.Fields, dict[Any, Any]] = WeakKeyDictionary()
_failures: WeakKeyDictionary[mdn.Fields, tuple[str, str]] = WeakKeyDictionary()


def place(fields: mdn.Fields) -> Place:
    """Say where the votes of a field set are computed.

    Examples
    --------
    >>> place(mdn.samples.load("delta")).text.startswith("on the ")
    True
    """
    backends, failure = _backends(), _failures.get(fields)
    cpu, cuda = backends["cpu"], backends["cuda"]
    detail = f"cpu {cpu}\ncuda {cuda}"
    if failure is not None:
        brief, error = failure
        return Place(False, f"on the CPU ({cpu.detail}): {brief}", f"{detail}\n{error}")
    if cuda.works:
        return Place(True, f"on the GPU ({cuda.detail})", detail)
    return Place(False, f"on the CPU ({cpu.detail})", detail)


def call(
    function: Callable[..., Any],
    fields: mdn.Fields,
    votes: dict[str, Any],
    *maps: Any,
    **options: Any,
) -> Any:
    """Call a voting function, on the GPU where there is one.

    What the GPU fails to do, for want of memory or whatever reason, the CPU does, and from then on
    all votes of that field set.

    Parameters
    ----------
    function : callable
        `mdn_cupy.noisy_or`, `additive`, `compare` or a vjp.
    fields : mdn_cupy.Fields
        Whose votes. They are copied to the GPU once, and kept there while there are such fields.
    votes : dict
        The arguments that say how they vote; confidence and offsets are views of the fields.
    *maps : array [Ho, Wo]
        What comes before the votes: a cotangent.
    **options
        More keywords.

    Returns
    -------
    array, or tuple of array
        What the function returns, in NumPy arrays wherever it was computed.
    """
    failure = None
    if place(fields).on_gpu:
        try:
            there = {name: _moved(option) for name, option in options.items()}
            there |= _votes_on_gpu(fields, votes)
            return _brought_back(function(*map(_moved, maps), **there))
        except Exception as error:  # whatever it is, the CPU may still be able to
            full = isinstance(error, MemoryError)
            failure = "the GPU's memory is full" if full else "the GPU failed", str(error)
    result = function(*maps, **votes, **options)  # what raises here too was not the GPU's fault
    if failure is not None:
        with _lock:
            _failures[fields] = failure
            _copies.pop(fields, None)
    return result


def _votes_on_gpu(fields: mdn.Fields, votes: dict[str, Any]) -> dict[str, Any]:
    """Exchange views of the fields for copies on the GPU, which are found by the view's memory."""
    there = dict(votes)
    with _lock:
        copies = _copies.setdefault(fields, {})
        for name in ("confidence", "offsets"):
            memory = votes[name].__array_interface__
            key = memory["data"], memory["shape"], memory["strides"]
            if key not in copies:
                copies[key] = mdn.to_gpu(votes[name], name)
            there[name] = copies[key]
    return there


def _moved(value: Any) -> Any:
    return mdn.to_gpu(value) if isinstance(value, np.ndarray) else value


def _brought_back(result: Any) -> Any:
    if isinstance(result, mdn.Gradients):
        return mdn.Gradients(*map(mdn.to_numpy, result))
    return tuple(map(mdn.to_numpy, result)) if isinstance(result, tuple) else mdn.to_numpy(result)


@cache
def _backends() -> dict[str, Any]:
    return mdn.backends()
