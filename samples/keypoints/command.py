"""The command line that `train_keypoints.py` and `train_lsp.py` share."""

import argparse
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import checkpoints
import torch
from tqdm import tqdm

from keypoints.networks import TITLES, WAYS, Network
from keypoints.results import draw_figure, make_table
from keypoints.settings import Settings
from keypoints.task import Measures, Task
from keypoints.training import Training, find_parts
from mdn_cupy import console
from mdn_cupy.files import replacing

__all__ = ["Program", "train"]

LOOK_STEPS, LOOK_PICTURES = 200, 64  # how often to look at how many validation pictures on the way
SPLITS = ("validation", "test")

_CHANGED = [field.name for field in fields(Settings) if field.name not in ("way", "seed", "steps")]


@dataclass(frozen=True)
class Program:
    """A script that trains the four ways for one task.

    Attributes
    ----------
    description, examples : str
        For `--help`.
    make_task : callable
        The parsed options to a `Task`; raises ValueError where they do not allow one.
    steps, pictures, seeds
        Their defaults: each usually, and with --quick.
    add_arguments : callable, optional
        Adds options of its own to a parser.
    """

    description: str
    examples: str
    make_task: Callable[[argparse.Namespace], Task]
    steps: tuple[int, int]
    pictures: tuple[int, int]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the command line; returns the exit status."""
        parser = self._parser()
        return checkpoints.run(parser.prog, lambda: self._main(parser, arguments))

    def _main(self, parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
        options = parser.parse_args(arguments)
        self._check(parser, options)
        torch.set_num_threads(options.threads)
        task = self.make_task(options)
        for folder in filter(None, (options.out, options.cache)):
            folder.mkdir(parents=True, exist_ok=True)
        table = _run(task, options)
        console.say(parser.prog, table, end="")
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            description=self.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"examples:\n{self.examples}",
        )
        add = parser.add_argument
        self.add_arguments(parser)
        parser.set_defaults(cache=None)
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
            f" (default: {_listed(self.seeds[0])}; quick: {_listed(self.seeds[1])})",
        )
        add(
            "--steps",
            type=int,
            metavar="N",
            help=f"of one training (default: {self.steps[0]}; quick: {self.steps[1]})",
        )
        add(
            "--pictures",
            type=int,
            metavar="N",
            help="to validate, and as many to test on"
            f" (default: {self.pictures[0]}; quick: {self.pictures[1]})",
        )
        add(
            "--set",
            nargs="+",
            type=_setting,
            default=[],
            metavar="NAME=VALUE",
            dest="changes",
            help=f"change settings of the training: {_listed(_CHANGED)};"
            " samples/keypoints/settings.py says what they are",
        )
        add(
            "--threads",
            type=int,
            default=1,
            metavar="N",
            help="of torch: 1, since more wait for each other where the machine is busy; with"
            " another number, sums round differently (default: %(default)s)",
        )
        add("--quick", action="store_true", help="one seed, few steps: a minute, to see it work")
        return parser

    def _check(self, parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
        """Fill in the defaults, and refuse what cannot be run."""
        for name in ("seeds", "steps", "pictures"):
            if getattr(options, name) is None:
                setattr(options, name, getattr(self, name)[options.quick])
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


def train(
    task: Task,
    settings: Settings,
    checkpoint: Path,
    title: str | None = None,
    cache: Path | None = None,
) -> Training:
    """Bring one training to its end.

    A bar shows the mean loss of late and, now and then, how far from the parts of some validation
    pictures the network finds them.
    """
    training = Training(task, settings, checkpoint, cache)
    title = title or f"{settings.way}, seed {settings.seed}"
    with tqdm(desc=title, total=settings.steps, initial=training.step) as bar:
        late, seen = None, {}
        for loss in training.run():
            late = loss if late is None else 0.98 * late + 0.02 * loss
            if training.step % LOOK_STEPS == 0:
                measures = find_parts(task, training.network, "validation", LOOK_PICTURES)
                seen = {"validation": f"{measures['all']['error']:.2f} px"}
            bar.set_postfix(loss=f"{late:.2f}", **seen, refresh=False)
            bar.update()
    return training


def _run(task: Task, options: argparse.Namespace) -> str:
    """Train what is not trained yet; write what came out and return the table."""
    changes = {**task.defaults, **dict(options.changes)}
    runs: dict[str, dict[str, list[Measures]]] = {
        split: {way: [] for way in options.ways} for split in SPLITS
    }
    first: dict[str, Network] = {}
    seconds: dict[str, float] = {}
    for seed, way in itertools.product(options.seeds, options.ways):
        name = f"{way}-{seed}"
        settings = Settings(way, seed, options.steps, **changes)
        training = train(task, settings, options.out / f"{name}.pt", cache=options.cache)
        for split, found in runs.items():
            found[way].append(find_parts(task, training.network, split, options.pictures))
        first.setdefault(way, training.network)
        seconds[name] = round(training.seconds, 1)
    table = make_table(task, runs["test"]) + _basis(options) + _durations(seconds.values())
    report = {
        "steps": options.steps,
        "pictures": options.pictures,
        "seeds": options.seeds,
        "settings": changes,
        **runs,
        "seconds": seconds,
        "torch": torch.__version__,
    }
    networks = {TITLES[way]: network for way, network in first.items()}
    draw_figure(options.out / "maps.png", task, networks, options.pictures)
    _write(options.out / "results.json", json.dumps(report, indent=1) + "\n")
    _write(options.out / "table.md", table)
    return table


def _setting(text: str) -> tuple[str, Any]:
    """Read 'name=value'."""
    name, _, value = text.partition("=")
    if name not in _CHANGED:
        raise argparse.ArgumentTypeError(f"{text}: the settings are {_listed(_CHANGED)}")
    kind = type(getattr(Settings, name))
    try:
        number = kind(value)
    except ValueError:
        wanted = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{name} must be a {wanted}, got {value!r}") from None
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{name} must be finite and not negative, got {value}")
    if name in ("features", "denser", "finer", "batch") and number < 1:
        raise argparse.ArgumentTypeError(f"{name} must be at least 1, got {value}")
    return name, number


def _basis(options: argparse.Namespace) -> str:
    seeds = f"seed{'s' if len(options.seeds) > 1 else ''} {_listed(options.seeds)}"
    changes = "".join(f", {name} {value:g}" for name, value in options.changes)
    return (
        f"\nOf {seeds}, after {options.steps} steps{changes}, on {options.pictures} test"
        " pictures.\n"
    )


def _durations(seconds: Collection[float]) -> str:
    shortest, longest, total = (f(seconds) / 60 for f in (min, max, sum))
    return (
        f"One training took {shortest:.1f} to {longest:.1f} minutes, all {len(seconds)} of them"
        f" {total:.0f}.\n"
    )


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def _listed(values: Iterable[object] | Sequence[object]) -> str:
    return " ".join(map(str, values))
