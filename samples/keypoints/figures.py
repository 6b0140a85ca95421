"""Articulated figures on photographs, with their joints: what the training sample trains on.

A figure faces the viewer and has thirteen parts. Its limbs are capsules with the textures of a
skin, a shirt and trousers, over a crop of a photograph; behind it lie limbs without a figure;
over it lie patches of other photographs, centred near a joint or a limb's middle. A part whose
joint is under a patch is hidden: only the others tell where it is.

Every picture is a function of its key alone, whatever was drawn before it.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from skimage import color, data

from keypoints.task import Batch

__all__ = [
    "EDGES",
    "PARTS",
    "SIZE",
    "SPLITS",
    "Surface",
    "choose_patches",
    "choose_pose",
    "draw",
    "draw_batch",
    "find_covered",
    "load_photographs",
    "make_garment",
    "paint_capsule",
    "paint_figure",
    "paint_stray_limb",
    "take_crop",
    "take_surface",
]

SIZE = 96
"""Height and width of a picture, in pixels."""

PARTS = (
    "head",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)

_HEAD = 0
_SHOULDERS, _ELBOWS, _WRISTS, _HIPS, _KNEES, _ANKLES = ((i, i + 1) for i in range(1, 13, 2))

_BONES = ((_SHOULDERS, _ELBOWS), (_ELBOWS, _WRISTS), (_HIPS, _KNEES), (_KNEES, _ANKLES))
_LIMBS = tuple((a[side], b[side]) for a, b in _BONES for side in (0, 1))
EDGES = (
    *_LIMBS,
    *((_SHOULDERS[side], _HIPS[side]) for side in (0, 1)),
    *((_HEAD, _SHOULDERS[side]) for side in (0, 1)),
    _SHOULDERS,
    _HIPS,
)
"""Pairs of parts that are joined: each can tell where the other is."""


class _Split(NamedTuple):
    number: int  # so that the same key gives other figures in another split
    photographs: tuple[str, ...]  # in scikit-image's wheel, without any download; no two share one


SPLITS = {
    "train": _Split(
        5, ("astronaut", "camera", "chelsea", "coins", "gravel", "immunohistochemistry", "moon")
    ),
    "validation": _Split(
        4, ("coffee", "hubble_deep_field", "brick", "rocket", "microaneurysms", "grass")
    ),
    "test": _Split(6, ("cell", "clock", "page", "retina", "stereo_motorcycle", "text")),
}

# Lengths of a figure of scale 1, in pixels.
_TORSO, _SHOULDER_WIDTH, _HIP_WIDTH, _NECK = 18.0, 13.0, 8.0, 8.5
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 12.0, 11.0, 15.0, 14.0
_HEAD_RADIUS, _TORSO_RADIUS, _ARM_RADIUS, _LEG_RADIUS = 4.5, 5.5, 2.2, 2.9
_MARGIN = 5.0  # between a joint and the border


class Surface(NamedTuple):
    """What a capsule is painted with: tint · (base + depth · texture)."""

    texture: np.ndarray  # (SIZE, SIZE, 3) float32
    tint: np.ndarray  # (3,) float32
    base: float
    depth: float


def draw_batch(split: str, seed: int, indices: Sequence[int]) -> Batch:
    """Draw pictures of one split.

    Parameters
    ----------
    split : {'train', 'validation', 'test'}
        Which photographs to use. The same seed and index give other figures in another split.
    seed : int
        Of the data set.
    indices : sequence of int
        Which pictures of the endless data set.

    Returns
    -------
    Batch

    Examples
    --------
    >>> batch = draw_batch("test", 0, range(2))
    >>> batch.pictures.shape, batch.joints.shape
    ((2, 96, 96, 3), (2, 13, 2))
    """
    drawn = [draw(split, (seed, index)) for index in indices]
    return Batch(*(np.stack(part) for part in zip(*drawn, strict=True)))


def draw(split: str, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one picture: (SIZE, SIZE, 3) colours, (P, 2) joints and (P,) whether hidden."""
    rng = np.random.default_rng((*key, SPLITS[split].number))
    photographs = load_photographs(split)
    canvas = take_crop(rng, photographs).copy()
    joints, scale = choose_pose(rng)
    skin, shirt, trousers, foreign = (make_garment(rng, photographs) for _ in range(4))

    for _ in range(rng.integers(1, 4)):
        garment = (skin, shirt, trousers, foreign)[rng.integers(4)]
        paint_stray_limb(rng, canvas, garment, scale)
    paint_figure(rng, canvas, joints, scale, (skin, shirt, trousers))
    patches = choose_patches(rng, joints, scale)
    for patch in patches:
        paint_capsule(canvas, *take_surface(rng, photographs), *patch)
    covered = find_covered(joints, patches)
    return canvas, joints.astype(np.float32), covered


def choose_pose(
    rng: np.random.Generator, size: int = SIZE, scales: tuple[float, float] = (0.8, 1.25)
) -> tuple[np.ndarray, float]:
    """Joints (P, 2) of a figure somewhere in a square picture, and its scale."""
    down = _direction(rng.uniform(-35, 35))
    left = np.array([down[1], -down[0]])  # the figure's left is the viewer's right
    outwards = np.array([1, -1])
    joints = np.empty((len(PARTS), 2))
    joints[_HEAD] = _turned(-down, rng.uniform(-20, 20)) * _NECK
    joints[_SHOULDERS[0]], joints[_SHOULDERS[1]] = (s * left * _SHOULDER_WIDTH / 2 for s in (1, -1))
    for side, sign in enumerate(outwards):
        joints[_HIPS[side]] = down * _TORSO + sign * left * _HIP_WIDTH / 2
        arm = _turned(down, -sign * rng.uniform(-15, 165))
        forearm = _turned(arm, -sign * rng.uniform(-60, 130))
        thigh = _turned(down, -sign * rng.uniform(-10, 60))
        shin = _turned(thigh, sign * rng.uniform(-30, 80))
        joints[_ELBOWS[side]] = joints[_SHOULDERS[side]] + _UPPER_ARM * arm
        joints[_WRISTS[side]] = joints[_ELBOWS[side]] + _FOREARM * forearm
        joints[_KNEES[side]] = joints[_HIPS[side]] + _THIGH * thigh
        joints[_ANKLES[side]] = joints[_KNEES[side]] + _SHIN * shin

    room = size - 1 - 2 * _MARGIN
    scale = min(rng.uniform(*scales), room / np.ptp(joints, axis=0).max())
    joints *= scale
    corner = _MARGIN + rng.uniform(0, 1, 2) * (room - np.ptp(joints, axis=0))
    return joints - joints.min(axis=0) + corner, scale


def paint_figure(
    rng: np.random.Generator,
    canvas: np.ndarray,
    joints: np.ndarray,
    scale: float,
    garments: tuple[Surface, Surface, Surface],
) -> None:
    """Paint a figure: legs, trunk, head, and the arms before or behind the trunk."""
    skin, shirt, trousers = garments
    arms_behind = rng.random(2) < 0.3

    def bone(a: int, b: int, surface: Surface, radius: float) -> None:
        paint_capsule(canvas, *surface, *joints[a], *joints[b], radius * scale)

    def arm(side: int) -> None:
        bone(_SHOULDERS[side], _ELBOWS[side], shirt, _ARM_RADIUS)
        bone(_ELBOWS[side], _WRISTS[side], skin, _ARM_RADIUS)

    for side in (0, 1):
        bone(_HIPS[side], _KNEES[side], trousers, _LEG_RADIUS)
        bone(_KNEES[side], _ANKLES[side], trousers, _LEG_RADIUS)
    for side in np.flatnonzero(arms_behind):
        arm(side)
    top, bottom = joints[list(_SHOULDERS)].mean(axis=0), joints[list(_HIPS)].mean(axis=0)
    bone(*_HIPS, trousers, _LEG_RADIUS)
    paint_capsule(canvas, *shirt, *top, *(top + 0.85 * (bottom - top)), _TORSO_RADIUS * scale)
    bone(*_SHOULDERS, shirt, _LEG_RADIUS)
    paint_capsule(canvas, *skin, *top, *joints[_HEAD], _ARM_RADIUS * scale)
    bone(_HEAD, _HEAD, skin, _HEAD_RADIUS)
    for side in np.flatnonzero(~arms_behind):
        arm(side)


def paint_stray_limb(
    rng: np.random.Generator, canvas: np.ndarray, surface: Surface, scale: float
) -> None:
    """Paint an arm or a leg without a figure."""
    radius = scale * rng.choice([_ARM_RADIUS, _LEG_RADIUS])
    a = rng.uniform(0, len(canvas), 2)
    direction = _direction(rng.uniform(-180, 180))
    b = a + scale * rng.uniform(11, 15) * direction
    c = b + scale * rng.uniform(11, 15) * _turned(direction, rng.uniform(-90, 90))
    paint_capsule(canvas, *surface, *a, *b, radius)
    paint_capsule(canvas, *surface, *b, *c, radius)


def choose_patches(rng: np.random.Generator, joints: np.ndarray, scale: float) -> np.ndarray:
    """Capsules (n, 5) that cover something of the figure: x0, y0, x1, y1 and radius."""
    centres = np.concatenate([joints, joints[list(map(list, _LIMBS))].mean(axis=1)])
    count = rng.integers(2, 5)
    centres = rng.choice(centres, count, replace=False) + rng.normal(0, 1.5, (count, 2))
    reach = np.stack([_direction(angle) for angle in rng.uniform(-180, 180, count)])
    reach *= rng.uniform(0, 6 * scale, (count, 1))
    radius = scale * rng.uniform(4.5, 8, (count, 1))
    return np.concatenate([centres - reach, centres + reach, radius], axis=1)


def find_covered(points: np.ndarray, capsules: np.ndarray) -> np.ndarray:
    """Whether each point (P, 2) lies within any of the capsules (n, 5)."""
    start, axis = capsules[:, :2], capsules[:, 2:4] - capsules[:, :2]
    away = points[:, None] - start
    along = (away * axis).sum(axis=-1) / np.maximum((axis**2).sum(axis=-1), 1e-9)
    distances = np.linalg.norm(away - along.clip(0, 1)[..., None] * axis, axis=-1)
    return (distances < capsules[:, 4]).any(axis=1)


def _direction(degrees: float) -> np.ndarray:
    """Unit vector (x, y) at an angle from straight down, positive towards the right."""
    angle = np.deg2rad(degrees)
    return np.array([np.sin(angle), np.cos(angle)])


def _turned(vector: np.ndarray, degrees: float) -> np.ndarray:
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return np.array([cosine * vector[0] - sine * vector[1], sine * vector[0] + cosine * vector[1]])


def make_garment(
    rng: np.random.Generator, photographs: tuple[np.ndarray, ...], size: int = SIZE
) -> Surface:
    """A colour, with the light and shade of a photograph."""
    tint = rng.uniform(0.1, 1, 3).astype(np.float32)
    return Surface(take_crop(rng, photographs, size), tint, 0.5, 0.6)


def take_surface(
    rng: np.random.Generator, photographs: tuple[np.ndarray, ...], size: int = SIZE
) -> Surface:
    """A photograph as it is."""
    return Surface(take_crop(rng, photographs, size), np.ones(3, np.float32), 0.0, 1.0)


def take_crop(
    rng: np.random.Generator, photographs: tuple[np.ndarray, ...], size: int = SIZE
) -> np.ndarray:
    """(size, size, 3) of a photograph, every pixel of it or every other."""
    photograph = photographs[rng.integers(len(photographs))]
    step = 2 if min(photograph.shape[:2]) >= 2 * size and rng.random() < 0.5 else 1
    row, column = (rng.integers(side - step * size + 1) for side in photograph.shape[:2])
    return photograph[row : row + step * size : step, column : column + step * size : step]


@cache
def load_photographs(split: str) -> tuple[np.ndarray, ...]:
    """The photographs of a split, (H, W, 3) float32 in [0, 1]."""
    loaded = (getattr(data, name)() for name in SPLITS[split].photographs)
    images = (it[0] if isinstance(it, tuple) else it for it in loaded)  # of two eyes, the left
    colours = (image if image.ndim == 3 else color.gray2rgb(image) for image in images)
    return tuple((image[..., :3] / np.float32(255)).astype(np.float32) for image in colours)


@numba.njit(cache=True)
def paint_capsule(canvas, texture, tint, base, depth, x0, y0, x1, y1, radius):
    """Paint a capsule (all points within `radius` of a segment), shaded towards its rim."""
    height, width = canvas.shape[:2]
    dx, dy = x1 - x0, y1 - y0
    scale = 1 / max(dx * dx + dy * dy, 1e-9)
    top, bottom = int(min(y0, y1) - radius - 1), int(max(y0, y1) + radius + 2)
    first, last = int(min(x0, x1) - radius - 1), int(max(x0, x1) + radius + 2)
    for row in range(max(top, 0), min(bottom + 1, height)):
        for column in range(max(first, 0), min(last + 1, width)):
            along = min(max(((column - x0) * dx + (row - y0) * dy) * scale, 0), 1)
            distance = np.hypot(column - x0 - along * dx, row - y0 - along * dy)
            cover = min(max(radius - distance + 0.5, 0), 1)
            shade = 1 - 0.25 * min(distance / radius, 1) ** 2
            for channel in range(3):
                painted = shade * tint[channel] * (base + depth * texture[row, column, channel])
                canvas[row, column, channel] += cover * (painted - canvas[row, column, channel])
