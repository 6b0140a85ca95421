"""What two arrays of unknown layout may be: axes, grid and order of components that fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_cupy.io import Layout

__all__ = [
    "GridGuess",
    "Scored",
    "are_logits",
    "compare",
    "find_pair",
    "grids",
    "has_rows_last",
    "layouts",
    "only",
    "plane",
    "understood",
]

Array = npt.NDArray[Any]
Shape = Sequence[int]

_SQUARE = 1.1  # ratio of the strides along rows and columns beyond which they are not one stride
_SURE = 0.999  # of a confidence of 1, whose evidence is infinite
_TESTED = 4  # parts whose votes are compared: those of the highest confidences
_SWAP = str.maketrans("HW", "WH")


class GridGuess(NamedTuple):
    """A stride and an origin that fit the sizes of grid and image, and the arithmetic."""

    stride: float | tuple[float, float]
    origin: float | tuple[float, float]
    why: str


def grids(grid: Shape, image: Shape) -> list[GridGuess]:
    """Propose strides and origins, the likeliest first.

    Parameters
    ----------
    grid : (int, int)
        Rows and columns of sources.
    image : (int, int)
        Rows and columns of pixels.

    Examples
    --------
    >>> grids((25, 25), (385, 385))
    [GridGuess(stride=16, origin=0, why='(385 − 1) / (25 − 1) = 16')]
    >>> [(guess.stride, guess.origin) for guess in grids((30, 40), (240, 320))]
    [(8, 3.5), (8, 4.0)]
    """
    if tuple(grid) == tuple(image):
        return [GridGuess(1, 0, "a source for every pixel")]
    both = list(zip(grid, image, strict=True))
    exact = {(i - 1) / (g - 1) for g, i in both if g > 1}
    if len(exact) == 1 and all(g > 1 or i == 1 for g, i in both):
        (stride,) = exact
        if stride > 1 and stride == int(stride):
            why = f"({image[0]} − 1) / ({grid[0]} − 1) = {stride:g}"
            return [GridGuess(int(stride), 0, why)]
    common = [s for s in range(1, max(image) + 1) if all(math.ceil(i / s) == g for g, i in both)]
    if common:
        wanted = [s for s in common if s & (s - 1) == 0] or common  # nearly always a power of 2
        stride = wanted[0]
        why = f"{image[0]} / {grid[0]} = {image[0] / grid[0]:g}"
        return [
            GridGuess(stride, (stride - 1) / 2, f"{why}, from centres of cells"),
            GridGuess(stride, stride / 2, f"{why}, half a stride in"),
        ]
    y, x = (i / max(g, 1) for g, i in both)
    why = f"{image[0]} / {grid[0]} × {image[1]} / {grid[1]}"
    return [GridGuess((y, x), ((y - 1) / 2, (x - 1) / 2), why)]


def plane(image: Shape, rgb: bool = False) -> tuple[int, int]:
    """Return rows and columns of an image, grey or of 3 or 4 colours.

    Examples
    --------
    >>> plane((385, 384, 3)), plane((9, 385, 384))
    ((385, 384), (385, 384))
    """
    colour = rgb or (len(image) > 2 and image[-1] in (3, 4))
    rows, columns = image[-3:-1] if colour else image[-2:]
    return int(rows), int(columns)


def layouts(confidence: Shape, offsets: Shape, image: Shape | None = None) -> list[Layout]:
    """Return the layouts that two shapes fit, the likeliest first.

    An image (rows, columns) tells rows from columns: where only exchanged they give one stride
    along both, they are exchanged.

    Examples
    --------
    >>> [layout.text for layout in layouts((4, 40, 30), (4, 2, 40, 30), (240, 320))]
    ['PCWH']
    """
    fitting = Layout.fitting(confidence, offsets)
    if image is None:
        return fitting
    given = [(layout, _skew(layout, confidence, image)) for layout in fitting]
    found = [layout for layout, skew in given if skew <= _SQUARE]
    turned = [Layout(layout.text.translate(_SWAP)) for layout in fitting]
    found = found or [x for x in turned if _skew(x, confidence, image) <= _SQUARE]
    return found or fitting


def only(confidence: Shape, offsets: Shape) -> dict[str, str]:
    """Return the layout that two shapes fit, where it is the only one and not the usual one.

    Of those with the parts first and last, it is the first where there are few parts.

    Examples
    --------
    >>> only((4, 30, 40), (4, 2, 30, 40)), only((4, 30, 40), (4, 30, 40, 2))
    ({}, {'layout': 'PHWC'})
    """
    if Layout.usual(confidence, offsets).leading(confidence, offsets) is not None:
        return {}
    fitting = Layout.fitting(confidence, offsets)
    first = [layout for layout in fitting if layout.maps == [*"PHW"]]
    if len(first) == 1:
        sizes = first[0].lengths(confidence, offsets) or {}
        fitting = first if sizes["P"] <= min(sizes["H"], sizes["W"]) else fitting
    return {"layout": fitting[0].text} if len(fitting) == 1 else {}


def _skew(layout: Layout, confidence: Shape, image: Shape) -> float:
    """Return the ratio of the strides along rows and columns, at least 1."""
    rows, columns = layout.grid(confidence)
    ratio = (image[0] * max(columns, 1)) / (image[1] * max(rows, 1))
    return max(ratio, 1 / ratio)


def are_logits(confidence: Array) -> bool:
    """Whether some numbers are below 0 or above 1, and none is too far for a logit."""
    finite = confidence[np.isfinite(confidence)]
    return bool(finite.size and (finite.min() < 0 or finite.max() > 1) and finite.max() < 100)


def find_pair(shapes: Mapping[str, Shape]) -> tuple[str, str] | None:
    """Return the names of the only two arrays that fit as confidence and offsets, or None.

    Examples
    --------
    >>> find_pair({"a": (8, 30, 40), "b": (4, 30, 40), "anchors": (9, 4)})
    ('b', 'a')
    """
    fitting = {
        (c, o): Layout.fitting(of_c, of_o)
        for c, of_c in shapes.items()
        for o, of_o in shapes.items()
        if c != o and len(of_c) > 1
    }
    pairs = [pair for pair, found in fitting.items() if found]
    own = [pair for pair in pairs if any(layout.has_own_offsets for layout in fitting[pair])]
    best = own or pairs  # offsets that all parts share are rare
    return best[0] if len(best) == 1 else None


@dataclass(frozen=True)
class Scored:
    """A layout and an order of components, with the evidence of the highest peaks."""

    layout: Layout
    order: str
    evidence: float


def compare(
    confidence: Array,
    offsets: Array,
    fitting: Iterable[Layout],
    stride: float = 1.0,
    sigmoid: bool = False,
) -> list[Scored]:
    """Compare layouts and both orders by their votes, the highest evidence first.

    Where votes of a part meet, its evidence is high; numbers that were read in a wrong order
    scatter. The votes are cast among the sources, one pixel each, with σ = 1, by the parts of the
    highest confidence. The library's own layout is compared with no other.

    Parameters
    ----------
    confidence, offsets : array
        Confidences in [0, 1], or logits, and offsets in pixels, as they come; of frames, the first
        votes.
    fitting : iterable of Layout
        As `layouts` returns them.
    stride : float
        Pixels from source to source.
    sigmoid : bool
        Whether confidences are logits.
    """
    found, fitting = [], list(fitting)
    named = {"confidence": confidence, "offsets": offsets}
    arrays = {name: np.asarray(x, np.result_type(x, np.float32)) for name, x in named.items()}
    for layout in fitting[:1] if fitting[0].text == "PCHW" else fitting:
        read = mdn.open_fields(arrays, layout=layout.text, scale=1 / stride, sigmoid=sigmoid)[0]
        parts = np.argsort(-read.confidence.sum((1, 2)), kind="stable")[:_TESTED]
        c, o = np.clip(np.nan_to_num(read.confidence[parts]), 0, _SURE), read.offsets[parts]
        for order, vectors in (("xy", o), ("yx", o[:, ::-1])):
            votes = mdn.Votes(c, np.ascontiguousarray(vectors), sigma=1.0)
            evidence = votes.evidence().max(axis=(-2, -1), initial=0).sum()
            found.append(Scored(layout, order, float(evidence)))
    return sorted(found, key=lambda scored: -scored.evidence)


def has_rows_last(layout: str) -> bool:
    """Whether rows and columns are the confidence's last axes, as napari shows them.

    Examples
    --------
    >>> has_rows_last("(PC)HW"), has_rows_last("HWPC"), has_rows_last("PHW HWPC")
    (True, False, True)
    """
    return layout.split(" ")[0].replace("C", "").endswith("HW")


def understood(layout: Layout, order: str, others: Sequence[Layout] = (), grid: str = "") -> str:
    """Say in a line how two arrays are read.

    Examples
    --------
    >>> understood(Layout("(PC)HW"), "xy", [Layout("(CP)HW")])
    'read as (PC)HW (two channels of each part in turn), x before y; could be (CP)HW too'
    """
    meaning = f" ({layout.meaning})" if layout.meaning else ""
    line = f"read as {layout.text}{meaning}, {order[0]} before {order[1]}"
    line += f"; stride {grid}" if grid else ""
    rest = [other.text for other in others if other != layout]
    return line + (f"; could be {' or '.join(rest)} too" if rest else "")
