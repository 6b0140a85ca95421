"""One cell of the canvas: a picture over the image, what lies over both, a line above."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import Colormap
from vispy import scene
from vispy.geometry import Rect

from mdn_viewer.canvas.camera import Camera
from mdn_viewer.canvas.colormaps import as_vispy
from mdn_viewer.canvas.header import HEIGHT, Header
from mdn_viewer.canvas.overlays import Marks, Overlay, placed

__all__ = ["PICTURE", "Cell", "Picture"]

PICTURE = "picture"
"""The name of what a cell shows, among those of overlays, of which it is none."""

_LIGHT = 2**20  # values: OpenGL copies them in 5 ms without a GPU
_COVER = 0.65  # opacity of a picture that covers the image
_GAP = 2  # screen pixels between cells


class Picture(NamedTuple):
    """A map, and how it is shown."""

    values: npt.NDArray[Any]  # [rows, columns]
    limits: tuple[float, float]
    colormap: str | Colormap
    stride: tuple[float, float] = (1.0, 1.0)  # output pixels from one pixel to the next (y, x)
    origin: tuple[float, float] = (0.0, 0.0)  # output pixel of the first (y, x)
    covers: bool = False  # mostly hides the image, so that its colours are those of the bar
    title: str = ""  # what people read; the name of the cell by default

    def same_as(self, other: Picture) -> bool:
        """Whether it looks the same; arrays are not compared by value."""
        same = self.values is other.values and self.colormap is other.colormap
        return same and self.limits == other.limits and self[3:] == other[3:]


class Cell:
    """A view box of a vispy canvas with its own visuals.

    The view box and the visuals are made by `make_next`, not when they are first asked for: the box
    takes vispy 30 ms, and each visual compiles a shader, 20 to 30 ms under software rendering; the
    window draws and handles input in between. A large picture, which OpenGL takes as long to copy,
    is written by it too: what is seen stays until then, and only the newest is written.

    Parameters
    ----------
    canvas : vispy.scene.SceneCanvas
        The canvas.
    name : str
        What the cell is called.
    """

    def __init__(self, canvas: scene.SceneCanvas, name: str) -> None:
        self._canvas, self.name = canvas, name
        self.view: Any = None
        self.header = Header(canvas.native, name)
        self.header.show()
        self.rectangle = 0, 0, 1, 1
        """Left, top, width and height of the picture's part of the canvas, in screen pixels."""
        self.picture: Picture | None = None
        self.made_at = 0.0  # when `make_next` was last called, by a clock
        self._seen = Rect(0, 0, 1, 1)  # in pixels of the output
        self._written: Picture | None = None  # what the visual has; the newest may be late
        self._overlays: dict[str, tuple[Overlay, int]] = {}  # those that draw something
        self._nodes: dict[str, Any] = {}  # of the picture and of overlays, drawn or hidden
        self._late: dict[str, int] = {}  # what `make_next` is to write, and how much that is

    @property
    def complete(self) -> bool:
        """Whether everything that is shown has been made and written."""
        return self.view is not None and not self._late

    def put(self, left: int, top: int, width: int, height: int) -> None:
        """Put the cell at a place of the canvas, in screen pixels."""
        self.header.setGeometry(left, top, width - _GAP, HEIGHT)
        self.rectangle = (
            left,
            top + HEIGHT,
            max(1, width - _GAP),
            max(1, height - HEIGHT - _GAP),
        )
        if self.view is not None:
            self._place()

    def look(self, camera: Camera) -> None:
        """Show what a camera sees."""
        _, _, width, height = self.rectangle
        seen = camera.extent((height, width))
        self._seen = Rect(seen.left, seen.top, seen.right - seen.left, seen.bottom - seen.top)
        if self.view is not None:
            self.view.camera.rect = self._seen
        for name, (overlay, _) in self._overlays.items():
            if isinstance(overlay, Marks) and name in self._nodes:
                overlay.look(self._nodes[name], self._seen)

    def show(self, picture: Picture) -> bool:
        """Show a picture, and say whether it is another one than before."""
        before, self.picture = self.picture, picture
        if before is not None and picture.same_as(before):
            return False
        self.header.show_name(picture.title or self.name)
        self.header.show_scale(picture.colormap, picture.limits)
        written = self._written is not None and self._written.values is picture.values
        self._write_soon(PICTURE, 0 if written else picture.values.size)
        return True

    def show_overlay(self, name: str, overlay: Overlay | None, order: int) -> None:
        """Draw an overlay in its place of an order; one with nothing to draw is hidden."""
        if overlay is None or not overlay.amount:
            self._overlays.pop(name, None)
            self._late.pop(name, None)
            if name in self._nodes:
                self._nodes[name].visible = False
            return
        self._overlays[name] = overlay, order
        self._write_soon(name, overlay.amount)

    def make_next(self) -> bool:
        """Make the view box, or else what is missing in it, but no more after a large picture.

        Returns whether there is more to see.
        """
        if self.view is None:
            self._make_view()
            return False
        self.made_at = time.monotonic()
        for name, amount in [*self._late.items()]:
            self._write(name)
            if amount > _LIGHT:
                break
        return True

    def remove(self) -> None:
        """Take the cell off its canvas."""
        if self.view is not None:
            self.view.parent = None
        self.header.hide()
        self.header.deleteLater()

    def _place(self) -> None:
        self.view.pos, self.view.size = self.rectangle[:2], self.rectangle[2:]

    def _make_view(self) -> None:
        self.view = scene.widgets.ViewBox(
            scene.PanZoomCamera(interactive=False),
            bgcolor="black",
            parent=self._canvas.central_widget,
        )
        self._place()  # now: a place that is given to the box when it is made, it does not clip to
        self.view.camera.flip = (False, True)
        self.view.camera.rect = self._seen

    def _write_soon(self, name: str, amount: int) -> None:
        """Write what is light now, if it has its visual, and all else in a turn to come."""
        self._late[name] = amount
        if name in self._nodes and amount <= _LIGHT:
            self._write(name)

    def _write(self, name: str) -> None:
        del self._late[name]
        if name == PICTURE:
            self._write_picture()
            return
        overlay, order = self._overlays[name]
        if name not in self._nodes:
            self._nodes[name] = overlay.make(self.view.scene)
            self._nodes[name].order = order
        overlay.write(self._nodes[name])
        if isinstance(overlay, Marks):
            overlay.look(self._nodes[name], self._seen)
        self._nodes[name].visible = True

    def _write_picture(self) -> None:
        """Write what differs from the picture that is written."""
        picture, before = self.picture, self._written
        if picture is None:
            return
        if before is None:
            node = scene.visuals.Image(texture_format="auto", parent=self.view.scene)
            node.order = 1  # between the backdrop and the overlays
            self._nodes[PICTURE] = node
        node, self._written = self._nodes[PICTURE], picture
        if before is None or before.values is not picture.values:
            node.set_data(np.asarray(picture.values, np.float32))
        if before is None or before.colormap is not picture.colormap:
            node.cmap = as_vispy(picture.colormap)
        if before is None or before.limits != picture.limits:
            node.clim = picture.limits
        if before is None or before[3:] != picture[3:]:
            node.transform = placed(picture.stride, picture.origin)
            blending = "translucent" if picture.covers else "additive"
            node.set_gl_state(blending, depth_test=False)
            node.opacity = _COVER if picture.covers else 1.0
