"""Train the six models of the paper's Table 1 on persons, and judge them by its very columns.

  boxes                       Mask R-CNN, bb
  boxes-masks                 Mask R-CNN, bb+mask
  boxes-keypoints             Mask R-CNN, bb+keypoints
  boxes-keypoints-mdn         Mask R-CNN-MDN, bb+keypoints
  boxes-masks-keypoints       Mask R-CNN, bb+mask+keypoints
  boxes-masks-keypoints-mdn   Mask R-CNN-MDN, bb+mask+keypoints

Any COCO-format data set with person keypoints will do: DIR/annotations/person_keypoints_SPLIT*.json
and DIR/SPLIT*/ for SPLIT train and val, say. make_scenes.py makes a small one, with test besides.
Everything but the branches is the same for all models.

Into the folder --out go
  tables.md       Tables 1 and 2 beside the paper's, and the keypoints'
  MODEL-SEED.json what one training came to; MODEL-SEED.pt its state, MODEL-SEED.jsonl its losses

A run that was stopped goes on when the same command is given again, and ends with the same numbers.
"""

import argparse
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import checkpoints
import torch
import torch.distributed as distributed
from persons.dataset import Persons
from persons.evaluation import Measures, evaluate, make_tables
from persons.models import MODELS, Settings
from persons.training import Training
from tqdm import tqdm

import mdn_cupy as mdn
from mdn_cupy import console
from mdn_cupy.files import replacing

# Steps, images of a step and process, and the learning rate. In full: 46 epochs, on eight GPUs, of
# the 64,115 images of COCO with persons.
USUAL = {"small": (1000, 2, 2e-3), "full": (184_000, 2, 0.02)}

JUDGING = timedelta(hours=3)  # for which the other processes wait while the first judges


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    return checkpoints.run(parser.prog, lambda: _main(parser, arguments))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    _check(parser, options)
    torch.set_num_threads(options.threads)
    mdn.set_num_threads(options.threads)
    several = _processes() > 1
    device = options.device
    try:
        if several:
            if device.type == "cuda":
                device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
                torch.cuda.set_device(device)
            backend = "nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, timeout=JUDGING)
        options.out.mkdir(parents=True, exist_ok=True)
        tables = _run(options, device)
    finally:
        if several and distributed.is_initialized():
            distributed.destroy_process_group()
    if _is_first():
        console.say(parser.prog, tables, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python samples/make_scenes.py scenes\n"
        "  python samples/train_mask_rcnn.py --data scenes --out runs --seeds 0 1 --judge test\n"
        "  torchrun --nproc-per-node 8 samples/train_mask_rcnn.py --data coco --out runs \\\n"
        "      --size full --device cuda --amp --models boxes-masks-keypoints-mdn --workers 4",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for what comes out")
    add(
        "--models",
        nargs="+",
        choices=MODELS,
        default=list(MODELS),
        metavar="MODEL",
        help="which of the above to train (default: all)",
    )
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="(default: 0)")
    add(
        "--size",
        choices=USUAL,
        default="small",
        help="of the model: small has under two million parameters and images of 128 to 192 pixels;"
        " full is torchvision's ResNet-50 with images of 800 (default: %(default)s)",
    )
    small, full = USUAL.values()
    for name, kind, place, what in (
        ("steps", int, 0, "of a training"),
        ("batch", int, 1, "images of a step and process"),
        ("learning-rate", float, 2, "at its highest; in proportion to the images of a step"),
    ):
        default = f"(default: {small[place]:g}; full: {full[place]:g})"
        add(f"--{name}", type=kind, metavar="N", help=f"{what} {default}")
    add("--voting", choices=("across", "within"), default="across", help="of the MDN models")
    add("--loss", choices=("bce", "softmax"), default="bce", help="of the MDN models")
    add(
        "--offset-weight",
        type=float,
        default=1.0,
        metavar="W",
        help="of the offsets' own loss (default: %(default)s)",
    )
    add("--weights-backbone", metavar="NAME", help="such as IMAGENET1K_V1, for --size full")
    add("--device", type=_device, default="cpu", help="cpu or cuda (default: %(default)s)")
    add("--amp", action="store_true", help="compute in bfloat16 where torch deems it safe")
    add("--workers", type=int, default=0, metavar="N", help="processes that read images")
    add("--threads", type=int, default=1, metavar="N", help="of the CPU (default: %(default)s)")
    add(
        "--judge",
        default="val",
        metavar="SPLIT",
        help="split to judge by: choose settings by val, and report test (default: %(default)s)",
    )
    add("--images", type=int, metavar="N", help="of it, the first (default: all)")
    return parser


def _device(text: str) -> torch.device:
    """Read a device that torch finds."""
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {text}")
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise argparse.ArgumentTypeError(f"{text} is not there: torch finds {found or 'no'} GPU")
    return device


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Fill in the defaults, and refuse what cannot be run."""
    for name, usual in zip(("steps", "batch", "learning_rate"), USUAL[options.size], strict=True):
        if getattr(options, name) is None:
            setattr(options, name, usual)
    for name in ("steps", "batch", "threads", "images"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    if not options.learning_rate > 0:
        parser.error(f"--learning-rate must be greater than 0, got {options.learning_rate}")
    if not options.offset_weight >= 0:
        parser.error(f"--offset-weight must be at least 0, got {options.offset_weight}")
    if options.workers < 0:
        parser.error(f"--workers must be at least 0, got {options.workers}")
    cores = os.cpu_count() or 1
    if options.threads > cores:
        parser.error(f"--threads must be at most {cores}, the cores, got {options.threads}")
    if not 0 <= min(options.seeds) <= max(options.seeds) < 1 << 32:
        parser.error(f"--seeds must be from 0 to 2³² − 1, got {_listed(options.seeds)}")
    if len({*options.seeds}) < len(options.seeds):
        parser.error(f"--seeds must be different, got {_listed(options.seeds)}")
    if options.weights_backbone and options.size != "full":
        parser.error("--weights-backbone goes with --size full")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; name a folder")


def _run(options: argparse.Namespace, device: torch.device) -> str:
    """Train what is not trained yet; keep what came out of each, and return the tables."""
    masks = any("masks" in model for model in options.models)
    persons, judged = (Persons(options.data, split, masks) for split in ("train", options.judge))
    if judged.parts != persons.parts:
        raise ValueError(
            f"{options.data} has other keypoints for {options.judge} than for train:"
            f" {', '.join(judged.parts)}, and {', '.join(persons.parts)}"
        )
    persons.check_images()
    judged.check_images(options.images)
    if not persons.edges and options.voting == "across" and any("mdn" in m for m in options.models):
        raise ValueError(
            f"{options.data} has no skeleton to vote across; add one to the category, or give"
            " --voting within"
        )
    results: dict[str, list[Measures]] = {model: [] for model in options.models}
    tables = ""
    for seed, model in itertools.product(options.seeds, options.models):
        settings = Settings(
            model,
            seed,
            options.steps,
            options.batch,
            options.size,
            options.voting,
            options.loss,
            options.offset_weight,
            options.learning_rate,
            options.weights_backbone,
            options.amp,
            _processes(),
        )
        report = _train(settings, persons, judged, options, device)
        results[model].append(report["measures"])
        tables = make_tables(results) + _basis(options, judged)
        if _is_first():
            _write(options.out / "tables.md", tables)
    return tables


def _train(
    settings: Settings,
    persons: Persons,
    judged: Persons,
    options: argparse.Namespace,
    device: torch.device,
) -> dict[str, Any]:
    """Bring one training to its end, judge the model, and keep the figures."""
    name = f"{settings.model}-{settings.seed}"
    path = options.out / f"{name}.json"
    wanted = {"settings": asdict(settings), "judge": options.judge, "images": options.images}
    if path.exists():
        report: dict[str, Any] = json.loads(path.read_text())
        if report.items() >= wanted.items():
            return report
    checkpoint = options.out / f"{name}.pt"
    training = Training(settings, persons, checkpoint, device, options.workers)
    late = None
    with tqdm(
        desc=name, total=settings.steps, initial=training.step, disable=not _is_first()
    ) as bar:
        for losses in training.run():
            total = sum(losses.values())
            late = total if late is None else 0.98 * late + 0.02 * total
            bar.set_postfix(loss=f"{late:.2f}", refresh=False)
            bar.update()
    report = {**wanted, "seconds": round(training.seconds, 1), "torch": torch.__version__}
    if _is_first():
        report["measures"] = evaluate(training.model, judged, device, options.images)
        _write(path, json.dumps(report, indent=1) + "\n")
    if distributed.is_initialized():
        kept = [report]
        distributed.broadcast_object_list(kept)
        report = kept[0]
    return report


def _basis(options: argparse.Namespace, judged: Persons) -> str:
    count = len(judged) if options.images is None else min(options.images, len(judged))
    scale = judged.area_scale
    scaled = "" if scale == 1 else f"; areas of M and L are {scale:g} times COCO's"
    images = _processes() * options.batch
    return (
        f"\nSeeds {_listed(options.seeds)}, after {options.steps} steps of {images} images,"
        f" on {count} images of {options.judge}{scaled}.\n"
    )


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _processes() -> int:
    """How many there are, where torchrun started them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


if __name__ == "__main__":
    raise SystemExit(main())
