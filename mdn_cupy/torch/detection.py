"""Mask R-CNN with a keypoint branch that votes, of torchvision's parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import Conv2dNormActivation, MultiScaleRoIAlign

from mdn_cupy.torch.voted_keypoints import KeypointLoss, RegionKeypointHead
from mdn_cupy.validation import check_count

__all__ = ["COCO_EDGES", "KeypointBranch", "VotingRoIHeads", "mask_rcnn_mdn"]

Voting: TypeAlias = Literal["across", "within", "plain"]

COCO_EDGES = (
    *((0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6)),  # nose, eyes, ears, shoulders
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),  # shoulders, elbows, wrists
    *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),  # hips, knees, ankles
)
"""The skeleton of COCO's 17 keypoints, counted from 0."""

_MAPS = ("0", "1", "2", "3")  # of the pyramid, which regions are pooled from
_CELLS = 14  # of a region, for masks and keypoints


@dataclass(frozen=True)
class KeypointBranch:
    """How a detector finds keypoints.

    Attributes
    ----------
    voting : {'across', 'within', 'plain'}
        'across': sources vote for their own part and for those joined to it; 'within': for their
        own part only; 'plain': no votes, torchvision's own predictor, loss and decoding.
    parts : int
        Number of keypoints.
    edges : sequence of (int, int)
        The skeleton, for 'across'; COCO's by default.
    layers : sequence of int
        Channels of the 3 × 3 convolutions before the last layer; torchvision's are eight of 512.
    loss : {'bce', 'softmax'}
        Of the votes; see `RegionKeypointHead`. 'plain' is trained by torchvision's softmax.
    sigma : float
        Width of the votes before training, in pixels of a region's 56 × 56 map; learned.
    target_sigma, offset_weight : float
        As in `RegionKeypointHead`.
    """

    voting: Voting = "across"
    parts: int = 17
    edges: Sequence[tuple[int, int]] = COCO_EDGES
    layers: Sequence[int] = (512,) * 8
    loss: KeypointLoss = "bce"
    sigma: float = 2.0
    target_sigma: float = 2.0
    offset_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.voting not in ("across", "within", "plain"):
            raise ValueError(f"voting must be 'across', 'within' or 'plain', got {self.voting!r}")
        if self.loss not in ("bce", "softmax"):
            raise ValueError(f"loss must be 'bce' or 'softmax', got {self.loss!r}")
        check_count("parts", self.parts)
        _check_layers("layers", self.layers)

    def predictor(self) -> nn.Module:
        """Make the last layer."""
        if self.voting == "plain":
            predictor: nn.Module = KeypointRCNNPredictor(self.layers[-1], self.parts)
            return predictor
        return RegionKeypointHead(
            self.layers[-1],
            self.parts,
            loss=self.loss,
            edges=self.edges if self.voting == "across" else (),
            sigma=self.sigma,
            target_sigma=self.target_sigma,
            offset_weight=self.offset_weight,
        )


def mask_rcnn_mdn(
    keypoints: KeypointBranch | Voting | None = "across",
    *,
    masks: bool = True,
    num_classes: int = 2,
    backbone: nn.Module | str = "resnet50",
    weights_backbone: Any = None,
    mask_layers: Sequence[int] = (256,) * 4,
    group_norm: bool | None = None,
    **options: Any,
) -> FasterRCNN:
    """Make a Mask R-CNN for boxes, and for masks and keypoints, whose keypoint branch votes.

    It is torchvision's own detector, trained and run as that is: the names in its `state_dict` are
    torchvision's, and so are the losses and results, with *loss_offsets* besides. Keypoint scores
    are probabilities where the branch votes and its loss is 'bce'.

    Parameters
    ----------
    keypoints : KeypointBranch, str or None
        The keypoint branch; 'across', 'within' or 'plain' for COCO's keypoints and eight
        convolutions of 512 channels; None for a detector without keypoints.
    masks : bool
        Whether there is a mask branch.
    num_classes : int
        With the background, which is class 0.
    backbone : str or torch.nn.Module
        The name of a torchvision ResNet, which gets a feature pyramid of 256 channels, or a module
        with `out_channels` that returns a dict of feature maps named "0", "1", ….
    weights_backbone : optional
        Weights of the named backbone, such as "IMAGENET1K_V1". Its batch normalisation and its
        first two stages are frozen then; else it is trained from scratch, with group normalisation.
    mask_layers : sequence of int
        Channels of the mask branch's convolutions.
    group_norm : bool, optional
        Whether the branches for masks and keypoints, and a named backbone, have group
        normalisation: by default where no weights of the backbone are given.
    **options
        Those of `torchvision.models.detection.FasterRCNN`: min_size, box_head, rpn_… and so on.

    Returns
    -------
    torchvision.models.detection.FasterRCNN

    Raises
    ------
    TypeError
        If the backbone has no `out_channels`, or what is no whole number counts something.
    ValueError
        If a word or a number is out of range, or weights are given with a module.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> branch = mdn.torch.KeypointBranch("across", layers=[32, 32])
    >>> model = mdn.torch.mask_rcnn_mdn(branch, backbone="resnet18", min_size=64).eval()
    >>> with torch.no_grad():
    ...     (found,) = model([torch.rand(3, 64, 64)])
    >>> sorted(found)
    ['boxes', 'keypoints', 'keypoints_scores', 'labels', 'masks', 'scores']
    """
    branch = KeypointBranch(keypoints) if isinstance(keypoints, str) else keypoints
    if not isinstance(branch, (KeypointBranch, NoneType)):
        raise TypeError(f"keypoints must be a KeypointBranch, a word or None, got {keypoints!r}")
    check_count("num_classes", num_classes, 2, "the background is one of them")
    _check_layers("mask_layers", mask_layers)
    normed = weights_backbone is None if group_norm is None else group_norm
    if isinstance(backbone, str):
        backbone = _named_backbone(backbone, weights_backbone, normed)
    elif weights_backbone is not None:
        raise ValueError("weights_backbone must be None for a backbone that is a module: load them")
    channels = getattr(backbone, "out_channels", None)
    if channels is None:
        raise TypeError(
            "backbone must be a name or a module with out_channels, got "
            f"{type(backbone).__name__}; torchvision's BackboneWithFPN makes one"
        )
    # torchvision wants no number of classes beside a predictor, which has its own.
    classes = None if options.get("box_predictor") is not None else num_classes
    model = FasterRCNN(backbone, classes, **options)
    heads = model.roi_heads
    norm_layer = _group_norm if normed else None
    if masks:
        heads.mask_roi_pool = _pool()
        heads.mask_head = MaskRCNNHeads(channels, mask_layers, 1, norm_layer)
        heads.mask_predictor = MaskRCNNPredictor(mask_layers[-1], mask_layers[-1], num_classes)
    if branch is None:
        return model
    if branch.voting != "plain":
        model.roi_heads = heads = VotingRoIHeads(heads)
    heads.keypoint_head = _keypoint_head(channels, branch.layers, norm_layer)
    heads.keypoint_predictor = branch.predictor()
    if branch.voting == "plain":
        heads.keypoint_roi_pool = _pool()
    return model


class VotingRoIHeads(RoIHeads):
    """torchvision's heads of regions, and keypoints that are voted for.

    `RoIHeads` has no place for another keypoint loss or decoding: it does boxes and masks here,
    and its own keypoint branch stays off, as it has no `keypoint_roi_pool`.

    Parameters
    ----------
    heads : RoIHeads
        Whose branches for boxes and masks, and whose settings, these take over.
    """

    def __init__(self, heads: RoIHeads) -> None:
        super().__init__(
            heads.box_roi_pool,
            heads.box_head,
            heads.box_predictor,
            fg_iou_thresh=heads.proposal_matcher.high_threshold,
            bg_iou_thresh=heads.proposal_matcher.low_threshold,
            batch_size_per_image=heads.fg_bg_sampler.batch_size_per_image,
            positive_fraction=heads.fg_bg_sampler.positive_fraction,
            bbox_reg_weights=heads.box_coder.weights,
            score_thresh=heads.score_thresh,
            nms_thresh=heads.nms_thresh,
            detections_per_img=heads.detections_per_img,
            mask_roi_pool=heads.mask_roi_pool,
            mask_head=heads.mask_head,
            mask_predictor=heads.mask_predictor,
        )
        self.region_pool = _pool()
        self._samples: Any = None

    def select_training_samples(self, proposals: Any, targets: Any) -> Any:
        """Select as torchvision does, and keep the samples for the keypoints."""
        self._samples = super().select_training_samples(proposals, targets)
        return self._samples

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return what `RoIHeads` does: detections, or losses in training."""
        if self.training:
            _check_keypoints(targets, self.keypoint_predictor.parts)
        results, losses = super().forward(features, proposals, image_shapes, targets)
        if self.training:
            regions, matched, labels, _ = self._samples
            self._samples = None
            positive = [label > 0 for label in labels]
            boxes = [box[chosen] for box, chosen in zip(regions, positive, strict=True)]
            keypoints = [
                target["keypoints"][match[chosen]]
                for target, match, chosen in zip(targets or [], matched, positive, strict=True)
            ]
            pooled = self._pooled(features, boxes, image_shapes)
            losses |= self.keypoint_predictor.losses(pooled, torch.cat(boxes), torch.cat(keypoints))
            return results, losses
        boxes = [result["boxes"] for result in results]
        pooled = self._pooled(features, boxes, image_shapes)
        positions, scores = self.keypoint_predictor.locate(pooled, torch.cat(boxes))
        counts = [len(box) for box in boxes]
        for result, found, score in zip(
            results, positions.split(counts), scores.split(counts), strict=True
        ):
            result |= {"keypoints": found, "keypoints_scores": score}
        return results, losses

    def _pooled(
        self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]
    ) -> Tensor:
        pooled: Tensor = self.keypoint_head(self.region_pool(features, boxes, shapes))
        return pooled


def _check_layers(name: str, layers: Sequence[int]) -> None:
    if not isinstance(layers, Sequence):
        raise TypeError(f"{name} must be a sequence of channels, such as [256], got {layers!r}")
    if not layers:
        raise ValueError(f"{name} must name one convolution's channels at least, got {layers}")
    for number, channels in enumerate(layers):
        check_count(f"{name}[{number}]", channels)


def _check_keypoints(targets: list[dict[str, Tensor]] | None, parts: int) -> None:
    for number, target in enumerate(targets or []):
        seen, persons = target.get("keypoints"), len(target["boxes"])
        if seen is None or seen.dtype != torch.float32 or seen.shape != (persons, parts, 3):
            shown = "none" if seen is None else f"{seen.dtype} {tuple(seen.shape)}"
            raise ValueError(
                f"target {number} must have keypoints, float32 [{persons}, {parts}, 3] with x, y "
                f"and visibility, got {shown}; `KeypointBranch(parts=…)` sets their number"
            )


def _named_backbone(name: str, weights: Any, normed: bool) -> nn.Module:
    known = list_models(include=["resnet*", "resnext*", "wide_resnet*"])
    if name not in known:
        raise ValueError(f"backbone must be a module, or one of {', '.join(known)}, got {name!r}")
    trained = get_model_weights(name)
    names = trained.__members__
    if isinstance(weights, str) and weights.removeprefix(f"{trained.__name__}.") not in names:
        raise ValueError(
            f"weights_backbone of {name} must be one of {', '.join(names)}, got {weights!r}"
        )
    if weights is not None:
        pretrained: nn.Module = resnet_fpn_backbone(backbone_name=name, weights=weights)
        return pretrained
    body = get_model(name, weights=None, norm_layer=_group_norm if normed else nn.BatchNorm2d)
    widths = [body.inplanes >> (3 - n) for n in range(4)]  # each stage doubles the channels
    layers = {f"layer{n + 1}": name for n, name in enumerate(_MAPS)}
    norm_layer = _group_norm if normed else None
    scratch: nn.Module = BackboneWithFPN(body, layers, widths, 256, norm_layer=norm_layer)
    return scratch


def _keypoint_head(channels: int, layers: Sequence[int], norm_layer: Any) -> nn.Module:
    if norm_layer is None:
        head: nn.Module = KeypointRCNNHeads(channels, layers)
        return head
    head = nn.Sequential()
    for before, after in zip((channels, *layers), layers, strict=False):
        head.append(Conv2dNormActivation(before, after, 3, norm_layer=norm_layer))
    return head


def _pool() -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign([*_MAPS], _CELLS, sampling_ratio=2)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)
