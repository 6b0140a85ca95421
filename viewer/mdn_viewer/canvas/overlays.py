"""What can lie over the pictures of all cells, as data: arrows, marks, small pictures."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import Colormap
from vispy import scene
from vispy.geometry import Rect
from vispy.visuals.transforms import STTransform

from mdn_viewer.canvas.colormaps import as_vispy

__all__ = ["Arrows", "Marks", "Outlines", "Overlay", "Patch", "placed"]

Array = npt.NDArray[Any]

_CROWD, _SMALL = 1000, 3  # marks that are seen; screen pixels of each, where there are more

_HEAD, _OPEN = 0.25, 0.5  # length of an arrow's head of the arrow's; half its width of that


class Overlay(Protocol):
    """Data that know how to draw themselves in one cell."""

    def make(self, parent: Any) -> Any:
        """Return a vispy node below a parent; `write` comes next."""

    def write(self, node: Any) -> None:
        """Give a node of `make` these data."""

    @property
    def amount(self) -> int:
        """How many marks, points or values there are to draw."""


class Arrows(NamedTuple):
    """Arrows in pixels of the output; their lines are as wide anywhere, in screen pixels.

    A head is a share of its arrow's length, as napari draws them: short arrows hide nothing.
    """

    start: Array  # [n, 2]: row and column
    vector: Array  # [n, 2]: rows and columns
    colour: Array  # [n, 4]
    width: float = 1.2

    @property
    def amount(self) -> int:
        """How many arrows there are."""
        return len(self.start)

    def make(self, parent: Any) -> Any:
        """Return vispy's lines: one shader, where vispy's arrows take two."""
        node = scene.visuals.Line(connect="segments", method="gl", width=self.width, parent=parent)
        node.set_gl_state("translucent", depth_test=False)
        return node

    def write(self, node: Any) -> None:
        """Set ends and colours."""
        start, vector = (np.asarray(x, np.float32)[:, ::-1] for x in (self.start, self.vector))
        tip, across = start + vector, vector[:, ::-1] * np.array([-1, 1], np.float32)
        sides = (tip - _HEAD * (vector + sign * _OPEN * across) for sign in (-1, 1))
        lines = np.stack([start, tip, *(end for side in sides for end in (tip, side))], axis=1)
        colour = np.repeat(np.asarray(self.colour, np.float32), lines.shape[1], axis=0)
        node.set_data(pos=np.ascontiguousarray(lines.reshape(-1, 2)), color=colour)


class Marks(NamedTuple):
    """Symbols at pixels of the output, of a constant size on the screen; small where many are seen.

    OpenGL without a GPU takes a microsecond for ten pixels of a mark, and its rim and its smooth
    edge are most of them. Of thousands none could be told apart.
    """

    at: Array  # [n, 2]: row and column
    colour: Array  # [n, 4]
    symbol: Any = "disc"  # one for all, or [n]
    size: Any = 5.0  # screen pixels; one for all, or [n]
    rim: Any = 0.0  # screen pixels of black, so that a mark stands out
    rim_colour: Any = "black"

    @property
    def amount(self) -> int:
        """How many marks there are."""
        return len(self.at)

    def make(self, parent: Any) -> Any:
        """Return vispy's markers."""
        node = scene.visuals.Markers(parent=parent, scaling="fixed", antialias=1)
        node.set_gl_state("translucent", depth_test=False)
        return node

    def write(self, node: Any) -> None:
        """Set places and looks."""
        node.set_data(
            np.ascontiguousarray(np.asarray(self.at)[:, ::-1], np.float32),
            size=self.size,
            face_color=np.asarray(self.colour, np.float32),
            symbol=self.symbol,
            edge_width=self.rim,
            edge_color=self.rim_colour,
        )

    def look(self, node: Any, seen: Rect) -> None:
        """Make marks small, or as large as they are, where these pixels of the output are seen."""
        rows, columns = np.asarray(self.at).T
        among = (seen.bottom <= rows) & (rows <= seen.top)
        among &= (seen.left <= columns) & (columns <= seen.right)
        many = np.count_nonzero(among) > _CROWD
        node.antialias = 0 if many else 1
        node.canvas_size_limits = (0, _SMALL) if many else None


class Outlines(NamedTuple):
    """Closed lines in pixels of the output: the ellipses of spreads, the borders of shapes."""

    points: list[Array]  # each [m, 2]: row and column
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    width: float = 1.2

    @property
    def amount(self) -> int:
        """How many points there are."""
        return sum(map(len, self.points))

    def make(self, parent: Any) -> Any:
        """Return a vispy line of segments."""
        node = scene.visuals.Line(connect="segments", method="gl", width=self.width, parent=parent)
        node.set_gl_state("translucent", depth_test=False)
        return node

    def write(self, node: Any) -> None:
        """Set the segments."""
        places = np.concatenate(self.points)[:, ::-1]
        ends = np.cumsum([len(each) for each in self.points])
        following = np.arange(1, len(places) + 1)
        following[ends - 1] = [0, *ends[:-1]]  # the first point of the same line
        segments = np.stack([places, places[following]], axis=1).reshape(-1, 2)
        node.set_data(pos=np.ascontiguousarray(segments, np.float32), color=self.colour)


class Patch(NamedTuple):
    """A picture over or under the others: what one vote adds, labels in colour (RGBA), an image."""

    values: Array  # [rows, columns] or [rows, columns, 4]
    origin: tuple[float, float] = (0.0, 0.0)  # row and column of the first pixel's centre
    stride: tuple[float, float] = (1.0, 1.0)
    limits: tuple[float, float] = (0.0, 1.0)
    colormap: str | Colormap = "gray"
    opaque: bool = False

    @property
    def amount(self) -> int:
        """How many values there are."""
        return self.values.size

    def make(self, parent: Any) -> Any:
        """Return a vispy image."""
        node = scene.visuals.Image(texture_format="auto", parent=parent)
        node.set_gl_state("opaque" if self.opaque else "translucent", depth_test=False)
        return node

    def write(self, node: Any) -> None:
        """Set pixels, place and colours."""
        rgba = self.values.ndim == 3
        node.set_data(self.values if rgba else np.asarray(self.values, np.float32))
        if not rgba:
            node.cmap, node.clim = as_vispy(self.colormap), self.limits
        node.transform = placed(self.stride, self.origin)


def placed(stride: tuple[float, float], origin: tuple[float, float]) -> STTransform:
    """Return the transform that puts a picture's first pixel at a place, centres on centres."""
    (dy, dx), (y, x) = stride, origin
    return STTransform(scale=(dx, dy), translate=(x - dx / 2, y - dy / 2))
