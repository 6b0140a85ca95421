"""Read the persons of a COCO-format keypoint file, and score detections of them by OKS."""

import contextlib
import io
from dataclasses import replace

import numpy as np
from coco_file import entries_of, identity_of, is_repeated, read_images, read_json, read_person

import mdn_cupy as mdn

# Twice the spread of each keypoint among COCO's annotators, as a share of the person's size.
SPREAD = 2 * np.array(
    # nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
    [0.026, *np.repeat([0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], 2)]
)


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
    dataset = read_json(path)
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
    entries = entries_of(dataset, "images")
    images = read_images(entries)
    annotations, category = entries_of(dataset, "annotations"), _person_category(dataset)
    persons, ignored, known, repeated = [], {}, {}, len(entries) - len(images)
    for number, annotation in enumerate(annotations, start=1):
        if category is not None and annotation.get("category_id", category) != category:
            continue
        try:
            if is_repeated(annotation, known):
                repeated += 1
                continue
            person = read_person(annotation, images, len(SPREAD))
        except ValueError as error:
            raise ValueError(f"annotation number {number}: {error}") from error
        if annotation.get("iscrowd") or not (person.keypoints[:, 2] > 0).any():
            ignored.setdefault(person.image["id"], []).append(annotation | {"area": person.area})
        else:
            persons.append(person)
    if not persons:
        raise ValueError(
            f"no persons with keypoints among {len(annotations)} annotations; COCO has them in"
            " person_keypoints_*.json, not in instances_*.json"
        )
    order = {identity: place for place, identity in enumerate(images)}
    return sorted(persons, key=lambda person: order[person.image["id"]]), ignored, repeated


def _person_category(dataset):
    """Id of the category whose keypoints are COCO's 17; None where the file names no categories."""
    if not dataset.get("categories"):
        return None
    categories = entries_of(dataset, "categories")
    for category in categories:
        names = category.get("keypoints")
        if isinstance(names, list) and [str(name).replace("_", " ") for name in names] == list(
            mdn.adapters.POSENET_PARTS
        ):
            return identity_of(category, "id", "the person's category: ")
    for category in categories:
        if category.get("name") == "person" and not category.get("keypoints"):
            return identity_of(category, "id", "the person's category: ")
    raise ValueError("no category has COCO's 17 keypoints, from 'nose' to 'right_ankle'")
