"""Persons of a COCO-format keypoint file: read, and judged by OKS."""

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np
import posenet

# Twice the spread of each keypoint among COCO's annotators, as a share of the person's size.
SPREAD = 2 * np.array(
    # nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
    [0.026, *np.repeat([0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], 2)]
)


@dataclass(frozen=True, eq=False)
class Person:
    """One annotated person; positions in pixels of the image."""

    image: dict  # the entry of its image in the file: id, file_name, perhaps width and height
    box: tuple  # left, top, width, height
    keypoints: np.ndarray  # (17, 3): x, y and visibility, 0 where a part is not marked
    area: float


def load_persons(path):
    """Read a COCO-format keypoint file.

    Parameters
    ----------
    path : path-like
        Such as ``person_keypoints_val2017.json``.

    Returns
    -------
    persons : list of Person
        Those with a marked keypoint, by image. Crowds are not among them.
    ignored : dict
        By the image's id, the annotations that COCO's evaluation ignores: crowds, and persons
        without keypoints. A detection that is matched to one of them is no error.

    Raises
    ------
    ValueError
        If the file is no JSON, not of this format, or has no persons with keypoints.
    OSError
        If the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            dataset = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    try:
        images = {image["id"]: image for image in dataset["images"]}
        for image in images.values():
            _ = image["file_name"]
        annotations, category = dataset["annotations"], _person_category(dataset)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a COCO keypoint file, which has 'images' (each with 'id' and 'file_name')"
            " and 'annotations'"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    persons, ignored = [], {}
    for number, annotation in enumerate(annotations):
        try:
            if category is not None and annotation.get("category_id", category) != category:
                continue
            person = _read_person(annotation, images)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{path}: annotation number {number + 1}: {reason}") from error
        if annotation.get("iscrowd", 0) or not (person.keypoints[:, 2] > 0).any():
            ignored.setdefault(person.image["id"], []).append(annotation | {"area": person.area})
        else:
            persons.append(person)
    if not persons:
        raise ValueError(f"{path}: no persons with keypoints among {len(annotations)} annotations")
    order = {identity: place for place, identity in enumerate(images)}
    return sorted(persons, key=lambda person: order[person.image["id"]]), ignored


def oks(person, points):
    """Object keypoint similarity of 17 points to a person's marked keypoints: 1 at best."""
    marked = person.keypoints[:, 2] > 0
    distance2 = ((points - person.keypoints[:, :2]) ** 2).sum(axis=1)
    return float(np.exp(-distance2 / (2 * person.area * SPREAD**2 + 1e-12))[marked].mean())


def average_precision(persons, ignored, found):
    """COCO's AP, AP50, AP75 and AR of one detection for every person, by pycocotools.

    Parameters
    ----------
    persons : list of Person
        All that were looked for.
    ignored : dict
        As `load_persons` returns it.
    found : list of (points, scores)
        For each person 17 points in pixels of the image, (17, 2), and their scores, (17,).

    Returns
    -------
    dict of str to float
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = dict.fromkeys(person.image["id"] for person in persons)
    truth = [_truth(person) for person in persons]
    truth += [_ignored_truth(one) for image in images for one in ignored.get(image, [])]
    for number, one in enumerate(truth, start=1):  # pycocotools takes the number 0 for no match
        one["id"] = number
    detections = [
        {
            "image_id": person.image["id"],
            "category_id": 1,
            "keypoints": np.column_stack([points, scores]).ravel().tolist(),
            "score": float(np.mean(scores)),
        }
        for person, (points, scores) in zip(persons, found, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in images],
            "annotations": truth,
            "categories": [{"id": 1, "name": "person"}],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(evaluation.stats[at]) for name, at in _STATS.items()}


_STATS = {"AP": 0, "AP50": 1, "AP75": 2, "AR": 5}  # where pycocotools keeps them


def _truth(person):
    return {
        "image_id": person.image["id"],
        "category_id": 1,
        "bbox": list(person.box),
        "area": person.area,
        "iscrowd": 0,
        "keypoints": person.keypoints.ravel().tolist(),
        "num_keypoints": int((person.keypoints[:, 2] > 0).sum()),
    }


def _ignored_truth(annotation):
    return {
        "image_id": annotation["image_id"],
        "category_id": 1,
        "bbox": annotation["bbox"],
        "area": annotation["area"],
        "iscrowd": int(annotation.get("iscrowd", 0)),
        "keypoints": [0] * (3 * len(SPREAD)),
        "num_keypoints": 0,
    }


def _read_person(annotation, images):
    """One annotation, checked; the area, where it has none, is that of its box."""
    if annotation["image_id"] not in images:
        raise ValueError(f"no image has the id {annotation['image_id']}")
    keypoints = np.array(annotation.get("keypoints", [0] * (3 * len(SPREAD))), float)
    if keypoints.shape != (3 * len(SPREAD),) or not np.isfinite(keypoints).all():
        raise ValueError(f"keypoints must be 3 × {len(SPREAD)} finite numbers")
    box = np.array(annotation["bbox"], float)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < 0).any():
        raise ValueError(f"bbox must be left, top, width and height, got {annotation['bbox']}")
    area = float(annotation.get("area") or box[2] * box[3])
    if not (np.isfinite(area) and area >= 0):
        raise ValueError(f"area must be a number of pixels, got {annotation['area']}")
    image = images[annotation["image_id"]]
    return Person(image, tuple(box.tolist()), keypoints.reshape(-1, 3), area)


def _person_category(dataset):
    """Id of the category whose keypoints are COCO's 17; None where the file names no categories."""
    categories = dataset.get("categories") or []
    if not categories:
        return None
    for category in categories:
        names = [name.replace("_", " ") for name in category.get("keypoints", [])]
        if names == list(posenet.PART_NAMES):
            return category["id"]
    for category in categories:
        if category.get("name") == "person" and not category.get("keypoints"):
            return category["id"]
    raise ValueError("no category has COCO's 17 keypoints, from 'nose' to 'right_ankle'")
