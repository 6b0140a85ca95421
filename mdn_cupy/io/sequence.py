"""A batch or a video: a sequence of field sets that are read when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Protocol, SupportsIndex, overload

from mdn_cupy.fields import Fields

__all__ = ["FieldsSequence", "Source"]


class Source(Protocol):
    """Where frames are read from."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def read(self, frame: int) -> Fields:
        """Read one frame; 0 is the first."""


class FieldsSequence(Sequence[Fields]):
    """Field sets of many frames, each read when it is asked for: what `open_fields` returns.

    `len(frames)` is their number, `frames[t]` reads one, `frames[a:b]` is a sequence of some, which
    reads nothing. It can be sent to other processes, such as the workers of a torch DataLoader:
    they open the file again; arrays in memory are sent along, and an open HDF5 group cannot be.
    Threads may share it; of a file they read one after the other.
    """

    def __init__(self, source: Source, numbers: range | None = None) -> None:
        self._source = source
        self._numbers = range(len(source)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Fields: ...

    @overload
    def __getitem__(self, index: slice) -> FieldsSequence: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Fields | FieldsSequence:
        if isinstance(index, slice):
            return FieldsSequence(self._source, self._numbers[index])
        try:
            number = operator.index(index)
        except TypeError:
            raise TypeError(f"a frame is an integer or a slice, got {index!r}") from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"no frame {number}; there are {len(self)}")
        return self._source.read(self._numbers[number])

    def __repr__(self) -> str:
        return f"FieldsSequence({len(self)} frames of {self._source!r})"
