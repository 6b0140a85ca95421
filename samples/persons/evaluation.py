"""COCO's AP and AR of a detector, and the paper's tables."""

import contextlib
import io
import json
from collections.abc import Sequence
from statistics import mean, pstdev
from typing import Any

import numpy as np
import torch
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from persons.dataset import Persons
from persons.models import MODELS

__all__ = ["COLUMNS", "evaluate", "make_tables"]

COLUMNS = {
    "bbox": ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_M", "AR_L"),
    "segm": ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_M", "AR_L"),
    "keypoints": ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L"),
}
_PLACES = {  # of the columns, among pycocotools' figures
    "bbox": (0, 1, 2, 4, 5, 6, 7, 8, 10, 11),
    "segm": (0, 1, 2, 4, 5, 6, 7, 8, 10, 11),
    "keypoints": tuple(range(10)),
}
_TITLES = {
    "bbox": "Boxes (the paper's Table 1)",
    "segm": "Masks (the paper's Table 2)",
    "keypoints": "Keypoints (AP and AR of OKS, at most 20 detections)",
}
_PAPER = {
    "bbox": {
        "boxes": (51.5, 82.5, 55.0, 59.4, 68.5, 18.2, 52.2, 59.8, 66.9, 76.3),
        "boxes-masks": (52.2, 83.1, 55.9, 59.8, 69.7, 18.4, 52.8, 60.4, 66.9, 77.2),
        "boxes-keypoints": (51.6, 81.4, 55.3, 60.1, 69.7, 18.3, 52.4, 60.0, 67.4, 77.0),
        "boxes-keypoints-mdn": (52.0, 81.8, 55.9, 60.7, 70.0, 18.5, 52.9, 60.3, 67.7, 77.3),
        "boxes-masks-keypoints": (51.7, 81.6, 55.6, 60.1, 69.8, 18.4, 52.6, 60.3, 67.6, 77.2),
        "boxes-masks-keypoints-mdn": (52.2, 81.6, 56.4, 60.6, 71.1, 18.7, 53.3, 61.0, 68.1, 78.3),
    },
    "segm": {
        "boxes-masks": (44.8, 79.4, 45.9, 50.5, 64.4, 16.7, 47.0, 53.3, 59.4, 70.7),
        "boxes-masks-keypoints": (45.0, 78.5, 47.3, 51.4, 65.2, 16.8, 47.3, 53.8, 60.6, 71.4),
        "boxes-masks-keypoints-mdn": (45.6, 78.3, 48.1, 52.0, 66.1, 17.0, 48.1, 54.5, 61.3, 72.3),
    },
    "keypoints": {},
}
_BATCH = 8  # images at a time

Measures = dict[str, dict[str, float]]  # per cent, by kind and column


@torch.inference_mode()
def evaluate(
    model: nn.Module, persons: Persons, device: torch.device, count: int | None = None
) -> Measures:
    """Judge a detector by the first images of a data set; all of them by default.

    Returns
    -------
    dict of str to dict of str to float
        Per cent of each column, for bbox, and for segm and keypoints where the model has them; −1
        where no person has that size.
    """
    model.eval()
    numbers = range(len(persons) if count is None else min(count, len(persons)))
    detections: dict[str, list[dict[str, Any]]] = {}
    for first in range(0, len(numbers), _BATCH):
        chosen = numbers[first : first + _BATCH]
        found = model([persons.image(number).to(device) for number in chosen])
        for number, result in zip(chosen, found, strict=True):
            for kind, entries in _entries(persons, number, result).items():
                detections.setdefault(kind, []).extend(entries)
    images = [persons.ids[number] for number in numbers]
    return {kind: _judge(persons, kind, entries, images) for kind, entries in detections.items()}


def make_tables(results: dict[str, list[Measures]]) -> str:
    """Lay out, as Markdown, what models (their measures, a seed each) and the paper found."""
    tables = []
    for kind, columns in COLUMNS.items():
        rows = {model: [m[kind] for m in found if kind in m] for model, found in results.items()}
        rows = {model: found for model, found in rows.items() if found}
        if not rows:
            continue
        heading = ["method", *columns]
        lines = [f"**{_TITLES[kind]}**", "", _row(heading), _row(["---"] * len(heading))]
        for model, found in rows.items():
            lines.append(_row([MODELS[model], *(_cell([m[c] for m in found]) for c in columns)]))
            if model in _PAPER[kind]:
                lines.append(_row(["*paper*", *(f"*{x:.1f}*" for x in _PAPER[kind][model])]))
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def _entries(persons: Persons, number: int, result: dict) -> dict[str, list[dict[str, Any]]]:
    """The detections of one image, in COCO's format, by kind."""
    common = {"image_id": persons.ids[number], "category_id": persons.category["id"]}
    result = {name: value.cpu() for name, value in result.items()}
    corners = result["boxes"].numpy()
    boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    scored = [{**common, "score": score} for score in result["scores"].tolist()]
    entries = {"bbox": [{**s, "bbox": box} for s, box in zip(scored, boxes, strict=True)]}
    if "masks" in result:
        covered = (result["masks"][:, 0] >= 0.5).numpy().astype(np.uint8)
        runs = [masks.encode(np.asfortranarray(mask)) for mask in covered]
        entries["segm"] = [
            {**s, "segmentation": {**run, "counts": run["counts"].decode()}}
            for s, run in zip(scored, runs, strict=True)
        ]
    if "keypoints" in result:
        points = result["keypoints"].flatten(1).tolist()
        entries["keypoints"] = [{**s, "keypoints": p} for s, p in zip(scored, points, strict=True)]
    return entries


def _judge(
    persons: Persons, kind: str, entries: list[dict[str, Any]], images: list[int]
) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        found = persons.coco.loadRes(json.loads(json.dumps(entries))) if entries else COCO()
        evaluation = COCOeval(persons.coco, found, kind)
        evaluation.params.imgIds = images
        evaluation.params.catIds = [persons.category["id"]]
        evaluation.params.areaRng = [
            [low * persons.area_scale, high * persons.area_scale]
            for low, high in evaluation.params.areaRng
        ]
        if kind == "keypoints":
            evaluation.params.kpt_oks_sigmas = persons.sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(evaluation.stats[place]) for place in _PLACES[kind]]
    return {c: 100 * s if s >= 0 else -1.0 for c, s in zip(COLUMNS[kind], stats, strict=True)}


def _cell(values: Sequence[float]) -> str:
    if min(values) < 0:
        return "–"
    spread = f" ± {pstdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
