"""napari's sliders for parts and frames, and the controls of this plugin, which go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["DimsSlider"]


class DimsSlider:
    """Follow one of napari's sliders, and move it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    axis : callable
        Returns which axis of the world, from the last: −3 may page through parts, −4 through
        frames; or None.
    choose : callable
        Takes the step that the slider was moved to.
    """

    def __init__(
        self, viewer: Viewer, axis: Callable[[], int | None], choose: Callable[[int], Any]
    ) -> None:
        self._dims, self._axis, self._choose = viewer.dims, axis, choose
        self._step = self._now()
        self._dims.events.current_step.connect(self._on_step)

    def show(self, step: int) -> None:
        """Move the slider to a step."""
        axis = self._axis()
        if axis is not None and self._now() not in (None, step):
            self._dims.set_current_step(self._dims.ndim + axis, step)

    def close(self) -> None:
        """Follow the slider no longer."""
        self._dims.events.current_step.disconnect(self._on_step)

    def _on_step(self, *_: Any) -> None:
        before, self._step = self._step, self._now()
        if self._step not in (None, before):
            self._choose(int(self._step))

    def _now(self) -> int | None:
        """The present step; None while the world has no such axis."""
        steps, axis = self._dims.current_step, self._axis()
        return None if axis is None or len(steps) < -axis else int(steps[axis])
