"""Samples that napari adds one layer in a turn of the event loop: each takes it 0.1 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mdn_viewer.layers.conversion import LayerData

__all__ = ["now_and_later", "takers"]

takers: list[Callable[[Sequence[LayerData]], bool]] = []
"""One for each widget of the plugin: it adds layers later, or returns False if another window may
be meant."""


def now_and_later(layers: list[LayerData]) -> list[LayerData]:
    """Return those of a sample's layers that napari is to add now; a widget adds the others.

    napari does not tell a sample's function for which viewer it is. Where that is not certain, all
    are returned.
    """
    later = len(takers) == 1 and takers[0](layers[1:])
    return layers[:1] if later else layers
