"""The layer for torch: differentiable in the confidences, the offsets and sigma.

The operator `mdn_cupy::accumulate` (`mdn_cupy.torch.library`) computes Σφ of all votes: the
log-complement L of the noisy-or, or a sum. Everything after it is plain torch.
"""

from mdn_cupy.torch.decoding import Maxima, soft_argmax, subpixel_argmax
from mdn_cupy.torch.functional import logit, one_minus_exp
from mdn_cupy.torch.heads import MDNKeypointHead, VoteFields
from mdn_cupy.torch.losses import noisy_or_bce
from mdn_cupy.torch.modules import MassDisplacement
from mdn_cupy.torch.plain import plain_operators
from mdn_cupy.torch.record import RecordedVotes, record

__all__ = [
    "MDNKeypointHead",
    "MassDisplacement",
    "Maxima",
    "RecordedVotes",
    "VoteFields",
    "logit",
    "noisy_or_bce",
    "one_minus_exp",
    "plain_operators",
    "record",
    "soft_argmax",
    "subpixel_argmax",
]
