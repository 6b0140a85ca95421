"""From the arrays that a network wrote to `mdn_cupy.Fields`: one function for each family.

Each takes NumPy arrays, CuPy arrays or torch tensors as the network's own code has them, and
returns `Fields` of the same kind, on the same device; tensors keep their graph. With one more
leading axis, the batch, they return a list with the `Fields` of each image. Confidences come out in
[0, 1], offsets as (x, y) in pixels of the network's input, which is the output grid of the votes.

Examples
--------
>>> import numpy as np
>>> import mdn_cupy as mdn
>>> heatmap, locref = np.zeros((1, 4, 30, 40)), np.zeros((1, 8, 30, 40))  # what DeepLabCut 3 writes
>>> [fields] = mdn.adapters.deeplabcut(heatmap, locref, stride=8, apply_sigmoid=True)
>>> fields.votes().noisy_or().shape
(240, 320)
"""

from mdn_cupy.adapters.centers import CENTERFACE_PARTS, centerface, centernet, movenet
from mdn_cupy.adapters.displacements import POSENET_EDGES, POSENET_PARTS, posenet
from mdn_cupy.adapters.instances import embedseg, panoptic_deeplab, sleap_nn, spotiflow
from mdn_cupy.adapters.keypoints import deeplabcut, mmpose_udp, openpifpaf

__all__ = [
    "CENTERFACE_PARTS",
    "POSENET_EDGES",
    "POSENET_PARTS",
    "centerface",
    "centernet",
    "deeplabcut",
    "embedseg",
    "mmpose_udp",
    "movenet",
    "openpifpaf",
    "panoptic_deeplab",
    "posenet",
    "sleap_nn",
    "spotiflow",
]
