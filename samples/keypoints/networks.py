"""One backbone, and four ways to find parts with it.

A way is a head on the backbone's features: `loss` for its training, and `evidence`, the maps whose
highest peaks are where it says that the parts are.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mdn_cupy as mdn
from keypoints.settings import Settings
from keypoints.task import Task

__all__ = ["TITLES", "WAYS", "Network", "Stage", "centres"]


class Stage(NamedTuple):
    """How far a training is."""

    done: float  # share of the steps
    target_sigma: float  # pixels


HOUGH_SIGMA = 1.0  # cells; about where the learned width of the votes ends


class Heatmaps(nn.Module):
    """Each cell tells how probable it is that a part is there."""

    finer = 1

    def __init__(self, settings: Settings, task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.cell = task.cell / settings.denser
        self.logits = nn.Conv2d(settings.features, len(task.parts), 1)
        nn.init.constant_(self.logits.bias, _logit(settings.start))

    def loss(self, features: Tensor, joints: Tensor, stage: Stage) -> Tensor:
        """Cross-entropy per part between the maps and a Gaussian around the part."""
        return _heatmap_loss(
            self.logits(features), joints, stage.target_sigma, self.settings, self.cell
        )

    def evidence(self, features: Tensor) -> Tensor:
        """Probabilities (N, P, h, w)."""
        return torch.sigmoid(self.logits(features))


class HoughVotes(nn.Module):
    """Heatmaps, and offsets learned by example; the cells then vote, and votes add up.

    Its confidences are trained as a heatmap is; the voting itself comes after the training.
    """

    def __init__(self, settings: Settings, task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.cell = task.cell / settings.denser
        self.finer = settings.finer
        self.head = mdn.torch.MDNKeypointHead(
            settings.features, len(task.parts), stride=settings.finer
        )
        _start(self.head, settings.start, settings.head_std)
        sigma = HOUGH_SIGMA * settings.finer
        self.votes = mdn.torch.MassDisplacement(
            "additive", sigma, stride=settings.finer, origin=(settings.finer - 1) / 2
        )

    def loss(self, features: Tensor, joints: Tensor, stage: Stage) -> Tensor:
        """Cross-entropy of the heatmap, and the error of the offsets of cells near a part."""
        error = _offset_loss(self.head.fields(features).offsets, joints, self.settings, self.cell)
        loss = _heatmap_loss(
            self.head.confidence(features), joints, stage.target_sigma, self.settings, self.cell
        )
        return loss + self.settings.offset_weight * error

    def evidence(self, features: Tensor) -> Tensor:
        """Sums of votes (N, P, finer · h, finer · w)."""
        confidence, offsets, _ = self.head.fields(features)
        size = [self.finer * side for side in confidence.shape[-2:]]
        return self.votes.votes(confidence, offsets, output_shape=size).additive()


class MassDisplacements(nn.Module):
    """A Mass Displacement Network, trained through the noisy-or of its votes.

    Parameters
    ----------
    edges : sequence of (int, int)
        Parts that vote for each other; none for within-part voting.
    settings : Settings
        Of the training.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], settings: Settings, task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.cell = task.cell / settings.denser
        self.finer = settings.finer
        self.head = mdn.torch.MDNKeypointHead(
            settings.features,
            len(task.parts),
            stride=settings.finer,
            sigma=settings.vote_sigma * settings.finer,
            learnable=True,
            edges=edges,
        )
        voters = float(self.head.trust.detach().sum(dim=1).mean())
        start = settings.start / (2 * torch.pi * settings.vote_sigma**2 * voters)
        _start(self.head, start, settings.head_std)

    def loss(self, features: Tensor, joints: Tensor, stage: Stage) -> Tensor:
        """Cross-entropy of the vote maps, and the error of the offsets of cells near a part."""
        fields = self.head.fields(features)
        if stage.done < self.settings.heatmap_first:
            scores = self.head.confidence(features)
            loss = _heatmap_loss(scores, joints, stage.target_sigma, self.settings, self.cell)
        else:
            loss = self._vote_loss(self.head.vote(fields), joints, stage.target_sigma)
        weight = self.settings.offset_weight
        loss = loss + weight * _offset_loss(fields.offsets, joints, self.settings, self.cell)
        if self.head.pairs:
            to, by = zip(*self.head.pairs, strict=True)
            offsets = fields.cross_offsets[:, list(to), list(by)]
            loss = loss + weight * _offset_loss(
                offsets, joints, self.settings, self.cell, self.head.pairs
            )
        return loss

    def _vote_loss(self, L: Tensor, joints: Tensor, target_sigma: float) -> Tensor:
        """Cross-entropy per part of the vote maps, as of pixels of a cell's size."""
        target = _gaussians(joints, target_sigma, L.shape[-1], self.cell / self.finer)
        marked = _marked(joints)
        loss = mdn.torch.noisy_or_bce(L, target, marked[..., None, None], reduction="sum")
        return loss / ((self.settings.denser * self.finer) ** 2 * marked.sum().clamp_min(1))

    def evidence(self, features: Tensor) -> Tensor:
        """−L of the vote maps (N, P, finer · h, finer · w)."""
        return -self.head.log_complement(features)


WAYS = ("heatmap", "offsets", "within", "across")
"""Ways to find parts."""

TITLES = {
    "heatmap": "heatmap",
    "offsets": "heatmap + offsets, additive",
    "within": "MDN, within parts",
    "across": "MDN, across parts",
}


def _make_head(settings: Settings, task: Task) -> nn.Module:
    make = {
        "heatmap": Heatmaps,
        "offsets": HoughVotes,
        "within": partial(MassDisplacements, ()),
        "across": partial(MassDisplacements, task.edges),
    }
    return make[settings.way](settings, task)


class Network(nn.Module):
    """The backbone with the head of one way."""

    def __init__(self, settings: Settings, task: Task) -> None:
        super().__init__()
        # The backbone is made first, so that a seed gives all ways the same one.
        self.backbone = task.make_backbone(settings)
        self.denser = settings.denser
        self.head = _make_head(settings, task)

    def features(self, pictures: Tensor) -> Tensor:
        """Features of the cells that vote, (N, C, h, w)."""
        features = self.backbone(pictures)
        if self.denser == 1:
            return features
        return F.interpolate(features, scale_factor=float(self.denser), mode="bilinear")

    def loss(self, pictures: Tensor, joints: Tensor, stage: Stage) -> Tensor:
        """Loss of a batch: pictures (N, 3, H, W), joints (N, P, 2) in pixels, NaN: not marked."""
        return self.head.loss(self.features(pictures), joints, stage)

    def evidence(self, pictures: Tensor) -> Tensor:
        """Evidence for every part, (N, P, h, w), not negative."""
        return self.head.evidence(self.features(pictures))

    def locate(self, pictures: Tensor) -> Tensor:
        """Where the parts are found, (N, P, 2) in pixels: at the peaks, between the cells."""
        step = self.head.cell / self.head.finer
        return mdn.torch.subpixel_argmax(self.evidence(pictures)).positions * step + (step - 1) / 2


def _heatmap_loss(
    logits: Tensor, joints: Tensor, sigma: float, settings: Settings, cell: float
) -> Tensor:
    target, marked = _gaussians(joints, sigma, logits.shape[-1], cell), _marked(joints)
    loss = F.binary_cross_entropy_with_logits(
        logits, target, marked[..., None, None], reduction="sum"
    )
    return loss / (settings.denser**2 * marked.sum().clamp_min(1))


def _marked(joints: Tensor) -> Tensor:
    """1 for parts (N, P) whose place is known, else 0."""
    return joints.isfinite().all(dim=-1).to(joints.dtype)


def _gaussians(joints: Tensor, sigma: float, size: int, step: float) -> Tensor:
    """Target maps (N, P, h, w): 1 where a part is, and less around it; 0 where it is not marked."""
    x, y = (
        torch.exp(-((centres(size, step) - joints[..., axis, None]) ** 2) / (2 * sigma**2))
        for axis in (0, 1)
    )
    return (y[..., :, None] * x[..., None, :]).nan_to_num(0.0)


def _offset_loss(
    offsets: Tensor,
    joints: Tensor,
    settings: Settings,
    cell: float,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Mean error, in pixels, of offsets (N, E, 2, h, w) in pixels of the vote map.

    Those of pair (to, by) shall lead from the cells near part `by` to part `to`; without pairs,
    those of every part to itself.
    """
    parts = list(range(joints.shape[1]))
    to, by = map(list, zip(*pairs, strict=True)) if pairs else (parts, parts)
    along = centres(offsets.shape[-1], cell)
    cells = torch.stack(torch.meshgrid(along, along, indexing="xy"))
    away = joints[..., None, None] - cells  # (N, P, 2, h, w), from each cell to each part
    near = (away.square().sum(dim=2) < settings.offset_reach**2)[:, by]
    near = near & (_marked(joints)[:, to, None, None] > 0)
    error = F.smooth_l1_loss(
        cell / settings.finer * offsets, away[:, to].nan_to_num(0.0), beta=1.0, reduction="none"
    )
    return (error.sum(dim=2) * near).sum() / near.sum().clamp_min(1)


def centres(size: int, step: float) -> Tensor:
    """Where the pixels of a map are, along one axis, in pixels of the picture."""
    return step * torch.arange(size) + (step - 1) / 2


def _start(head: mdn.torch.MDNKeypointHead, confidence: float, std: float) -> None:
    """Start from a confidence in every cell, and from its weights' deviation."""
    nn.init.constant_(head.confidence.bias, _logit(confidence))
    head.confidence.weight.data *= std * math.sqrt(3 * head.confidence.in_channels)


def _logit(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability)))
