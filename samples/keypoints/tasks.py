"""The two things that are trained on: drawn figures, and photographs of athletes."""

from collections.abc import Callable, Sequence

import numpy as np

from keypoints import figures, photographs
from keypoints.backbones import Pretrained, Small
from keypoints.task import Batch, Measures, Task

__all__ = ["FIGURES", "measure_figures", "measure_persons", "persons"]

_GROUPS = {
    "all": range(14),
    "head, shoulders, hips": (2, 3, 8, 9, 12, 13),
    "elbows, knees": (1, 4, 7, 10),
    "wrists, ankles": (0, 5, 6, 11),
}
_SHARES = (0.05, 0.1, 0.2)  # of the torso


def measure_figures(found: np.ndarray, joints: np.ndarray, hidden: np.ndarray) -> Measures:
    """Share of the parts found within 2, 4 and 8 pixels, and their mean distance.

    Parameters
    ----------
    found, joints : (N, P, 2) array
        Where the parts were found, and where they are, in pixels.
    hidden : (N, P) bool array
        Which of them were hidden.

    Returns
    -------
    Measures
        Of 'all', 'visible' and 'hidden' parts.

    Examples
    --------
    >>> joints = np.zeros((1, 3, 2))
    >>> found = np.array([[[1.0, 0.0], [0.0, 3.0], [8.0, 0.0]]])
    >>> measure_figures(found, joints, np.array([[False, False, True]]))["visible"]
    {'pck2': 0.5, 'pck4': 1.0, 'pck8': 1.0, 'error': 2.0}
    """
    errors = np.linalg.norm(found - joints, axis=-1)
    groups = {"all": errors, "visible": errors[~hidden], "hidden": errors[hidden]}
    return {
        name: {
            **{f"pck{limit}": _mean(group <= limit) for limit in (2, 4, 8)},
            "error": _mean(group),
        }
        for name, group in groups.items()
    }


def measure_persons(found: np.ndarray, joints: np.ndarray, hidden: np.ndarray) -> Measures:
    """Share of the marked parts found within parts of the torso's length, and their mean distance.

    The torso is as long as from a shoulder to the opposite hip; a person without is not counted.

    Parameters
    ----------
    found, joints : (N, 14, 2) array
        Where the parts were found, and where they are, in pixels; NaN where they are not marked.
    hidden : (N, 14) bool array
        Of no influence.

    Returns
    -------
    Measures
        Of all parts, and of those at the trunk, in the middle and at the end of the limbs.

    Examples
    --------
    >>> joints = np.full((1, 14, 2), np.nan)
    >>> joints[0, [2, 9, 5]] = [[0, 0], [0, 40], [30, 30]]  # right hip, left shoulder, left ankle
    >>> found = joints + [3.0, 0.0]
    >>> measure_persons(found, joints, np.zeros((1, 14), bool))["wrists, ankles"]
    {'pck0.05': 0.0, 'pck0.1': 1.0, 'pck0.2': 1.0, 'error': 3.0}
    """
    errors = np.linalg.norm(found - joints, axis=-1)
    torso = np.broadcast_to(photographs.torso_lengths(joints)[:, None], errors.shape)
    counted = np.isfinite(errors) & (torso > 0)
    measures = {}
    for name, parts in _GROUPS.items():
        of = np.isin(np.arange(errors.shape[1]), parts) & counted
        measures[name] = {
            **{f"pck{share}": _mean((errors < share * torso)[of]) for share in _SHARES},
            "error": _mean(errors[of]),
        }
    return measures


def _nothing_to_draw(split: str, seed: int, indices: Sequence[int]) -> Batch:
    raise ValueError(f"there are no photographs for {split}")


def _mean(values: np.ndarray) -> float:
    """Mean; NaN of nothing, as where no part of a group is marked."""
    return float(values.mean()) if values.size else np.nan


FIGURES = Task(
    parts=figures.PARTS,
    edges=figures.EDGES,
    size=figures.SIZE,
    cell=4,
    draw=figures.draw_batch,
    measure=measure_figures,
    columns={
        **{f"pck{limit}": f"PCK {limit} px, %" for limit in (2, 4, 8)},
        "error": "mean error, px",
    },
    make_backbone=Small,
    hides=True,
    defaults={},
)


def persons(draw: Callable[[str, int, Sequence[int]], Batch] = _nothing_to_draw) -> Task:
    """Joints of persons in photographs.

    Parameters
    ----------
    draw : callable, optional
        Such as `photographs.LeedsSportsPose(folder).draw`; a trained network is used without.

    Returns
    -------
    Task
    """
    return Task(
        parts=photographs.PARTS,
        edges=photographs.EDGES,
        size=photographs.SIZE,
        cell=8,
        draw=draw,
        measure=measure_persons,
        columns={
            **{f"pck{share}": f"PCK@{share}, %" for share in _SHARES},
            "error": "mean error, px",
        },
        make_backbone=Pretrained,
        hides=False,
        defaults={
            "target_sigma": 6.0,
            "offset_reach": 20.0,
            "offset_weight": 0.5,
            "batch": 8,
            "head_std": 0.07,
        },
    )
