"""Persons of a COCO-format data set, as torchvision's detectors want them, and their batches."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coco_file import (
    Person,
    entries_of,
    identity_of,
    is_number,
    is_repeated,
    read_image,
    read_images,
    read_json,
    read_person,
)
from pycocotools.coco import COCO
from torch import Tensor

__all__ = ["Batches", "Persons", "Sample"]

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

_FARTHEST = 100_000  # pixels, of a polygon's corners

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
    masks : bool
        Whether the persons' masks are wanted, too.

    Raises
    ------
    ValueError
        If there is no such file, it has no persons with keypoints, or something in it is wrong: it
        is checked whole, since a training would find out hours later.
    """

    def __init__(self, folder: Path, split: str, masks: bool = True) -> None:
        found = sorted(folder.glob(f"annotations/person_keypoints_{split}*.json"))
        if not found:
            raise ValueError(
                f"{folder} has no annotations/person_keypoints_{split}*.json: name the folder of a"
                " COCO-format data set with --data"
            )
        self.images = folder / found[0].stem.removeprefix("person_keypoints_")
        self.masks = masks
        dataset = read_json(found[0])
        try:
            self.coco = _index(dataset, masks)
        except ValueError as error:
            raise ValueError(f"{found[0]}: {error}") from error
        (self.category,) = self.coco.cats.values()
        self.parts = _parts(self.category)
        self.sigmas = np.array([_SIGMAS[_kind(part)] for part in self.parts])  # for OKS
        self.edges = [(a - 1, b - 1) for a, b in self.category["skeleton"]]
        self.area_scale = float(self.coco.dataset["info"]["area_scale"])
        self.ids = sorted({a["image_id"] for a in self.coco.anns.values() if _is_usable(a)})
        if not self.ids:
            raise ValueError(f"{found[0]} has no persons with a box")

    def __len__(self) -> int:
        return len(self.ids)

    def check_images(self, count: int | None = None) -> None:
        """Raise FileNotFoundError if a file of the first `count` images is not there."""
        for identity in self.ids[:count]:
            path = self.images / self.coco.imgs[identity]["file_name"]
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such file")

    def image(self, number: int) -> Tensor:
        """Image [3, H, W] of this number, in [0, 1]."""
        pixels = read_image(self.images, self.coco.imgs[self.ids[number]])
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def sample(self, number: int, flipped: bool = False) -> Sample:
        """An image and what torchvision's detectors learn from it, perhaps mirrored."""
        image = self.image(number)
        people = [a for a in self.coco.imgToAnns[self.ids[number]] if _is_usable(a)]
        corners = np.array([a["bbox"] for a in people], float)
        corners[:, 2:] += corners[:, :2]
        # A box of 1e300 pixels would end the process: torchvision reads beyond its features.
        boxes = torch.from_numpy(corners.clip(0, [*image.shape[:0:-1]] * 2)).float()
        if not (boxes[:, 2:] > boxes[:, :2]).all():
            name = self.coco.imgs[self.ids[number]]["file_name"]
            raise ValueError(f"{name}: a bbox is outside its image")
        keypoints = torch.tensor([a["keypoints"] for a in people], dtype=torch.float32)
        keypoints = keypoints.unflatten(1, (-1, 3))
        labels = torch.ones(len(people), dtype=torch.int64)
        if flipped:
            width = image.shape[-1]
            image = image.flip(-1)
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
            keypoints = keypoints[:, self._mirrored()]
            keypoints[..., 0] = width - keypoints[..., 0]
        target = {"boxes": boxes, "labels": labels, "keypoints": keypoints}
        if self.masks:
            masks = torch.from_numpy(np.stack([self._mask(a) for a in people]))
            target["masks"] = masks.flip(-1) if flipped else masks
        return image, target

    def _mask(self, annotation: dict) -> np.ndarray:
        try:
            return self.coco.annToMask(annotation)
        except Exception as error:  # whatever numbers of any kind make pycocotools raise
            image = self.coco.imgs[annotation["image_id"]]["file_name"]
            raise ValueError(f"{image}: a segmentation is not usable ({error})") from error

    def _mirrored(self) -> list[int]:
        """For each part, the part that a mirror makes of it."""
        return [self.parts.index(_mirror(part)) for part in self.parts]


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


def _index(dataset: Any, masks: bool) -> COCO:
    """Index a file's persons, each checked and there once; ValueError says what is wrong."""
    categories = entries_of(dataset, "categories")
    category = next((c for c in categories if c.get("keypoints")), None)
    if category is None:
        raise ValueError("no category has keypoints, as in COCO's person_keypoints_*.json")
    identity_of(category, "id", "category: ")
    parts = _parts(category)
    skeleton = category.get("skeleton") or []
    known = range(1, len(parts) + 1)
    for edge in skeleton if isinstance(skeleton, list) else [skeleton]:
        ends = edge if isinstance(edge, list) else []
        whole = all(isinstance(end, int) and end in known for end in ends)
        if not (len(ends) == 2 and whole and ends[0] != ends[1]):
            raise ValueError(f"skeleton must join parts 1 to {len(parts)} by twos, got {edge}")
    info = dataset.get("info") or {}
    scale = info.get("area_scale", 1.0) if isinstance(info, dict) else None
    if not (is_number(scale) and scale > 0):
        raise ValueError(f"info must be an object, its area_scale a number above 0, got {info}")
    images = read_images(entries_of(dataset, "images"))
    # Numbers of our own: pycocotools takes the texts of all where one is a text.
    order = sorted(images, key=lambda identity: (isinstance(identity, str), identity))
    numbers = {identity: number for number, identity in enumerate(order, start=1)}
    persons: list[dict] = []
    seen: dict = {}
    for number, annotation in enumerate(entries_of(dataset, "annotations"), start=1):
        if annotation.get("category_id", category["id"]) != category["id"]:
            continue
        try:
            if is_repeated(annotation, seen):
                continue
            person = read_person(annotation, images, len(parts))
            _check_place(annotation, person, masks)
        except ValueError as error:
            raise ValueError(f"annotation number {number}: {error}") from error
        persons.append(
            {
                "iscrowd": 0,
                **annotation,
                "id": len(persons) + 1,  # pycocotools takes 0 for no match
                "image_id": numbers[annotation["image_id"]],
                "category_id": category["id"],
                "area": person.area,
                "keypoints": person.keypoints.ravel().tolist(),
                "num_keypoints": int((person.keypoints[:, 2] > 0).sum()),
            }
        )
    coco = COCO()
    coco.dataset = {
        "info": info | {"area_scale": scale},
        "images": [{**image, "id": numbers[identity]} for identity, image in images.items()],
        "annotations": persons,
        "categories": [category | {"skeleton": skeleton}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _parts(category: dict) -> list[str]:
    """The keypoints' names, of which OKS has to know each, and a mirror has to keep all."""
    names = category["keypoints"]
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"keypoints of a category must be a list of names, got {names}")
    parts = [name.replace("_", " ") for name in names]
    for part in parts:
        if parts.count(part) > 1:
            raise ValueError(f"keypoints of a category name {part!r} twice")
        if _kind(part) not in _SIGMAS:
            raise ValueError(f"OKS has no sigma of {part!r}; known are {', '.join(_SIGMAS)}")
        if _mirror(part) not in parts:
            raise ValueError(f"keypoints have {part!r}, and no {_mirror(part)!r} for its mirror")
    return parts


def _kind(part: str) -> str:
    return part.rpartition(" ")[2]


def _mirror(part: str) -> str:
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in part.split(" "))


def _check_place(annotation: dict, person: Person, masks: bool) -> None:
    """Raise ValueError where a person is not in its image, or has no mask where one is wanted."""
    size = [person.image.get(side) for side in ("width", "height")]
    left, top, width, height = person.box
    if None not in size and not (-width < left < size[0] and -height < top < size[1]):
        raise ValueError(f"bbox {list(person.box)} is outside its image of {size[0]} × {size[1]}")
    if not masks:
        return
    outline = annotation.get("segmentation")
    polygons = (
        isinstance(outline, list)
        and outline
        and all(isinstance(it, list) and len(it) >= 6 and all(map(is_number, it)) for it in outline)
    )
    # Of 1e9 pixels, pycocotools would write beyond its memory.
    if polygons and max(abs(at) for polygon in outline for at in polygon) > _FARTHEST:
        raise ValueError(f"a polygon goes farther than {_FARTHEST} pixels")
    runs = isinstance(outline, dict) and {"size", "counts"} <= outline.keys()
    if not (polygons or runs):
        raise ValueError("no 'segmentation' of polygons or runs; train models without masks")
    if None in size:
        raise ValueError("its image has no width and height, which masks need")
    if runs and outline["size"] != size[::-1]:
        raise ValueError(f"runs of a size {outline['size']} for an image of {size[0]} × {size[1]}")


def _is_usable(annotation: dict) -> bool:
    """Whether it is a person with a box, and no crowd."""
    return not annotation.get("iscrowd") and min(annotation["bbox"][2:]) >= 1
