"""Meshes that keep their programs: arrows, and the boxes behind names and colorbars."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from vispy.visuals import MeshVisual

__all__ = ["keep_programs"]


def keep_programs(visual: Any) -> None:
    """Have no shaders compiled where only the data of a visual's meshes change.

    vispy makes the function that leaves a mesh's colours as they are anew for all new data, and
    whatever calls another function is another program: 15 ms a mesh, for arrows at each step.

    Parameters
    ----------
    visual : vispy.visuals.Visual
        The visual; what is no mesh in it stays as it is.
    """
    for mesh in _meshes(visual):
        make = getattr(mesh, "_build_color_transform", None)
        if make is not None and not isinstance(make, partial):
            mesh._build_color_transform = partial(_kept, make, [])


def _kept(make: Any, kept: list[Any], colors: Any) -> Any:
    """Return the function that has been made before, unless it maps numbers to colours."""
    if colors.ndim == 2 and colors.shape[1] == 1:
        return make(colors)
    if not kept:
        kept.append(make(colors))
    return kept[0]


def _meshes(visual: Any) -> Iterator[Any]:
    if isinstance(visual, MeshVisual):
        yield visual
    for part in getattr(visual, "_subvisuals", ()):
        yield from _meshes(part)
