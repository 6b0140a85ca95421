"""Layer controls that are made when they are to be seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mdn_viewer.scene.turns import Breath

try:
    from napari._qt.layer_controls.qt_layer_controls_container import QtLayerControlsContainer
except ImportError:  # another napari
    QtLayerControlsContainer = None

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["QuickControls", "make_quick"]

_NEEDED = ("_add", "_remove", "_populate", "viewer", "widgets")


def make_quick(controls: Any) -> None:
    """Have a window make the controls of a layer when it is selected, not when it comes.

    Parameters
    ----------
    controls : QtLayerControlsContainer
        Of napari's window; where napari is built otherwise, they are left as they are.
    """
    known = type(controls) is QtLayerControlsContainer and all(
        hasattr(controls, x) for x in _NEEDED
    )
    if known and not isinstance(controls.widgets, QuickControls):
        controls.widgets = QuickControls(controls)


class QuickControls(dict[Any, Any]):
    """The controls of a window's layers, made when they are first asked for.

    napari takes 35 ms to make them for each layer that comes, and of all that come in one turn one
    is selected in the end.

    Parameters
    ----------
    controls : QtLayerControlsContainer
        Who shows them.
    """

    def __init__(self, controls: Any) -> None:
        super().__init__(controls.widgets)
        self._controls = controls
        self._shown = Breath(controls._populate, controls)
        layers = controls.viewer.layers
        layers.events.inserted.disconnect(controls._add)
        layers.events.removed.disconnect(controls._remove)
        layers.selection.events.changed.disconnect(controls._populate)
        layers.events.removed.connect(self._remove)
        layers.selection.events.changed.connect(self._select)

    def show_now(self) -> None:
        """Show the controls of the layer that is selected, if they are not shown yet."""
        if self._shown.stop():
            self._controls._populate()

    def __missing__(self, layer: Layer) -> Any:
        """Make the controls of a layer."""
        self._controls._add(SimpleNamespace(value=layer))
        if layer not in self:  # napari's setting "dynamic layer controls" makes none
            raise KeyError(layer)
        return self[layer]

    def _remove(self, event: Any) -> None:
        if event.value in self:
            self._controls._remove(event)

    def _select(self) -> None:
        self._shown.start()
