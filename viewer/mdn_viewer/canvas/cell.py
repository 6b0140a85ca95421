"""One cell of the canvas: a picture over the image, what lies over both, a line above."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import Colormap
from vispy import scene
from vispy.geometry import Rect

from mdn_viewer.canvas.camera import Camera
from mdn_viewer.canvas.colormaps import as_vispy
from mdn_viewer.canvas.header import HEIGHT, Header
from mdn_viewer.canvas.overlays import Overlay, placed

__all__ = ["Cell", "Picture"]

_HALF_BRIGHT = (0.0, 2.0)  # limits of the image in gray: votes stand out
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
    window draws and handles input in between.

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
        self._seen = Rect(0, 0, 1, 1)  # in pixels of the output
        self._gray: npt.NDArray[np.float32] | None = None
        self._overlays: dict[str, tuple[Overlay, int]] = {}  # those that draw something
        self._image: Any = None
        self._backdrop: Any = None
        self._nodes: dict[str, Any] = {}  # of overlays, drawn or hidden

    @property
    def complete(self) -> bool:
        """Whether everything that is shown has its visual."""
        return (
            self.view is not None
            and (self.picture is None or self._image is not None)
            and (self._gray is None or self._backdrop is not None)
            and self._overlays.keys() <= self._nodes.keys()
        )

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

    def show(self, picture: Picture) -> bool:
        """Show a picture, and say whether it is another one than before."""
        before, self.picture = self.picture, picture
        if before is not None and picture.same_as(before):
            return False
        self.header.show_name(picture.title or self.name)
        self.header.show_scale(picture.colormap, picture.limits)
        if self._image is not None:
            self._write_picture(picture, before)
        return True

    def show_backdrop(self, gray: npt.NDArray[np.float32] | None) -> None:
        """Show an image from 0 to 1 under the picture, half as bright; None removes it."""
        self._gray = gray
        if self._backdrop is not None:
            self._write_backdrop()

    def show_overlay(self, name: str, overlay: Overlay | None, order: int) -> None:
        """Draw an overlay above the picture; one with nothing to draw is hidden."""
        node = self._nodes.get(name)
        if overlay is None or overlay.empty:
            self._overlays.pop(name, None)
            if node is not None:
                node.visible = False
            return
        self._overlays[name] = overlay, order
        if node is not None:
            overlay.write(node)
            node.visible = True

    def make_next(self) -> bool:
        """Make the view box, or else the visuals that are missing; say if there is more to see."""
        if self.view is None:
            self._make_view()
            return False
        parent = self.view.scene
        if self._gray is not None and self._backdrop is None:
            self._backdrop = scene.visuals.Image(cmap="grays", texture_format="auto", parent=parent)
            self._backdrop.set_gl_state("opaque", depth_test=False)
            self._backdrop.transform = placed((1.0, 1.0), (0.0, 0.0))
            self._write_backdrop()
        if self.picture is not None and self._image is None:
            self._image = scene.visuals.Image(texture_format="auto", parent=parent)
            self._image.order = 1
            self._write_picture(self.picture, None)
        for name in self._overlays.keys() - self._nodes.keys():
            overlay, order = self._overlays[name]
            node = self._nodes[name] = overlay.make(parent)
            node.order = order
            overlay.write(node)
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

    def _write_picture(self, picture: Picture, before: Picture | None) -> None:
        """Write what differs from the picture before."""
        if before is None or before.values is not picture.values:
            self._image.set_data(np.asarray(picture.values, np.float32))
        if before is None or before.colormap is not picture.colormap:
            self._image.cmap = as_vispy(picture.colormap)
        if before is None or before.limits != picture.limits:
            self._image.clim = picture.limits
        if before is None or before[3:] != picture[3:]:
            self._image.transform = placed(picture.stride, picture.origin)
            blending = "translucent" if picture.covers else "additive"
            self._image.set_gl_state(blending, depth_test=False)
            self._image.opacity = _COVER if picture.covers else 1.0

    def _write_backdrop(self) -> None:
        self._backdrop.visible = self._gray is not None
        if self._gray is not None:
            self._backdrop.set_data(self._gray)
            self._backdrop.clim = _HALF_BRIGHT
