"""Scenes of one to four articulated figures that hide each other, with exact annotations.

Figures, their textures and the photographs behind them are those of `keypoints.figures`. Every
scene is a function of its key alone.
"""

from typing import NamedTuple

import numpy as np
from keypoints.figures import (
    PARTS,
    SPLITS,
    Surface,
    choose_patches,
    choose_pose,
    find_covered,
    load_photographs,
    make_garment,
    paint_capsule,
    paint_figure,
    paint_stray_limb,
    take_crop,
    take_surface,
)

__all__ = ["Figure", "draw_scene"]

MOST_FIGURES = 4
LEAST_SEEN = 0.5  # of a figure: one that would hide more of another finds another place
TRIES = 5  # to find it
SCALES = (0.5, 1.7)  # of a figure; at 1 it is about 60 pixels high
PATCHED, MOST_PATCHES = 0.5, 2  # share of the figures; of one figure

_HALF_COVERED = 0.375  # white, shaded to 0.75 at a rim that half covers a pixel


class Figure(NamedTuple):
    """What is known about one figure of a scene."""

    keypoints: np.ndarray  # (P, 3): x, y, and 2, or 1 where it is hidden; pixel i spans [i, i + 1)
    mask: np.ndarray  # (H, W) bool: the pixels in which it is seen


def draw_scene(split: str, key: tuple[int, ...], size: int) -> tuple[np.ndarray, list[Figure]]:
    """Draw one scene.

    Parameters
    ----------
    split : {'train', 'validation', 'test'}
        Which photographs to use.
    key : tuple of int
        Seed and number of the scene.
    size : int
        Height and width, in pixels; smaller photographs are left out.

    Returns
    -------
    image : (size, size, 3) uint8 array
    figures : list of Figure
        From back to front.
    """
    rng = np.random.default_rng((*key, SPLITS[split].number, size))
    photographs = tuple(it for it in load_photographs(split) if min(it.shape[:2]) >= size)
    canvas = take_crop(rng, photographs, size).copy()
    for _ in range(rng.integers(1, 4)):
        paint_stray_limb(rng, canvas, make_garment(rng, photographs, size), rng.uniform(*SCALES))
    joints: list[np.ndarray] = []
    scales: list[float] = []
    whole: list[np.ndarray] = []  # masks, as if nothing hid the figures
    seen: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    for _ in range(rng.integers(1, MOST_FIGURES + 1)):
        placed = _place(rng, size, whole, seen)
        if placed is None:
            continue
        pose, scale, mask = placed
        garments = tuple(make_garment(rng, photographs, size) for _ in range(3))
        paint_figure(rng, canvas, pose, scale, garments)
        for earlier, covered, points in zip(seen, hidden, joints, strict=True):
            earlier &= ~mask
            covered |= mask[_pixels(points)]
        joints.append(pose)
        scales.append(scale)
        whole.append(mask)
        seen.append(mask.copy())
        hidden.append(np.zeros(len(PARTS), bool))
    for pose, scale in zip(joints, scales, strict=True):
        for patch in choose_patches(rng, pose, scale)[
            : MOST_PATCHES if rng.random() < PATCHED else 0
        ]:
            paint_capsule(canvas, *take_surface(rng, photographs, size), *patch)
            for mask, covered, points in zip(seen, hidden, joints, strict=True):
                mask &= ~_silhouette(size, patch)
                covered |= find_covered(points, patch[None])
    image = np.rint(255 * canvas.clip(0, 1)).astype(np.uint8)
    figures = [
        Figure(np.column_stack([points + 0.5, np.where(covered, 1, 2)]), mask)
        for points, mask, covered in zip(joints, seen, hidden, strict=True)
        if mask.any()
    ]
    return image, figures


def _place(
    rng: np.random.Generator, size: int, whole: list[np.ndarray], seen: list[np.ndarray]
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """Choose a pose that leaves enough to be seen of the other figures, and make its mask."""
    for _ in range(TRIES):
        pose, scale = choose_pose(rng, size, SCALES)
        mask = np.zeros((size, size, 3), np.float32)
        paint_figure(np.random.default_rng(0), mask, pose, scale, (_white(size),) * 3)
        covered = mask[..., 0] > _HALF_COVERED
        if all(
            (part & ~covered).sum() >= LEAST_SEEN * all_of_it.sum()
            for part, all_of_it in zip(seen, whole, strict=True)
        ):
            return pose, scale, covered
    return None


def _silhouette(size: int, capsule: np.ndarray) -> np.ndarray:
    canvas = np.zeros((size, size, 3), np.float32)
    paint_capsule(canvas, *_white(size), *capsule)
    return canvas[..., 0] > _HALF_COVERED


def _white(size: int) -> Surface:
    return Surface(np.ones((size, size, 3), np.float32), np.ones(3, np.float32), 1.0, 0.0)


def _pixels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels in which points (P, 2) lie."""
    columns, rows = np.rint(points).astype(int).T
    return rows, columns
