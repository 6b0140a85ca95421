"""The six models of the paper's Table 1, small for a CPU or as the paper has them."""

from dataclasses import dataclass

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

import mdn_cupy as mdn

__all__ = ["MODELS", "Settings", "make_model"]

MODELS = {
    "boxes": "Mask R-CNN, bb",
    "boxes-masks": "Mask R-CNN, bb+mask",
    "boxes-keypoints": "Mask R-CNN, bb+keypoints",
    "boxes-keypoints-mdn": "Mask R-CNN-MDN, bb+keypoints",
    "boxes-masks-keypoints": "Mask R-CNN, bb+mask+keypoints",
    "boxes-masks-keypoints-mdn": "Mask R-CNN-MDN, bb+mask+keypoints",
}
"""Names on the command line, and the paper's."""

_WIDTHS = (24, 40, 64, 96)  # of the small backbone's stages, at strides 2 to 16
_PYRAMID = 64  # channels
_FIGURES = ((20,), (40,), (70,), (100,))  # anchors, in pixels, on maps of stride 4, 8, 16 and 32


@dataclass(frozen=True)
class Settings:
    """What makes a training what it is."""

    model: str
    seed: int
    steps: int
    batch: int  # images of one process
    size: str = "small"  # or "full": ResNet-50, 800 pixels
    voting: str = "across"
    loss: str = "bce"
    offset_weight: float = 1.0
    learning_rate: float = 2e-3
    weights_backbone: str | None = None
    amp: bool = False
    processes: int = 1


def make_model(settings: Settings, parts: int, edges: list[tuple[int, int]]) -> nn.Module:
    """Make the model; the seed of torch's random numbers gives all models one backbone."""
    branches = settings.model.split("-")
    keypoints = None
    if "keypoints" in branches:
        small = settings.size == "small"
        keypoints = mdn.torch.KeypointBranch(
            settings.voting if "mdn" in branches else "plain",
            parts=parts,
            edges=edges,
            layers=(64,) * 2 if small else (512,) * 8,
            loss=settings.loss,
            offset_weight=settings.offset_weight,
        )
    masks = "masks" in branches
    if settings.size == "full":
        return mdn.torch.mask_rcnn_mdn(
            keypoints, masks=masks, weights_backbone=settings.weights_backbone
        )
    return mdn.torch.mask_rcnn_mdn(
        keypoints,
        masks=masks,
        mask_layers=(64, 64),
        backbone=_small_backbone(),
        box_head=TwoMLPHead(_PYRAMID * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, num_classes=2),
        rpn_anchor_generator=AnchorGenerator(_FIGURES, ((0.5, 1.0, 2.0),) * len(_FIGURES)),
        rpn_pre_nms_top_n_train=400,
        rpn_pre_nms_top_n_test=400,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=100,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_detections_per_img=20,
        min_size=128,
        max_size=192,
    )


class _Body(nn.Sequential):
    """Stages of two convolutions each, named as `BackboneWithFPN` wants them."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for number, width in enumerate(_WIDTHS):
            stage = [_layer(before, width, stride=2)]
            if number:
                stage.append(_layer(width, width))
            self.add_module(f"stage{number}", nn.Sequential(*stage))
            before = width


def _small_backbone() -> nn.Module:
    names = {f"stage{number}": str(number - 1) for number in range(1, len(_WIDTHS))}
    return BackboneWithFPN(_Body(), names, list(_WIDTHS[1:]), _PYRAMID, norm_layer=_norm)


def _layer(before: int, after: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, _norm(after), nn.ReLU(inplace=True))


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels)
