"""Pixels that point to a centre: sleap-nn, Panoptic-DeepLab, EmbedSeg and Spotiflow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mdn_cupy.adapters.layout import by_image, check_positive, clipped, made
from mdn_cupy.arrays import Array, integer, namespace
from mdn_cupy.fields import Fields

__all__ = ["embedseg", "panoptic_deeplab", "sleap_nn", "spotiflow"]


@by_image(foreground="1 H W", offsets="2 H W")
def sleap_nn(
    foreground: Array,
    offsets: Array,
    *,
    stride: float,
    sigma: float | None = None,
    names: Sequence[str] = ("center",),
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of sleap-nn's bottom-up segmentation.

    ============  ===========================================================================
    array         `SegmentationHead` (1, H, W), `CenterOffsetHead` (2, H, W): dx, dy
    unit          pixels of the network's input
    cell (i, j)   at x = stride · (j + ½), y = stride · (i + ½)
    source        talmolab/sleap-nn, sleap_nn/inference/segmentation.py
                  (`group_instances_from_offsets`) and sleap_nn/data/segmentation_maps.py
    ============  ===========================================================================

    Parameters
    ----------
    foreground : array [1, H, W] or [B, 1, H, W]
        Probability of the foreground: the logistic function is done in the model's `forward`.
    offsets : array [2, H, W] or [B, 2, H, W]
        From a cell to the centre of its instance.
    stride : float
        The head's `output_stride`.
    sigma : float, optional
        Width of the votes, in pixels; by default half a stride, and 2 at least.
    names : sequence of str
        What the only part is called.
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

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.sleap_nn(np.ones((1, 8, 9)), np.zeros((2, 8, 9)), stride=2)
    >>> fields.origin, fields.output_shape
    (1.0, (16, 18))
    """
    check_positive("sleap_nn", stride=stride)
    return made(
        "sleap_nn",
        clipped(foreground, False),
        offsets[None],
        stride=stride,
        centred=True,
        sigma=sigma,
        names=names,
        image=image,
    )


@by_image(semantic="C H W", offset="2 H W")
def panoptic_deeplab(
    semantic: Array,
    offset: Array,
    *,
    things: Sequence[int],
    sigma: float = 8.0,
    names: Sequence[str] = ("thing",),
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the outputs of Panoptic-DeepLab.

    ============  ===========================================================================
    array         `semantic` (C, H, W), `offset` (2, H, W): y, then x
    unit          pixels, at full size
    pixel (i, j)  at x = j, y = i
    source        bowenc0221/panoptic-deeplab, segmentation/model/post_processing/
                  instance_post_processing.py (`group_pixels`) and meta_arch/panoptic_deeplab.py
    ============  ===========================================================================

    The confidence is the probability that a pixel is of any thing: the softmax over the classes,
    summed over `things`.

    Parameters
    ----------
    semantic : array [C, H, W] or [B, C, H, W]
        Logits.
    offset : array [2, H, W] or [B, 2, H, W]
        As the model returns it: brought to full size, and multiplied by what it was enlarged by.
    things : sequence of int
        The channels of `semantic` that are things (`thing_list`).
    sigma : float
        Width of the votes, in pixels; that of the training's centre heatmap by default.
    names, image
        As in `sleap_nn`.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image.

    Raises
    ------
    TypeError, ValueError
        As `sleap_nn`; and if there is no such channel.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.panoptic_deeplab(np.zeros((4, 8, 9)), np.zeros((2, 8, 9)), things=[3])
    >>> float(fields.confidence.max())
    0.25
    """
    try:
        channels = [integer(channel) for channel in things]
    except TypeError:
        raise ValueError(
            f"panoptic_deeplab: things must list channels, as [11, 12], got {things!r}"
        ) from None
    if not len(channels) or not all(0 <= n < len(semantic) for n in channels):
        raise ValueError(
            "panoptic_deeplab: things must name channels of semantic, "
            f"0 to {len(semantic) - 1}, got {channels}"
        )
    xp = namespace(semantic)
    powers = xp.exp(semantic - xp.amax(semantic, axis=0))
    of_things = powers[channels].sum(axis=0) / powers.sum(axis=0)
    return made(
        "panoptic_deeplab",
        clipped(of_things[None], False),
        offset[None, [1, 0]],
        sigma=sigma,
        names=names,
        image=image,
    )


@by_image(
    prediction="4|5 H W",
    others={"it looks like EmbedSeg in 3D, which has no votes here": {"prediction": "7 D H W"}},
)
def embedseg(
    prediction: Array,
    *,
    grid_y: int = 1024,
    grid_x: int = 1024,
    pixel_y: float = 1.0,
    pixel_x: float = 1.0,
    names: Sequence[str] = ("center",),
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the output of EmbedSeg, or of Neven's SpatialEmbeddings, in two dimensions.

    ============  ===========================================================================
    array         (5, H, W): x, y, width in x, width in y, seed; or (4, H, W) with one width
    unit          tanh(x) · (grid_x − 1) / pixel_x is pixels, y alike
    pixel (i, j)  at x = j, y = i
    sigma         of every source, e^(−5 s) / √2 in the same unit, as an array [1, H, W]
    source        juglab/EmbedSeg, EmbedSeg/utils/utils.py (`Cluster`);
                  davyneven/SpatialEmbeddings, src/utils/utils.py
    ============  ===========================================================================

    Of two widths sigma is the geometric mean: the votes here are round.

    Parameters
    ----------
    prediction : array [5 or 4, H, W] or [B, 5 or 4, H, W]
        What the network returns.
    grid_y, grid_x, pixel_y, pixel_x : int, float
        As in the peer's configuration: neighbouring pixels lie pixel_x / (grid_x − 1) apart.
        SpatialEmbeddings has 1024, 2048, 1 and 2.
    names, image
        As in `sleap_nn`.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image. The confidence is the seed map.

    Raises
    ------
    TypeError, ValueError
        As `sleap_nn`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.embedseg(np.zeros((5, 6, 9)))
    >>> fields.sigma.shape, round(float(fields.sigma[0, 0, 0]), 2)
    ((1, 6, 9), 723.37)
    """
    check_positive("embedseg", grid_y=grid_y, grid_x=grid_x, pixel_y=pixel_y, pixel_x=pixel_x)
    scale_y, scale_x = (grid_y - 1) / pixel_y, (grid_x - 1) / pixel_x
    xp = namespace(prediction)
    x, y = xp.tanh(prediction[0]) * scale_x, xp.tanh(prediction[1]) * scale_y
    widths = xp.exp(-5 * prediction[2:-1].mean(axis=0)) / math.sqrt(2)
    return made(
        "embedseg",
        clipped(prediction[-1:], True),
        xp.stack([x, y])[None],
        sigma=widths[None] * math.sqrt(scale_x * scale_y),
        names=names,
        image=image,
    )


@by_image(
    heatmap="H W",
    subpix="H W 2",
    others={
        "it looks like details.flow; give details.subpix": {"heatmap": "H W", "subpix": "H W 3"}
    },
)
def spotiflow(
    heatmap: Array,
    subpix: Array,
    *,
    sigma: float = 1.0,
    names: Sequence[str] = ("spot",),
    image: Any = None,
) -> Fields | list[Fields]:
    """Convert the details of a prediction of Spotiflow in two dimensions.

    ============  ===========================================================================
    array         `details.heatmap` (H, W), `details.subpix` (H, W, 2): y, then x
    unit          pixels
    pixel (i, j)  at x = j, y = i
    source        weigertlab/spotiflow, spotiflow/model/spotiflow.py (`predict`) and
                  spotiflow/utils/peaks.py (`flow_to_vector`)
    ============  ===========================================================================

    Parameters
    ----------
    heatmap : array [H, W] or [B, H, W]
        In [0, 1]: the logistic function is done in `predict`.
    subpix : array [H, W, 2] or [B, H, W, 2]
        From a pixel to the nearest spot. Where there is only `details.flow` (H, W, 3), z, y, x:
        ``flow[..., 1:] * model.config.sigma / (1 + flow[..., :1])``.
    sigma : float
        Width of the votes, in pixels; that of the peer's default configuration.
    names, image
        As in `sleap_nn`.

    Returns
    -------
    Fields or list of Fields
        Of a batch one for each image.

    Raises
    ------
    TypeError, ValueError
        As `sleap_nn`.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.adapters.spotiflow(np.zeros((6, 9)), np.zeros((6, 9, 2)))
    >>> fields.names, fields.offsets.shape
    (('spot',), (1, 2, 6, 9))
    """
    offsets = namespace(subpix).stack([subpix[..., 1], subpix[..., 0]])
    return made(
        "spotiflow",
        clipped(heatmap[None], False),
        offsets[None],
        sigma=sigma,
        names=names,
        image=image,
    )
