"""A gradient as layers: ∂loss/∂c in a cell of its own, and on every map where its votes want to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from mdn_viewer.logic.descent import Descent
from mdn_viewer.scene.contrast import symmetric
from mdn_viewer.scene.maps import CONFIDENCE, DIVERGING
from mdn_viewer.scene.marks import Vectors
from mdn_viewer.scene.target_layers import CELL as TARGET

if TYPE_CHECKING:
    from mdn_viewer.scene.stage import Stage

__all__ = ["PullLayers"]

FloatArray = npt.NDArray[np.floating]

_CELL, _OVERLAY = "∂loss/∂c", "−∂loss/∂o"
_BARE = (CONFIDENCE, TARGET)  # cells without arrows: nothing lands there
_USUAL = 90  # percentile of what is seen in full; the few steepest would dwarf all else
_NO_ARROWS = np.zeros((0, 2, 2), np.float32)


class PullLayers:
    """Shows what a loss wants of the votes, on a stage.

    Parameters
    ----------
    stage : Stage
        Where.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._picture: Image | None = None
        self._arrows = _NO_ARROWS
        stage.overlay(_OVERLAY, self._make_arrows)

    def show(self, descent: Descent | None, arrows: npt.NDArray[np.float32] | None) -> None:
        """Show a gradient, and where it moves votes, or none any more."""
        self._arrows = _NO_ARROWS if arrows is None else arrows
        if descent is None:
            self._picture = None
            self._stage.remove_cell(_CELL)
        else:
            self._draw(descent)
            self._stage.lay_over(_OVERLAY)
        for layer in self._stage.overlays(_OVERLAY):  # empty or not: to hide them takes long
            if layer.visible and (len(layer.data) or len(self._arrows)):
                self._stage.draw(layer, self._arrows)

    def _draw(self, descent: Descent) -> None:
        """Write ∂loss/∂c into its layer, made anew where it does not fit."""
        values, layer = descent.pull.confidence, self._picture
        if layer is None or not self._stage.shows(layer) or layer.data.shape != values.shape:
            self._picture = _picture(descent)
            self._stage.add_cell(_CELL, self._picture)
        else:
            layer.data, layer.contrast_limits = values, _limits(values)

    def _make_arrows(self, cell: str) -> Vectors:
        return Vectors(
            _NO_ARROWS if cell in _BARE else self._arrows,
            ndim=2,
            visible=cell not in _BARE,
            vector_style="arrow",
            edge_color="#5cff8f",
            edge_width=1,
            length=1,
            opacity=0.9,
        )


def _picture(descent: Descent) -> Image:
    votes, values = descent.session.votes, descent.pull.confidence
    beyond = values.ndim - 2
    return Image(
        values,
        rgb=False,  # a grid of 3 or 4 columns is none of colors
        scale=np.append(np.ones(beyond), votes.stride),
        translate=np.append(np.zeros(beyond), votes.origin),
        colormap=DIVERGING,
        opacity=0.6,  # most sources are pulled down alike; the image shows through
        blending="additive",
        contrast_limits=_limits(values),
        name=_CELL,
    )


def _limits(values: FloatArray) -> tuple[float, float]:
    """Symmetric, and such that a few steep sources do not leave the others in the dark."""
    slope = np.abs(values[np.isfinite(values) & (values != 0)])
    return symmetric(float(np.percentile(slope, _USUAL)) if slope.size else 0.0)
