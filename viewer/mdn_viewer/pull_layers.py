"""A gradient as layers: ∂loss/∂c in a cell of its own, and on every map where its votes want to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Vectors

from mdn_viewer.cells import set_data
from mdn_viewer.descent import Descent
from mdn_viewer.maps import CONFIDENCE, DIVERGING
from mdn_viewer.target_layers import CELL as TARGET

if TYPE_CHECKING:
    from mdn_viewer.stage import Stage

__all__ = ["PullLayers", "arrows"]

FloatArray = npt.NDArray[np.floating]

_CELL, _OVERLAY = "∂loss/∂c", "−∂loss/∂o"
_MOST = 500  # arrows on each map: soon drawn on five, and still told apart
_BARE = (CONFIDENCE, TARGET)  # cells without arrows: nothing lands there
_USUAL = 90  # percentile of what is seen in full; the few steepest would dwarf all else
_NO_ARROWS = np.zeros((0, 2, 2), np.float32)


def arrows(descent: Descent, most: int = _MOST) -> npt.NDArray[np.float32]:
    """Where a step would move the votes that are pulled most.

    Parameters
    ----------
    descent : Descent
        The gradient.
    most : int
        How many arrows at most.

    Returns
    -------
    array [N, 2, 2], float32
        Of each arrow the point where the vote lands and the vector (rows, columns), in pixels of
        the output. They show −∂loss/∂o, the steepest as long as is easily seen on the map.
    """
    votes, shape = descent.session.votes, np.array(descent.session.output_shape)
    offsets = np.moveaxis(votes["offsets"], -3, 0)[::-1]  # rows first
    pull = -np.moveaxis(descent.pull.offsets, -3, 0)[::-1]
    slope = np.hypot(*pull)
    strongest = np.arange(slope.size)
    if slope.size > most:
        strongest = np.argpartition(slope, -most, axis=None)[-most:]
    sources = np.unravel_index(strongest[slope.flat[strongest] > 0], slope.shape)
    grid = votes["origin"] + votes["stride"] * np.stack(sources[-2:], axis=1)
    landing, vector = grid + offsets[:, *sources].T, pull[:, *sources].T
    near = (np.abs(landing - shape / 2) <= shape).all(axis=1)
    landing, vector, steepness = landing[near], vector[near], slope[sources][near]
    if not len(landing):
        return _NO_ARROWS
    usual = np.percentile(steepness, _USUAL)
    longest = max(3 * descent.session.sigma, shape.max() / 16)
    vector = vector / np.maximum(steepness, usual)[:, None] * longest
    return np.stack([landing, vector], axis=1).astype(np.float32)


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

    def show(self, descent: Descent | None) -> None:
        """Show a gradient, or none any more."""
        self._arrows = _NO_ARROWS if descent is None else arrows(descent)
        if descent is None:
            self._picture = None
            self._stage.remove_cell(_CELL)
        else:
            self._draw(descent)
            self._stage.lay_over(_OVERLAY)
        for layer in self._stage.overlays(_OVERLAY):  # empty or not: to hide them takes long
            if layer.visible and (len(layer.data) or len(self._arrows)):
                set_data(layer, self._arrows)

    def _draw(self, descent: Descent) -> None:
        """Write ∂loss/∂c into its layer, made anew where it does not fit."""
        values, layer = descent.pull.confidence, self._picture
        if layer is None or not self._stage.shows(layer) or layer.data.shape != values.shape:
            layer = self._picture = _picture(descent)
            self._stage.add_cell(_CELL, layer)
        layer.data = values
        layer.contrast_limits = _limits(values)

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
    layer = Image(
        values,
        scale=(1,) * beyond + (votes["stride"],) * 2,
        translate=(0,) * beyond + (votes["origin"],) * 2,
        colormap=DIVERGING,
        opacity=0.6,  # most sources are pulled down alike; the image shows through
        blending="additive",
        contrast_limits=_limits(values),
        name=_CELL,
    )
    layer.colorbar.size, layer.colorbar.font_size = (12, 100), 8
    return layer


def _limits(values: FloatArray) -> tuple[float, float]:
    """Symmetric, and such that a few steep sources do not leave the others in the dark."""
    slope = np.abs(values[values != 0])
    highest = float(np.percentile(slope, _USUAL)) if slope.size else 0.0
    return (-highest, highest) if highest > 0 else (-1.0, 1.0)
