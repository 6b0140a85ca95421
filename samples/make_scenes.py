"""Make a COCO-format data set of figures that hide each other, with boxes, masks and keypoints.

Each scene shows one to four articulated figures of 13 parts, some hidden by others or by patches,
over crops of the photographs that come with scikit-image. Training, validation and test have
different photographs. The same arguments make the same files.

Into the folder go
  annotations/person_keypoints_SPLIT.json   in COCO's format, for SPLIT train, val and test
  SPLIT/*.png                               the scenes

Boxes, masks and keypoints are exact: pixel i spans [i, i + 1), and a hidden keypoint has the
visibility 1. COCO's limits between small, medium and large persons are for pictures 640 pixels
wide; info.area_scale in the files says by how much areas are smaller here.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from keypoints.figures import EDGES, PARTS
from persons.scenes import Figure, draw_scene
from PIL import Image
from pycocotools import mask as masks
from tqdm import tqdm

from mdn_cupy import console
from mdn_cupy.files import replacing

SIZES = (64, 172)  # least and most
COCO_WIDTH = 640
COUNTS = {"train": 2000, "val": 200, "test": 400}
_SPLIT = {"train": "train", "val": "validation", "test": "test"}  # as keypoints.figures has them


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    return console.run(parser.prog, lambda: _main(parser, arguments), (OSError,))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    if not SIZES[0] <= options.size <= SIZES[1]:
        parser.error(f"--size must be from {SIZES[0]} to {SIZES[1]}, got {options.size}")
    counts = {split: getattr(options, split) for split in COUNTS}
    for split, count in counts.items():
        if count < 1:
            parser.error(f"--{split} must be at least 1, got {count}")
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, got {options.seed}")
    figures = make_scenes(options.folder, counts, options.size, options.seed)
    console.say(parser.prog, f"{sum(counts.values())} scenes, {figures} figures: {options.folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python samples/make_scenes.py scenes --size 128",
    )
    add = parser.add_argument
    add("folder", type=Path, help="where to write to")
    add("--size", type=int, default=128, help="height and width in pixels (default: %(default)s)")
    for split, count in COUNTS.items():
        add(f"--{split}", type=int, default=count, metavar="N", help=f"scenes (default: {count})")
    add("--seed", type=int, default=0, help="of the scenes (default: %(default)s)")
    return parser


def make_scenes(folder: Path, counts: dict[str, int], size: int, seed: int) -> int:
    """Write the data set; returns how many figures it has."""
    total = 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number in tqdm(range(count), desc=split):
            image, figures = draw_scene(_SPLIT[split], (seed, number), size)
            name = f"{number:06}.png"
            Image.fromarray(image).save(folder / split / name)
            images.append({"id": number + 1, "file_name": name, "width": size, "height": size})
            for figure in figures:
                annotations.append(_annotation(figure, number + 1, len(annotations) + 1))
        _write(folder / "annotations" / f"person_keypoints_{split}.json", images, annotations, size)
        total += len(annotations)
    return total


def _annotation(figure: Figure, image: int, number: int) -> dict:
    rows, columns = np.nonzero(figure.mask)
    left, top = int(columns.min()), int(rows.min())
    runs = masks.encode(np.asfortranarray(figure.mask.astype(np.uint8)))
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
        "area": len(rows),
        "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
        "keypoints": figure.keypoints.round(2).ravel().tolist(),
        "num_keypoints": len(figure.keypoints),
    }


def _write(path: Path, images: list[dict], annotations: list[dict], size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    category = {
        "id": 1,
        "name": "person",
        "keypoints": [part.replace(" ", "_") for part in PARTS],
        "skeleton": [[a + 1, b + 1] for a, b in EDGES],
    }
    content = {
        "info": {
            "description": "figures over scikit-image's photographs",
            "area_scale": (size / COCO_WIDTH) ** 2,
        },
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }
    with replacing(path) as file:
        file.write(json.dumps(content).encode())


if __name__ == "__main__":
    raise SystemExit(main())
