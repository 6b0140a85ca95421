"""Short ways through napari's canvas, without which a grid of many layers is slow to change.

With `scene.quick`, the only module that reaches into napari where nothing is public. Where napari
is built otherwise, everything stays as napari has it, and takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Points
from qtpy.compat import isalive

from mdn_viewer.scene.quick import controls as quick_controls
from mdn_viewer.scene.quick.canvas import QuickCanvas, make_quick
from mdn_viewer.scene.quick.controls import QuickControls

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

__all__ = [
    "conceal",
    "draw_now",
    "frames_held",
    "insert",
    "place_labels",
    "quicken",
    "reveal",
    "reveal_upon",
    "show_controls_now",
    "spell",
    "warm_up",
]


def quicken(viewer: Viewer) -> bool:
    """Have a viewer's canvas build its grid quickly, from now on.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, with a window or without.

    Returns
    -------
    bool
        Whether it does: False without a window, and where napari is built otherwise.
    """
    canvas = _canvas(viewer)
    make_quick(canvas)
    quick_controls.make_quick(_layer_controls(viewer))
    return isinstance(canvas, QuickCanvas)


def insert(viewer: Viewer, index: int, layer: Layer) -> None:
    """Insert a layer that a quick canvas does not draw until it is revealed.

    What is selected stays so: napari would show the controls of every new layer for a moment.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    index : int
        Before which of them.
    layer : napari.layers.Layer
        The layer.
    """
    layers = viewer.layers
    bare, active = _bare(layers), layers.selection.active
    selects = getattr(bare, "_activate_on_insert", None)
    if selects is not None:
        bare._activate_on_insert = False
    try:
        layers.insert(index, layer)
    finally:
        if selects is not None:
            bare._activate_on_insert = selects
        else:
            layers.selection.active = active
    conceal(viewer, layer)


def reveal_upon(viewer: Viewer, layer: Layer, other: Layer) -> bool:
    """Draw a layer above another from now on, before the grid has been built for it.

    Returns
    -------
    bool
        Whether it is drawn: not where the other is not.
    """
    canvas = _canvas(viewer)
    if not isinstance(canvas, QuickCanvas):
        return True  # as napari does
    node, below = (canvas.layer_to_visual[x].node for x in (layer, other))
    if below.parent is None or not below.visible:
        return False
    node.parent, node.order = below.parent, below.order  # of equals the later one is above
    canvas._scene_canvas._draw_order.clear()
    reveal(viewer, layer)
    return True


def reveal(viewer: Viewer, layer: Layer) -> None:
    """Draw a layer from now on, if it is visible; the first time takes long, for its shaders."""
    canvas = _canvas(viewer)
    if isinstance(canvas, QuickCanvas) and layer in canvas.layer_to_visual:
        canvas.layer_to_visual[layer].node.visible = layer.visible


@contextmanager
def frames_held(viewer: Viewer, *, window: bool = False) -> Iterator[None]:
    """Have a quick canvas, or its whole window, keep its frames back, and draw what is new then."""
    canvas = _canvas(viewer)
    held = canvas.native if isinstance(canvas, QuickCanvas) else None
    if held is not None and window:
        held = held.window()
    if held is not None:
        held.setUpdatesEnabled(False)
    try:
        yield
    finally:
        if held is not None and isalive(held):  # type: ignore[no-untyped-call]
            held.setUpdatesEnabled(True)


def conceal(viewer: Viewer, layer: Layer) -> None:
    """Have a quick canvas not draw a layer that is there until it is revealed."""
    canvas = _canvas(viewer)
    if isinstance(canvas, QuickCanvas) and layer in canvas.layer_to_visual:
        canvas.layer_to_visual[layer].node.visible = False


def draw_now(viewer: Viewer) -> None:
    """Draw what has changed before the user is heard again.

    A quick canvas hears him first, so that he need not wait for what is done and for its drawing in
    one. But what follows a slider would lag behind it.
    """
    canvas = _canvas(viewer)
    if isinstance(canvas, QuickCanvas):
        canvas.draw_now()


def show_controls_now(viewer: Viewer) -> None:
    """Show the controls of the layer that is selected before anything else happens."""
    controls = _layer_controls(viewer)
    if isinstance(getattr(controls, "widgets", None), QuickControls):
        controls.widgets.show_now()


def place_labels(viewer: Viewer) -> None:
    """Put colorbars whose numbers have changed in their places before the next frame.

    napari does it when that frame has been drawn, and then draws it again.
    """
    canvas = _canvas(viewer)
    if isinstance(canvas, QuickCanvas) and canvas._needs_overlay_position_update:
        canvas._update_overlay_canvas_positions()


def spell(viewer: Viewer, text: str) -> Iterator[None]:
    """Have a quick canvas prepare what a text is written with, a character with each step."""
    canvas = _canvas(viewer)
    if isinstance(canvas, QuickCanvas):
        yield from canvas.spell(text)


def warm_up() -> None:
    """Have napari import now what it puts off until the first layers: pandas, tables of units."""
    Image(np.zeros((2, 2), np.float32))
    Points(ndim=2)


def _canvas(viewer: Viewer) -> Any:
    return _part(viewer, "canvas")


def _layer_controls(viewer: Viewer) -> Any:
    return _part(viewer, "controls")


def _part(viewer: Viewer, name: str) -> Any:
    try:
        return getattr(_bare(viewer).window._qt_viewer, name)
    except AttributeError:  # there is no window, or napari is built otherwise
        return None


def _bare(thing: Any) -> Any:
    """Return what is behind the proxy by which napari keeps plugins off its private parts."""
    return getattr(thing, "__wrapped__", thing)
