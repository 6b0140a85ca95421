"""The canvas on which maps are compared: a cell for each, under one camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QCoreApplication,
    QEvent,
    QPoint,
    QRect,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget
from vispy import scene

from mdn_viewer.canvas.camera import Camera, Extent, grid_shape
from mdn_viewer.canvas.cell import PICTURE, Cell, Picture
from mdn_viewer.canvas.header import HEIGHT
from mdn_viewer.canvas.idle_context import make_idle_context_current
from mdn_viewer.canvas.overlays import Overlay, Patch
from mdn_viewer.timers import single_shot_timer

__all__ = ["OVERLAYS", "Click", "ComparisonCanvas"]

OVERLAYS = ("labels", "shapes", "footprint", "gradient", "votes", "points", "voters")
"""What may lie over the pictures, from the bottom up."""

_BACKDROP = "backdrop"
_LAYERS = (_BACKDROP, PICTURE, *OVERLAYS)
_HALF_BRIGHT = (0.0, 2.0)  # limits of the image in gray: votes stand out
_CLICK = 3  # screen pixels that a mouse may move while its button is down
_NOTCH = 1.23  # what a wheel's notch zooms by, as in napari
_LEAST = 160  # screen pixels


class Click(NamedTuple):
    """A click on a cell."""

    cell: str
    row: float  # of the output, with fractions
    column: float
    keys: frozenset[str]  # of Shift, Control, Alt, Meta
    pixel: float  # screen pixels that an output pixel is wide


class ComparisonCanvas(QWidget):
    """Cells side by side, as large as they can be: in each a picture over the image, and overlays.

    Everything is in pixels of the output. Dragging moves all cells, the wheel zooms them around the
    cursor.
    """

    clicked = Signal(object)  # Click
    menu_requested = Signal(str, QPoint)  # a cell, and where on the screen
    hovered = Signal(object)  # (row, column), with fractions; None outside of the cells
    view_changed = Signal()  # what is seen: the camera or the size
    drawn = Signal()  # a frame
    dropped = Signal(object)  # list of paths

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = scene.SceneCanvas(keys=None, bgcolor="black")
        self.native: QWidget = self._canvas.native
        self.cells: dict[str, Cell] = {}
        self.camera = Camera()
        self.extent = Extent(-0.5, -0.5, 0.5, 0.5)
        self._changed = True  # since the last drawing
        self._fitted = True  # until the user chooses what to look at
        self._backdrop: npt.NDArray[np.float32] | None = None
        self._overlays: dict[str, tuple[Overlay | None, frozenset[str]]] = {}
        self._next = single_shot_timer(self._make_next, self)
        # Qt needs the context until the draw event is over.
        self._drawn = single_shot_timer(self._release_context, self)
        self._pressed: tuple[QPoint, Camera] | None = None
        self._tool: Callable[[Click], None] | None = None
        self._panned = False
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.hint.setStyleSheet("color: #c0c0c0; background: transparent; padding: 48px")
        self.hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.native, 0, 0)
        layout.addWidget(self.hint, 0, 0)
        self.setMinimumSize(_LEAST, _LEAST)
        self.setAcceptDrops(True)
        self.native.setMouseTracking(True)
        self.native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        events = self._canvas.events
        events.resize.connect(self._lay_out)
        events.draw.connect(self._on_draw, position="last")
        for event, act in (
            (events.mouse_press, self._on_press),
            (events.mouse_move, self._on_move),
            (events.mouse_release, self._on_release),
            (events.mouse_wheel, self._on_wheel),
        ):
            event.disconnect()  # vispy's picking, which draws everything again: 50 to 110 ms
            event.connect(act)

    @property
    def cell_size(self) -> tuple[int, int]:
        """Height and width of every picture, in screen pixels."""
        for cell in self.cells.values():
            _, _, width, height = cell.rectangle
            return height, width
        return self.native.height(), self.native.width()

    @property
    def seen(self) -> Extent:
        """What is seen, in pixels of the output."""
        return self.camera.extent(self.cell_size)

    @property
    def fitted(self) -> bool:
        """Whether the whole output is shown, in cells of any size."""
        return self._fitted

    def say(self, text: str) -> None:
        """Say something in the middle, as long as there are no cells."""
        self.hint.setText(text)

    def set_extent(self, shape: tuple[int, ...]) -> None:
        """Set the size of the output; another one is shown whole."""
        rows, columns = shape
        extent = Extent(-0.5, -0.5, rows - 0.5, columns - 0.5)
        if extent != self.extent:
            self.extent, self._fitted = extent, True
            self._lay_out()

    def set_backdrop(self, gray: npt.NDArray[np.float32] | None) -> None:
        """Show an image of the output's size, from 0 to 1, under all pictures; None removes it."""
        if gray is not self._backdrop:
            self._backdrop = gray
            backdrop = None if gray is None else Patch(gray, limits=_HALF_BRIGHT, opaque=True)
            self.set_overlay(_BACKDROP, backdrop)

    def show_pictures(self, pictures: Mapping[str, Picture]) -> None:
        """Show pictures, each in the cell of its name; cells of other names go.

        Cells are in the order of the pictures.
        """
        for name in [name for name in self.cells if name not in pictures]:
            self.cells.pop(name).remove()
        order, before, others = {}, list(self.cells), False
        for name, picture in pictures.items():
            cell = order[name] = self.cells.get(name) or self._new_cell(name)
            others |= cell.show(picture)
        self.cells = order
        self.hint.setVisible(not order)
        if before != list(order):
            self._lay_out()
        elif not others:
            return
        self._draw_soon()

    def set_overlay(
        self, name: str, overlay: Overlay | None, *, bare: frozenset[str] = frozenset()
    ) -> None:
        """Draw one of `OVERLAYS` over all pictures but those of the `bare` cells.

        None removes it. After a colon a name may say which of several it is.
        """
        if overlay is None and name not in self._overlays:
            return
        self._overlays[name] = overlay, bare
        for cell_name, cell in self.cells.items():
            cell.show_overlay(name, None if cell_name in bare else overlay, _order(name))
        self._draw_soon()

    def overlay(self, name: str) -> Overlay | None:
        """Return what was last drawn under a name."""
        return self._overlays.get(name, (None, frozenset()))[0]

    def set_tool(self, tool: Callable[[Click], None] | None) -> None:
        """Have clicks do something else than `clicked`; None ends that."""
        self._tool = tool
        shapes = Qt.CursorShape
        self.native.setCursor(shapes.ArrowCursor if tool is None else shapes.CrossCursor)

    def reset_view(self) -> None:
        """Show the whole output in every cell."""
        self._fitted = True
        self._look(Camera.fit(self.extent, self.cell_size))

    def look_at(self, camera: Camera) -> None:
        """Move the camera; it stays there when cells come or go."""
        self._fitted = False
        self._look(camera)

    @property
    def complete(self) -> bool:
        """Whether everything that is shown has been made, cell by cell."""
        return all(cell.complete for cell in self.cells.values())

    def finish(self) -> None:
        """Make now what is missing."""
        for cell in self.cells.values():
            while not cell.complete:
                cell.make_next()
        self.native.update()

    def draw_now(self) -> None:
        """Draw before other events are handled, if anything has changed."""
        if self._changed:  # by `repaint` Qt would compose the window now, and again for its widgets
            QCoreApplication.sendPostedEvents(self.window(), QEvent.Type.UpdateRequest)

    def end(self) -> None:
        """Close the canvas and release its OpenGL context."""
        if isalive(self):  # type: ignore[no-untyped-call]
            self._canvas.close()
            self.deleteLater()

    def screen_position(self, cell: str, row: float, column: float) -> QPoint:
        """Return where on the screen a pixel of the output is seen, in one cell."""
        left, top, width, height = self.cells[cell].rectangle
        x = left + width / 2 + (column - self.camera.column) * self.camera.zoom
        y = top + height / 2 + (row - self.camera.row) * self.camera.zoom
        return self.native.mapToGlobal(QPoint(round(x), round(y)))

    def screenshot(self) -> npt.NDArray[np.uint8]:
        """Return a picture of all cells, [height, width, 4]."""
        self.finish()
        image = self.native.grab().toImage()
        self._release_context()
        image = image.convertToFormat(image.Format.Format_RGBA8888)
        bits: Any = image.constBits()
        bits.setsize(image.sizeInBytes())
        rows: npt.NDArray[np.uint8] = np.frombuffer(bits, np.uint8)
        rows = rows.reshape(image.height(), image.bytesPerLine())[:, : 4 * image.width()]
        return rows.reshape(image.height(), image.width(), 4).copy()

    def leaveEvent(self, event: Any) -> None:
        """Emit that the cursor is over no cell."""
        super().leaveEvent(event)
        self.hovered.emit(None)

    def dragEnterEvent(self, event: Any) -> None:
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Accept the drop, and emit the paths of its files."""
        event.acceptProposedAction()
        self.dropped.emit([url.toLocalFile() for url in event.mimeData().urls()])

    def _new_cell(self, name: str) -> Cell:
        cell = Cell(self._canvas, name)
        for overlay_name, (overlay, bare) in self._overlays.items():
            cell.show_overlay(overlay_name, None if name in bare else overlay, _order(overlay_name))
        return cell

    def _draw_soon(self) -> None:
        """Draw what has changed; what has to be made first comes a cell at a time."""
        self._changed = True
        self.native.update()

    def _make_next(self) -> None:
        """Make something of the incomplete cell that has waited longest."""
        late = [cell for cell in self.cells.values() if not cell.complete]
        cell = min(late, key=lambda cell: cell.made_at, default=None)
        if cell is None:
            return
        if cell.make_next():
            self.native.update()  # and once that is drawn, the next
        else:
            self._next.start(0)

    def _release_context(self) -> None:
        """Have another OpenGL context current than that of the maps."""
        make_idle_context_current(self.native.format())  # type: ignore[attr-defined]

    def _on_draw(self, *_: Any) -> None:
        self._changed = False
        self._drawn.start(0)
        self.drawn.emit()
        if not self.complete:
            self._next.start(0)

    def _lay_out(self, *_: Any) -> None:
        height, width = self.native.height(), self.native.width()
        extent = self.extent
        aspect = (extent.right - extent.left) / max(extent.bottom - extent.top, 1e-9)
        rows, columns = grid_shape(len(self.cells), (height, width), aspect, HEIGHT)
        for n, cell in enumerate(self.cells.values()):
            row, column = divmod(n, columns)
            area = QRect(
                column * width // columns, row * height // rows, width // columns, height // rows
            )
            cell.put(area.x(), area.y(), area.width(), area.height())
        self._look(Camera.fit(extent, self.cell_size) if self._fitted else self.camera)

    def _look(self, camera: Camera) -> None:
        self.camera = camera
        for cell in self.cells.values():
            cell.look(camera)
        self._changed = True
        self.native.update()
        self.view_changed.emit()

    def _at(self, x: float, y: float) -> tuple[str, float, float] | None:
        """Return the cell at a place of the canvas, and (row, column) of the output there."""
        for name, cell in self.cells.items():
            left, top, width, height = cell.rectangle
            if left <= x < left + width and top <= y < top + height:
                return name, *self.camera.at(x - left, y - top, (height, width))
        return None

    def _on_press(self, event: Any) -> None:
        self._panned = False
        if event.button == 1:
            self._pressed = QPoint(*map(int, event.pos)), self.camera

    def _on_move(self, event: Any) -> None:
        x, y = map(int, event.pos)
        if self._pressed is None or (event.button != 1 and not event.is_dragging):
            found = self._at(x, y)
            self.hovered.emit(None if found is None else found[1:])
            return
        start, camera = self._pressed
        moved = QPoint(x, y) - start
        if self._panned or moved.manhattanLength() > _CLICK:
            self._panned = True
            self.look_at(camera.moved(moved.x(), moved.y()))

    def _on_release(self, event: Any) -> None:
        pressed, self._pressed = self._pressed, None
        found = self._at(*event.pos)
        if found is None or self._panned:
            return
        cell, row, column = found
        if event.button == 2:
            self.menu_requested.emit(cell, self.native.mapToGlobal(QPoint(*map(int, event.pos))))
        elif pressed is not None:
            keys = frozenset(key.name for key in event.modifiers)
            act = self._tool or self.clicked.emit
            act(Click(cell, row, column, keys, self.camera.zoom))

    def _on_wheel(self, event: Any) -> None:
        found = self._at(*event.pos)
        if found is not None:
            whole = Camera.fit(self.extent, self.cell_size).zoom
            self.look_at(self.camera.zoomed(_NOTCH ** event.delta[1], found[1:], whole))


def _order(overlay: str) -> int:
    """Return the place of an overlay from the bottom up."""
    return _LAYERS.index(overlay.partition(":")[0])
