"""Persons in photographs, with their joints: Leeds Sports Pose Extended.

10,000 photographs of athletes with 14 joints each, of which 123,213 are marked (S. Johnson and
M. Everingham, Learning Effective Human Pose Estimation from Inaccurate Annotation, CVPR 2011). The
marks were made by many hands, and some are wrong. The photographs come without a licence: they are
read from a folder of the user's and are no part of this project.

A person is cut out by the box around the marked joints, in training with chance in place, size,
angle and light. Like those of `figures`, every picture is a function of its key alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from keypoints.task import Batch

__all__ = ["EDGES", "PARTS", "SIZE", "SPLITS", "LeedsSportsPose", "torso_lengths"]

SIZE = 192
"""Height and width of a picture, in pixels."""

PARTS = (
    "right ankle",
    "right knee",
    "right hip",
    "left hip",
    "left knee",
    "left ankle",
    "right wrist",
    "right elbow",
    "right shoulder",
    "left shoulder",
    "left elbow",
    "left wrist",
    "neck",
    "head top",
)

EDGES = (
    *((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11)),  # limbs
    *((2, 3), (2, 8), (3, 9), (8, 12), (9, 12), (12, 13)),  # trunk
)
"""Pairs of parts that are joined: each can tell where the other is."""

SPLITS = {"train": range(8000), "validation": range(8000, 9000), "test": range(9000, 10_000)}
"""Photographs of each split, in the data set's order, counted from 0."""

_MIRRORED = [PARTS.index(_other) for _other in (
    name.replace("left", "*").replace("right", "left").replace("*", "right") for name in PARTS
)]  # fmt: skip
_SHOULDERS, _HIPS = ((PARTS.index("left shoulder"), PARTS.index("right shoulder")),
                     (PARTS.index("left hip"), PARTS.index("right hip")))  # fmt: skip

_MARGIN = 1.5  # of the picture, times the longer side of the box around the joints
_SMALLEST = 30.0  # side of that box, in pixels: two marked joints may be close together


class LeedsSportsPose:
    """The data set in a folder.

    Parameters
    ----------
    folder : Path
        Holds `joints.mat` and `images/im00001.jpg` to `im10000.jpg`.

    Raises
    ------
    ValueError
        If it holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "joints.mat"
        if not path.is_file():
            raise ValueError(
                f"{path} is missing; --data names the folder of Leeds Sports Pose Extended, with"
                " joints.mat and images/im00001.jpg to im10000.jpg"
            )
        try:
            joints = np.asarray(loadmat(path)["joints"], np.float64)
            if joints.ndim != 3 or joints.shape[:2] != (len(PARTS), 3):
                raise ValueError(f"'joints' has the shape {joints.shape}")
        except Exception as error:  # scipy raises whatever a file of any content makes it
            raise ValueError(
                f"{path} is not that of Leeds Sports Pose Extended, (14, 3, 10000) joints: {error}"
            ) from error
        if joints.shape[2] < SPLITS["test"].stop:
            raise ValueError(f"{path} must have 10000 photographs, got {joints.shape[2]}")
        marked = joints[:, 2] > 0
        # Marks count from 1, as in MATLAB.
        self.joints = np.where(marked[:, None], joints[:, :2] - 1, np.nan).transpose(2, 0, 1)
        # Of fewer joints, a box is no box around a person.
        usable = marked.sum(axis=0) >= 4
        self._indices = {name: [i for i in split if usable[i]] for name, split in SPLITS.items()}

    def count(self, split: str) -> int:
        """How many photographs a split has."""
        return len(self._indices[split])

    def draw(self, split: str, seed: int, indices: Sequence[int]) -> Batch:
        """Cut persons out of the photographs of a split.

        In training, an index is that of a picture of an endless, random sequence; else, of a
        photograph.
        """
        drawn = [self._draw(split, seed, index) for index in indices]
        pictures, joints = (np.stack(part) for part in zip(*drawn, strict=True))
        return Batch(pictures, joints, np.zeros(joints.shape[:2], bool))

    def _draw(self, split: str, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        if split != "train":
            which = self._indices[split][index]
            return _cut_out(self._read(which), self.joints[which], _straight(self.joints[which]))
        rng = np.random.default_rng((seed, index))
        which = self._indices[split][rng.integers(self.count(split))]
        joints = self.joints[which]
        picture, joints = _cut_out(self._read(which), joints, _by_chance(rng, joints))
        if rng.random() < 0.5:
            picture, joints = _mirrored(picture, joints)
        if rng.random() < 0.5:
            _blacken(rng, picture, joints)
        return _relight(rng, picture), joints

    def _read(self, which: int) -> Image.Image:
        path = self.folder / "images" / f"im{which + 1:05}.jpg"
        try:
            with Image.open(path) as photograph:
                return photograph.convert("RGB")
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def torso_lengths(joints: np.ndarray) -> np.ndarray:
    """Distance (N,) of a shoulder and the opposite hip, of joints (N, P, 2); NaN where not marked.

    The left shoulder's, or else the right one's.
    """
    left, right = (
        np.linalg.norm(joints[:, _SHOULDERS[i]] - joints[:, _HIPS[1 - i]], axis=-1) for i in (0, 1)
    )
    return np.where(np.isnan(left), right, left)


def _straight(joints: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) from a picture's pixels to the photograph's, around the joints' box."""
    centre, side = _box(joints)
    return _placed(centre, _MARGIN * side / SIZE, 0.0)


def _by_chance(rng: np.random.Generator, joints: np.ndarray) -> np.ndarray:
    """The same, moved, resized and turned."""
    centre, side = _box(joints)
    side *= np.exp(rng.uniform(-0.2, 0.25))
    return _placed(
        centre + rng.uniform(-0.08, 0.08, 2) * side,
        _MARGIN * side / SIZE,
        np.deg2rad(rng.normal(0, 15)),
    )


def _box(joints: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and longer side of the box around the marked joints."""
    low, high = np.nanmin(joints, axis=0), np.nanmax(joints, axis=0)
    return (low + high) / 2, max(float((high - low).max()), _SMALLEST)


def _placed(centre: np.ndarray, scale: float, angle: float) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, centre - turn @ np.full(2, (SIZE - 1) / 2)])


def _cut_out(
    photograph: Image.Image, joints: np.ndarray, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A picture (S, S, 3), black beyond the photograph, and the joints (P, 2) in it."""
    turn, shift = matrix[:, :2], matrix[:, 2]
    scale = np.sqrt(np.linalg.det(turn))
    if scale > 2:  # Pillow takes 2 × 2 pixels for one of the picture's
        shrink = int(scale)
        photograph = photograph.reduce(shrink)
        matrix = np.column_stack([turn, shift + 0.5 - shrink / 2]) / shrink
    # Pillow's pixels have their centres at halves.
    halves = matrix[:, 2] + 0.5 - matrix[:, :2] @ [0.5, 0.5]
    data = np.column_stack([matrix[:, :2], halves]).ravel().tolist()
    cut = photograph.transform(
        (SIZE, SIZE), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
    )
    placed = np.linalg.solve(turn, (joints - shift).T).T
    return np.asarray(cut, np.float32) / 255, placed.astype(np.float32)


def _mirrored(picture: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left becomes right, in the names too."""
    joints = joints[_MIRRORED]
    joints[:, 0] = SIZE - 1 - joints[:, 0]
    return picture[:, ::-1].copy(), joints


def _blacken(rng: np.random.Generator, picture: np.ndarray, joints: np.ndarray) -> None:
    """Paint black what is beyond a margin around the joints, as `person_cutouts` does."""
    low, high = np.nanmin(joints, axis=0), np.nanmax(joints, axis=0)
    margin = rng.uniform(0.15, 0.4, (2, 2)) * (high - low) + 10
    (left, top), (right, bottom) = (
        np.clip(it, 0, SIZE).round().astype(int) for it in (low - margin[0], high + margin[1])
    )
    keep = picture[top:bottom, left:right].copy()
    picture[:] = 0
    picture[top:bottom, left:right] = keep


def _relight(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Another exposure, contrast and colour, a little; black stays black."""
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    lit: np.ndarray = (gain * picture ** rng.uniform(0.8, 1.25)).clip(0, 1)
    return lit.astype(np.float32)
