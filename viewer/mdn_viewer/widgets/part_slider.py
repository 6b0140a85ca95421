"""napari's slider for the parts and the box for the part, which go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mdn_viewer.core.session import ALL
from mdn_viewer.widgets.controls import Controls

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["PartSlider"]


class PartSlider:
    """Has napari's slider, by which one pages through the confidence, choose the part too.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose slider: that of the third dimension from the end.
    controls : Controls
        Where the part is chosen.
    """

    def __init__(self, viewer: Viewer, controls: Controls) -> None:
        self._dims, self._controls = viewer.dims, controls
        self._step = self._part()
        self._dims.events.current_step.connect(self._on_step)

    def show(self, part: int | str) -> None:
        """Move the slider to a part."""
        dims = self._dims
        if part != ALL and dims.ndim > 2 and dims.current_step[-3] != part:
            dims.set_current_step(dims.ndim - 3, part)

    def close(self) -> None:
        """Go on with the slider only."""
        self._dims.events.current_step.disconnect(self._on_step)

    def _on_step(self, *_: Any) -> None:
        step, part = self._part(), self._controls.part
        if step != self._step and step in part.choices:
            part.value = step
        self._step = step

    def _part(self) -> int:
        steps = self._dims.current_step
        return int(steps[-3]) if len(steps) > 2 else -1
