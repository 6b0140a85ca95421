"""Change one setting of train_keypoints.py at a time, to measure its effect.

Every trial is a short training of one seed, judged on validation pictures. Into the folder --out go
table.md, with the figures of docs/training.md, and the state of every trial. A run that was stopped
goes on when the same command is given again.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from keypoints.command import train
from keypoints.settings import Settings
from keypoints.tasks import FIGURES
from keypoints.training import Training, find_parts

from mdn_cupy import console
from mdn_cupy.files import replacing

SEED = 0
STEPS = 400
PICTURES = 320
EARLY = 100  # the mean loss of these steps shows how a training starts

# What `start` is with confidences of 0.5 in every cell.
HALF = {"within": 2.0, "across": 3.3}

TRIALS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("heatmap", {}),
    ("heatmap", {"learning_rate": 0.002}),
    ("heatmap", {"learning_rate": 0.0125}),
    ("heatmap", {"target_sigma": 2.0}),
    ("within", {}),
    ("within", {"start": 0.1}),
    ("within", {"start": HALF["within"]}),
    ("within", {"offset_weight": 0.0}),
    ("within", {"offset_weight": 0.3}),
    ("within", {"offset_weight": 3.0}),
    ("within", {"features": 32}),
    ("within", {"learning_rate": 0.002}),
    ("within", {"learning_rate": 0.0125}),
    ("within", {"offset_rate": 0.3}),
    ("within", {"offset_rate": 3.0}),
    ("within", {"vote_sigma": 2.0}),
    ("within", {"target_sigma": 2.0}),
    ("within", {"target_sigma": 8.0}),
    ("across", {}),
    ("across", {"start": HALF["across"]}),
    ("across", {"target_sigma": 2.0}),
)
"""Ways, and what is changed for them."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python samples/ablate_keypoints.py --out trials",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for what comes out")
    add("--steps", type=int, default=STEPS, metavar="N", help="of a trial (default: %(default)s)")
    return console.run(parser.prog, lambda: _main(parser, arguments))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; name a folder")
    torch.set_num_threads(1)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        table = _run(options.out, options.steps)
        with replacing(options.out / "table.md") as file:
            file.write(table.encode())
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(
            130, f"\n{parser.prog}: stopped; the same command goes on from the last checkpoint\n"
        )
    console.say(parser.prog, table, end="")
    return 0


def _run(folder: Path, steps: int) -> str:
    """Make every trial; return the table."""
    lines = [
        f"| way | changed | loss of the first {EARLY} steps | PCK 2 px, % | PCK 8 px, % |"
        " mean error, px |",
        "|---|---|" + "---|" * 4,
    ]
    for way, changes in TRIALS:
        name = ", ".join(f"{setting} {value:g}" for setting, value in changes.items()) or "nothing"
        checkpoint = folder / f"{way} {name}.pt".replace(", ", "-").replace(" ", "-")
        settings = Settings(way, SEED, steps, **changes)
        training = train(FIGURES, settings, checkpoint, f"{way}, {name}")
        lines.append(f"| {way} | {name} | {_judge(training)} |")
    return "\n".join(lines) + "\n"


def _judge(training: Training) -> str:
    """Its cells of the table."""
    early = torch.tensor(training.losses[:EARLY]).mean()
    found = find_parts(FIGURES, training.network, "validation", PICTURES)["all"]
    shares = (f"{100 * found[f'pck{limit}']:.1f}" for limit in (2, 8))
    return " | ".join([f"{early:.1f}", *shares, f"{found['error']:.2f}"])


if __name__ == "__main__":
    raise SystemExit(main())
