"""Which part of the output the cells show, and how large. Independent of Qt."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Camera", "Extent", "grid_shape"]

_NEAREST, _FARTHEST = 200.0, 0.1  # screen pixels of an output pixel; share of the cell when far


class Extent(NamedTuple):
    """A rectangle in pixels of the output; the edges of pixel 0 are −0.5 and 0.5."""

    top: float
    left: float
    bottom: float
    right: float


class Camera(NamedTuple):
    """The point in the middle of every cell, and the screen pixels that an output pixel is wide."""

    row: float = 0.0
    column: float = 0.0
    zoom: float = 1.0

    @classmethod
    def fit(cls, extent: Extent, size: tuple[float, float]) -> Camera:
        """Return the camera that shows an extent whole in a cell of (height, width)."""
        height, width = extent.bottom - extent.top, extent.right - extent.left
        zoom = min(size[0] / max(height, 1e-9), size[1] / max(width, 1e-9))
        return cls((extent.top + extent.bottom) / 2, (extent.left + extent.right) / 2, zoom)

    def extent(self, size: tuple[float, float]) -> Extent:
        """Return what is seen in a cell of (height, width)."""
        half_height, half_width = size[0] / self.zoom / 2, size[1] / self.zoom / 2
        return Extent(
            self.row - half_height,
            self.column - half_width,
            self.row + half_height,
            self.column + half_width,
        )

    def at(self, x: float, y: float, size: tuple[float, float]) -> tuple[float, float]:
        """Return (row, column) at a place in a cell, in screen pixels from its top left corner."""
        return (
            self.row + (y - size[0] / 2) / self.zoom,
            self.column + (x - size[1] / 2) / self.zoom,
        )

    def moved(self, dx: float, dy: float) -> Camera:
        """Return the camera after a drag by screen pixels: what is seen follows the mouse."""
        return self._replace(row=self.row - dy / self.zoom, column=self.column - dx / self.zoom)

    def zoomed(self, factor: float, at: tuple[float, float], whole: float) -> Camera:
        """Return the camera nearer by a factor, with a point (row, column) where it is seen.

        Parameters
        ----------
        factor : float
            How much larger pixels become.
        at : (float, float)
            What stays in its place.
        whole : float
            The zoom at which everything is seen, of which a tenth is the least.
        """
        zoom = min(max(self.zoom * factor, _FARTHEST * whole), max(_NEAREST, whole))
        kept = self.zoom / zoom
        row, column = at
        return Camera(row + (self.row - row) * kept, column + (self.column - column) * kept, zoom)


def grid_shape(
    cells: int, size: tuple[float, float], aspect: float, header: float
) -> tuple[int, int]:
    """Return the rows and columns of cells with which pictures are largest.

    Parameters
    ----------
    cells : int
        How many there are.
    size : (float, float)
        Height and width of the canvas.
    aspect : float
        Width of a picture over its height.
    header : float
        Height of the line above every picture.
    """

    def scale(columns: int) -> float:
        rows = -(-cells // columns)
        return min(size[0] / rows - header, size[1] / columns / aspect)

    columns = max(range(1, cells + 1), key=scale, default=1)
    return -(-cells // columns), columns
