"""The keypoint head of a detector's regions: its losses, and its decoding in one batch."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mdn_cupy.peaks import find_peaks
from mdn_cupy.torch.functional import logit
from mdn_cupy.torch.heads import MDNKeypointHead, VoteFields
from mdn_cupy.torch.losses import noisy_or_bce

__all__ = ["KeypointLoss", "RegionKeypointHead"]

KeypointLoss: TypeAlias = Literal["bce", "softmax"]

_TRUNCATE = 4.0  # sigma; beyond it a target is 0, as a vote is
_FARTHEST = 1e6  # pixels of the map; so far beyond it, all keypoints are the same, and finite
_NEAR = 10.0  # pixels of the map; sources this near to a keypoint learn their offsets by example


class RegionKeypointHead(MDNKeypointHead):
    """An `MDNKeypointHead` on features of regions, which knows where the regions are.

    The map of a region has `stride` pixels a feature cell, whatever the region's size: one pixel is
    1/W of the region's width and 1/H of its height.

    Parameters
    ----------
    in_channels, parts
        As in `MDNKeypointHead`, and so are the options, but that sigma is learned.
    loss : {'bce', 'softmax'}
        What the maps are trained by: the cross-entropy of every pixel of the noisy-or map (the
        paper's), so that m is the probability of a keypoint; or torchvision's, of a softmax over
        the pixels of a map, which only says where in the region the keypoint is.
    target_sigma : float
        For 'bce', width of the Gaussian around a keypoint that is the target, in pixels of the map.
    offset_weight : float
        Weight of the error of the offsets, in cells, of the sources within 10 pixels of a keypoint;
        0 leaves them to the votes alone, as the paper does, which takes longer to train.
    **options
        stride, sigma, learnable, edges, device and dtype, as in `MDNKeypointHead`.

    Raises
    ------
    ValueError
        If there is no such loss, or a number is out of range.

    Examples
    --------
    >>> import torch
    >>> from mdn_cupy.torch.voted_keypoints import RegionKeypointHead
    >>> head = RegionKeypointHead(8, parts=3, edges=[(0, 1), (1, 2)])
    >>> features, boxes = torch.randn(2, 8, 14, 14), torch.tensor([[0.0, 0, 28, 56]] * 2)
    >>> keypoints = torch.tensor([[[14.0, 28, 2]] * 3] * 2)  # x, y, visibility
    >>> sorted(head.losses(features, boxes, keypoints))
    ['loss_keypoint', 'loss_offsets']
    >>> positions, scores = head.locate(features, boxes)
    >>> positions.shape, scores.shape
    (torch.Size([2, 3, 3]), torch.Size([2, 3]))
    """

    initial_votes = 0.01  # a keypoint's target has a mass of 25 of 3136 pixels

    def __init__(
        self,
        in_channels: int,
        parts: int,
        *,
        loss: KeypointLoss = "bce",
        target_sigma: float = 2.0,
        offset_weight: float = 1.0,
        learnable: bool = True,
        **options: Any,
    ) -> None:
        if loss not in ("bce", "softmax"):
            raise ValueError(f"loss must be 'bce' or 'softmax', got {loss!r}")
        if not (target_sigma > 0 and math.isfinite(target_sigma)):
            raise ValueError(f"target_sigma must be greater than 0 and finite, got {target_sigma}")
        if not (offset_weight >= 0 and math.isfinite(offset_weight)):
            raise ValueError(f"offset_weight must be at least 0 and finite, got {offset_weight}")
        super().__init__(in_channels, parts, learnable=learnable, **options)
        self.loss = loss
        self.target_sigma = float(target_sigma)
        self.offset_weight = float(offset_weight)

    def losses(self, features: Tensor, boxes: Tensor, keypoints: Tensor) -> dict[str, Tensor]:
        """Compute the losses of regions.

        Parameters
        ----------
        features : Tensor [N, C, H, W]
            Of each region.
        boxes : Tensor [N, 4]
            x0, y0, x1 and y1 of the regions, in pixels of the image.
        keypoints : Tensor [N, P, 3]
            x and y in those pixels, and a visibility that is 0 for keypoints without a label. A
            keypoint outside its region is a target that is zero everywhere ('bce'), or none.

        Returns
        -------
        dict of str to Tensor
            loss_keypoint and, if the offsets have a weight, loss_offsets.
        """
        fields = self.fields(features)
        log_complement = self.vote(fields)
        labelled = keypoints[..., 2] > 0
        points = self._points(keypoints[..., :2], boxes, log_complement.shape[-2:])
        by_map = self._bce if self.loss == "bce" else _softmax
        losses = {"loss_keypoint": by_map(log_complement[labelled], points[labelled])}
        if self.offset_weight:
            losses["loss_offsets"] = self.offset_weight * self._offset_error(
                fields, points, labelled
            )
        return losses

    @torch.no_grad()
    def locate(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Find the keypoints of regions at the highest peaks of their maps, all in one batch.

        Parameters
        ----------
        features : Tensor [N, C, H, W]
            Of each region.
        boxes : Tensor [N, 4]
            As in `losses`.

        Returns
        -------
        keypoints : Tensor [N, P, 3]
            x and y in pixels of the image, and 1; the region's centre where nothing votes.
        scores : Tensor [N, P]
            m at the peak, a probability, for 'bce'; its logit for 'softmax', as torchvision's.
        """
        evidence = -self.log_complement(features)
        height, width = evidence.shape[-2:]
        peaks = find_peaks(
            evidence.flatten(0, 1), threshold=torch.finfo(evidence.dtype).tiny, max_peaks=1
        )
        number = len(boxes) * self.parts
        x = evidence.new_full((number,), width / 2).index_copy_(
            0, peaks.map, 0.5 + peaks.x.to(evidence)
        )
        y = evidence.new_full((number,), height / 2).index_copy_(
            0, peaks.map, 0.5 + peaks.y.to(evidence)
        )
        strength = evidence.new_zeros(number).index_copy_(0, peaks.map, peaks.evidence)
        scores = -torch.expm1(-strength) if self.loss == "bce" else logit(-strength)
        corner, step = _corner_and_pixel(boxes, height, width)
        in_map = torch.stack([x, y], -1).unflatten(0, (len(boxes), self.parts))
        positions = corner + step * in_map
        found = torch.cat([positions, torch.ones_like(positions[..., :1])], -1)
        return found, scores.unflatten(0, (len(boxes), self.parts))

    def extra_repr(self) -> str:
        """Add the loss to what the head says."""
        return f"{super().extra_repr()}, loss={self.loss}"

    def _points(self, positions: Tensor, boxes: Tensor, size: torch.Size) -> Tensor:
        """Bring positions [N, P, 2] to pixels of the regions' maps; (0, 0) is a pixel's centre."""
        corner, step = _corner_and_pixel(boxes, *size)
        return ((positions - corner) / step - 0.5).clamp(-_FARTHEST, _FARTHEST)

    def _bce(self, log_complement: Tensor, points: Tensor) -> Tensor:
        """Cross-entropy of maps [n, H, W] with a Gaussian around each point, per target's mass."""
        # −(1 − t)·L − t·log m is −L where the target t is 0: all but its window of 4 sigma.
        height, width = log_complement.shape[-2:]
        reach = math.ceil(_TRUNCATE * self.target_sigma)
        window = torch.arange(-reach, reach + 1, device=points.device)
        pixels = points.round()[..., None] + window  # [n, 2, K]
        away = pixels - points[..., None]
        x, y = torch.exp(away.square() / (-2 * self.target_sigma**2)).unbind(1)
        last = points.new_tensor([[width - 1.0], [height - 1.0]])
        in_x, in_y = ((pixels >= 0) & (pixels <= last)).unbind(1)
        columns, rows = pixels.clamp(min=0).minimum(last).long().unbind(1)
        index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
        inside = (in_y[:, :, None] & in_x[:, None, :]).flatten(1)
        near = log_complement.flatten(1).gather(1, index)
        target = (y[:, :, None] * x[:, None, :]).flatten(1)
        total = noisy_or_bce(near, target, inside, reduction="sum")
        total = total + (near * inside).sum() - log_complement.sum()
        return total / (max(len(points), 1) * 2 * math.pi * self.target_sigma**2)

    def _offset_error(self, fields: VoteFields, points: Tensor, labelled: Tensor) -> Tensor:
        """Mean error in cells, a smooth L1, of the offsets of sources near a keypoint."""
        s_y, s_x = self.stride
        rows, columns = fields.confidence.shape[-2:]
        here_x, here_y = (
            step * torch.arange(n, device=points.device) + (step - 1) / 2
            for n, step in ((columns, s_x), (rows, s_y))
        )
        away_x = points[..., 0, None, None] - here_x  # [N, P, 1, W]
        away_y = points[..., 1, None, None] - here_y[:, None]  # [N, P, H, 1]
        near = (away_x.square() + away_y.square() < _NEAR**2) & labelled[..., None, None]
        away = torch.stack(torch.broadcast_tensors(away_x, away_y), -1)  # [N, P, H, W, 2]
        error = _error(fields.offsets, away, near)
        if fields.cross_offsets is not None:
            to, by = torch.tensor(self.pairs, device="cpu").T.to(points.device)
            both = near[:, by] & labelled[:, to, None, None]
            pair = to * self.parts + by
            offsets = fields.cross_offsets.flatten(1, 2).index_select(1, pair)
            error = error + _error(offsets, away[:, to], both)
        return error / math.sqrt(s_y * s_x)


def _error(offsets: Tensor, wanted: Tensor, where: Tensor) -> Tensor:
    """Mean smooth L1 over the sources [n, E, H, W] that count, of offsets [n, E, 2, H, W]."""
    given = offsets.movedim(2, -1)[where]
    total = F.smooth_l1_loss(given.float(), wanted[where].float(), reduction="sum")
    return total / max(len(given), 1)


def _softmax(log_complement: Tensor, points: Tensor) -> Tensor:
    """Cross-entropy of a softmax over each map [n, H, W], as torchvision's keypoint loss."""
    height, width = log_complement.shape[-2:]
    size = points.new_tensor([width, height])
    inside = ((points >= -0.5) & (points <= size - 0.5)).all(-1)
    column, row = torch.minimum((points[inside] + 0.5).floor(), size - 1).long().unbind(-1)
    logits = logit(log_complement[inside]).flatten(1)
    total = F.cross_entropy(logits, row * width + column, reduction="sum")
    return total / max(len(logits), 1)


def _corner_and_pixel(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where regions begin [N, 1, 2], and the size [N, 1, 2] of their maps' pixels, as (x, y)."""
    boxes = boxes.float()
    corner, opposite = boxes[:, None, :2], boxes[:, None, 2:]
    size = (opposite - corner).clamp(min=1)  # as torchvision's decoding
    return corner, size / size.new_tensor([width, height])
