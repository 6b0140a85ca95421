"""Which layers vote: what a viewer has open, and what the controls choose of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image, Layer, Vectors
from qtpy.compat import isalive

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence, Layout
from mdn_viewer.core import layout_guess
from mdn_viewer.core.origin import Changed
from mdn_viewer.core.presets import PRESETS
from mdn_viewer.layers.conversion import (
    fields_of,
    frames_of,
    has_frames,
    is_output,
    read_as,
    renew,
    role_of,
    to_fields,
    values_of,
)
from mdn_viewer.layers.plain_frames import PlainFrames
from mdn_viewer.layers.transforms import Frame, Grid, grid_of, is_untransformed
from mdn_viewer.timers import single_shot_timer
from mdn_viewer.widgets.inputs import InputControls

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Inputs", "LayerSelection", "images", "offset_layers"]

_MOST_COMPARED = 1 << 20  # confidences: the votes of as many take a tenth of a second
_FRAMES, _PARTS = -4, -3  # axes of napari's world, as `layer_data` has them
_FRAMES_OF_ONE = Layout("CHW")
_BETTER = 1.05  # times the evidence: less is no reason to exchange channels


class Inputs(NamedTuple):
    """The layers that the votes are made of."""

    confidence: Image | None
    offsets: Layer | None
    image: Image | None


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
        self._understood: tuple[Any, ...] = ()  # shapes and arrays of the last guess
        self._grid_said = ""
        self._scored: list[layout_guess.Scored] = []
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
        controls.other_order.changed.connect(self._exchange)
        viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> Inputs:
        """The layers that are chosen."""
        return Inputs(*(box.value for box in self._controls.layer_boxes))

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
        confidence, offsets, image = self.layers
        if confidence is None or offsets is None:
            return None
        if layout_guess.has_rows_last(self._controls.reading.layout or "PCHW"):
            grid_of(confidence, self.frame)
        frames = self.frames
        if frames:
            return frames[self.frame_number]
        return to_fields(confidence, offsets, image, self._controls.reading, self.frame)

    @property
    def frames(self) -> Sequence[mdn.Fields]:
        """The frames of the layers that are chosen; none of layers of one frame."""
        frames, reading = frames_of(self.layers.confidence), self._controls.reading
        if frames:
            own = frames is frames_of(self.layers.offsets)
            return FieldsSequence(Changed(frames, partial(read_as, reading=reading))) if own else ()
        plain = self._plain_frames
        return () if plain is None else FieldsSequence(plain)

    @property
    def frame_axis(self) -> int:
        """The axis of napari's world that is the frames', from the last."""
        plain = self._plain_frames
        return _FRAMES if plain is None else plain.axis

    @property
    def _plain_frames(self) -> PlainFrames | None:
        """The frames of layers that carry none; None where they have one."""
        confidence, offsets, image = self.layers
        if confidence is None or offsets is None or frames_of(confidence):
            return None
        plain = PlainFrames(confidence, offsets, image, self._controls.reading, self.frame)
        return plain if len(plain) > 1 else None

    @property
    def part_axis(self) -> int | None:
        """The axis of napari's world that is the parts', from the last, unless frames have it."""
        return None if self.frame_axis == _PARTS else _PARTS

    @property
    def frame_number(self) -> int:
        """The frame that napari's slider is at."""
        steps, frames, axis = self._viewer.dims.current_step, self.frames, self.frame_axis
        return min(int(steps[axis]), len(frames) - 1) if frames and len(steps) >= -axis else 0

    def write(self, fields: mdn.Fields | Sequence[mdn.Fields]) -> None:
        """Write other values into the layers that are chosen; they vote already."""
        self._watch([])
        found = [layer for layer in self.layers if layer is not None and role_of(layer) is not None]
        renew(found, fields)
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

    def _take_fitting(self) -> bool:
        """Choose the only two plain layers that fit as confidence and offsets, if there are two."""
        plain = [x for x in images(self._viewer) if role_of(x) is None]
        gray = {str(n): x for n, x in enumerate(plain) if not x.rgb and not x.multiscale}
        floating = {n: x.data.shape for n, x in gray.items() if x.data.dtype.kind == "f"}
        pair = layout_guess.find_pair(floating)
        if pair is None:
            return False
        confidence, offsets = (gray[name] for name in pair)
        rest = [x for x in plain if x not in (confidence, offsets)]
        self.refresh()
        with self._controls.silent():
            self._controls.offsets.value = offsets
            self._controls.image.value = rest[0] if len(rest) == 1 else None
        self._pick(confidence)
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
        fields = fields_of(layer)
        for other in images(self._viewer) if fields is not None else ():
            if role_of(other) is not None and fields_of(other) is not fields:
                other.visible = False  # else napari's own canvas shows them over each other
        self._pick(None if fields is None else self._member("confidence", fields))

    def _pick(self, confidence: Image | None) -> None:
        """Choose a confidence layer, and whatever else it brings along."""
        controls, fields = self._controls, fields_of(confidence)
        self._frame = Frame()
        with controls.silent():
            controls.confidence.value = confidence
            if fields is not None:
                controls.offsets.value = self._member("offsets", fields)
                controls.image.value = self._member("image", fields)
                controls.forget()
        self._guess()
        self._read_grid()
        self._changed()

    def _read_grid(self) -> None:
        """Read off the layers where the sources are."""
        self._set_by_hand = self._moved = False
        grid = self._proposed() or self._grid_of(self.layers.confidence)
        if grid is not None:
            with self._controls.silent():
                self._controls.stride.pair, self._controls.origin.pair = grid

    def _guess(self) -> None:
        """Offer the axes that two plain layers fit, the one of the highest evidence chosen."""
        controls, (confidence, offsets, image) = self._controls, self.layers
        plain = confidence is not None and isinstance(offsets, Image) and not role_of(offsets)
        if confidence is None or offsets is None or not plain or confidence.rgb or offsets.rgb:
            self._understood = ()
            with controls.silent():
                controls.offer_axes([], "")
            controls.understood.say("")
            return
        seen = (confidence.data, offsets.data, image)
        if len(seen) == len(self._understood) and all(map(is_, seen, self._understood)):
            return
        self._understood, self._scored = seen, []
        size = None if image is None else _size(image)
        shapes = confidence.data.shape, offsets.data.shape
        fitting = layout_guess.layouts(*shapes, size)
        if _FRAMES_OF_ONE.leading(*shapes):  # as which P fields of one part each may be read
            first = image is not None and has_frames(image, shapes[0][0])
            fitting.insert(0 if first else len(fitting), _FRAMES_OF_ONE)
        texts, chosen = [layout.text for layout in fitting], controls.reading.layout
        if fitting and confidence.data.size <= _MOST_COMPARED:
            with suppress(TypeError, ValueError):  # of values that no votes are made of
                grid = fitting[0].grid(confidence.data.shape)
                stride = layout_guess.grids(grid, size or grid)[0].stride
                values = values_of(confidence), values_of(offsets)
                self._scored = layout_guess.compare(*values, fitting, float(np.max(stride)))
        if chosen not in texts and fitting[:1] == [_FRAMES_OF_ONE]:
            chosen = texts[0]
        elif self._scored and len(texts) > 1 and chosen not in texts:
            own = [each.layout.text for each in self._scored if each.layout != _FRAMES_OF_ONE]
            chosen = own[0]
        with controls.silent():
            controls.offer_axes(texts, chosen)

    def _say_understood(self) -> None:
        """Say how two plain layers are read; nothing of those that come with a meaning."""
        reading = self._controls.reading
        said = ""
        if self._understood and reading.layout:
            others = [Layout(str(text)) for text in self._controls.axes.choices]
            order = "yx" if reading.rows_first else "xy"
            said = layout_guess.understood(Layout(reading.layout), order, others, self._grid_said)
        self._controls.understood.say(said)
        self._offer_other_order()

    def _offer_other_order(self) -> None:
        """Offer to exchange the channels, where their votes then meet better."""
        reading, button = self._controls.reading, self._controls.other_order
        evidence = {x.order: x.evidence for x in self._scored if x.layout.text == reading.layout}
        now, other = ("yx", "xy") if reading.rows_first else ("xy", "yx")
        better = bool(self._understood and evidence) and evidence[other] > _BETTER * evidence[now]
        if better:
            button.text = (
                f"Read {other[0]} before {other[1]}: evidence {evidence[other]:.3g} "
                f"instead of {evidence[now]:.3g}"
            )
        button.visible = better

    def _exchange(self, *_: Any) -> None:
        self._controls.order.value = not self._controls.order.value

    def _on_network(self, family: str) -> None:
        """Read the layers as a family of networks writes them."""
        if not family:
            return
        with self._controls.silent():
            self._controls.take(PRESETS[family])
        self._on_number()

    def _proposed(self) -> Grid | None:
        """Return the grid that the sizes of image and confidence tell, if the layer tells none."""
        confidence, _, image = self.layers
        self._grid_said = ""
        if confidence is None or image is None or role_of(confidence) is not None:
            return None
        layout = self._controls.reading.layout or "PCHW"
        if not (is_untransformed(confidence) and is_untransformed(image)):
            return None
        with suppress(ValueError):
            size = Layout(layout).grid(confidence.data.shape)
            guess = layout_guess.grids(size, _size(image))[0]
            self._grid_said = guess.why
            y, x = np.broadcast_to(guess.stride, 2).tolist()
            top, left = np.broadcast_to(guess.origin, 2).tolist()
            return Grid((y, x), (top, left))
        return None

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

    def _member(self, role: str, fields: mdn.Fields | None = None) -> Image | None:
        """Find the newest layer that plays a role, in one field set or in any."""
        found = [x for x in images(self._viewer) if role_of(x) == role]
        return next((x for x in reversed(found) if fields in (None, fields_of(x))), None)

    def _changed(self, *_: Any) -> None:
        self.soon.stop()
        self._guess()
        self._say_understood()
        self._put_in_place()
        self._watch([layer for layer in self.layers if layer is not None])
        self._on_change()

    def _put_in_place(self) -> None:
        """Lay every source over its pixel, as the controls say where it is."""
        confidence, offsets, _ = self.layers
        if not layout_guess.has_rows_last(self._controls.reading.layout or "PCHW"):
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


def images(viewer: Viewer) -> list[Image]:
    """Return the image layers of a viewer that may be inputs."""
    return [x for x in viewer.layers if isinstance(x, Image) and not is_output(x)]


def offset_layers(viewer: Viewer) -> list[Layer]:
    """Return the layers of a viewer that may be offsets."""
    kinds = (Image, Vectors)
    return [x for x in viewer.layers if isinstance(x, kinds) and not is_output(x)]


def _size(image: Image) -> tuple[int, int]:
    """Return the rows and columns of an image."""
    shape = image.data[0].shape if image.multiscale else image.data.shape
    colour = image.rgb or (len(shape) == 3 and shape[-1] in (3, 4))
    rows, columns = shape[-3:-1] if colour else shape[-2:]
    return int(rows), int(columns)


def _moves(layer: Layer) -> list[Any]:
    names = ("scale", "translate", "rotate", "shear", "affine", "units")
    return [getattr(layer.events, name) for name in names]
