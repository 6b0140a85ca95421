"""Which layers belong on a stage: those of every cell, from the bottom up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from mdn_viewer.scene.cells import Cell, own, renewed

__all__ = ["Arrangement", "Slot"]

_BACKDROP_LOOKS = {"colormap": "gray", "contrast_limits": (0, 2)}  # half as bright: votes stand out


class Slot(NamedTuple):
    """A place among the layers of a cell."""

    layer: Layer | None  # None until it is made
    make: Callable[[], Layer] | None = None  # None where somebody else has made it
    onto: Layer | None = None  # the picture that it is an overlay of


class Arrangement:
    """The cells, each with the image in gray, its picture and a copy of every overlay."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self._gray: npt.NDArray[np.float32] | None = None
        self._overlays: dict[str, Callable[[str], Layer]] = {}
        self._laid_over: set[str] = set()

    @property
    def pictures(self) -> dict[str, Layer]:
        """The pictures by the names of their cells, in the order of the cells."""
        return {name: cell.picture for name, cell in self.cells.items()}

    @property
    def stride(self) -> int:
        """How many layers each cell has."""
        return len(self.slots()) // len(self.cells)

    def set_cells(
        self,
        pictures: dict[str, tuple[Layer, Layer | None]],
        gray: npt.NDArray[np.float32] | None,
    ) -> None:
        """Replace the cells by others, but for those that have been added behind them."""
        before, self._gray = self.cells, gray
        self.cells = {name: renewed(before.get(name), *pair) for name, pair in pictures.items()}
        added = {name: cell for name, cell in before.items() if cell.added}
        self.cells |= {n: cell for n, cell in added.items() if n not in self.cells}
        for cell in self.cells.values():
            cell.set_gray(gray)

    def add_cell(self, name: str, picture: Layer) -> None:
        """Add a cell behind the others; replaces one of that name."""
        cell = Cell(own(picture), added=True)
        if name in self.cells:
            cell.backdrop, cell.overlays = self.cells[name].backdrop, self.cells[name].overlays
        self.cells[name] = cell

    def overlay(self, name: str, make: Callable[[str], Layer]) -> None:
        """Say what may lie over every picture, above what has been named before."""
        self._overlays[name] = make

    def lay_over(self, names: Iterable[str]) -> None:
        """Lay overlays over every picture, from now on."""
        self._laid_over |= {*names}

    def overlays(self, name: str) -> list[Layer]:
        """Return the layers of an overlay that have been made."""
        found = (cell.overlays.get(name) for cell in self.cells.values())
        return [layer for layer in found if layer is not None]

    def clear(self) -> None:
        """Remove all cells; what is laid over the next ones has to be said again."""
        self.cells, self._gray, self._laid_over = {}, None, set()

    def drop_what_is_gone(self, layers: Sequence[Layer]) -> None:
        """Remove the cells whose pictures have been deleted."""
        self.cells = {n: cell for n, cell in self.cells.items() if not cell.is_gone(layers)}

    def slots(self) -> list[Slot]:
        """Return the places of all cells from the bottom up, with the layers that are there."""
        slots: list[Slot] = []
        for name, cell in self.cells.items():
            if cell.under is not None:
                slots.append(Slot(cell.under))
            elif self._gray is not None:
                slots.append(Slot(cell.backdrop, partial(self._make_backdrop, name, cell)))
            slots.append(Slot(cell.picture))
            for overlay in self._overlays:
                if overlay in self._laid_over:
                    make = partial(self._make_overlay, name, cell, overlay)
                    slots.append(Slot(cell.overlays.get(overlay), make, cell.picture))
        return slots

    def _make_backdrop(self, name: str, cell: Cell) -> Layer:
        cell.backdrop = own(Image(self._gray, name=f"image ({name})", **_BACKDROP_LOOKS))
        return cell.backdrop

    def _make_overlay(self, name: str, cell: Cell, overlay: str) -> Layer:
        cell.overlays[overlay] = layer = own(self._overlays[overlay](name))
        layer.name = f"{overlay} ({name})"
        return layer
