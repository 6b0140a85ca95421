"""Backbones: pictures to features on a grid of cells."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keypoints.efficientnet import LEVELS, Trunk
from keypoints.settings import Settings

__all__ = ["Pretrained", "Small"]


class Small(nn.Module):
    """Pictures (N, 3, 96, 96) to features (N, C, 24, 24); a feature sees 55 × 55 pixels."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.stem = nn.Sequential(_layer(3, 24, stride=2), _layer(24, 32, stride=2), _layer(32, 32))
        self.coarse = nn.Sequential(_layer(32, 64, stride=2), _layer(64, 64))
        self.fine = nn.Sequential(_layer(96, 32), _layer(32, settings.features))

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the features of pictures with values in [0, 1]."""
        fine = self.stem(pictures - 0.5)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        return self.fine(torch.cat([fine, coarse], dim=1))


class Pretrained(nn.Module):
    """EfficientNet-Lite0, and layers that join its features at strides of 16 and 8.

    Pictures (N, 3, 192, 192) to features (N, C, 24, 24); a feature sees the whole picture. What the
    frozen part makes of the pictures, (N, 40, 24, 24), is taken in their place.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.trunk = Trunk()
        fine, coarse = LEVELS
        self.coarse = _layer(coarse, 64, kernel=1)
        self.fine = nn.Sequential(_layer(64 + fine, 48), _layer(48, settings.features))

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the features of pictures with values in [0, 1]."""
        fine = self.trunk.frozen(pictures) if pictures.shape[1] == 3 else pictures
        coarse = self.coarse(self.trunk.trained(fine))
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.fine(torch.cat([coarse, fine], dim=1))


def _layer(before: int, after: int, stride: int = 1, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
