"""How plain layers are read, which carry no meaning of their own: axes, grid, order of channels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from operator import is_
from typing import Any

import numpy as np
from napari.layers import Image

from mdn_cupy.io import Layout
from mdn_viewer.core import layout_guess
from mdn_viewer.core.grid import Grid
from mdn_viewer.layers.conversion import role_of, values_of
from mdn_viewer.layers.transforms import is_untransformed
from mdn_viewer.widgets.inputs import InputControls, Inputs

__all__ = ["PlainLayers", "fitting_pair"]

_MOST_COMPARED = 1 << 20  # confidences: the votes of as many take a tenth of a second
_FRAMES_OF_ONE = Layout("CHW")
_BETTER = 1.05  # times the evidence: less is no reason to exchange channels


class PlainLayers:
    """Proposes how the plain layers that are chosen are read, and says so.

    Parameters
    ----------
    controls : InputControls
        Which layers are chosen, and where to propose.
    """

    def __init__(self, controls: InputControls) -> None:
        self._controls = controls
        self._seen: tuple[Any, ...] = ()  # the arrays and the image of the last guess
        self._scored: list[layout_guess.Scored] = []
        self._why = ""  # the grid is as proposed
        controls.other_order.changed.connect(self._exchange)

    def guess(self) -> None:
        """Offer the axes that the layers fit, the one of the highest evidence chosen."""
        controls, (confidence, offsets, image) = self._controls, self._controls.layers
        plain = confidence is not None and isinstance(offsets, Image) and not role_of(offsets)
        if confidence is None or offsets is None or not plain or confidence.rgb or offsets.rgb:
            self._seen = ()
            with controls.silent():
                controls.offer_axes([], "")
            return
        seen = (confidence.data, offsets.data, image)
        if len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return
        self._seen, self._scored = seen, []
        size = None if image is None else layout_guess.plane(image.data.shape, image.rgb)
        shapes = confidence.data.shape, offsets.data.shape
        fitting = layout_guess.layouts(*shapes, size)
        if _FRAMES_OF_ONE.leading(*shapes):  # as which P fields of one part each may be read
            first = image is not None and _has_frames(image, shapes[0][0])
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

    def grid(self) -> Grid | None:
        """Return the grid that the sizes of image and confidence tell, if the layer tells none."""
        confidence, _, image = self._controls.layers
        self._why = ""
        if confidence is None or image is None or role_of(confidence) is not None:
            return None
        if not (is_untransformed(confidence) and is_untransformed(image)):
            return None
        with suppress(ValueError):
            size = self._controls.chosen_axes.grid(confidence.data.shape)
            pixels = layout_guess.plane(image.data.shape, image.rgb)
            guess = layout_guess.grids(size, pixels)[0]
            self._why = guess.why
            return Grid.of(guess)
        return None

    def say(self) -> None:
        """Say how the layers are read; nothing of those that come with a meaning.

        Where votes meet better with the channels exchanged, that is offered.
        """
        reading, button = self._controls.reading, self._controls.other_order
        now, other = reading.order, reading.order[::-1]
        said, evidence = "", {}
        if self._seen and reading.layout:
            others = [Layout(str(text)) for text in self._controls.axes.choices]
            said = layout_guess.understood(Layout(reading.layout), now, others, self._why)
            of = [each for each in self._scored if each.layout.text == reading.layout]
            evidence = {each.order: each.evidence for each in of}
        self._controls.understood.say(said)
        better = bool(evidence) and evidence[other] > _BETTER * evidence[now]
        button.visible = better
        if better:
            button.text = (
                f"Read {other[0]} before {other[1]}: evidence {evidence[other]:.3g} "
                f"instead of {evidence[now]:.3g}"
            )

    def _exchange(self, *_: Any) -> None:
        self._controls.order.value = self._controls.reading.order[::-1]


def fitting_pair(images: Sequence[Image]) -> Inputs | None:
    """Return the only two plain layers that fit as confidence and offsets; None if there are more.

    A single layer beside them is the image.
    """
    plain = [x for x in images if role_of(x) is None]
    gray = {str(n): x for n, x in enumerate(plain) if not x.rgb and not x.multiscale}
    pair = layout_guess.find_pair({n: x.data.shape for n, x in gray.items() if _is_floating(x)})
    if pair is None:
        return None
    confidence, offsets = (gray[name] for name in pair)
    rest = [x for x in plain if x not in (confidence, offsets)]
    return Inputs(confidence, offsets, rest[0] if len(rest) == 1 else None)


def _is_floating(layer: Image) -> bool:
    return bool(layer.data.dtype.kind == "f")


def _has_frames(image: Image, count: int) -> bool:
    """Whether an image has so many frames."""
    shape = image.data.shape
    return len(shape) == 3 + bool(image.rgb) and shape[0] == count
