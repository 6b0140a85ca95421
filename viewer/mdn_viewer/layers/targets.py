"""Layers as targets: which there are to choose from, and what each wants of a session's map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points

from mdn_viewer.core.contrast import backdrop
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.targets import Instruction, target_of_image, target_of_points
from mdn_viewer.layers.conversion import inputs_of, role_of, values_of
from mdn_viewer.layers.transforms import Frame, grid_of, is_untransformed

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Target", "new_points", "target_of", "targets"]

FloatArray = npt.NDArray[np.floating]
Target = Callable[[VotingSession], FloatArray]


def targets(viewer: Viewer) -> list[Any]:
    """Return the layers of a viewer that may be a target: points and images, but no results."""
    return [x for x in inputs_of(viewer, Points, Image) if role_of(x) != "offsets"]


def target_of(layer: Any, width: float, frame: Frame) -> Target:
    """Read the target of a map from a layer; any thread may call it.

    Parameters
    ----------
    layer : Points or Image
        Points, in whatever axes, on the pixels of the output; of several parts, those of the part
        that is voted for. Or an image: in color, it counts in gray; of several parts, that of the
        part; with a scale of its own it lies where it is seen, else it is stretched over the map.
    width : float
        By how much points are blurred, in pixels of the output.
    frame : Frame
        Where the output's pixels are.

    Returns
    -------
    callable
        Takes a session and returns the target (Ho, Wo) for its map, or raises ValueError.

    Raises
    ------
    ValueError
        If an image is rotated or sheared; or it is lazy, and cannot be computed.
    """
    if isinstance(layer, Points):
        return partial(_points_for, frame.points_of(layer), width)
    values = values_of(layer)
    if layer.rgb or (role_of(layer) == "image" and values.ndim == 3):
        values = backdrop(values)
    grid = None if is_untransformed(layer) else grid_of(layer, frame)
    return partial(_image_for, values, grid, layer.name)


def new_points(width: float) -> Points:
    """Make a layer to add points of a target to, circles as wide as they are blurred."""
    return Points(
        ndim=2,
        name="target",
        size=2 * width,
        face_color="#00000000",
        border_color="#5cff8f",
        border_width=0.15,
        symbol="disc",
        blending="translucent_no_depth",
    )


def _points_for(points: FloatArray, width: float, session: VotingSession) -> FloatArray:
    if not len(points):
        raise Instruction("the target has no points yet: click on a map to add one")
    if points.shape[1] > 2 and session.part != ALL:
        count, points = len(points), points[np.rint(points[:, -3]) == session.part]
        if not len(points):
            name = session.fields.names[int(session.part)]
            raise Instruction(
                f"all {count} points of the target belong to other parts than {name} (part "
                f"{session.part}); choose a part that has points, or add one to this"
            )
    return target_of_points(points[:, -2:], width, session.votes.shape)


def _image_for(
    values: npt.NDArray[Any], grid: Grid | None, name: str, session: VotingSession
) -> FloatArray:
    if values.ndim == 3 and session.part != ALL and len(values) == len(session.fields.names):
        values = values[int(session.part)]
    if values.ndim != 2:
        raise ValueError(
            f"{name} has the shape {values.shape}: a target is one image (H, W), or (P, H, W) with "
            "one for each part, of which one part is voted for"
        )
    return target_of_image(values, session.votes.shape, grid)
