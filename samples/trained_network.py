"""A network that train_lsp.py trained, as evaluate_pose.py and make_trained.py use it."""

from pathlib import Path

import numpy as np
import torch
from keypoints.networks import Network
from keypoints.photographs import PARTS, SIZE
from keypoints.settings import Settings
from keypoints.tasks import persons
from PIL import Image
from pose_decoding import restrict

import mdn_cupy as mdn

COCO_PARTS = [PARTS.index(name) if name in PARTS else None for name in mdn.adapters.POSENET_PARTS]
"""The network's part for each of COCO's 17; None for the nose, eyes and ears."""

HOW = "python samples/train_lsp.py --data lsp --out trained makes one (--help says from what)"


class TrainedNetwork:
    """Finds the joints of one person in a square cutout.

    Parameters
    ----------
    path : Path
        A checkpoint of train_lsp.py.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """

    def __init__(self, path):
        self.name = Path(path).stem
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file; {HOW}")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.settings = Settings(**state["settings"])
            self.network = Network(self.settings, persons())
            self.network.load_state_dict(state["network"])
        except Exception as error:  # torch raises whatever its unpickler met
            raise ValueError(f"{path}: not a checkpoint of train_lsp.py; {HOW}") from error
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, cutout, box):
        """Find COCO's keypoints of one person.

        Parameters
        ----------
        cutout : (S, S, 3) uint8 array
        box : (float, float, float, float)
            Left, top, right and bottom of where they may be, in pixels of the cutout.

        Returns
        -------
        points : (17, 2) float64 array
            x and y, in pixels of the cutout; 0 for the nose, the eyes and the ears.
        scores : (17,) float64 array
            The evidence there: −L, the sum of votes or the heatmap; 0 for those parts.
        """
        evidence = self.network.evidence(to_tensor(cutout))[0]
        step = (
            self.network.head.cell / self.network.head.finer * len(cutout) / SIZE
        )  # pixels of the cutout
        top, left = restrict(evidence.shape[-2:], (np.asarray(box) + 0.5) / step - 0.5)
        peaks = mdn.torch.subpixel_argmax(evidence[:, top, left])
        found = (peaks.positions.double().numpy() + [left.start, top.start] + 0.5) * step - 0.5
        points, scores = np.zeros((len(COCO_PARTS), 2)), np.zeros(len(COCO_PARTS))
        for part, own in enumerate(COCO_PARTS):
            if own is not None:
                points[part], scores[part] = found[own], float(peaks.scores[own])
        return points, scores


def to_tensor(cutout):
    """A cutout (S, S, 3) of bytes as the network takes it: (1, 3, 192, 192) in [0, 1]."""
    picture = Image.fromarray(cutout).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
