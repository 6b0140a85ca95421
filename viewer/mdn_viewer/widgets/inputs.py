"""The tab of the fields: which layers vote, and how they are to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    PushButton,
)

from mdn_cupy.io import Layout
from mdn_viewer.core.presets import PRESETS, Preset
from mdn_viewer.layers.conversion import Reading
from mdn_viewer.widgets.controls import Message, PixelPair

if TYPE_CHECKING:
    from napari.layers import Image, Layer

__all__ = ["InputControls", "Inputs"]

_OWN_AXES = ("as (P, 2, H, W)", "")
_ORDERS: list[tuple[str, bool]] = [("x, y (right, down)", False), ("y, x (down, right)", True)]
_UNITS: list[tuple[str, bool]] = [("pixels of the output", False), ("sources of the grid", True)]


class Inputs(NamedTuple):
    """The layers that the votes are made of."""

    confidence: Image | None
    offsets: Layer | None
    image: Image | None


class InputControls(Container[Any]):
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
        super().__init__()
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
        self.network = ComboBox(
            label="network",
            choices=[("as chosen below", ""), *((name, name) for name in PRESETS)],
            tooltip="Choose axes, channels, unit, sigmoid and origin as the network writes them.",
        )
        self.order = ComboBox(
            label="channels", choices=_ORDERS, tooltip="What the two channels of the offsets are."
        )
        self.coarse = ComboBox(
            label="in units of",
            choices=_UNITS,
            tooltip="What an offset of 1 is: a pixel, or a stride.",
        )
        self.image = _layer_box(
            "image",
            images,
            "Image layer to show the maps over. Its pixels are the pixels of the output.",
        )
        self.stride = PixelPair(
            1e-6,
            (1.0, 1.0),
            label="stride (px)",
            tooltip="From one source to the next, in pixels of the output: rows × columns.",
        )
        self.origin = PixelPair(
            -1e9,
            (0.0, 0.0),
            label="origin (px)",
            tooltip="Where the first source is, in pixels of the output: row × column.",
        )
        self.axes = ComboBox(
            label="axes",
            choices=[_OWN_AXES],
            tooltip="Axes of the offsets: P parts, C components, H rows, W columns. Those that the "
            "sizes of both layers fit are offered.",
        )
        self.scale = FloatSpinBox(
            label="times",
            value=1.0,
            min=-1e9,
            max=1e9,
            step=0.1,
            tooltip="A factor of the offsets, such as DeepLabCut's locref_std, 7.2801.",
        )
        self.scale.native.setDecimals(6)
        self.sigmoid = CheckBox(
            text="confidences are logits", tooltip="Take the logistic function of them."
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
        self.margins = (0, 4, 0, 0)
        self.layer_boxes = (self.confidence, self.offsets, self.image)
        self.readings = (
            self.network,
            self.axes,
            self.order,
            self.coarse,
            self.scale,
            self.sigmoid,
            self.stride,
            self.origin,
        )
        chosen = (self.confidence, self.offsets, self.network, self.axes, self.order, self.coarse)
        grid = (self.scale, self.image, self.stride, self.origin, self.sigmoid)
        said = (self.understood, self.other_order)
        self.extend([self.open_any, *chosen, *grid, *said])
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

    @property
    def reading(self) -> Reading:
        """How the offsets are to be read, as chosen."""
        return Reading(
            self.stride.pair,
            self.origin.pair,
            bool(self.order.value),
            bool(self.coarse.value),
            float(self.scale.value),
            bool(self.sigmoid.value),
            str(self.axes.value),
        )

    def offer_axes(self, texts: Sequence[str], chosen: str) -> None:
        """Offer layouts, and choose one."""
        meanings = ((text, Layout(text).meaning) for text in texts)
        named = [(f"{text}: {said}" if said else text, text) for text, said in meanings]
        self.axes.choices = named or [_OWN_AXES]
        self.axes.value = chosen if chosen in texts else self.axes.choices[0]

    def take(self, preset: Preset) -> None:
        """Set the controls to a preset, but for axes that the layers do not fit."""
        axes = [text for text in preset.layouts if text in self.axes.choices]
        if axes:
            self.axes.value = axes[0]
        self.order.value, self.coarse.value = preset.order == "yx", preset.coarse
        self.scale.value, self.sigmoid.value = preset.scale, preset.sigmoid
        y, x = self.stride.pair
        self.origin.pair = preset.origin * y, preset.origin * x

    def forget(self) -> None:
        """Have offsets and confidences read as they are."""
        self.network.value = ""
        self.order.value = self.coarse.value = self.sigmoid.value = False
        self.scale.value = 1.0

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Set values without emitting signals."""
        with ExitStack() as stack:
            for control in (*self.layer_boxes, *self.readings):
                stack.enter_context(control.changed.blocked())
            yield


def _layer_box(label: str, choices: Callable[[Any], list[Any]], tooltip: str) -> ComboBox:
    return ComboBox(label=label, choices=choices, nullable=True, tooltip=tooltip)
