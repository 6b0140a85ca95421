"""Train the same network four ways to find the parts of figures that are partly hidden.

  heatmap   a map of each part's probability, decoded at its peak
  offsets   the same map, and offsets to the part; decoded by the additive rule (Hough voting)
  within    a Mass Displacement Network: confidences and offsets, trained through the noisy-or
  across    the same, and parts vote for their neighbours too (cross-part voting)

The pictures are drawn on the way: articulated figures over photographs that come with scikit-image,
with stray limbs behind them and patches over some of their joints. The validation pictures, by
which the settings were chosen, and the test pictures, which are of no influence, have photographs
of their own. Backbone, pictures, steps and schedule are the same for all ways.

Into the folder --out go
  table.md       share of the parts found within 2, 4 and 8 pixels, and the mean error,
                 over the seeds, in the test pictures
  results.json   the same for every single training, in the validation pictures too, and the
                 seconds that its steps took
  maps.png       what each way's map says about a hidden part (of the first seed)
  *.pt           the state of every training

A run that was stopped goes on when the same command is given again, and ends with the same numbers.
"""

import argparse
import itertools
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from keypoints.networks import WAYS, Network
from keypoints.results import Measures, draw_figure, make_table, measure
from keypoints.settings import Settings
from keypoints.training import BATCH, Training, find_parts
from tqdm import tqdm

from mdn_cupy import console
from mdn_cupy.files import replacing

STEPS, QUICK_STEPS = 1200, 60
PICTURES, QUICK_PICTURES = 1000, 100
SEEDS, QUICK_SEEDS = (0, 1, 2), (0,)

LOOK_STEPS, LOOK_PICTURES = 200, 64  # how often to look at how many validation pictures on the way


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    return console.run(parser.prog, lambda: _main(parser, arguments))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    _check(parser, options)
    torch.set_num_threads(options.threads)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        table = _run(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(
            130, f"\n{parser.prog}: stopped; the same command goes on from the last checkpoint\n"
        )
    console.say(parser.prog, table, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python samples/train_keypoints.py --out training           the whole table\n"
        "  python samples/train_keypoints.py --out try --quick        a minute, to see it work\n"
        "  python samples/train_keypoints.py --out two --ways heatmap across --seeds 0 1 2 3 4",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for what comes out")
    add(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=list(WAYS),
        metavar="WAY",
        help=f"which ways to train: {_listed(WAYS)} (default: all)",
    )
    add(
        "--seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="one training of each way for each of them"
        f" (default: {_listed(SEEDS)}; quick: {_listed(QUICK_SEEDS)})",
    )
    add(
        "--steps",
        type=int,
        metavar="N",
        help=f"of one training, {BATCH} pictures each (default: {STEPS}; quick: {QUICK_STEPS})",
    )
    add(
        "--pictures",
        type=int,
        metavar="N",
        help=f"to validate, and as many to test on (default: {PICTURES}; quick: {QUICK_PICTURES})",
    )
    add(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of torch: 1, since more wait for each other where the machine is busy; with another"
        " number, sums round differently (default: %(default)s)",
    )
    add("--quick", action="store_true", help="one seed, few steps: a minute, to see it work")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Fill in the defaults, and refuse what cannot be run."""
    usual = (
        (QUICK_SEEDS, QUICK_STEPS, QUICK_PICTURES) if options.quick else (SEEDS, STEPS, PICTURES)
    )
    for name, value in zip(("seeds", "steps", "pictures"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    for name in ("steps", "pictures", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    cores = os.cpu_count() or 1
    if options.threads > cores:
        parser.error(f"--threads must be at most {cores}, the cores, got {options.threads}")
    for name in ("ways", "seeds"):
        values = getattr(options, name)
        if len(set(values)) < len(values):
            parser.error(f"--{name} names one twice: {_listed(values)}")
    if min(options.seeds) < 0 or max(options.seeds) >= 1 << 63:
        parser.error(f"--seeds must be from 0 to 2⁶³ − 1, got {_listed(options.seeds)}")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; name a folder")


def _run(options: argparse.Namespace) -> str:
    """Train what is not trained yet; write what came out and return the table."""
    runs: dict[str, dict[str, list[Measures]]] = {
        split: {way: [] for way in options.ways} for split in ("validation", "test")
    }
    first: dict[str, Network] = {}
    seconds: dict[str, float] = {}
    for seed, way in itertools.product(options.seeds, options.ways):
        name = f"{way}-{seed}"
        training = train(Settings(way, seed, options.steps), options.out / f"{name}.pt")
        for split, found in runs.items():
            found[way].append(measure(*find_parts(training.network, split, options.pictures)))
        first.setdefault(way, training.network)
        seconds[name] = round(training.seconds, 1)
    table = make_table(runs["test"]) + _basis(options) + _durations(seconds.values())
    report = {
        "steps": options.steps,
        "pictures": options.pictures,
        "seeds": options.seeds,
        **runs,
        "seconds": seconds,
        "torch": torch.__version__,
    }
    draw_figure(options.out / "maps.png", first)
    _write(options.out / "results.json", json.dumps(report, indent=1) + "\n")
    _write(options.out / "table.md", table)
    return table


def train(settings: Settings, checkpoint: Path, title: str | None = None) -> Training:
    """Bring one training to its end.

    A bar shows the mean loss of late and, now and then, how far from the parts of some validation
    pictures the network finds them.
    """
    training = Training(settings, checkpoint)
    title = title or f"{settings.way}, seed {settings.seed}"
    with tqdm(desc=title, total=settings.steps, initial=training.step) as bar:
        late, seen = None, {}
        for loss in training.run():
            late = loss if late is None else 0.98 * late + 0.02 * loss
            if training.step % LOOK_STEPS == 0:
                errors, _ = find_parts(training.network, "validation", LOOK_PICTURES)
                seen = {"validation": f"{errors.mean():.2f} px"}
            bar.set_postfix(loss=f"{late:.2f}", **seen, refresh=False)
            bar.update()
    return training


def _basis(options: argparse.Namespace) -> str:
    seeds = f"seed{'s' if len(options.seeds) > 1 else ''} {_listed(options.seeds)}"
    return f"\nOf {seeds}, after {options.steps} steps, on {options.pictures} test pictures.\n"


def _durations(seconds: Collection[float]) -> str:
    shortest, longest, total = (f(seconds) / 60 for f in (min, max, sum))
    return (
        f"One training took {shortest:.1f} to {longest:.1f} minutes, all {len(seconds)} of them"
        f" {total:.0f}.\n"
    )


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


if __name__ == "__main__":
    raise SystemExit(main())
