"""What a training is made with."""

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What the result of a training depends on, beside the code and the number of threads."""

    way: str  # of `networks.WAYS`
    seed: int
    steps: int

    # What `--set` changes, and `ablate_keypoints.py`, one at a time, to show what it is for.

    # Expected value of every map before training: little more than the targets' mean. A noisy-or
    # of cells that start at 0.5 each is saturated, and its gradient all but zero.
    start: float = 0.01

    # Per pixel of the offsets' error, beside the cross-entropy.
    offset_weight: float = 1.0

    # Standard deviation of the initial weights of a voting head's confidences. Next to nothing
    # comes back through 0.001 to a pretrained trunk, at first; 0.07 is that of the heatmap's.
    head_std: float = 1e-3

    features: int = 64  # of a cell, from which all that it says is computed
    learning_rate: float = 5e-3  # at its highest
    offset_rate: float = 1.0  # times the learning rate: that of the branch of the offsets
    vote_sigma: float = 0.8  # cells; where the learned width of the votes starts
    target_sigma: float = 4.0  # pixels; of the Gaussian around a part that every map shall show
    target_end: float = 1.0  # times target_sigma: the width at the end of the training
    offset_reach: float = 10.0  # pixels; cells this near to a part learn their offsets by example
    batch: int = 16  # pictures of a step
    # Share of the steps in which an MDN's confidences learn as a heatmap.
    heatmap_first: float = 0.0
    denser: int = 1  # cells that vote in place of one, along each axis
    finer: int = 1  # pixels of a vote map for each cell, along each axis
    trunk_rate: float = 0.1  # times the learning rate: that of a trunk with weights of its own
    pretrained: int = 1  # whether the trunk, where the task has one, starts from those weights
