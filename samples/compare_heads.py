"""Train only the keypoint branch of Mask R-CNN, in several ways, on features that stay as they are.

  plain    torchvision's: a softmax over the pixels of a map
  across   votes across parts, trained by the paper's cross-entropy of the voted map
  narrow   the same, with targets half as wide: of 1 pixel in 56
  softmax  votes across parts, trained by torchvision's softmax
  finer    the same, from 28 x 28 sources in place of 14 x 14

The features are those of a model that train_mask_rcnn.py trained and that saw no keypoint
(boxes-masks), pooled in true boxes that are moved by up to a tenth of their size; the last layers,
and what they are trained by, are all that differs. The table has the share of the keypoints of 200
validation images that are found, in the true boxes, within 0.05, 0.1 and 0.2 of the box's size (the
root of its area), of those seen and of those hidden.
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from compare_branches import FOUND, locate, row, shares_found
from persons.dataset import Persons
from persons.models import Settings, make_model
from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor
from torchvision.models.detection.roi_heads import keypoints_to_heatmap
from torchvision.ops import Conv2dNormActivation
from tqdm import tqdm

import mdn_cupy as mdn
from mdn_cupy import console
from mdn_cupy.torch.voted_keypoints import RegionKeypointHead

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "across": {},
    "narrow": {"target_sigma": 1.0},
    "softmax": {"loss": "softmax"},
    "finer": {"loss": "softmax", "stride": 2},
}
IMAGES = {"train": 1500, "val": 200}
MOVED = 0.1  # of a box's size, its sides in training
CHANNELS = 64
BATCH = 16  # regions of a step
WARMUP = 0.05  # share of the steps
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-3
LONGEST_GRADIENT = 10.0


class Regions(NamedTuple):
    """Pooled features (N, C, 14, 14), boxes (N, 4) and keypoints (N, P, 3)."""

    features: Tensor
    boxes: Tensor
    keypoints: Tensor


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n"
        "  python samples/compare_heads.py --data scenes --model runs/boxes-masks-0.pt",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add(
        "--model",
        type=Path,
        required=True,
        metavar="FILE",
        help="boxes-masks-SEED.pt, of --size small",
    )
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help="(default: all)")
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="(default: 0)")
    add("--steps", type=int, default=600, metavar="N", help="(default: %(default)s)")
    return console.run(parser.prog, lambda: _main(parser, arguments), (OSError, ValueError))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    torch.set_num_threads(1)
    mdn.set_num_threads(1)
    persons = {split: Persons(options.data, split) for split in IMAGES}
    model = _load(options.model, persons["train"])
    regions = {split: _pool(model, persons[split], split) for split in IMAGES}
    rows = [["way", *FOUND], ["---"] * (1 + len(FOUND))]
    for way in options.ways:
        shares = [_train(way, seed, options.steps, regions, persons) for seed in options.seeds]
        means = torch.tensor(shares).mean(0).tolist()
        rows.append([way, *(f"{100 * share:.1f}" for share in means)])
    console.say(parser.prog, "\n".join(map(row, rows)))
    return 0


def _load(path: Path, persons: Persons) -> Any:
    """A trained model, to see what it has learned."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; train_mask_rcnn.py writes boxes-masks-SEED.pt")
    try:
        state = torch.load(path, weights_only=True)
        settings = Settings(**state["settings"])
        model = make_model(settings, len(persons.parts), persons.edges)
        model.load_state_dict(state["model"])
    except Exception as error:  # torch raises whatever its unpickler met
        raise ValueError(f"{path}: no checkpoint of train_mask_rcnn.py for this data") from error
    if (settings.model, settings.size) != ("boxes-masks", "small"):  # saw no keypoint
        raise ValueError(f"{path}: must be boxes-masks of --size small, got {settings}")
    return model.eval()


@torch.no_grad()
def _pool(model: Any, persons: Persons, split: str) -> Regions:
    """Features of the persons' boxes, as the branch for masks would get them."""
    generator = torch.Generator().manual_seed(0)
    pooled = []
    for number in tqdm(range(min(IMAGES[split], len(persons))), desc=f"features, {split}"):
        image, target = persons.sample(number)
        images, (target,) = model.transform([image], [target])
        boxes = target["boxes"]
        if split == "train":
            size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
            boxes = boxes + MOVED * size * (2 * torch.rand(boxes.shape, generator=generator) - 1)
            height, width = images.image_sizes[0]
            boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height] * 2))
        features = model.backbone(images.tensors)
        pool = model.roi_heads.mask_roi_pool
        pooled.append((pool(features, [boxes], images.image_sizes), boxes, target["keypoints"]))
    return Regions(*map(torch.cat, zip(*pooled, strict=True)))


def _train(
    way: str, seed: int, steps: int, regions: dict[str, Regions], persons: dict[str, Persons]
) -> list[float]:
    """Train one branch; return the shares that it finds."""
    torch.manual_seed(seed)
    branch, predictor = _make(way, len(persons["train"].parts), persons["train"].edges)
    parameters = [*branch.parameters(), *predictor.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    for step in tqdm(range(steps), desc=f"{way}, seed {seed}"):
        rise = min((step + 1) / (WARMUP * steps), 1)
        optimizer.param_groups[0]["lr"] = (
            LEARNING_RATE * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        chosen = torch.randint(len(regions["train"].boxes), (BATCH,), generator=generator)
        features, boxes, keypoints = (each[chosen] for each in regions["train"])
        loss = _loss(predictor, branch(features), boxes, keypoints)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, LONGEST_GRADIENT)
        optimizer.step()
    features, boxes, keypoints = regions["val"]
    with torch.inference_mode():
        found = [
            locate(predictor, branch(some), own)
            for some, own in zip(features.split(BATCH), boxes.split(BATCH), strict=True)
        ]
    return shares_found(torch.cat(found), boxes, keypoints)


def _make(way: str, parts: int, edges: list[tuple[int, int]]) -> tuple[nn.Module, nn.Module]:
    """Two convolutions, and for `finer` one that doubles the grid; and the last layer."""
    branch = nn.Sequential(
        *(Conv2dNormActivation(CHANNELS, CHANNELS, 3, norm_layer=_norm) for _ in range(2))
    )
    if way == "plain":
        return branch, KeypointRCNNPredictor(CHANNELS, parts)
    if way == "finer":
        branch.append(nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, 2, padding=1, bias=False))
        branch.extend([_norm(CHANNELS), nn.ReLU()])
    options = {"stride": 4, "edges": edges, "sigma": 2.0, **WAYS[way]}
    return branch, RegionKeypointHead(CHANNELS, parts, **options)


def _loss(predictor: Any, features: Tensor, boxes: Tensor, keypoints: Tensor) -> Tensor:
    if isinstance(predictor, RegionKeypointHead):
        return sum(predictor.losses(features, boxes, keypoints).values(), torch.tensor(0.0))
    logits = predictor(features)
    pixels, labelled = keypoints_to_heatmap(keypoints, boxes, logits.shape[-1])
    counted = labelled.flatten() > 0
    return F.cross_entropy(logits.flatten(0, 1).flatten(1)[counted], pixels.flatten()[counted])


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(32, channels)


if __name__ == "__main__":
    raise SystemExit(main())
