"""Names and colorbars as large as their cells allow, and beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from mdn_viewer.scene.cells import is_staged

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["fit_labels"]

_NARROW = 180  # screen pixels: a name and a colorbar with its numbers
_LONGEST = 100
_SHARE, _SMALL_SHARE = 0.26, 0.16  # of the cell's height


def fit_labels(pictures: Iterable[Layer], cell: tuple[float, float]) -> None:
    """Fit the names and the colorbars of pictures into their cells.

    The name stands at the top left. A colorbar is at the top right; in a narrow cell, whose picture
    has room above and below it, at the bottom right.

    Parameters
    ----------
    pictures : iterable of layer
        Every cell's picture.
    cell : (float, float)
        Height and width of a cell, in pixels of the screen.
    """
    height, width = cell
    narrow = width < _NARROW
    length = min(_LONGEST, round(height * (_SMALL_SHARE if narrow else _SHARE)))
    for picture in pictures:
        changes: list[tuple[Any, dict[str, Any]]] = [
            (picture.name_overlay, {"font_size": 7.0 if narrow else 10.0})
        ]
        if isinstance(picture, Image) and is_staged(picture):
            looks = {
                "size": (8.0 if narrow else 12.0, float(length)),
                "font_size": 6.0 if narrow else 8.0,
                "position": "bottom_right" if narrow else "top_right",
            }
            changes.append((picture.colorbar, looks))
        for overlay, values in changes:
            for name, value in values.items():
                if getattr(overlay, name) != value:
                    setattr(overlay, name, value)
