"""The boxes that say how two arrays are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox

from mdn_cupy.io import Layout
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.reading import Reading
from mdn_viewer.widgets.controls import PixelPair

__all__ = ["ReadingForm"]

_OWN_AXES = ("as (P, 2, H, W)", "")
_ORDERS = [("x, y (right, down)", "xy"), ("y, x (down, right)", "yx")]
_UNITS: list[tuple[str, bool]] = [("pixels of the output", False), ("sources of the grid", True)]


class ReadingForm(Container[Any]):
    """The boxes of a `Reading`, and one for the network that wrote the arrays.

    Parameters
    ----------
    networks : iterable of str
        Names to choose from.
    tooltip : str
        What choosing one does.
    """

    def __init__(self, networks: Iterable[str], tooltip: str) -> None:
        super().__init__()
        self.network = ComboBox(
            label="network",
            choices=[("as chosen below", ""), *((name, name) for name in networks)],
            tooltip=tooltip,
        )
        self.axes = ComboBox(
            label="axes",
            choices=[_OWN_AXES],
            tooltip="Axes of the offsets: P parts, C components, H rows, W columns. Those that the "
            "sizes of both arrays fit are offered.",
        )
        self.order = ComboBox(
            label="channels", choices=_ORDERS, tooltip="What the two channels of the offsets are."
        )
        self.coarse = ComboBox(
            label="in units of",
            choices=_UNITS,
            tooltip="What an offset of 1 is: a pixel, or a stride.",
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
        self.boxes = (
            self.network,
            self.axes,
            self.order,
            self.coarse,
            self.scale,
            self.stride,
            self.origin,
            self.sigmoid,
        )
        self.margins = (0, 4, 0, 0)
        self.extend(self.boxes)

    @property
    def reading(self) -> Reading:
        """What the boxes say."""
        return Reading(
            str(self.axes.value),
            str(self.order.value),
            bool(self.coarse.value),
            float(self.scale.value),
            bool(self.sigmoid.value),
            _one(self.stride.pair),
            _one(self.origin.pair),
        )

    @reading.setter
    def reading(self, reading: Reading) -> None:
        if reading.layout in self.axes.choices:
            self.axes.value = reading.layout
        self.order.value, self.coarse.value = reading.order, reading.coarse
        self.scale.value, self.sigmoid.value = reading.scale, reading.sigmoid
        self.stride.pair, self.origin.pair = Grid.of(reading)

    def offer_axes(self, texts: Sequence[str], chosen: str) -> None:
        """Offer layouts, and choose one."""
        meanings = ((text, Layout(text).meaning) for text in texts)
        named = [(f"{text}: {said}" if said else text, text) for text, said in meanings]
        self.axes.choices = named or [_OWN_AXES]
        self.axes.value = chosen if chosen in texts else self.axes.choices[0]


def _one(pair: tuple[float, float]) -> float | tuple[float, float]:
    return pair[0] if pair[0] == pair[1] else pair
