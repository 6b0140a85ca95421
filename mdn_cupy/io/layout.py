"""The order of axes in a file, and how its arrays become those of `Fields`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["OWN", "Layout"]

OWN = "PCHW"

_COMMON = {
    OWN: "",
    "(PC)HW": "two channels of each part in turn",
    "(CP)HW": "the first component of all parts, then the second",
    "CPHW": "",
    "CHW": "one map",
    "HWPC": "",
    "HW(PC)": "two channels of each part in turn",
    "HW(CP)": "the first component of all parts, then the second",
    "HWCP": "",
    "HWC": "one map",
}

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Layout:
    """Axes of the offsets: P parts, C the two components, H rows, W columns.

    Two letters in parentheses share an axis, the last one varies fastest: "(PC)HW" has x and y of
    each part in turn, "HW(CP)" at every place first all x, then all y. The confidence has the same
    axes without C. A file of one map has no P. Frames come before all these.

    Examples
    --------
    >>> Layout("HW(CP)").leading((25, 25, 17), (25, 25, 34))
    ()
    >>> Layout("HW(CP)").leading((9, 25, 25, 17), (9, 25, 25, 34))
    (9,)
    """

    text: str

    def __post_init__(self) -> None:
        """Check the letters."""
        letters = "".join(self.axes)
        if sorted(letters) not in (sorted("CHW"), sorted("CHWP")) or re.sub(
            r"\((PC|CP)\)|[PCHW]", "", self.text
        ):
            raise ValueError(
                f"layout must order the axes P (parts), C (x and y), H and W of the offsets, such "
                f"as 'PCHW', '(PC)HW' or 'HW(CP)', got {self.text!r}"
            )

    @property
    def axes(self) -> list[str]:
        """The letters of each axis of the offsets."""
        return [axis.strip("()") for axis in re.findall(r"\([A-Z]+\)|[A-Z]", self.text)]

    @property
    def _maps(self) -> list[str]:
        """The letters of the confidence's axes."""
        return [axis.replace("C", "") for axis in self.axes if axis != "C"]

    def leading(self, confidence: Sequence[int], offsets: Sequence[int]) -> tuple[int, ...] | None:
        """Match two shapes: the axis of frames before the others, or none; None if they differ."""
        extra = len(confidence) - len(self._maps)
        if extra not in (0, 1) or tuple(confidence[:extra]) != tuple(offsets[:extra]):
            return None
        length = self._lengths(confidence[extra:])
        if tuple(offsets[extra:]) != tuple(math.prod(length[n] for n in a) for a in self.axes):
            return None
        return tuple(confidence[:extra])

    def confidence(self, array: FloatArray) -> FloatArray:
        """Bring one frame to (P, H, W)."""
        order = [self._maps.index(letter) for letter in "PHW" if letter in self._maps]
        return array.transpose(order).reshape([self._lengths(array.shape)[n] for n in "PHW"])

    def offsets(self, array: FloatArray, confidence: Sequence[int]) -> FloatArray:
        """Bring one frame to (P, 2, H, W); `confidence` is the shape of its confidence."""
        length, letters = self._lengths(confidence), "".join(self.axes)
        array = array.reshape([length[letter] for letter in letters])
        array = array.transpose([letters.index(n) for n in OWN if n in letters])
        return array.reshape([length[letter] for letter in OWN])

    def _lengths(self, confidence: Sequence[int]) -> dict[str, int]:
        return {"P": 1, "C": 2, **dict(zip(self._maps, confidence, strict=True))}

    def __str__(self) -> str:
        """Say which shapes it wants."""
        both = (", ".join(axes) for axes in (self._maps, self.axes))
        confidence, offsets = (re.sub("PC|CP", "2P", axes).replace("C", "2") for axes in both)
        return f"confidence ({confidence}) and offsets ({offsets})"

    @staticmethod
    def suggestion(confidence: Sequence[int], offsets: Sequence[int]) -> str:
        """Say in which common layouts two shapes would match."""
        fitting = [
            f"layout={text!r}" + (f" ({meaning})" if meaning else "")
            for text, meaning in _COMMON.items()
            if Layout(text).leading(confidence, offsets) is not None
        ]
        return f"give {' or '.join(fitting)}" if fitting else "they fit in no common layout"
