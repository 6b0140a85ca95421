"""One backbone, and four ways to find parts with it.

A way is a head on the backbone's features: `loss` for its training, and `evidence`, the maps whose
highest peaks are where it says that the parts are.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mdn_cupy as mdn
from keypoints.figures import EDGES, PARTS, SIZE
from keypoints.settings import Settings

__all__ = ["TITLES", "WAYS", "Backbone", "Network"]

CELL = 4
"""Pixels between two cells of the features, and of all maps."""

OFFSET_REACH = 10.0  # pixels; cells this near to a part learn their offsets by example too

HOUGH_SIGMA = 1.0  # cells; about where the learned width of the votes ends


class Backbone(nn.Module):
    """Pictures (N, 3, 96, 96) to features (N, C, 24, 24); a feature sees 55 × 55 pixels."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_layer(3, 24, stride=2), _layer(24, 32, stride=2), _layer(32, 32))
        self.coarse = nn.Sequential(_layer(32, 64, stride=2), _layer(64, 64))
        self.fine = nn.Sequential(_layer(96, 32), _layer(32, features))

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the features of pictures with values in [0, 1]."""
        fine = self.stem(pictures - 0.5)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        return self.fine(torch.cat([fine, coarse], dim=1))


def _layer(before: int, after: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class Heatmaps(nn.Module):
    """Each cell tells how probable it is that a part is there."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.target_sigma = settings.target_sigma
        self.logits = nn.Conv2d(settings.features, len(PARTS), 1)
        nn.init.constant_(self.logits.bias, _logit(settings.start))

    def loss(self, features: Tensor, joints: Tensor) -> Tensor:
        """Cross-entropy per part between the maps and a Gaussian around the part."""
        return _heatmap_loss(self.logits(features), joints, self.target_sigma)

    def evidence(self, features: Tensor) -> Tensor:
        """Probabilities (N, P, h, w)."""
        return torch.sigmoid(self.logits(features))


class HoughVotes(nn.Module):
    """Heatmaps, and offsets learned by example; the cells then vote, and votes add up.

    Its confidences are trained as a heatmap is; the voting itself comes after the training.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.offset_weight = settings.offset_weight
        self.target_sigma = settings.target_sigma
        self.head = mdn.torch.MDNKeypointHead(settings.features, len(PARTS), stride=1)
        nn.init.constant_(self.head.confidence.bias, _logit(settings.start))
        self.votes = mdn.torch.MassDisplacement("additive", HOUGH_SIGMA)

    def loss(self, features: Tensor, joints: Tensor) -> Tensor:
        """Cross-entropy of the heatmap, and the error of the offsets of cells near a part."""
        error = _offset_loss(
            self.head.fields(features).offsets, joints, [(part, part) for part in range(len(PARTS))]
        )
        loss = _heatmap_loss(self.head.confidence(features), joints, self.target_sigma)
        return loss + self.offset_weight * error

    def evidence(self, features: Tensor) -> Tensor:
        """Sums of votes (N, P, h, w)."""
        confidence, offsets, _ = self.head.fields(features)
        return self.votes(confidence, offsets)


class MassDisplacements(nn.Module):
    """A Mass Displacement Network, trained through the noisy-or of its votes.

    Parameters
    ----------
    edges : sequence of (int, int)
        Parts that vote for each other; none for within-part voting.
    settings : Settings
        Of the training.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], settings: Settings) -> None:
        super().__init__()
        self.offset_weight = settings.offset_weight
        self.target_sigma = settings.target_sigma
        self.head = mdn.torch.MDNKeypointHead(
            settings.features,
            len(PARTS),
            stride=1,
            sigma=settings.vote_sigma,
            learnable=True,
            edges=edges,
        )
        voters = float(self.head.trust.detach().sum(dim=1).mean())
        start = settings.start / (2 * torch.pi * settings.vote_sigma**2 * voters)
        nn.init.constant_(self.head.confidence.bias, _logit(start))

    def loss(self, features: Tensor, joints: Tensor) -> Tensor:
        """Cross-entropy of the vote maps, and the error of the offsets of cells near a part."""
        fields = self.head.fields(features)
        target = _gaussians(joints, self.target_sigma)
        loss = mdn.torch.noisy_or_bce(self.head.vote(fields), target, reduction="sum")
        loss = loss / target[..., 0, 0].numel() + self.offset_weight * _offset_loss(
            fields.offsets, joints, [(part, part) for part in range(len(PARTS))]
        )
        if self.head.pairs:
            to, by = zip(*self.head.pairs, strict=True)
            offsets = fields.cross_offsets[:, list(to), list(by)]
            loss = loss + self.offset_weight * _offset_loss(offsets, joints, self.head.pairs)
        return loss

    def evidence(self, features: Tensor) -> Tensor:
        """−L of the vote maps (N, P, h, w)."""
        return -self.head.log_complement(features)


WAYS = {
    "heatmap": Heatmaps,
    "offsets": HoughVotes,
    "within": partial(MassDisplacements, ()),
    "across": partial(MassDisplacements, EDGES),
}
"""What makes the head of each way, given the settings of the training."""

TITLES = {
    "heatmap": "heatmap",
    "offsets": "heatmap + offsets, additive",
    "within": "MDN, within parts",
    "across": "MDN, across parts",
}


class Network(nn.Module):
    """The backbone with the head of one way."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        # The backbone is made first, so that a seed gives all ways the same one.
        self.backbone = Backbone(settings.features)
        self.head = WAYS[settings.way](settings)

    def loss(self, pictures: Tensor, joints: Tensor) -> Tensor:
        """Loss of a batch: pictures (N, 3, H, W), joints (N, P, 2) in pixels."""
        return self.head.loss(self.backbone(pictures), joints)

    def evidence(self, pictures: Tensor) -> Tensor:
        """Evidence for every part: (N, P, H / 4, W / 4), not negative."""
        return self.head.evidence(self.backbone(pictures))

    def locate(self, pictures: Tensor) -> Tensor:
        """Where the parts are found, (N, P, 2) in pixels: at the peaks, between the cells."""
        return mdn.torch.subpixel_argmax(self.evidence(pictures)).positions * CELL + (CELL - 1) / 2


def _heatmap_loss(logits: Tensor, joints: Tensor, sigma: float) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(logits, _gaussians(joints, sigma), reduction="sum")
    return loss / logits[..., 0, 0].numel()


def _gaussians(joints: Tensor, sigma: float) -> Tensor:
    """Target maps (N, P, h, w): 1 where a part is, and less around it."""
    x, y = (
        torch.exp(-((_centres() - joints[..., axis, None]) ** 2) / (2 * sigma**2))
        for axis in (0, 1)
    )
    return y[..., :, None] * x[..., None, :]


def _offset_loss(offsets: Tensor, joints: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Mean error, in pixels, of offsets (N, E, 2, h, w) in cells.

    Those of pair (to, by) shall lead from the cells near part `by` to part `to`.
    """
    to, by = (list(parts) for parts in zip(*pairs, strict=True))
    centres = torch.stack(torch.meshgrid(_centres(), _centres(), indexing="xy"))
    away = joints[..., None, None] - centres  # (N, P, 2, h, w), from each cell to each part
    near = (away.square().sum(dim=2) < OFFSET_REACH**2)[:, by]
    error = F.smooth_l1_loss(CELL * offsets, away[:, to], beta=1.0, reduction="none").sum(dim=2)
    return (error * near).sum() / near.sum()


def _centres() -> Tensor:
    """Where the cells are, along one axis, in pixels."""
    return CELL * torch.arange(SIZE // CELL) + (CELL - 1) / 2


def _logit(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability)))
