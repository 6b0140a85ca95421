"""The cells of a stage, and the layers that are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

__all__ = ["Cell", "disown", "is_empty", "is_ours", "is_staged", "own", "renewed", "set_data"]

_MARK = "mdn_stage"  # the key in a layer's metadata under which ours carry their own identity


@dataclass
class Cell:
    """A cell of the grid.

    Parameters
    ----------
    picture : layer
        What there is to be seen in it.
    under : layer, optional
        Somebody else's layer for the picture to lie on, instead of the image in gray.
    added : bool
        Whether a panel has added it.
    """

    picture: Layer
    under: Layer | None = None
    added: bool = False
    placed: bool = False  # among the viewer's layers, where it may be deleted
    backdrop: Image | None = None  # the image in gray
    overlays: dict[str, Layer] = field(default_factory=dict)
    labels: list[Any] = field(default_factory=list)  # its name and its colorbar, to be shown yet

    def __post_init__(self) -> None:
        self.labels.append(self.picture.name_overlay)
        if isinstance(self.picture, Image) and is_staged(self.picture):
            self.labels.append(self.picture.colorbar)

    def is_gone(self, layers: Sequence[Layer]) -> bool:
        """Whether a picture that is not for us to make anew has been deleted."""
        if self.under is not None and self.under not in layers:
            self.under = None
        ours = is_ours(self.picture) and not (self.added and self.placed)
        return not ours and self.picture not in layers

    def set_gray(self, gray: npt.NDArray[np.float32] | None) -> None:
        """Show another image under the picture, or none."""
        if self.under is not None or gray is None:
            self.backdrop = None
        elif self.backdrop is not None and self.backdrop.data is not gray:
            self.backdrop.data = gray


def renewed(before: Cell | None, picture: Layer, under: Layer | None) -> Cell:
    """Return the cell that there was, or one with another picture and the same overlays."""
    if before is not None and before.picture == picture:
        before.under = under
        return before
    cell = Cell(picture, under)
    if before is not None:
        cell.backdrop, cell.overlays = before.backdrop, before.overlays
    return cell


def own(layer: Any) -> Any:
    """Mark a layer as one that the stage may remove."""
    layer.metadata[_MARK] = str(layer.unique_id)
    return layer


def disown(layer: Any) -> None:
    """Take the mark of `own` off a layer: no stage may remove it any more."""
    layer.metadata.pop(_MARK, None)


def is_staged(layer: Any) -> bool:
    """Whether a layer is on a stage, or a copy of one that was."""
    return _MARK in layer.metadata


def is_ours(layer: Any) -> bool:
    """Whether a layer is one that the stage may remove: a copy has another identity."""
    return bool(layer.metadata.get(_MARK) == str(layer.unique_id))


def is_empty(overlay: Any) -> bool:
    """Whether there is nothing to be seen of an overlay: no arrow, no point, or zeros."""
    data = overlay.data
    return not (np.any(data) if isinstance(overlay, Image) else np.size(data))


def set_data(layer: Any, data: Any) -> None:
    """Set the data of an overlay, without the viewer looking at every layer anew for its extent."""
    with layer.events.data.blocker():
        layer.data = data
