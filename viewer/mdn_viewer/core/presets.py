"""How families of networks write two plain arrays, as far as that can be chosen by hand."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PRESETS", "Preset"]


class Preset(NamedTuple):
    """Conventions of a family, which are those of its adapter in `mdn_cupy.adapters`.

    Attributes
    ----------
    layouts : tuple of str
        Axes; the first that fits is taken.
    order : {'xy', 'yx'}
        Which component of the offsets comes first.
    coarse : bool
        Whether offsets count sources.
    scale : float
        Factor of the offsets.
    sigmoid : bool
        Whether confidences are logits.
    origin : float
        Where the first source is, in strides.
    """

    layouts: tuple[str, ...]
    order: str = "xy"
    coarse: bool = False
    scale: float = 1.0
    sigmoid: bool = False
    origin: float = 0.0


PRESETS = {
    "centernet": Preset(("PHW CHW",), coarse=True, sigmoid=True),
    "deeplabcut": Preset(("(PC)HW",), scale=7.2801, sigmoid=True, origin=0.5),
    "movenet": Preset(("(PC)HW",), order="yx", coarse=True, sigmoid=True),
    "posenet": Preset(("HW(CP)",), order="yx", sigmoid=True),
    "sleap_nn": Preset(("PHW CHW", "CHW"), origin=0.5),
    "spotiflow": Preset(("HWC",), order="yx"),
}
"""The presets, by the names of the adapters."""
