"""A viewer's grid as a stage: in every cell a picture, over the image, under the same overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Stage", "is_staged", "own"]

_MARK = "mdn_stage"  # the key in a layer's metadata under which ours carry their own identity
_BACKDROP_LOOKS = {"colormap": "gray", "contrast_limits": (0, 2)}  # half as bright: votes stand out


@dataclass
class _Cell:
    picture: Layer
    under: Layer | None = None  # somebody else's layer to lie on, instead of the image in gray
    added: bool = False  # by a panel
    placed: bool = False  # among the viewer's layers, where it may be deleted
    backdrop: Image | None = None
    overlays: dict[str, Layer] = field(default_factory=dict)

    def layers(self) -> list[Layer]:
        """From the bottom up."""
        bottom = self.backdrop if self.under is None else self.under
        return [*([] if bottom is None else [bottom]), self.picture, *self.overlays.values()]


class Stage:
    """The cells of a viewer's grid.

    napari's grid fills its cells from the bottom of the list of layers, each with equally many
    (`grid.stride`), and leaves out those with nothing visible. So what is staged stands at the
    bottom, cell after cell: the image in gray if there is one, the picture, and a copy of every
    overlay. What is opened later comes on top and puts no cell out of step.

    Layers may be deleted or moved at any time; `arrange` makes good for it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._gray: npt.NDArray[np.float32] | None = None
        self._cells: dict[str, _Cell] = {}
        self._overlays: dict[str, Callable[[str], Layer]] = {}
        self._put_off = False  # see `at_once`

    @property
    def pictures(self) -> dict[str, Layer]:
        """The pictures by the names of their cells, in the order of the cells."""
        return {name: cell.picture for name, cell in self._cells.items()}

    @property
    def in_order(self) -> bool:
        """Whether all layers are there and in their places."""
        wanted, present = self._wanted(), list(self.viewer.layers)  # a slice of which is slow
        return wanted == present[: len(wanted)]

    def set_cells(
        self,
        pictures: dict[str, tuple[Layer, Layer | None]],
        gray: npt.NDArray[np.float32] | None,
    ) -> None:
        """Replace the cells by others, but for those that panels have added behind them.

        Parameters
        ----------
        pictures : dict of (layer, layer or None)
            The picture of each cell, and the layer that it lies on, if not the image in gray.
        gray : array [Ho, Wo], optional
            The image, from 0 to 1, to lie under all other pictures.
        """
        before, self._gray = self._cells, gray
        cells = {name: _Cell(*layers) for name, layers in pictures.items()}
        cells |= {n: cell for n, cell in before.items() if cell.added and n not in cells}
        for name in cells.keys() & before.keys():
            cells[name].backdrop = before[name].backdrop
            cells[name].overlays = before[name].overlays
        self._cells = cells
        self.arrange()

    def add_cell(self, name: str, picture: Layer) -> None:
        """Show a picture in a cell of its own behind the others; replaces one of that name."""
        cell = _Cell(own(picture), added=True)
        if name in self._cells:
            cell.backdrop, cell.overlays = self._cells[name].backdrop, self._cells[name].overlays
        self._cells[name] = cell
        self.arrange()

    def remove_cell(self, name: str) -> None:
        """Remove a cell with its layers, if it is there."""
        if self._cells.pop(name, None) is not None:
            self.arrange()

    def overlay(self, name: str, make: Callable[[str], Layer]) -> list[Layer]:
        """Lay something over every picture; replaces an overlay of that name.

        Parameters
        ----------
        name : str
            Name of the overlay.
        make : callable
            Returns a new layer for the cell whose name it is given, which shows how things stand;
            called for every cell, and again for cells that come later.

        Returns
        -------
        list of layers
            One for every cell; see `overlays`.
        """
        for cell in self._cells.values():
            cell.overlays.pop(name, None)
        self._overlays[name] = make
        self.arrange()
        return self.overlays(name)

    def overlays(self, name: str) -> list[Layer]:
        """Return the layers of an overlay, to set their data: quicker than to make them anew."""
        found = (cell.overlays.get(name) for cell in self._cells.values())
        return [layer for layer in found if layer is not None and layer in self.viewer.layers]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let napari build its cells once for all that changes meanwhile, not for each layer."""
        if self._put_off:
            yield
            return
        self._put_off = True
        with self.viewer.layers.batched_update():
            try:
                yield
            finally:
                self._put_off = False
                self._arrange()

    def clear(self) -> None:
        """Remove all cells; overlays come back with the next ones."""
        self._cells, self._gray = {}, None
        self.arrange()

    def cell_at(self, viewbox: tuple[int, int] | None) -> str | None:
        """Name the cell at (row, column) of the grid; without a grid, the topmost visible one."""
        layers, grid = self.viewer.layers, self.viewer.canvas.grid
        shown = [layer for layer in layers if layer.visible]
        if grid.enabled:
            there = () if viewbox is None else grid.contents_at(viewbox, layers)
            shown = [layers[i] for i in there]
        names = [name for name, picture in self.pictures.items() if picture in shown]
        return names[-1] if names else None

    def arrange(self) -> None:
        """Make the layers that are missing, remove what is not wanted, put all in their places."""
        if not self._put_off:
            self._furnish_all()
            if not self._is_arranged():
                with self.at_once():
                    pass

    def _arrange(self) -> None:
        self._furnish_all()
        if not self._is_arranged():
            self._place(self._wanted())

    def _furnish_all(self) -> None:
        self._cells = {n: cell for n, cell in self._cells.items() if not self._gone(cell)}
        for name, cell in self._cells.items():
            self._furnish(name, cell)

    def _is_arranged(self) -> bool:
        wanted, grid = self._wanted(), self.viewer.canvas.grid
        fits = not wanted or (grid.enabled and grid.stride == len(wanted) // len(self._cells))
        return fits and self.in_order and not self._unwanted(wanted)

    def _unwanted(self, wanted: list[Layer]) -> list[Layer]:
        return [x for x in self.viewer.layers if _is_ours(x) and x not in wanted]

    def _place(self, wanted: list[Layer]) -> None:
        layers, grid = self.viewer.layers, self.viewer.canvas.grid
        active = layers.selection.active  # napari selects whatever is inserted
        for layer in self._unwanted(wanted):
            layers.remove(layer)
        for index, layer in enumerate(wanted):
            if layer not in layers:
                layers.insert(index, layer)
            elif layers[index] != layer:  # a move costs napari as much as a new layer
                layers.move(layers.index(layer), index)
        for cell in self._cells.values():
            cell.placed = True
        if active is None or active not in layers:
            active = next(iter(self.pictures.values()), None)
        layers.selection.active = active
        if wanted:
            grid.stride, grid.enabled = len(wanted) // len(self._cells), True

    def _gone(self, cell: _Cell) -> bool:
        """Whether a picture that is not for us to make anew has been deleted."""
        ours = _is_ours(cell.picture) and not (cell.added and cell.placed)
        return not ours and cell.picture not in self.viewer.layers

    def _furnish(self, name: str, cell: _Cell) -> None:
        """Make the backdrop and the overlays of a cell as far as they are missing."""
        layers = self.viewer.layers
        if cell.under is not None and cell.under not in layers:
            cell.under = None
        if self._gray is None or cell.under is not None:
            cell.backdrop = None
        elif cell.backdrop is None or cell.backdrop not in layers:
            cell.backdrop = Image(self._gray, name=f"image ({name})", **_BACKDROP_LOOKS)
            own(cell.backdrop)
        elif cell.backdrop.data is not self._gray:
            cell.backdrop.data = self._gray
        before, cell.overlays = cell.overlays, {}
        for overlay, make in self._overlays.items():
            layer = before.get(overlay)
            if layer is None or layer not in layers:
                layer = own(make(name))
                layer.name = f"{overlay} ({name})"
            cell.overlays[overlay] = layer

    def _wanted(self) -> list[Layer]:
        return [layer for cell in self._cells.values() for layer in cell.layers()]


def own(layer: Any) -> Any:
    """Mark a layer as one that the stage may remove."""
    layer.metadata[_MARK] = str(layer.unique_id)
    return layer


def is_staged(layer: Any) -> bool:
    """Whether a layer is on a stage, or a copy of one that was."""
    return _MARK in layer.metadata


def _is_ours(layer: Any) -> bool:
    return bool(layer.metadata.get(_MARK) == str(layer.unique_id))  # a copy has another identity
