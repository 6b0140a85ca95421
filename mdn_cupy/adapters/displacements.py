"""Keypoints that point to their neighbours in a skeleton: PoseNet, PersonLab and BodyPix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdn_cupy.adapters.layout import (
    by_image,
    cells,
    check_positive,
    clipped,
    made,
    no_cross_votes,
)
from mdn_cupy.arrays import Array, cast_to, dtype_name, namespace
from mdn_cupy.fields import Fields

__all__ = ["POSENET_EDGES", "POSENET_PARTS", "posenet"]

POSENET_PARTS = (
    "nose",
    "left eye",
    "right eye",
    "left ear",
    "right ear",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
"""The keypoints of COCO in their order, which is PoseNet's and MoveNet's."""


POSENET_EDGES = (
    (0, 1),
    (1, 3),
    (0, 2),
    (2, 4),
    (0, 5),
    (5, 7),
    (7, 9),
    (5, 11),
    (11, 13),
    (13, 15),
    (0, 6),
    (6, 8),
    (8, 10),
    (6, 12),
    (12, 14),
    (14, 16),
)
"""PoseNet's skeleton in the order of the displacements' channels: indices of `POSENET_PARTS`."""


@by_image(heatmap="H W P", offsets="H W 2P", displacement_fwd="H W 2E", displacement_bwd="H W 2E")
def posenet(
    heatmap: Array,
    offsets: Array,
    displacement_fwd: Array | None = None,
    displacement_bwd: Array | None = None,
    *,
    stride: float,
    apply_sigmoid: bool = True,
    edges: Sequence[tuple[int, int]] = POSENET_EDGES,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of PoseNet; PersonLab and BodyPix have the same layout.

    ============  ===========================================================================
    array         `heatmap` (H, W, P), `offsets` (H, W, 2 P): y of all parts, then x of all;
                  `displacement_fwd`, `displacement_bwd` (H, W, 2 E): y of all edges, then x
    unit          pixels
    cell (i, j)   at x = stride · j, y = stride · i
    source        tensorflow/tfjs-models, posenet/src/multi_pose/util.ts and decode_pose.ts;
                  rwightman/posenet-python, posenet/decode.py and decode_multi.py
    ============  ===========================================================================

    Displacements become votes of parts for their neighbours in the skeleton, in the three steps of
    the peer's decoder: a cell of part p lands where p is; the displacement at the cell nearest to
    there leads on to where k should be; the offset of k at the cell nearest to that refines it.
    Cells outside the grid are replaced by the nearest within. (The decoder of tfjs repeats the last
    step once.)

    Parameters
    ----------
    heatmap : array [H, W, P] or [B, H, W, P]
        The scores.
    offsets : array [H, W, 2P] or [B, H, W, 2P]
        From a cell to the part.
    displacement_fwd, displacement_bwd : array [H, W, 2E] or [B, H, W, 2E], optional
        From the first part of an edge to the second, and back. Both or none.
    stride : float
        The network's output stride: 8, 16 or 32.
    apply_sigmoid : bool
        Whether `heatmap` holds logits, as the node "heatmap_2" does; not so the "heatmap" of
        posenet-python and the `heatmapScores` of tfjs.
    edges : sequence of (int, int)
        The skeleton, in the order of the channels.
    sigma, names, image
        As in `deeplabcut`; the names are those of COCO where there are 17 parts.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image. With displacements there are cross offsets [P, P, 2, H, W]:
        at [k, p] the votes of p for k, on the diagonal the part's own, NaN for parts that share no
        edge.

    Raises
    ------
    TypeError, ValueError
        As `deeplabcut`; and if one displacement is given without the other, or edges do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> rng = np.random.default_rng(0)
    >>> outputs = [rng.normal(size=(5, 7, n)) for n in (17, 34, 32, 32)]
    >>> fields = mdn.adapters.posenet(*outputs, stride=16)
    >>> fields.names[0], fields.cross_offsets.shape
    ('nose', (17, 17, 2, 5, 7))
    """
    check_positive("posenet", stride=stride)
    if (displacement_fwd is None) != (displacement_bwd is None):
        raise ValueError("posenet: give both displacement_fwd and displacement_bwd, or neither")
    own, cross = _rows_first(offsets), None
    if displacement_fwd is not None:
        there, back = _rows_first(displacement_fwd), _rows_first(displacement_bwd)
        cross = _along_edges(own, there, back, edges, stride)
    if names is None and len(own) == len(POSENET_PARTS):
        names = POSENET_PARTS
    return made(
        "posenet",
        clipped(namespace(heatmap).moveaxis(heatmap, -1, 0), apply_sigmoid),
        own,
        cross_offsets=cross,
        stride=stride,
        sigma=sigma,
        names=names,
        image=image,
    )


def _along_edges(
    own: Array, there: Array, back: Array, edges: Sequence[tuple[int, int]], stride: float
) -> Array:
    """Lead every part's votes on to its neighbours: [P, P, 2, H, W]; all arguments [n, 2, H, W]."""
    if len(edges) != len(there) or max(map(max, edges)) >= len(own):
        raise ValueError(
            f"posenet: the displacements have {len(there)} edges and the heatmap {len(own)} parts, "
            f"but edges lists {len(edges)} of up to {max(map(max, edges)) + 1} parts"
        )
    cross = no_cross_votes(own)
    for edge, (first, second) in enumerate(edges):
        cross[second, first] = _hop(own[first], there[edge], own[second], stride)
        cross[first, second] = _hop(own[second], back[edge], own[first], stride)
    return cross


def _hop(source: Array, displacement: Array, target: Array, stride: float) -> Array:
    """Follow one edge from every cell; all arguments and the result are [2, H, W]."""
    dtype = dtype_name(source)
    source, displacement, target = (cast_to(x, "float64") for x in (source, displacement, target))
    grid = stride * cells(source[0])
    landing = grid + source
    arrival = landing + displacement[:, *_nearest(landing, stride)]
    row, column = _nearest(arrival, stride)
    return cast_to(grid[:, row, column] + target[:, row, column] - grid, dtype)


def _nearest(points: Array, stride: float) -> tuple[Array, Array]:
    """Return the row and column of the cell nearest to each point; points are (x, y), [2, H, W]."""
    height, width = points.shape[1:]
    column, row = cast_to((points / stride).round(), "int64")
    return row.clip(0, height - 1), column.clip(0, width - 1)


def _rows_first(channels: Array) -> Array:
    """[H, W, 2 n] with every y before every x -> [n, 2, H, W] with x before y."""
    xp, count = namespace(channels), channels.shape[-1] // 2
    moved = xp.moveaxis(channels, -1, 0)
    return xp.stack([moved[count:], moved[:count]], axis=1)
