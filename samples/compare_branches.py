"""Compare what the branches of Mask R-CNN do to each other, in the models of train_mask_rcnn.py.

Average precision says which model is better, and not why. Of every finished training in a folder,
this prints a row of each of four tables:

  boxes      the loss of the boxes in the last steps, and its difference from the first model of the
             same seed on the same images, with the standard error that the images make; as long as
             a training has seen no image twice, they are new to it
  backbone   the share of each loss in a step of the backbone: the gradient of the loss in the units
             of Adam (each weight's by the root of its second moment), projected on the sum's
  keypoints  found in the true boxes of validation: the share within 0.05, 0.1 and 0.2 of the box's
             size (the root of its area), of those seen and of those hidden
  masks      their mean intersection over union with the true ones, in the true boxes of validation
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from persons.dataset import Batches, Persons
from persons.models import MODELS, Settings, make_model
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import (
    keypointrcnn_inference,
    maskrcnn_inference,
    paste_masks_in_image,
)
from tqdm import tqdm

from mdn_cupy import console
from mdn_cupy.torch.voted_keypoints import RegionKeypointHead

LOSSES = {
    "boxes": ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"),
    "masks": ("loss_mask",),
    "keypoints": ("loss_keypoint",),
    "offsets": ("loss_offsets",),
}
LAST = 0.4  # of the steps
BATCHES = 24  # of two images, for the gradients
DISTANCES = (0.05, 0.1, 0.2)
FOUND = [f"{kind} {distance}" for kind in ("seen", "hidden") for distance in DISTANCES]
SECOND_MOMENT = 0.999  # Adam's


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python samples/compare_branches.py --data scenes --runs runs",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add("--runs", type=Path, required=True, metavar="DIR", help="--out of train_mask_rcnn.py")
    add("--images", type=int, default=100, metavar="N", help="of validation (default: %(default)s)")
    return console.run(parser.prog, lambda: _main(parser, arguments), (OSError, ValueError))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    if options.images < 1:
        parser.error(f"--images must be at least 1, got {options.images}")
    torch.set_num_threads(1)
    trained = _trained(options.runs)
    if not trained:
        raise ValueError(f"{options.runs} has no finished training of train_mask_rcnn.py")
    persons = Persons(options.data, "val", any("masks" in path.stem for path in trained))
    rows = [_compare(path, persons, options.images) for path in tqdm(trained, unit="model")]
    headings = (
        ("model", "boxes' loss", "difference"),
        ("model", *LOSSES),
        ("model", *FOUND),
        ("model", "masks' mean IoU"),
    )
    tables = (
        "\n".join(map(row, (heading, ["---"] * len(heading), *(r for r in own if r))))
        for heading, own in zip(headings, zip(*rows, strict=True), strict=True)
    )
    console.say(parser.prog, "\n\n".join(tables))
    return 0


def _trained(runs: Path) -> list[Path]:
    """Checkpoints of the finished trainings, by seed and in the paper's order."""
    seeds = sorted({int(path.stem.rpartition("-")[2]) for path in runs.glob("*-*.json")})
    paths = (runs / f"{model}-{seed}.json" for seed in seeds for model in MODELS)
    return [path.with_suffix(".pt") for path in paths if path.exists()]


def _compare(path: Path, persons: Persons, images: int) -> tuple[list[str] | None, ...]:
    """A training's rows of the three tables."""
    state = torch.load(path, weights_only=True)
    settings = Settings(**state["settings"])
    if settings.size != "small":
        raise ValueError(f"{path} was trained by SGD; this compares what Adam does (--size small)")
    model = make_model(settings, len(persons.parts), persons.edges)
    model.load_state_dict(state["model"])
    first = next(p for m in MODELS if (p := path.with_stem(f"{m}-{settings.seed}")).exists())
    shares = _shares(model, Batches(persons, 0, 2), state["optimizer"])
    keypoints = None
    if "keypoints" in settings.model:
        keypoints = [path.stem, *(f"{100 * s:.1f}" for s in _found(model, persons, images))]
    masks = None
    if "masks" in settings.model:
        masks = [path.stem, f"{_mask_iou(model, persons, images):.2f}"]
    return (
        [path.stem, *_paired(path.with_suffix(".jsonl"), first.with_suffix(".jsonl"))],
        [path.stem, *(f"{100 * shares[n]:.0f} %" if n in shares else "–" for n in LOSSES)],
        keypoints,
        masks,
    )


def _paired(log: Path, first: Path) -> list[str]:
    """Mean loss of the boxes in the last steps, and the difference from another training's."""
    own, other = _box_losses(log), _box_losses(first)
    if log == first or len(own) != len(other):
        return [f"{own.mean():.3f}", "–"]
    away = own - other
    return [f"{own.mean():.3f}", f"{away.mean():+.3f} ± {away.std() / math.sqrt(len(away)):.3f}"]


def _box_losses(log: Path) -> Tensor:
    lines = map(json.loads, log.read_text().splitlines())
    steps = {line["step"]: sum(line[name] for name in LOSSES["boxes"]) for line in lines}
    first = round((1 - LAST) * max(steps))
    return torch.tensor([loss for step, loss in sorted(steps.items()) if step > first])


def _shares(model: nn.Module, batches: Batches, optimizer: dict[str, Any]) -> dict[str, float]:
    """The share of each loss in what Adam does to the backbone's weights, a mean of batches."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    chosen = [number for number, (name, _) in enumerate(named) if name.startswith("backbone.")]
    weights = [named[number][1] for number in chosen]
    moments = [optimizer["state"][number] for number in chosen]
    roots = [(m["exp_avg_sq"] / (1 - SECOND_MOMENT ** m["step"])).sqrt() + 1e-8 for m in moments]
    model.train()
    shares: dict[str, float] = {}
    for number in range(BATCHES):
        torch.manual_seed(number)
        images, targets = zip(*batches[number], strict=True)
        losses = model(list(images), list(targets))
        steps = {}
        for name, parts in LOSSES.items():
            if not losses.keys() >= {*parts}:
                continue
            total = sum(losses[part] for part in parts)
            slopes = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
            steps[name] = torch.cat(
                [
                    (torch.zeros_like(root) if slope is None else slope / root).flatten()
                    for slope, root in zip(slopes, roots, strict=True)
                ]
            )
        whole = sum(steps.values())
        for name, step in steps.items():
            share = (step @ whole / (whole @ whole)).item()
            shares[name] = shares.get(name, 0.0) + share / BATCHES
    return shares


@torch.inference_mode()
def _found(model: Any, persons: Persons, count: int) -> list[float]:
    """The shares of the keypoints found, in the true boxes, within each distance."""
    model.eval()
    heads = model.roi_heads
    pool = getattr(heads, "region_pool", heads.keypoint_roi_pool)
    found, boxes, keypoints = [], [], []
    for number in range(min(count, len(persons))):
        image, target = persons.sample(number)
        images, (target,) = model.transform([image], [target])
        regions = pool(model.backbone(images.tensors), [target["boxes"]], images.image_sizes)
        features = heads.keypoint_head(regions)
        found.append(locate(heads.keypoint_predictor, features, target["boxes"]))
        boxes.append(target["boxes"])
        keypoints.append(target["keypoints"])
    return shares_found(*map(torch.cat, (found, boxes, keypoints)))


@torch.inference_mode()
def _mask_iou(model: Any, persons: Persons, count: int) -> float:
    """The mean intersection over union of masks, in the true boxes, with the true ones."""
    model.eval()
    heads = model.roi_heads
    overlaps = []
    for number in range(min(count, len(persons))):
        image, target = persons.sample(number)
        images, (target,) = model.transform([image], [target])
        boxes, true = target["boxes"], target["masks"].bool()
        regions = heads.mask_roi_pool(model.backbone(images.tensors), [boxes], images.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(regions))
        (masks,) = maskrcnn_inference(logits, [torch.ones(len(boxes), dtype=torch.int64)])
        found = paste_masks_in_image(masks, boxes, images.image_sizes[0])[:, 0] >= 0.5
        overlaps.append((found & true).sum((1, 2)) / (found | true).sum((1, 2)))
    return torch.cat(overlaps).nanmean().item()  # NaN where neither has a pixel


def locate(predictor: Any, features: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints (N, P, 3) of regions, by votes or by torchvision's own decoding."""
    if isinstance(predictor, RegionKeypointHead):
        return predictor.locate(features, boxes)[0]
    return keypointrcnn_inference(predictor(features), [boxes])[0][0]


def shares_found(found: Tensor, boxes: Tensor, keypoints: Tensor) -> list[float]:
    """The shares of the seen keypoints (N, P, 3), and of the hidden, found within each distance."""
    size = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()[:, None]
    away = (found[..., :2] - keypoints[..., :2]).norm(dim=-1) / size
    return [
        (away[keypoints[..., 2] == visibility] < distance).float().mean().item()
        for visibility in (2, 1)
        for distance in DISTANCES
    ]


def row(cells: Any) -> str:
    """One of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
