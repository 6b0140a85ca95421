"""Where votes are computed: on the GPU where there is one, else on the CPU. Independent of Qt."""

from __future__ import annotations

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
_copies: WeakKeyDictionary[mdn.Fields, dict[Any, mdn.Votes]] = WeakKeyDictionary()
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


def call(fields: mdn.Fields, key: Any, votes: mdn.Votes, method: str, *arguments: Any) -> Any:
    """Call a method of votes, on the GPU where there is one.

    What the GPU fails to do, for lack of memory or whatever reason, the CPU does, and from then on
    all votes of that field set.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        Whose votes. They are copied to the GPU once, and kept there while there are such fields.
    key : hashable
        Which of the fields vote: their confidence and offsets are the same wherever this is.
    votes : mdn_cupy.Votes
        The votes, in NumPy arrays; sigma is a number.
    method : str
        Of `mdn_cupy.Votes`.
    *arguments
        What it takes; arrays are copied to the GPU.

    Returns
    -------
    array, or tuple of array
        What the method returns, in NumPy arrays wherever it was computed.
    """
    failure = None
    if place(fields).on_gpu:
        try:
            there = getattr(_on_gpu(fields, key, votes), method)
            return _brought_back(there(*map(_moved, arguments)))
        except Exception as error:  # whatever it is, the CPU may still be able to
            full = isinstance(error, MemoryError)
            failure = "the GPU's memory is full" if full else "the GPU failed", str(error)
    result = getattr(votes, method)(*arguments)  # what raises here too was not the GPU's fault
    if failure is not None:
        with _lock:
            _failures[fields] = failure
            _copies.pop(fields, None)
    return result


def _on_gpu(fields: mdn.Fields, key: Any, votes: mdn.Votes) -> mdn.Votes:
    """Return the same votes on the GPU, of the copy that is there if there is one."""
    with _lock:
        copies = _copies.setdefault(fields, {})
        if key not in copies:
            copies[key] = votes.to("cuda")
    return copies[key].replace(sigma=votes.sigma, truncate=votes.truncate)


def _moved(value: Any) -> Any:
    return mdn.to_gpu(value) if isinstance(value, np.ndarray) else value


def _brought_back(result: Any) -> Any:
    return tuple(map(mdn.to_numpy, result)) if isinstance(result, tuple) else mdn.to_numpy(result)


@cache
def _backends() -> dict[str, Any]:
    return mdn.backends()
