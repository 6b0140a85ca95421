"""The layer for torch: differentiable in the confidences, the offsets and sigma.

The operator `mdn_cupy::accumulate` (`mdn_cupy.torch.library`) computes Σφ of all votes: the
log-complement L of the noisy-or, or a sum. Everything after it is plain torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'mdn_cupy.torch needs torch, which is not installed: pip install "mdn-cupy[torch]"',
        name=error.name,
    ) from error

from mdn_cupy.torch.decoding import Maxima, soft_argmax, subpixel_argmax
from mdn_cupy.torch.functional import logit, one_minus_exp
from mdn_cupy.torch.heads import MDNKeypointHead, VoteFields
from mdn_cupy.torch.losses import noisy_or_bce
from mdn_cupy.torch.modules import MassDisplacement
from mdn_cupy.torch.plain import plain_operators
from mdn_cupy.torch.record import RecordedVotes, record

if TYPE_CHECKING:
    from mdn_cupy.torch.detection import KeypointBranch, mask_rcnn_mdn

__all__ = [
    "KeypointBranch",
    "MDNKeypointHead",
    "MassDisplacement",
    "Maxima",
    "RecordedVotes",
    "VoteFields",
    "logit",
    "mask_rcnn_mdn",
    "noisy_or_bce",
    "one_minus_exp",
    "plain_operators",
    "record",
    "soft_argmax",
    "subpixel_argmax",
]

# Imported when asked for: torchvision is an extra.
_DETECTION = ("KeypointBranch", "mask_rcnn_mdn")


def __getattr__(name: str) -> Any:
    if name not in _DETECTION:
        raise AttributeError(f"module 'mdn_cupy.torch' has no attribute {name!r}")
    try:
        return getattr(import_module("mdn_cupy.torch.detection"), name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "torchvision":
            raise
        raise ImportError(
            f"mdn.torch.{name} needs torchvision, which is not installed: "
            'pip install "mdn-cupy[detection]"'
        ) from error
