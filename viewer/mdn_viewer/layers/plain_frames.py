"""Frames of layers of any origin: the axis before those of one field set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mdn_cupy as mdn
from mdn_viewer.layers.conversion import Reading, layout_of, to_fields
from mdn_viewer.layers.transforms import Frame

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["PlainFrames"]


class PlainFrames:
    """The frames of a confidence and an offsets layer: a `mdn_cupy.io.sequence.Source`.

    Parameters
    ----------
    confidence, offsets, image : layer
        As in `to_fields`. An image of as many frames is paged through with them.
    reading : Reading
        How the layers are to be read.
    frame : Frame
        Where the output's pixels are.
    """

    def __init__(
        self,
        confidence: Image,
        offsets: Image,
        image: Image | None,
        reading: Reading,
        frame: Frame,
    ) -> None:
        self._layers, self._reading, self._frame = (confidence, offsets, image), reading, frame
        layout = layout_of(confidence, offsets, reading)
        leading = None
        if layout is not None:
            leading = layout.leading(confidence.data.shape, offsets.data.shape)
        self._count = leading[0] if leading else 0
        self.axis = -len(confidence.data.shape)
        """Which axis of napari's world they are, from the last."""

    def __len__(self) -> int:
        return self._count

    def read(self, frame: int) -> mdn.Fields:
        """Read one frame."""
        return to_fields(*self._layers, self._reading, self._frame, frame)
