"""Persons of a COCO-format data set, as torchvision's detectors want them, and their batches."""

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor

__all__ = ["Batches", "Persons"]

# COCO's spread of each keypoint among annotators, as a share of the person's size.
_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "head": 0.035,  # COCO has none: as an ear
    "neck": 0.079,  # nor a neck: as a shoulder
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}

Sample = tuple[Tensor, dict[str, Tensor]]


class Persons:
    """The images of one split that show persons.

    Parameters
    ----------
    folder : Path
        Holds ``annotations/person_keypoints_SPLIT*.json`` and, named by what stands for SPLIT*, the
        folder of its images, as COCO 2017 and `make_scenes.py` have them.
    split : {'train', 'val', 'test'}
        Which.

    Raises
    ------
    ValueError
        If there is no such file, it has no persons with keypoints, or a keypoint is unknown.
    """

    def __init__(self, folder: Path, split: str) -> None:
        found = sorted(folder.glob(f"annotations/person_keypoints_{split}*.json"))
        if not found:
            raise ValueError(
                f"{folder} has no annotations/person_keypoints_{split}*.json: name the folder of a"
                " COCO-format data set with --data"
            )
        self.images = folder / found[0].stem.removeprefix("person_keypoints_")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.coco = COCO(str(found[0]))
        except (KeyError, TypeError, AssertionError, ValueError) as error:
            raise ValueError(f"{found[0]}: not a COCO-format file ({error!r})") from error
        self.category = next((c for c in self.coco.cats.values() if c.get("keypoints")), None)
        if self.category is None:
            raise ValueError(f"{found[0]} has no category with keypoints")
        self.parts = [name.replace("_", " ") for name in self.category["keypoints"]]
        self.edges = [(a - 1, b - 1) for a, b in self.category.get("skeleton", [])]
        self.area_scale = float(self.coco.dataset.get("info", {}).get("area_scale", 1.0))
        self.ids = sorted({a["image_id"] for a in self.coco.anns.values() if _is_usable(a)})
        if not self.ids:
            raise ValueError(f"{found[0]} has no persons")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sigmas(self) -> np.ndarray:
        """The spread of each keypoint, for OKS."""
        unknown = [part for part in self.parts if part.split()[-1] not in _SIGMAS]
        if unknown:
            raise ValueError(f"OKS has no sigma of {unknown[0]!r}; known are {', '.join(_SIGMAS)}")
        return np.array([_SIGMAS[part.split()[-1]] for part in self.parts])

    def image(self, number: int) -> Tensor:
        """Image [3, H, W] of this number, in [0, 1]."""
        entry = self.coco.imgs[self.ids[number]]
        with Image.open(self.images / entry["file_name"]) as file:
            pixels = np.array(file.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def sample(self, number: int, flipped: bool = False) -> Sample:
        """An image and what torchvision's detectors learn from it, perhaps mirrored."""
        image = self.image(number)
        people = [a for a in self.coco.imgToAnns[self.ids[number]] if _is_usable(a)]
        boxes = torch.tensor([a["bbox"] for a in people], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        unlabelled = [0] * (3 * len(self.parts))
        points = [a.get("keypoints") or unlabelled for a in people]
        keypoints = torch.tensor(points, dtype=torch.float32).unflatten(1, (-1, 3))
        masks = torch.from_numpy(np.stack([self.coco.annToMask(a) for a in people]))
        if flipped:
            width = image.shape[-1]
            image, masks = image.flip(-1), masks.flip(-1)
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
            keypoints = keypoints[:, self._mirrored()]
            keypoints[..., 0] = width - keypoints[..., 0]
        labels = torch.ones(len(people), dtype=torch.int64)
        return image, {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints}

    def _mirrored(self) -> list[int]:
        """For each part, the part that a mirror makes of it."""
        swap = {"left": "right", "right": "left"}
        mirrored = (" ".join(swap.get(word, word) for word in p.split()) for p in self.parts)
        return [self.parts.index(part) for part in mirrored]


class Batches(torch.utils.data.Dataset):
    """The batches of a training, by the number of the step: each is a function of that number.

    Parameters
    ----------
    persons : Persons
    seed : int
        Of the order, and of which images are mirrored.
    size : int
        Images of one batch.
    rank, world : int
        Which of how many processes.
    """

    def __init__(self, persons: Persons, seed: int, size: int, rank: int = 0, world: int = 1):
        self.persons = persons
        self.seed = seed
        self.size = size
        self.rank = rank
        self.world = world

    def __getitem__(self, step: int) -> list[Sample]:
        first = (step * self.world + self.rank) * self.size
        return [self._sample(place) for place in range(first, first + self.size)]

    def _sample(self, place: int) -> Sample:
        epoch, rest = divmod(place, len(self.persons))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.persons))
        flipped = np.random.default_rng((self.seed, 1, place)).random() < 0.5
        return self.persons.sample(int(order[rest]), bool(flipped))


def _is_usable(annotation: dict) -> bool:
    """Whether it is a person with a box, and no crowd."""
    return not annotation.get("iscrowd") and min(annotation["bbox"][2:]) >= 1
