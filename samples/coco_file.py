"""COCO-format keypoint files, checked entry by entry, and the images they name.

Real photographs are grey, of inks, on their side, or missing; what cannot be used raises an error
that says why, so that an evaluation can leave it out and count it.
"""

import json
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True, eq=False)
class Person:
    """One annotated person; positions in pixels of the image."""

    image: dict  # the entry of its image in the file: id, file_name, perhaps width and height
    box: tuple  # left, top, width, height
    keypoints: np.ndarray  # (P, 3): x, y and visibility, 0 where a part is not marked
    area: float


def read_image(folder, image):
    """Read a photograph as 8-bit RGB, the way up that its annotations are.

    A camera's note that the picture lies on its side (EXIF) is heeded, unless the width and height
    in the annotation file say that the stored pixels are what was annotated.

    Parameters
    ----------
    folder : Path
        Where the images are.
    image : dict
        The entry of the image in the annotation file.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no image that can be read, or not of the size that the annotations are for.
    """
    path = folder / image["file_name"]
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as stored:
            upright = ImageOps.exif_transpose(stored)
            size = (image.get("width", upright.width), image.get("height", upright.height))
            if size not in (upright.size, stored.size):
                raise ValueError(f"is {stored.size}, annotated at {size}")
            chosen = upright if upright.size == size else stored
            return _to_rgb(chosen)
    except Exception as error:  # whatever a file of any content makes Pillow raise
        raise ValueError(f"{path}: not usable ({error})") from error


def _to_rgb(image):
    """Return the pixels (H, W, 3) of a Pillow image with 8 bits each, from any mode."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return np.array(image.convert("RGB"))
    values = np.array(image)  # Pillow would clip to 255 and not scale
    if image.mode == "F" or values.max() > 0xFFFF or values.min() < 0:
        raise ValueError("has more than 16 bits a pixel, of unknown range; save it with 8 or 16")
    return np.repeat((values // 257).astype(np.uint8)[..., None], 3, axis=2)


def read_json(path):
    """Return the content of a JSON file; ValueError if it is none."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error


def entries_of(dataset, name):
    """Return one of the file's lists of objects, such as 'images'."""
    entries = dataset.get(name) if isinstance(dataset, dict) else None
    is_list = isinstance(entries, list)
    strange = [one for one in entries if not isinstance(one, dict)] if is_list else [entries]
    if strange:
        raise ValueError(
            f"not a COCO keypoint file, which has a list of objects as {name!r},"
            f" not {_short(strange[0])}"
        )
    return entries


def read_images(entries):
    """Return the images, checked, by their ids."""
    if not entries:
        raise ValueError("'images' is empty")
    images = {}
    for number, image in enumerate(entries, start=1):
        try:
            identity_of(image, "id")
            if not is_repeated(image, images):
                _check_image(image)
        except ValueError as error:
            raise ValueError(f"image number {number}: {error}") from error
    return images


def is_repeated(entry, known):
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
        if side in image and not (is_number(image[side]) and image[side] > 0):
            raise ValueError(f"{side} must be a number of pixels, got {_short(image[side])}")


def read_person(annotation, images, parts):
    """Return one annotation, checked, of so many parts.

    Keypoints that it has not are not marked; the area that it has not is that of its box.

    Raises
    ------
    ValueError
        If something is wrong with it; the message says what.
    """
    identity = identity_of(annotation, "image_id")
    if identity not in images:
        raise ValueError(f"no image has the id {_short(identity)}")
    keypoints = _numbers(annotation.get("keypoints", [0] * (3 * parts)), 3 * parts)
    if keypoints is None:
        raise ValueError(f"keypoints must be 3 × {parts} finite numbers")
    box = _numbers(_get(annotation, "bbox"), 4)
    if box is None or (box[2:] < 0).any():
        raise ValueError(
            f"bbox must be left, top, width and height, got {_short(annotation['bbox'])}"
        )
    area = annotation.get("area") or float(box[2] * box[3])
    if not is_number(area) or area < 0:
        raise ValueError(f"area must be a number of pixels, got {_short(area)}")
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {_short(annotation['iscrowd'])}")
    return Person(images[identity], tuple(box.tolist()), keypoints.reshape(-1, 3), float(area))


def _get(entry, key, of=""):
    if key not in entry:
        raise ValueError(f"{of}no {key!r}")
    return entry[key]


def identity_of(entry, key, of=""):
    """Return an entry's id under `key`, checked."""
    identity = _get(entry, key, of)
    if not _is_identity(identity):
        raise ValueError(f"{of}{key} must be a whole number, got {_short(identity)}")
    return identity


def _is_identity(value):
    return isinstance(value, (int, str))


def is_number(value):
    """Return whether it is one that float64 can hold."""
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _numbers(value, count):
    """Return a list of so many finite numbers as an array; None if it is something else."""
    fits = isinstance(value, list) and len(value) == count and all(map(is_number, value))
    return np.array(value, float) if fits else None


def _short(value):
    """Return how a value of any size is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
