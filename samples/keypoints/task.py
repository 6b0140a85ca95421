"""What a training is about: pictures with joints, and the network's trunk for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import nn

from keypoints.settings import Settings

__all__ = ["Batch", "Measures", "Task"]

Measures = Mapping[str, Mapping[str, float]]
"""By group of parts, the value of each of the task's measures."""


class Batch(NamedTuple):
    """Pictures and the truth about them."""

    pictures: np.ndarray  # (N, S, S, 3) float32, in [0, 1]
    joints: np.ndarray  # (N, P, 2) float32, x (columns) before y (rows), in pixels; NaN: not marked
    hidden: np.ndarray  # (N, P) bool: whether the joint is under a patch


@dataclass(frozen=True)
class Task:
    """Parts to find, the pictures to learn from, and how well they were found.

    Attributes
    ----------
    parts : tuple of str
    edges : tuple of (int, int)
        Parts that vote for each other in the cross-part network.
    size : int
        Height and width of a picture, in pixels.
    cell : int
        Pixels between two cells of the features.
    draw : callable
        (split, seed, indices) to a `Batch`; splits are 'train', 'validation' and 'test'.
    measure : callable
        (found (N, P, 2), joints (N, P, 2), hidden (N, P)) to `Measures`.
    columns : mapping
        Titles of the measures in the table; those that start with 'pck' are shares.
    make_backbone : callable
        Settings to a module: pictures (N, 3, S, S) in [0, 1] to features
        (N, settings.features, S / cell, S / cell).
    hides : bool
        Whether some parts are hidden.
    defaults : mapping
        Settings that are others than those of `Settings`, unless told.
    """

    parts: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    size: int
    cell: int
    draw: Callable[[str, int, Sequence[int]], Batch]
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], Measures]
    columns: Mapping[str, str]
    make_backbone: Callable[[Settings], nn.Module]
    hides: bool
    defaults: Mapping[str, float]
