"""The tab of the fields: which layers vote, and how they are to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from magicgui.widgets import ComboBox, PushButton

from mdn_cupy.io import Layout
from mdn_viewer.core.reading import PRESETS, Reading
from mdn_viewer.widgets.controls import Message
from mdn_viewer.widgets.reading_form import ReadingForm

if TYPE_CHECKING:
    from napari.layers import Image, Layer

__all__ = ["InputControls", "Inputs"]


class Inputs(NamedTuple):
    """The layers that the votes are made of."""

    confidence: Image | None
    offsets: Layer | None
    image: Image | None


class InputControls(ReadingForm):
    """Three layers, their grid and the meaning of the offsets.

    Parameters
    ----------
    images, offsets : callable
        Return the layers there are to choose from.
    """

    title = "Fields"

    def __init__(
        self,
        images: Callable[[Any], list[Any]],
        offsets: Callable[[Any], list[Any]],
    ) -> None:
        super().__init__(
            PRESETS, "Choose axes, channels, unit, sigmoid and origin as the network writes them."
        )
        self.confidence = _layer_box(
            "confidence",
            images,
            "Image layer (H, W) or (P, H, W): how sure each source is, from 0 to 1.",
        )
        self.offsets = _layer_box(
            "offsets",
            offsets,
            "How far each source's vote goes: an image layer (2, H, W) or (P, 2, H, W), or vectors "
            "that start at their sources.",
        )
        self.image = _layer_box(
            "image",
            images,
            "Image layer to show the maps over. Its pixels are the pixels of the output.",
        )
        self.understood = Message("How the two layers are read, and how else they could be.")
        self.other_order = PushButton(
            visible=False,
            tooltip="Where votes of a part meet, its evidence is high; channels that are exchanged "
            "scatter them.",
        )
        self.open_any = PushButton(
            text="Open files…",
            tooltip="Field sets of any kind; or drop them on the maps. What a file does not say is "
            "asked.",
        )
        self.layer_boxes = (self.confidence, self.offsets, self.image)
        for box in (*reversed(self.layer_boxes), self.open_any):
            self.insert(0, box)
        self.extend([self.understood, self.other_order])
        # Else rows share what room there is, and move from under the mouse when it changes.
        self.native.layout().addStretch(1)

    @property
    def layers(self) -> Inputs:
        """The layers that are chosen."""
        return Inputs(*(box.value for box in self.layer_boxes))

    @property
    def chosen_axes(self) -> Layout:
        """The axes of the offsets, as chosen."""
        return Layout(str(self.axes.value) or "PCHW")

    def take(self, presets: Sequence[Reading]) -> None:
        """Set the boxes to a preset whose axes the layers fit, or else to one but for the axes."""
        fitting = [preset for preset in presets if preset.layout in self.axes.choices]
        preset, grid = (fitting or presets)[0], self.stride.pair
        origin = np.multiply(preset.origin or 0, grid).tolist()
        self.reading = replace(preset, stride=grid, origin=origin)

    def forget(self) -> None:
        """Have offsets and confidences read as they are."""
        self.network.value = ""
        self.reading = Reading("", stride=self.stride.pair, origin=self.origin.pair)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Set values without emitting signals."""
        with ExitStack() as stack:
            for control in (*self.layer_boxes, *self.boxes):
                stack.enter_context(control.changed.blocked())
            yield


def _layer_box(label: str, choices: Callable[[Any], list[Any]], tooltip: str) -> ComboBox:
    return ComboBox(label=label, choices=choices, nullable=True, tooltip=tooltip)
