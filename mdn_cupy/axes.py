"""The order of axes in arrays: which shapes fit it, and how they become those of `Fields`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import kind_of

__all__ = ["OWN", "Layout", "lengths"]

OWN = "PCHW"

# Axes beside rows and columns, in the offsets: before them, or after them.
_CHANNELS = ("C", "PC", "(PC)", "(CP)", "CP")
_MEANINGS = {
    "(PC)": "two channels of each part in turn",
    "(CP)": "the first component of all parts, then the second",
}

FloatArray = npt.NDArray[np.floating]


def lengths(
    shapes: Iterable[Sequence[int]], orders: Iterable[Sequence[str]], **known: int
) -> dict[str, int] | None:
    """Return what letters stand for in shapes of these orders of axes, None where they do not fit.

    A letter stands for one length in all of them, a number for itself, a number before a letter
    multiplies it, "4|5" allows either. N is one more axis before all others, which may be missing.

    Examples
    --------
    >>> lengths([(9, 17, 25, 30), (9, 34, 25, 30)], ["PHW", ["2P", "H", "W"]])
    {'N': 9, 'P': 17, 'H': 25, 'W': 30}
    """
    shapes, orders = [*shapes], [*orders]
    leading = ["N"] * (len(shapes[0]) - len(orders[0]) == 1)
    for shape, order in zip(shapes, ([*leading, *order] for order in orders), strict=True):
        if len(shape) != len(order):
            return None
        for n, axis in zip(shape, order, strict=True):
            letter = axis[-1]
            if letter.isdigit():
                fits = n in map(int, axis.split("|"))
            else:
                factor = int(axis[:-1] or 1)
                count = n // factor  # torch.jit traces sizes as tensors, which have no divmod
                fits = count * factor == n and known.setdefault(letter, count) == count
            if not fits:
                return None
    return known


@dataclass(frozen=True)
class Layout:
    """Axes of the offsets: P parts, C the two components, H rows, W columns.

    Two letters in parentheses share an axis, the last one varies fastest: "(PC)HW" has x and y of
    each part in turn, "HW(CP)" at every place first all x, then all y. The confidence has the same
    axes without C, unless its own come first: "PHW HWPC". A file of one map has no P; offsets
    without P are shared by all maps: "PHW CHW". Frames come before all these.

    Examples
    --------
    >>> Layout("HW(CP)").leading((25, 25, 17), (25, 25, 34))
    ()
    >>> Layout("HW(CP)").leading((9, 25, 25, 17), (9, 25, 25, 34))
    (9,)
    >>> Layout("PHW HWPC").leading((17, 25, 30), (25, 30, 17, 2))
    ()
    """

    text: str

    def __post_init__(self) -> None:
        """Check the letters."""
        if not isinstance(self.text, str):
            raise TypeError(f"layout must be a text such as 'PCHW', got {kind_of(self.text)}")
        words = self.text.split(" ")
        letters = "".join(self.maps)
        if (
            sorted("".join(self.axes)) not in (sorted("CHW"), sorted("CHWP"))
            or re.sub(r"\((PC|CP)\)|[PCHW]", "", words[-1])
            or len(words) > 2
            or (len(words) == 2 and sorted(letters) not in (sorted("HW"), sorted("HWP")))
        ):
            raise ValueError(
                f"layout must order the axes P (parts), C (x and y), H and W of the offsets, such "
                f"as 'PCHW', '(PC)HW' or 'HW(CP)', got {self.text!r}"
            )

    @property
    def axes(self) -> list[str]:
        """The letters of each axis of the offsets."""
        offsets = self.text.rpartition(" ")[2]
        return [axis.strip("()") for axis in re.findall(r"\([A-Z]+\)|[A-Z]", offsets)]

    @property
    def maps(self) -> list[str]:
        """The letters of the confidence's axes."""
        own = self.text.rpartition(" ")[0]
        return list(own) or [axis.replace("C", "") for axis in self.axes if axis != "C"]

    @property
    def words(self) -> tuple[list[str], list[str]]:
        """The axes of confidence and offsets, as `lengths` takes them."""
        offsets = [axis.replace("PC", "2P").replace("CP", "2P") for axis in self.axes]
        return self.maps, [axis.replace("C", "2") for axis in offsets]

    def lengths(self, confidence: Sequence[int], offsets: Sequence[int]) -> dict[str, int] | None:
        """Return what the letters stand for in two shapes, N for frames, None if they differ."""
        one = {} if "P" in self.maps else {"P": 1}
        return lengths((confidence, offsets), self.words, C=2, **one)

    def leading(self, confidence: Sequence[int], offsets: Sequence[int]) -> tuple[int, ...] | None:
        """Match two shapes: the axis of frames before the others, or none; None if they differ."""
        found = self.lengths(confidence, offsets)
        return None if found is None else tuple(found[n] for n in "N" if n in found)

    def confidence(self, array: FloatArray) -> FloatArray:
        """Bring one frame to (P, H, W)."""
        order = [self.maps.index(letter) for letter in "PHW" if letter in self.maps]
        return array.transpose(order).reshape([self._lengths(array.shape)[n] for n in "PHW"])

    def offsets(self, array: FloatArray, confidence: Sequence[int]) -> FloatArray:
        """Bring one frame to (P, 2, H, W); `confidence` is the shape of its confidence."""
        length, letters = self._lengths(confidence), "".join(self.axes)
        array = array.reshape([length[letter] for letter in letters])
        array = array.transpose([letters.index(n) for n in OWN if n in letters])
        return np.broadcast_to(array, [length[letter] for letter in OWN])

    def grid(self, confidence: Sequence[int]) -> tuple[int, int]:
        """Return H and W of a confidence of a shape, with or without an axis of frames."""
        length = self._lengths(confidence[len(confidence) - len(self.maps) :])
        return length["H"], length["W"]

    def _lengths(self, confidence: Sequence[int]) -> dict[str, int]:
        return {"P": 1, "C": 2, **dict(zip(self.maps, confidence, strict=True))}

    def __str__(self) -> str:
        """Say which shapes it wants."""
        confidence, offsets = map(", ".join, self.words)
        return f"confidence ({confidence}) and offsets ({offsets})"

    @staticmethod
    def usual(confidence: Sequence[int], offsets: Sequence[int]) -> Layout:
        """Return the layout of two shapes where none is given: one map may have no axis P."""
        one_map = Layout("CHW")
        return one_map if one_map.leading(confidence, offsets) == () else Layout(OWN)

    @property
    def has_own_offsets(self) -> bool:
        """Whether every map has offsets of its own."""
        return any("P" in axes for axes in self.axes) or "P" not in self.maps

    @property
    def meaning(self) -> str:
        """Say what the letters do not; nothing where they say it all."""
        if not any("P" in axes for axes in (*self.maps, *self.axes)):
            return "one map"
        if not self.has_own_offsets:
            return "offsets shared by all parts"
        return next((said for axes, said in _MEANINGS.items() if axes in self.text), "")

    @staticmethod
    def fitting(confidence: Sequence[int], offsets: Sequence[int]) -> list[Layout]:
        """Return the layouts that two shapes fit.

        Those with rows and columns exchanged in one of the two are looked for only if no other
        fits.

        Examples
        --------
        >>> [layout.text for layout in Layout.fitting((17, 25, 30), (34, 25, 30))]
        ['(PC)HW', '(CP)HW']
        >>> [layout.text for layout in Layout.fitting((25, 30, 17), (17, 2, 25, 30))]
        ['HWP PCHW']
        """
        for plane in ("HW", "WH"):
            found: dict[tuple[object, ...], Layout] = {}
            for maps in ("HW",) if len(confidence) == 2 else ("PHW", "HWP"):
                for layout in _layouts(maps, plane):
                    if sizes := layout.lengths(confidence, offsets):
                        same = *layout._order(sizes["P"]), sizes["H"], sizes["W"]
                        found.setdefault(same, layout)
            if found:
                return list(found.values())
        return []

    def _order(self, parts: int) -> tuple[str, ...]:
        """Return the axes, without that of parts if its length is 1: then its place is nothing."""
        gone = "P" if parts == 1 else ""
        both = ([axis.replace(gone, "") for axis in axes] for axes in (self.maps, self.axes))
        return tuple(" ".join(filter(None, axes)) for axes in both)

    @staticmethod
    def suggestion(confidence: Sequence[int], offsets: Sequence[int]) -> str:
        """Say in which layouts two shapes would match."""
        fitting = [
            f"layout={layout.text!r}" + (f" ({layout.meaning})" if layout.meaning else "")
            for layout in Layout.fitting(confidence, offsets)
        ]
        return f"give {' or '.join(fitting)}" if fitting else "they fit in no common layout"


def _layouts(maps: str, plane: str) -> list[Layout]:
    """Return the layouts of a confidence's axes, the most usual first."""
    places = [f"{c}{plane}" for c in _CHANNELS] + [f"{plane}{c}" for c in _CHANNELS]
    found = []
    for text in (*places, f"P{plane}C"):
        same = Layout(text)
        found.append(same if "".join(same.maps) == maps else Layout(f"{maps} {text}"))
    return found
