"""How two arrays are to be read, and how families of networks write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PRESETS", "Reading"]

Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Reading:
    """What two arrays do not say of themselves.

    Parameters
    ----------
    layout : str
        As in `mdn_cupy.open_fields`; empty for the usual one.
    order, scale, sigmoid
        As in `mdn_cupy.open_fields`.
    coarse : bool
        Whether offsets count sources and not pixels of the output.
    stride, origin : float or (float, float), optional
        As in `mdn_cupy.Fields`; None for what a file says, or 1 and 0. The origin of a preset is in
        strides.

    Examples
    --------
    >>> Reading("(PC)HW", coarse=True, stride=(4, 3)).arguments
    {'layout': '(PC)HW', 'stride': (4, 3), 'scale': (4.0, 3.0)}
    """

    layout: str = ""
    order: str = "xy"
    coarse: bool = False
    scale: float = 1.0
    sigmoid: bool = False
    stride: Numbers | None = None
    origin: Numbers | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `mdn_cupy.open_fields`, but for those that have their default."""
        usual = vars(Reading())
        said = {name: value for name, value in vars(self).items() if value != usual[name]}
        if said.pop("coarse", False) and self.stride is not None:
            y, x = (self.scale * np.broadcast_to(self.stride, 2)).tolist()
            said["scale"] = y if y == x else (y, x)
        return said


PRESETS = {
    "centernet": (Reading("PHW CHW", coarse=True, sigmoid=True),),
    "deeplabcut": (Reading("(PC)HW", scale=7.2801, sigmoid=True, origin=0.5),),
    "movenet": (Reading("(PC)HW", "yx", coarse=True, sigmoid=True),),
    "posenet": (Reading("HW(CP)", "yx", sigmoid=True),),
    "sleap_nn": (Reading("PHW CHW", origin=0.5), Reading("CHW", origin=0.5)),
    "spotiflow": (Reading("HWC", "yx"),),
}
"""By the names of the adapters in `mdn_cupy.adapters`, with the origin in strides.

Of several, the first whose layout fits is taken.
"""
