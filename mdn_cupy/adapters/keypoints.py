"""Cells that point to keypoints: DeepLabCut, MMPose and OpenPifPaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdn_cupy.adapters.layout import by_image, cells, check_positive, clipped, made, vectors
from mdn_cupy.arrays import Array, integer, namespace
from mdn_cupy.fields import Fields

__all__ = ["deeplabcut", "mmpose_udp", "openpifpaf"]


@by_image(
    scoremap="J H W",
    locref="2J H W",
    others={
        "they look like DeepLabCut 2's; give scmap.transpose(2, 0, 1), locref.reshape(H, W, "
        "2 * J).transpose(2, 0, 1), apply_sigmoid=False and locref_std=1": {
            "scoremap": "H W J",
            "locref": "H W J 2",
        }
    },
)
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
    check_positive("deeplabcut", stride=stride, locref_std=locref_std)
    return made(
        "deeplabcut",
        clipped(scoremap, apply_sigmoid),
        vectors(locref, len(scoremap)) * locref_std,
        stride=stride,
        centred=True,
        sigma=sigma,
        names=names,
        image=image,
    )


@by_image(heatmaps="3K H W")
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
    check_positive("mmpose_udp", radius_factor=radius_factor)
    try:
        size_x, size_y = map(integer, input_size)
        if min(size_x, size_y) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"mmpose_udp: input_size must be width and height, as (192, 256), got {input_size!r}"
        ) from None
    height, width = heatmaps.shape[-2:]
    stride_y, stride_x = size_y / max(height - 1, 1), size_x / max(width - 1, 1)
    label, x, y = (heatmaps[n::3] for n in range(3))
    radius = radius_factor * max(width, height)
    return made(
        "mmpose_udp",
        clipped(label, False),
        namespace(x).stack([x * (radius * stride_x), y * (radius * stride_y)], axis=1),
        stride=(stride_y, stride_x),
        sigma=sigma,
        names=names,
        output_shape=(size_y, size_x),
        image=image,
    )


@by_image(
    cif="F 5 H W",
    others={
        "it looks like a CAF (8) or CifDet (6) field; give the CIF head's": {"cif": "F 6|8 H W"}
    },
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
    check_positive("openpifpaf", stride=stride)
    return made(
        "openpifpaf",
        clipped(cif[:, 1], False),
        (cif[:, 2:4] - cells(cif[0, 0])) * stride,
        stride=stride,
        sigma=(cif[:, 4] * (stride / 2)).clip(1, None) if sigma is None else sigma,
        names=names,
        image=image,
    )
