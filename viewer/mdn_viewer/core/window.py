"""The part of a map that is on the screen, at the screen's resolution: votes for that alone."""

from __future__ import annotations

from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

import mdn_cupy as mdn

__all__ = ["Window", "votes_in"]

_lock = Lock()  # several workers compute at the same time
_scaled: WeakKeyDictionary[mdn.Fields, dict[Any, Any]] = WeakKeyDictionary()


class Window(NamedTuple):
    """Rows and columns of the output, of which every `step`-th pixel is wanted."""

    top: int
    left: int
    bottom: int
    right: int
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns of pixels are wanted."""
        rows, columns = self.bottom - self.top, self.right - self.left
        return -(-rows // self.step), -(-columns // self.step)


def votes_in(fields: mdn.Fields, key: Any, votes: mdn.Votes, window: Window) -> mdn.Votes:
    """Return the votes for the pixels of a window.

    A vote's weight depends on distance over sigma only. So with positions, offsets and sigma all
    divided by the step, the map at pixel (i, j) is the whole map at pixel (top + step·i,
    left + step·j); of the additive rule, times step².

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The field set; its divided offsets are kept while it exists, for the next sigma.
    key : hashable
        Which of the fields vote.
    votes : mdn_cupy.Votes
        Their votes, in NumPy arrays.
    window : Window
        The pixels.

    Examples
    --------
    >>> fields = mdn.samples.load("pose")
    >>> votes = fields.votes("nose", sigma=8.0)
    >>> coarse = votes_in(fields, "nose", votes, Window(80, 100, 120, 220, 4)).noisy_or()
    >>> bool(np.allclose(coarse, votes.noisy_or()[80:120:4, 100:220:4], atol=1e-6))
    True
    """
    cropped = votes.crop(slice(window.top, window.bottom), slice(window.left, window.right))
    step = window.step
    if step == 1:
        return cropped
    with _lock:
        kept = _scaled.setdefault(fields, {})
        if kept.get("key") != (key, step):  # one at a time: each is as large as the offsets
            offsets = np.asarray(votes.offsets)
            kept.update(key=(key, step), offsets=offsets / offsets.dtype.type(step))
        offsets = kept["offsets"]
    stride, origin = (np.broadcast_to(x, 2) / step for x in (cropped.stride, cropped.origin))
    return cropped.replace(
        offsets=offsets,
        sigma=votes.sigma / step,
        stride=tuple(stride.tolist()),
        origin=tuple(origin.tolist()),
        output_shape=window.shape,
    )
