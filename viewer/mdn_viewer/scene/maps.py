"""The vote maps as layers of a viewer, side by side in its grid, beside what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.experimental import link_layers
from napari.layers import Image
from napari.utils.colormaps import Colormap

from mdn_viewer.logic.session import VoteMap, title
from mdn_viewer.scene.canvas import place_labels
from mdn_viewer.scene.cells import own
from mdn_viewer.scene.contrast import reach_of, symmetric, upward
from mdn_viewer.scene.grid import Frame
from mdn_viewer.scene.layers import backdrop
from mdn_viewer.scene.stage import Stage

if TYPE_CHECKING:
    from mdn_viewer.logic.model import VotingModel

__all__ = ["CONFIDENCE", "DIVERGING", "Inputs", "MapLayers"]

CONFIDENCE = "confidence"
"""The name of the confidence's cell."""

DIVERGING = Colormap([(0.25, 0.6, 1.0), (0, 0, 0), (1.0, 0.55, 0.1)], name="blue-black-orange")
"""Of a map with two signs: dark at 0, so that with additive blending the image shows through."""

_SEQUENTIAL = "inferno"
_SLACK = 0.7  # how far below its colormap's end a peak may move while the slider does
_ROOM = 1.15  # how far above the peak its end is then put, for the peak to rise into
_LINKED = ("colormap", "gamma", "opacity")  # what all maps but the difference have in common


class Inputs(NamedTuple):
    """The layers that the votes are made of."""

    confidence: Image | None
    offsets: Image | None
    image: Image | None


class MapLayers:
    """Shows a model's maps on a stage: one cell for every kind, and one for the confidence.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    stage : Stage
        Where.
    """

    def __init__(self, model: VotingModel, stage: Stage) -> None:
        self._model, self._stage = model, stage
        self._layers: dict[str, Image] = {}
        self._inputs = Inputs(None, None, None)
        self._laid_out: tuple[Any, ...] = ()
        self._framed: tuple[Any, ...] = ()  # the view, as it was chosen here
        self._image: npt.NDArray[Any] | None = None
        self._backdrop: npt.NDArray[np.float32] | None = None  # in gray
        self._same_scale = False
        self._confidence_shown = True
        self._colormap: Any = _SEQUENTIAL
        model.maps_changed.connect(self._on_maps)
        model.settled.connect(self._settle)
        stage.reshaped.connect(self._on_reshaped)

    @property
    def colormap(self) -> str:
        """Name of the colormap that the maps share."""
        for kind, layer in self._layers.items():
            if kind != "difference":
                self._colormap = layer.colormap
        return str(getattr(self._colormap, "name", self._colormap))

    def set_colormap(self, name: str) -> None:
        """Choose the colormap of all maps but the difference."""
        self._colormap = name
        for kind, layer in self._layers.items():
            if kind != "difference":
                layer.colormap = name

    def set_inputs(self, inputs: Inputs, frame: Frame) -> None:
        """Say what the next maps are made of, and where; it is shown as soon as they come."""
        for layer in self._inputs:
            if layer is not None and layer not in inputs:
                _set_visible(layer, False)
        self._inputs, self._laid_out = inputs, ()
        self._stage.set_frame(frame)

    def set_same_scale(self, same: bool) -> None:
        """Show the additive map from 0 to 1 as the noisy-or, or from 0 to its own peak."""
        self._same_scale = same
        self._set_limits(self._model.maps)

    def show_confidence(self, shown: bool) -> None:
        """Show the confidence in a cell of its own, or not."""
        self._confidence_shown = shown
        if self._model.voted is not None:
            self._lay_out(self._model.maps)

    def clear(self) -> None:
        """Remove the maps: what voted is gone."""
        self._layers, self._laid_out = {}, ()
        self._stage.clear()

    def _on_maps(self, maps: dict[str, VoteMap]) -> None:
        if self._model.voted is None:
            return  # others come, or `clear`
        new = self._laid_out != self._plan(maps)
        if new or not self._stage.in_order:
            self._lay_out(maps)
        # Else the list of layers is drawn anew for every map, and with it the window a second time.
        with self._stage.viewer.layers.events.blocker():
            for kind, vote_map in maps.items():
                _write(self._layers[kind], vote_map.values)
            self._set_limits(maps, exactly=new)
        if not self._stage.busy:
            place_labels(self._stage.viewer)

    def _plan(self, maps: dict[str, VoteMap]) -> tuple[Any, ...]:
        shapes = [vote_map.values.shape for vote_map in maps.values()]
        return tuple(maps), shapes, self._confidence_shown, self._inputs

    def _lay_out(self, maps: dict[str, VoteMap]) -> None:
        """Make a cell for every map, and show what they are made of behind them."""
        known = self._laid_out == self._plan(maps)  # something was deleted or moved
        colormap, present = self.colormap, self._stage.viewer.layers
        before = {kind: layer for kind, layer in self._layers.items() if layer in present}
        self._layers = {
            kind: before.get(kind) or _new(kind, vote_map.values, colormap)
            for kind, vote_map in maps.items()
        }
        confidence, offsets, image = self._inputs
        inputs = [layer for layer in self._inputs if layer is not None]
        cells: dict[str, tuple[Any, Any]] = {title(k): (x, None) for k, x in self._layers.items()}
        if confidence is not None and self._confidence_shown:
            cells[CONFIDENCE] = confidence, image
        visible = {x: self._confidence_shown and x is not offsets for x in inputs}
        self._stage.set_cells(cells, self._gray(), {} if known else visible)
        alike = [layer for kind, layer in self._layers.items() if kind != "difference"]
        if alike:
            link_layers(alike, _LINKED)
        if not self._laid_out:  # else the user may have chosen what to look at
            self._stage.then(self._frame)
        self._laid_out = self._plan(maps)

    @property
    def _view(self) -> tuple[Any, ...]:
        camera = self._stage.viewer.scene.camera
        return tuple(camera.center), camera.zoom

    def _on_reshaped(self) -> None:
        """Have the maps fill their new cells, unless the user has chosen what to look at."""
        if self._view == self._framed:
            self._frame()

    def _frame(self) -> None:
        """Have the maps, and what they are made of, fill their cells."""
        viewer = self._stage.viewer
        framed = [x for x in (*self._layers.values(), *self._inputs) if x in viewer.layers]
        # napari can frame layers only if one of them has all the dimensions there are.
        all_dimensions = max((x.ndim for x in framed), default=0) == viewer.dims.ndim
        viewer.reset_view(layers=framed if all_dimensions else None)
        self._framed = self._view

    def _gray(self) -> npt.NDArray[np.float32] | None:
        """Return the image in gray: the same array as long as it is the same image."""
        data = None if self._model.voted is None else self._model.voted.fields.image
        if data is not self._image:
            self._image, self._backdrop = data, None if data is None else backdrop(data)
        return self._backdrop

    def _set_limits(self, maps: dict[str, VoteMap], *, exactly: bool = True) -> None:
        """Show every map up to its peak; while it moves, about so."""
        for kind, vote_map in maps.items():
            layer = self._layers.get(kind)
            if layer is None:
                continue
            low, high = _limits(kind, vote_map, same_scale=self._same_scale)
            lowest, highest = map(float, layer.contrast_limits)
            # New limits cost as much as a frame: the colorbar, the thumbnail, the layer's controls.
            if exactly:
                if (low, high) != (lowest, highest):
                    layer.contrast_limits = low, high
            elif not _SLACK * highest <= high <= highest or bool(low) != bool(lowest):
                layer.contrast_limits = low * _ROOM, high * _ROOM

    def _settle(self) -> None:
        """Let all who look at the layers know of their new data, once it has come to rest."""
        self._set_limits(self._model.maps)
        for layer in self._layers.values():
            if layer in self._stage.viewer.layers:
                layer.data = layer.data


def _set_visible(layer: Image, visible: bool) -> None:
    """Show a layer or hide it; napari builds its grid anew even if it is so already."""
    if layer.visible != visible:
        layer.visible = visible


def _limits(kind: str, vote_map: VoteMap, *, same_scale: bool) -> tuple[float, float]:
    if kind == "noisy_or" or (kind == "additive" and same_scale):
        return 0.0, 1.0
    peak = 0.0 if vote_map.peak is None else vote_map.peak.value
    if not np.isfinite(peak):  # neither are those of other pixels that no color stands for
        values = vote_map.values
        peak = reach_of(values if kind == "difference" else np.maximum(values, 0))
    return symmetric(abs(peak)) if kind == "difference" else upward(peak)


def _new(kind: str, values: npt.NDArray[Any], colormap: Any) -> Image:
    difference = kind == "difference"
    layer = Image(
        np.array(values),
        name=title(kind),
        colormap=DIVERGING if difference else colormap,
        blending="additive",
        contrast_limits=(0, 1),
    )
    return own(layer)


def _write(layer: Image, values: npt.NDArray[Any]) -> None:
    """Write a map in place, which is what keeps up with a slider."""
    data = layer.data
    if isinstance(data, np.ndarray) and data.shape == values.shape and data.dtype == values.dtype:
        data[...] = values
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    else:
        layer.data = values
