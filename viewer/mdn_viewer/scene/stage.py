"""A viewer's grid as a stage: in every cell a picture, over the image, under the same overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer
from psygnal import Signal

from mdn_viewer.logic.jobs import OneTurn, Turns
from mdn_viewer.scene.arrangement import Arrangement, Slot
from mdn_viewer.scene.canvas import frames_held, insert, spell
from mdn_viewer.scene.cells import is_ours
from mdn_viewer.scene.curtain import Curtain
from mdn_viewer.scene.garbage import garbage_among_new_objects
from mdn_viewer.scene.grid import Frame
from mdn_viewer.scene.labels import fit_labels

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Stage"]

_NUMBERS = "-.0123456789"  # beside a colorbar
_IN_A_FRAME = 3  # layers that are not to be seen yet


class Stage:
    """The cells of a viewer's grid.

    napari's grid fills its cells from the bottom of the list of layers, each with equally many
    (`grid.stride`), and leaves out those with nothing visible. So what is staged stands at the
    bottom, cell after cell: the image in gray if there is one, the picture, and a copy of every
    overlay. What is opened later comes on top and puts no cell out of step.

    napari takes long for a layer, so they come in turns, and are drawn in others. An overlay is
    drawn at once if its picture is; all else when it is there and the grid is built, one after
    another, and then names and colorbars. Layers may be deleted or moved at any time; where it
    takes turns, it makes good for it in the next, else when it is next asked to `arrange`.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    turns : Turns
        Whose turns to take: `mdn_viewer.scene.turns.EventTurns` where a window must not wait.
    """

    busy_changed = Signal(bool)  # whether layers are coming or going
    reshaped = Signal()  # the grid has other rows or columns

    def __init__(self, viewer: Viewer, turns: Turns | None = None) -> None:
        self.viewer = viewer
        self.busy = False
        self.frame = Frame()
        self._turns: Turns = OneTurn() if turns is None else turns
        self._steps: Iterator[None] = iter(())
        self._afterwards: list[Callable[[], None]] = []
        self._on_show: dict[Any, str | None] | None = None  # the cells before layers come and go
        self._gridded: tuple[str, ...] = ()  # the cells that the grid has been turned on for
        self._closed = False
        self._curtain = Curtain(viewer)
        self._arrangement = Arrangement()
        self._shape = (0, 0)  # of the grid
        viewer.canvas.events.size.connect(self._fit_labels)
        if turns is not None:
            for event in self._others_acts:
                event.connect(self._make_good)

    @property
    def pictures(self) -> dict[str, Layer]:
        """The pictures by the names of their cells, in the order of the cells."""
        return self._arrangement.pictures

    @property
    def in_order(self) -> bool:
        """Whether all layers are there and in their places, or on their way."""
        return self.busy or self._is_arranged()

    def shows(self, picture: Layer | None) -> bool:
        """Whether a picture is in one of the cells, or on its way, and has not been deleted."""
        cells, layers = self._arrangement.cells.values(), self.viewer.layers
        return any(cell.picture == picture and not cell.is_gone(layers) for cell in cells)

    def set_frame(self, frame: Frame) -> None:
        """Show all pictures and overlays, which are made in pixels of the output, where those are.

        Parameters
        ----------
        frame : Frame
            Where they are.
        """
        self.frame = frame
        for layer in list(self.viewer.layers):
            if is_ours(layer):
                frame.put(layer)

    def pixel_at(self, position: Any) -> npt.NDArray[np.floating]:
        """Return (row, column) of the output, with fractions, at a place in the world."""
        return self.frame.pixel_at(position[-2:], self.viewer.dims.units)

    def set_cells(
        self,
        pictures: dict[str, tuple[Layer, Layer | None]],
        gray: npt.NDArray[np.float32] | None,
        visible: Mapping[Layer, bool] | None = None,
    ) -> None:
        """Replace the cells by others, but for those that panels have added behind them.

        Parameters
        ----------
        pictures : dict of (layer, layer or None)
            The picture of each cell, and the layer that it lies on, if not the image in gray.
        gray : array [Ho, Wo], optional
            The image, from 0 to 1, to lie under all other pictures.
        visible : mapping of bool, optional
            Layers to be shown or hidden as soon as the cells are there.
        """
        self._arrangement.set_cells(pictures, gray)
        self._curtain.later(visible or {})
        self.arrange()

    def add_cell(self, name: str, picture: Layer) -> None:
        """Show a picture in a cell of its own behind the others; replaces one of that name."""
        if not self._closed:
            self._arrangement.add_cell(name, picture)
            self.arrange()

    def remove_cell(self, name: str) -> None:
        """Remove a cell with its layers, if it is there."""
        if self._arrangement.cells.pop(name, None) is not None:
            self.arrange()

    def hold_back(self, layer: Layer) -> None:
        """Hide a new layer, where cells are on display, until it has one of them."""
        if self._arrangement.cells and not self._closed:
            self._curtain.hold_back(layer)

    def hide(self, layer: Layer) -> None:
        """Hide a layer, even if it is being held back."""
        self._curtain.hide(layer)

    def overlay(self, name: str, make: Callable[[str], Layer]) -> None:
        """Say what may lie over every picture, above what has been named before.

        Parameters
        ----------
        name : str
            Name of the overlay.
        make : callable
            Returns a new layer for the cell whose name it is given, which shows how things stand;
            called for every cell once it is laid over them, and again for cells that come later.
        """
        self._arrangement.overlay(name, make)

    def lay_over(self, *names: str) -> None:
        """Lay overlays over every picture, from now on."""
        self._arrangement.lay_over(names)
        self.arrange()

    def overlays(self, name: str) -> list[Layer]:
        """Return the layers of an overlay that are there, to set their data."""
        return [x for x in self._arrangement.overlays(name) if x in self.viewer.layers]

    def draw(self, overlay: Layer, data: Any) -> None:
        """Set the data of an overlay."""
        if not self._closed:
            self._curtain.set_data(overlay, data)

    def clear(self) -> None:
        """Remove all cells; what is laid over the next ones has to be said again."""
        self._arrangement.clear()
        self.arrange()

    def cell_at(self, viewbox: tuple[int, int] | None) -> str | None:
        """Name the cell at (row, column) of the grid; without a grid, the topmost visible one."""
        layers, grid = self.viewer.layers, self.viewer.canvas.grid
        if self._on_show is not None:
            return self._on_show.get(viewbox)
        shown = [layer for layer in layers if layer.visible]
        if grid.enabled:
            there = () if viewbox is None else grid.contents_at(viewbox, layers)
            shown = [layers[i] for i in there]
        names = [name for name, picture in self.pictures.items() if picture in shown]
        return names[-1] if names else None

    def arrange(self) -> None:
        """Make the layers that are missing, remove what is not wanted, put all in their places."""
        if not (self._closed or self.busy or self._is_arranged()):
            self.busy, self._steps = True, self._arranging()
            self.busy_changed.emit(True)
            self._turns.take(self._step)

    def then(self, action: Callable[[], None]) -> None:
        """Do something as soon as all layers are in their places; now, if they are."""
        if self._closed:
            return
        self._afterwards.append(action)
        if not self.busy:
            self._do_afterwards()

    def wait(self) -> None:
        """Do now what is left to do."""
        self._turns.finish()

    def close(self) -> None:
        """Leave everything as it is from now on, but show what has been held back.

        Whatever is asked of it later is not done: another stage may have the viewer by then.
        """
        self._closed = True
        self.viewer.canvas.events.size.disconnect(self._fit_labels)
        for event in self._others_acts:
            event.disconnect(self._make_good)
        self._turns.close()
        self._afterwards.clear()
        self._curtain.show_and_hide()
        self._rest()

    @property
    def _others_acts(self) -> tuple[Any, ...]:
        events = self.viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _make_good(self, *_: Any) -> None:
        """Have what somebody else has deleted, copied or moved in its place again."""
        if not self.busy and self._arrangement.cells and self._next() is not None:
            self.arrange()

    def _step(self) -> bool:
        try:
            next(self._steps)
        except StopIteration:
            self._rest()
            return self.busy  # somebody who heard of it may have more to do
        except BaseException:
            self._rest()
            raise
        return True

    def _rest(self) -> None:
        self.busy, self._steps = False, iter(())
        while self._curtain:
            self._curtain.draw_next()
        self.busy_changed.emit(False)

    def _arranging(self) -> Iterator[None]:
        """Put layer after layer in its place, and then show them and their names."""
        with garbage_among_new_objects():
            while not self._is_arranged():
                if not self._is_arranged_but_for_labels():
                    yield from self._place()
                    yield from self._drawn_next([self._do_afterwards])
                while self._curtain:
                    yield from self._drawn_next([self._curtain.draw_next])
                unnamed = next((c for c in self._arrangement.cells.values() if c.labels), None)
                if unnamed is not None:
                    yield from spell(self.viewer, unnamed.picture.name + _NUMBERS)
                    label = unnamed.labels.pop(0)
                    yield from self._drawn_next([partial(setattr, label, "visible", True)])

    def _drawn_next(self, acts: Iterable[Callable[[], Any]]) -> Iterator[None]:
        """Do something, each in a turn, and have the window draw it in another."""
        with frames_held(self.viewer):
            for act in acts:
                act()
                yield
        yield

    def _place(self) -> Iterator[None]:
        """Let napari build its grid once, when all layers are there."""
        layers = self.viewer.layers
        with layers.batched_update(), self._cells_as_shown():
            while (act := self._next()) is not None:
                yield from self._drawn_next(self._and_what_is_not_drawn(act))
            yield from self._drawn_next([self._show_and_hide])

    def _and_what_is_not_drawn(self, act: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
        """A frame for every few layers that are not to be seen yet, and for each that is."""
        yield act
        while len(self._curtain) % _IN_A_FRAME and (other := self._next()) is not None:
            yield other

    def _show_and_hide(self) -> None:
        self._curtain.show_and_hide()
        if self._arrangement.cells:
            grid, selection = self.viewer.canvas.grid, self.viewer.layers.selection
            grid.stride = self._arrangement.stride
            if self._cells_are_new():  # else the user may have turned it off
                grid.enabled = True
            if selection.active is None:
                selection.active = next(iter(self.pictures.values()))
        self._gridded = tuple(self._arrangement.cells)

    @contextmanager
    def _cells_as_shown(self) -> Iterator[None]:
        """Remember which cell is where as long as napari does not build its grid anew."""
        places = (None, *np.ndindex(self.viewer.canvas.grid.actual_shape(self.viewer.layers)))
        self._on_show = {place: self.cell_at(place) for place in places}
        try:
            yield
        finally:
            self._on_show = None

    def _next(self) -> Callable[[], Any] | None:
        """Say what is to be done next until all layers are in their places."""
        layers = list(self.viewer.layers)  # the indices of which are quick
        self._arrangement.drop_what_is_gone(layers)
        slots = self._arrangement.slots()
        wanted = [slot.layer for slot in slots]
        for layer in layers:
            if is_ours(layer) and layer not in wanted:
                return partial(self.viewer.layers.remove, layer)
        for index, slot in enumerate(slots):
            if slot.layer is None or slot.layer not in layers:
                return partial(self._bring, index, slot)
            if layers[index] != slot.layer:  # a move costs napari as much as a new layer
                return partial(self.viewer.layers.move, layers.index(slot.layer), index)
        return None

    def _bring(self, index: int, slot: Slot) -> None:
        layer = slot.layer if slot.make is None else slot.make()
        if is_ours(layer):
            self.frame.put(layer)
        insert(self.viewer, index, layer)
        if slot.onto is None:
            self._curtain.draw_later(layer)
        else:
            self._curtain.draw_upon(layer, slot.onto)
        for cell in self._arrangement.cells.values():
            cell.placed |= cell.picture == layer

    def _is_arranged(self) -> bool:
        unnamed = any(cell.labels for cell in self._arrangement.cells.values())
        return not unnamed and self._is_arranged_but_for_labels()

    def _is_arranged_but_for_labels(self) -> bool:
        grid = self.viewer.canvas.grid
        if self._curtain.waits or self._next() is not None:
            return False
        bare = not self._arrangement.cells
        return bare or not (self._cells_are_new() or grid.stride != self._arrangement.stride)

    def _cells_are_new(self) -> bool:
        return self._gridded != tuple(self._arrangement.cells)

    def _fit_labels(self, *_: Any) -> None:
        fit_labels(self.pictures.values(), self.viewer.canvas.viewbox_size(self.viewer.layers))

    def _do_afterwards(self) -> None:
        self._fit_labels()
        shape = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        if shape != self._shape:
            self._shape = shape
            self.reshaped.emit()
        while self._afterwards:
            self._afterwards.pop(0)()
