"""Read the persons of a COCO-format keypoint file, and score detections of them by OKS."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass, replace

import numpy as np

import mdn_cupy as mdn

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
    repeated : int
        How many entries of images and annotations stand there again, word for word. They count
        once, as published files have such.

    Raises
    ------
    ValueError
        If the file is no JSON, not of this format, has no persons with keypoints, or has two
        entries of the same id that differ.
    OSError
        If the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            dataset = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    try:
        return _read_persons(dataset)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def restrict(person, parts):
    """Return the same person, marked only where `parts` (17,) is true."""
    keypoints = person.keypoints * np.asarray(parts)[:, None]
    return replace(person, keypoints=keypoints)


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

    # Images and annotations get numbers of our own: pycocotools takes 0 for no match.
    images = dict.fromkeys(person.image["id"] for person in persons)
    numbers = {image: number for number, image in enumerate(images, start=1)}
    truth = [_truth(person) for person in persons]
    truth += [_ignored_truth(one) for image in images for one in ignored.get(image, [])]
    for number, one in enumerate(truth, start=1):
        one |= {"id": number, "image_id": numbers[one["image_id"]]}
    detections = [
        {
            "image_id": numbers[person.image["id"]],
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
            "images": [{"id": number} for number in numbers.values()],
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


def _read_persons(dataset):
    """Return what `load_persons` returns, of the file's content."""
    entries = _entries(dataset, "images")
    images = _read_images(entries)
    annotations, category = _entries(dataset, "annotations"), _person_category(dataset)
    persons, ignored, known, repeated = [], {}, {}, len(entries) - len(images)
    for number, annotation in enumerate(annotations, start=1):
        if category is not None and annotation.get("category_id", category) != category:
            continue
        try:
            if _is_repeated(annotation, known):
                repeated += 1
                continue
            person = _read_person(annotation, images)
        except ValueError as error:
            raise ValueError(f"annotation number {number}: {error}") from error
        if annotation.get("iscrowd") or not (person.keypoints[:, 2] > 0).any():
            ignored.setdefault(person.image["id"], []).append(annotation | {"area": person.area})
        else:
            persons.append(person)
    if not persons:
        raise ValueError(f"no persons with keypoints among {len(annotations)} annotations")
    order = {identity: place for place, identity in enumerate(images)}
    return sorted(persons, key=lambda person: order[person.image["id"]]), ignored, repeated


def _entries(dataset, name):
    """Return one of the file's lists of objects."""
    entries = dataset.get(name) if isinstance(dataset, dict) else None
    is_list = isinstance(entries, list)
    strange = [one for one in entries if not isinstance(one, dict)] if is_list else [entries]
    if strange:
        raise ValueError(
            f"not a COCO keypoint file, which has a list of objects as {name!r},"
            f" not {_short(strange[0])}"
        )
    return entries


def _read_images(entries):
    """Return the images, checked, by their ids."""
    if not entries:
        raise ValueError("'images' is empty")
    images = {}
    for number, image in enumerate(entries, start=1):
        try:
            _identity(image, "id")
            if not _is_repeated(image, images):
                _check_image(image)
        except ValueError as error:
            raise ValueError(f"image number {number}: {error}") from error
    return images


def _is_repeated(entry, known):
    """Return whether an entry has come before, word for word, and remember it."""
    identity = entry.get("id")  # annotations need none
    key = identity if _is_identity(identity) else (json.dumps(entry, sort_keys=True),)
    first = known.setdefault(key, entry)
    if first != entry:
        raise ValueError(f"the id {_short(identity)} is that of another entry, which differs")
    return first is not entry


def _check_image(image):
    """Raise ValueError that says what is wrong with an image's entry."""
    if not isinstance(_get(image, "file_name"), str) or not image["file_name"]:
        raise ValueError(f"file_name must be a text, got {_short(image['file_name'])}")
    for side in ("width", "height"):
        if side in image and not (_is_number(image[side]) and image[side] > 0):
            raise ValueError(f"{side} must be a number of pixels, got {_short(image[side])}")


def _read_person(annotation, images):
    """Return one annotation, checked; the area, where it has none, is that of its box."""
    identity = _identity(annotation, "image_id")
    if identity not in images:
        raise ValueError(f"no image has the id {_short(identity)}")
    keypoints = _numbers(annotation.get("keypoints", [0] * (3 * len(SPREAD))), 3 * len(SPREAD))
    if keypoints is None:
        raise ValueError(f"keypoints must be 3 × {len(SPREAD)} finite numbers")
    box = _numbers(_get(annotation, "bbox"), 4)
    if box is None or (box[2:] < 0).any():
        raise ValueError(
            f"bbox must be left, top, width and height, got {_short(annotation['bbox'])}"
        )
    area = annotation.get("area") or float(box[2] * box[3])
    if not _is_number(area) or area < 0:
        raise ValueError(f"area must be a number of pixels, got {_short(area)}")
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {_short(annotation['iscrowd'])}")
    return Person(images[identity], tuple(box.tolist()), keypoints.reshape(-1, 3), float(area))


def _person_category(dataset):
    """Id of the category whose keypoints are COCO's 17; None where the file names no categories."""
    if not dataset.get("categories"):
        return None
    categories = _entries(dataset, "categories")
    for category in categories:
        names = category.get("keypoints")
        if isinstance(names, list) and [str(name).replace("_", " ") for name in names] == list(
            mdn.adapters.POSENET_PARTS
        ):
            return _identity(category, "id", "the person's category: ")
    for category in categories:
        if category.get("name") == "person" and not category.get("keypoints"):
            return _identity(category, "id", "the person's category: ")
    raise ValueError("no category has COCO's 17 keypoints, from 'nose' to 'right_ankle'")


def _get(entry, key, of=""):
    if key not in entry:
        raise ValueError(f"{of}no {key!r}")
    return entry[key]


def _identity(entry, key, of=""):
    identity = _get(entry, key, of)
    if not _is_identity(identity):
        raise ValueError(f"{of}{key} must be a whole number, got {_short(identity)}")
    return identity


def _is_identity(value):
    return isinstance(value, (int, str))


def _is_number(value):
    """Return whether it is one that float64 can hold."""
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _numbers(value, count):
    """Return a list of so many finite numbers as an array; None if it is something else."""
    fits = isinstance(value, list) and len(value) == count and all(map(_is_number, value))
    return np.array(value, float) if fits else None


def _short(value):
    """Return how a value of any size is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
