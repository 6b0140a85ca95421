"""Which layers vote: what a viewer has open, and what the controls choose of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari.layers import Image

import mdn_cupy as mdn
from mdn_viewer.controls import Controls, once
from mdn_viewer.layers import fields_of, grid_of, role_of, to_fields
from mdn_viewer.maps import is_map

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["FieldPicker", "choices"]


class FieldPicker:
    """Follows the layers of a viewer, and makes a field set of those that are chosen.

    A field set that is opened is chosen at once. Layers may be renamed or deleted and their data
    replaced at any time.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers to follow.
    controls : Controls
        Where to choose.
    on_change : callable
        Called when `fields` may have become different.
    """

    def __init__(self, viewer: Viewer, controls: Controls, on_change: Callable[[], None]) -> None:
        self._viewer, self._controls, self._on_change = viewer, controls, on_change
        self._boxes = (controls.confidence, controls.offsets, controls.image)
        self._watched: list[Image] = []
        self.soon = once(self._changed, controls.native)
        controls.confidence.changed.connect(self._pick)
        for control in (controls.offsets, controls.image, controls.stride, controls.origin):
            control.changed.connect(self._changed)
        viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> tuple[Image | None, Image | None, Image | None]:
        """The layers that are chosen: confidence, offsets, image."""
        confidence, offsets, image = (box.value for box in self._boxes)
        return confidence, offsets, image

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
        grid = grid_of(confidence)
        if fields_of(confidence) is None:
            grid = self._controls.stride.value, self._controls.origin.value
        return to_fields(confidence, offsets, image, *grid)

    def refresh(self) -> None:
        """Offer the layers that there are now; what is chosen stays so, under whatever name."""
        chosen = self.layers
        with self._controls.silent():
            for box, layer in zip(self._boxes, chosen, strict=True):
                box.reset_choices()
                box.value = layer if layer in box.choices else None
        if self.layers != chosen:
            self.soon.start(0)  # once, when all that goes has gone; never, if the window goes too

    def take_newest(self) -> None:
        """Choose the field set that was opened last."""
        self._take(self._member("offsets"))

    def close(self) -> None:
        """Follow the layers no longer."""
        self._watch([])
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        if role_of(event.value) == "offsets":  # the last layer of a field set
            self._take(event.value)

    def _take(self, layer: Image | None) -> None:
        self.refresh()
        fields = fields_of(layer)
        self._pick(None if fields is None else self._member("confidence", fields))

    def _pick(self, confidence: Image | None) -> None:
        """Choose a confidence layer, and whatever else it brings along."""
        controls, fields = self._controls, fields_of(confidence)
        controls.stride.enabled = controls.origin.enabled = fields is None  # a set knows its own
        with controls.silent(), suppress(ValueError):  # of a grid that `fields` will refuse
            controls.confidence.value = confidence
            if fields is not None:
                controls.offsets.value = self._member("offsets", fields)
                controls.image.value = self._member("image", fields)
            if confidence is not None:
                controls.stride.value, controls.origin.value = grid_of(confidence)
        self._changed()

    def _member(self, role: str, fields: mdn.Fields | None = None) -> Image | None:
        """Find the newest layer that plays a role, in one field set or in any."""
        found = [x for x in choices(self._viewer) if role_of(x) == role]
        return next((x for x in reversed(found) if fields in (None, fields_of(x))), None)

    def _changed(self, *_: Any) -> None:
        self._watch([layer for layer in self.layers if layer is not None])
        self._on_change()

    def _watch(self, layers: list[Image]) -> None:
        for layer in self._watched:
            layer.events.data.disconnect(self._changed)
        for layer in layers:
            layer.events.data.connect(self._changed)
        self._watched = layers


def choices(viewer: Viewer) -> list[Image]:
    """Return the image layers of a viewer that are not vote maps."""
    return [x for x in viewer.layers if isinstance(x, Image) and not is_map(x)]
