"""Which layers vote: what a viewer has open, and what the controls choose of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from qtpy.compat import isalive

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.layout_guess import has_rows_last
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.origin import Changed
from mdn_viewer.core.reading import PRESETS
from mdn_viewer.layers.conversion import (
    frames_of,
    inputs_of,
    opened_of,
    read_as,
    renew,
    role_of,
)
from mdn_viewer.layers.transforms import Frame, grid_of
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.inputs import InputControls, Inputs
from mdn_viewer.widgets.plain_layers import PlainLayers, fitting_pair

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["LayerSelection"]

_FRAMES, _PARTS = -4, -3  # axes of napari's world, as `layer_data` has them


class LayerSelection:
    """Follows the layers of a viewer, and makes a field set of those that are chosen.

    A field set that is opened is chosen at once. Layers may be renamed, moved or deleted and their
    data replaced at any time. Stride and origin are read off the confidence's place on the image;
    once they have been set by hand they stay, and it is the layer that is put in its place.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers to follow.
    controls : InputControls
        Where to choose.
    on_loss : callable
        Called when layers that vote are gone, before anybody has decided what else votes.
    on_change : callable
        Called when `fields` may have become different.
    """

    def __init__(
        self,
        viewer: Viewer,
        controls: InputControls,
        on_loss: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._viewer, self._controls = viewer, controls
        self._on_loss, self._on_change = on_loss, on_change
        self._watched: list[Layer] = []
        self._closed = False
        self._frame = Frame()
        self._set_by_hand = self._placing = self._moved = self._arrived = False
        self._plain = PlainLayers(controls)
        self._opened: Layer | None = None  # the last layer of a field set, not chosen yet
        self.soon = single_shot_timer(self._act, controls.native)
        controls.confidence.changed.connect(self._pick)
        controls.image.changed.connect(self._on_image)
        for number in (controls.stride, controls.origin):
            number.changed.connect(self._on_number)
        others = (controls.order, controls.coarse, controls.axes, controls.scale, controls.sigmoid)
        for choice in (controls.offsets, *others):
            choice.changed.connect(self._changed)
        controls.network.changed.connect(self._on_network)
        viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> Inputs:
        """The layers that are chosen."""
        return self._controls.layers

    @property
    def frame(self) -> Frame:
        """Where the pixels of the image are; of the last one, while none is chosen.

        Raises
        ------
        ValueError
            If they lie on a line.
        """
        if self.layers.image is not None:
            self._frame = Frame.of(self.layers.image)
        return self._frame

    def fields(self) -> mdn.Fields | None:
        """Return the field set that is chosen, or None while there is too little of it.

        Raises
        ------
        TypeError, ValueError
            If the layers do not fit each other; the message says why.
        """
        confidence = self.layers.confidence
        if confidence is None or self.layers.offsets is None:
            return None
        if has_rows_last(self._controls.chosen_axes.text):
            grid_of(confidence, self.frame)
        return self._sequence()[self.frame_number]

    @property
    def frames(self) -> Sequence[mdn.Fields]:
        """The frames of the layers that are chosen; none of layers of one frame."""
        with suppress(TypeError, ValueError):  # of layers that `fields` will refuse
            frames = self._sequence()
            return frames if len(frames) > 1 else ()
        return ()

    def _sequence(self) -> Sequence[mdn.Fields]:
        confidence, offsets, image = self.layers
        opened, reading = opened_of(confidence), self._controls.reading
        if confidence is None or offsets is None:
            return ()
        if opened is None or not opened.several or opened is not opened_of(offsets):
            return frames_of(confidence, offsets, image, reading, self.frame)
        return FieldsSequence(Changed(opened.frames, partial(read_as, reading=reading)))

    @property
    def frame_axis(self) -> int:
        """The axis of napari's world that is the frames', from the last."""
        confidence = self.layers.confidence
        return _FRAMES if confidence is None or not self.frames else -len(confidence.data.shape)

    @property
    def part_axis(self) -> int | None:
        """The axis of napari's world that is the parts', from the last, unless frames have it."""
        return None if self.frame_axis == _PARTS else _PARTS

    def show_first_frame(self) -> None:
        """Move napari's slider to the first frame: it is in the middle of an axis that is new."""
        dims, axis = self._viewer.dims, self.frame_axis
        if self.frames and dims.ndim >= -axis:
            dims.set_current_step(dims.ndim + axis, 0)

    @property
    def frame_number(self) -> int:
        """The frame that napari's slider is at."""
        steps, frames, axis = self._viewer.dims.current_step, self.frames, self.frame_axis
        return min(int(steps[axis]), len(frames) - 1) if frames and len(steps) >= -axis else 0

    def fits(self, fields: mdn.Fields, loaded: mdn.Fields | None) -> bool:
        """Whether fields have the grid of those that are open, as they say it or as it is set."""
        opened = opened_of(self.layers.confidence)
        carried = None if opened is None else opened.first
        grids = [_grid(each) for each in (carried, loaded) if each is not None]
        return loaded is not None and _grid(fields) in grids

    def as_read(self, fields: mdn.Fields) -> mdn.Fields:
        """Return other values of the field set that is chosen as the controls say it is read."""
        if opened_of(self.layers.confidence) is None:
            return fields
        return read_as(fields, self._controls.reading)

    def write(self, frames: Sequence[mdn.Fields]) -> None:
        """Write other values into the layers that are chosen; they vote already."""
        self._watch([])
        found = [layer for layer in self.layers if layer is not None and role_of(layer) is not None]
        renew(found, frames)
        self._watch([layer for layer in self.layers if layer is not None])

    def refresh(self) -> None:
        """Offer the layers that there are now; what is chosen stays so, under whatever name."""
        if self._closed:
            return
        chosen = self.layers
        with self._controls.silent():
            for box, layer in zip(self._controls.layer_boxes, chosen, strict=True):
                box.reset_choices()
                box.value = layer if layer in box.choices else None
        if self.layers != chosen:
            self._on_loss()
            self.soon.start(0)  # once, when all that goes has gone; never, if the window goes too

    def take_newest(self) -> None:
        """Choose the field set that was opened last, or else layers that fit only one way."""
        self._take(self._member("offsets"))
        if self.layers.confidence is None:
            self._take_fitting()

    def take(self, confidence: Image, offsets: Layer) -> None:
        """Choose two layers."""
        self.refresh()
        with self._controls.silent():
            self._controls.confidence.value = confidence
            self._controls.offsets.value, self._controls.image.value = offsets, None
        self._pick(confidence)

    def take_grid(self, grid: Grid) -> None:
        """Set stride and origin, as by hand."""
        with self._controls.silent():
            self._controls.stride.pair, self._controls.origin.pair = grid
        self._on_number()

    def _take_fitting(self) -> bool:
        """Choose the only two plain layers that fit as confidence and offsets, if there are two."""
        found = fitting_pair(inputs_of(self._viewer, Image))
        if found is None:
            return False
        self.refresh()
        with self._controls.silent():
            self._controls.offsets.value, self._controls.image.value = found.offsets, found.image
        self._pick(found.confidence)
        return True

    def close(self) -> None:
        """Follow the layers no longer: what comes now may be another widget's."""
        self._closed = True
        if isalive(self.soon):  # type: ignore[no-untyped-call]
            self.soon.stop()
        self._watch([])
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        if role_of(event.value) == "offsets":  # the last layer of a field set
            self._opened = event.value
            self.soon.start(0)
        elif self.layers.confidence is None and self.layers.offsets is None:
            self._arrived = True
            self.soon.start(0)

    def _act(self) -> None:
        opened, self._opened = self._opened, None
        arrived, self._arrived = self._arrived, False
        if opened is not None and opened in self._viewer.layers:
            self._take(opened)
            return
        if arrived and self.layers[:2] == (None, None) and self._take_fitting():
            return
        if self._moved:
            self._read_grid()
        self._changed()

    def _take(self, layer: Layer | None) -> None:
        self.refresh()
        opened = opened_of(layer)
        for other in inputs_of(self._viewer, Image) if opened is not None else ():
            if opened_of(other) not in (None, opened):
                other.visible = False  # else napari's own canvas shows them over each other
        self._pick(None if opened is None else self._member("confidence", opened))

    def _pick(self, confidence: Image | None) -> None:
        """Choose a confidence layer, and whatever else it brings along."""
        controls, opened = self._controls, opened_of(confidence)
        self._frame = Frame()
        with controls.silent():
            controls.confidence.value = confidence
            if opened is not None:
                controls.offsets.value = self._member("offsets", opened)
                controls.image.value = self._member("image", opened)
                controls.forget()
        self._plain.guess()
        self._read_grid()
        self._changed()

    def _read_grid(self) -> None:
        """Read off the layers where the sources are."""
        self._set_by_hand = self._moved = False
        grid = self._plain.grid() or self._grid_of(self.layers.confidence)
        if grid is not None:
            with self._controls.silent():
                self._controls.stride.pair, self._controls.origin.pair = grid

    def _on_network(self, family: str) -> None:
        """Read the layers as a family of networks writes them."""
        if not family:
            return
        with self._controls.silent():
            self._controls.take(PRESETS[family])
        self._on_number()

    def _grid_of(self, layer: Layer | None) -> Grid | None:
        """Return the grid of a layer, or None of one that `fields` will refuse."""
        with suppress(ValueError):
            return None if layer is None else grid_of(layer, self.frame)
        return None

    def _on_image(self, *_: Any) -> None:
        if not self._set_by_hand:
            self._read_grid()
        self._changed()

    def _on_number(self, *_: Any) -> None:
        self._set_by_hand = self._grid_of(self.layers.confidence) is not None
        self._changed()

    def _on_moved(self, *_: Any) -> None:
        """Read the grid again once the layers have come to rest."""
        if not self._placing:
            self._moved = True
            self.soon.start(0)

    def _member(self, role: str, opened: Opened | None = None) -> Image | None:
        """Find the newest layer that plays a role, in one field set or in any."""
        found = [x for x in inputs_of(self._viewer, Image) if role_of(x) == role]
        return next((x for x in reversed(found) if opened in (None, opened_of(x))), None)

    def _changed(self, *_: Any) -> None:
        self.soon.stop()
        self._plain.guess()
        self._plain.say()
        self._put_in_place()
        self._watch([layer for layer in self.layers if layer is not None])
        self._on_change()

    def _put_in_place(self) -> None:
        """Lay every source over its pixel, as the controls say where it is."""
        confidence, offsets, _ = self.layers
        if not has_rows_last(self._controls.chosen_axes.text):
            return  # of axes that napari shows otherwise
        wanted = Grid(self._controls.stride.pair, self._controls.origin.pair)
        belonging = offsets if offsets is not None and role_of(offsets) == "offsets" else None
        self._placing = True
        for layer in (confidence, belonging):
            grid = self._grid_of(layer)
            movable = grid is not None or self._set_by_hand
            if layer is not None and movable and grid != wanted:
                with suppress(ValueError):  # of an image that `fields` will refuse
                    self.frame.put_grid(layer, wanted)
        self._placing = False

    def _watch(self, layers: list[Layer]) -> None:
        for layer in self._watched:
            layer.events.data.disconnect(self._changed)
            for event in _moves(layer):
                event.disconnect(self._on_moved)
        for layer in layers:
            layer.events.data.connect(self._changed)
            for event in _moves(layer):
                event.connect(self._on_moved)
        self._watched = layers


def _moves(layer: Layer) -> list[Any]:
    names = ("scale", "translate", "rotate", "shear", "affine", "units")
    return [getattr(layer.events, name) for name in names]


def _grid(fields: mdn.Fields) -> tuple[Any, ...]:
    return fields.confidence.shape, fields.stride, fields.origin
