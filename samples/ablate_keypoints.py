"""Change one setting of train_keypoints.py at a time, to measure its effect.

  settings   what each setting does, for all parts
  precision  what brings votes nearer to visible parts, as near as a heatmap; beside it how far the
             offsets of the cells within 4 pixels of a visible part lead past it, and how many parts
             the same confidences would find if their offsets were true

Every trial is a short training of one seed, judged on validation pictures. Into the folder --out go
TABLE.md, with the figures of docs/training_figures.md (settings) or docs/training.md (precision),
and the state of every trial. A run that was stopped goes on when the same command is given again.
"""

import argparse
from pathlib import Path
from typing import Any

import checkpoints
import torch
from keypoints.command import train
from keypoints.networks import Network, centres
from keypoints.settings import Settings
from keypoints.tasks import FIGURES
from keypoints.training import PICTURES_SEED, TOGETHER, Training, find_parts, to_tensors

import mdn_cupy as mdn
from mdn_cupy import console
from mdn_cupy.files import replacing

SEED = 0
STEPS = 400
PICTURES = 320
MORE_PICTURES = 1000  # of which 320 for the offsets
NEAR = 4.0  # pixels, of a part
EARLY = 100  # the mean loss of these steps shows how a training starts

# What `start` is with confidences of 0.5 in every cell.
HALF = {"within": 2.0, "across": 3.3}

SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
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

PRECISION: tuple[tuple[str, dict[str, Any]], ...] = (
    ("heatmap", {}),
    ("within", {}),
    ("heatmap", {"target_sigma": 2.0}),
    ("within", {"target_sigma": 2.0}),
    ("heatmap", {"target_end": 0.25}),
    ("within", {"target_end": 0.25}),
    ("within", {"vote_sigma": 0.5}),
    ("within", {"offset_weight": 3.0}),
    ("within", {"target_sigma": 2.0, "offset_weight": 3.0}),
    ("heatmap", {"denser": 2}),
    ("within", {"denser": 2}),
)

TABLES = {"settings": SETTINGS, "precision": PRECISION}
"""Ways, and what is changed for them."""

COLUMNS = {
    "settings": (
        f"loss of the first {EARLY} steps",
        *("PCK 2 px, %", "PCK 8 px, %", "mean error, px"),
    ),
    "precision": (
        *("visible, 2 px, %", "visible, 4 px, %", "visible, 8 px, %", "hidden, 8 px, %"),
        *("offsets' error, px", "visible, 2 px, by true offsets, %"),
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python samples/ablate_keypoints.py --out trials\n"
        "  python samples/ablate_keypoints.py --out trials --table precision",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for what comes out")
    add("--table", choices=TABLES, default="settings", help="which (default: %(default)s)")
    add("--steps", type=int, default=STEPS, metavar="N", help="of a trial (default: %(default)s)")
    return checkpoints.run(parser.prog, lambda: _main(parser, arguments))


def _main(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; name a folder")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    table = _run(options.table, options.out, options.steps)
    with replacing(options.out / f"{options.table}.md") as file:
        file.write(table.encode())
    console.say(parser.prog, table, end="")
    return 0


def _run(which: str, folder: Path, steps: int) -> str:
    """Make every trial of a table; return the table."""
    columns = COLUMNS[which]
    judge = {"settings": _judge, "precision": _judge_precision}[which]
    lines = [_row("way", "changed", *columns), "|---" * (2 + len(columns)) + "|"]
    for way, changes in TABLES[which]:
        name = ", ".join(f"{setting} {value:g}" for setting, value in changes.items()) or "nothing"
        checkpoint = folder / f"{way} {name}.pt".replace(", ", "-").replace(" ", "-")
        settings = Settings(way, SEED, steps, **changes)
        training = train(FIGURES, settings, checkpoint, f"{way}, {name}")
        lines.append(_row(way, name, *judge(training)))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _judge(training: Training) -> list[str]:
    """Its cells of the table of settings."""
    early = torch.tensor(training.losses[:EARLY]).mean()
    found = find_parts(FIGURES, training.network, "validation", PICTURES)["all"]
    shares = (f"{100 * found[f'pck{limit}']:.1f}" for limit in (2, 8))
    return [f"{early:.1f}", *shares, f"{found['error']:.2f}"]


def _judge_precision(training: Training) -> list[str]:
    """Its cells of the table of precision."""
    network = training.network
    found = find_parts(FIGURES, network, "validation", MORE_PICTURES)
    shares = [found["visible"][f"pck{limit}"] for limit in (2, 4, 8)] + [found["hidden"]["pck8"]]
    offsets = _judge_offsets(network) if training.settings.way == "within" else ("–", "–")
    return [*(f"{100 * share:.1f}" for share in shares), *offsets]


@torch.inference_mode()
def _judge_offsets(network: Network) -> tuple[str, str]:
    """The error of the offsets near visible parts, and what is found where they have none."""
    head, cell = network.head, network.head.cell
    step = cell / head.finer
    errors, away = [], []
    for first in range(0, PICTURES, TOGETHER):
        batch = FIGURES.draw("validation", PICTURES_SEED, range(first, first + TOGETHER))
        pictures, joints = to_tensors(batch)
        visible = ~torch.from_numpy(batch.hidden)
        fields = head.head.fields(network.features(pictures))
        along = centres(fields.offsets.shape[-1], cell)
        cells = torch.stack(torch.meshgrid(along, along, indexing="xy"))
        true = joints[..., None, None] - cells
        distance = true.norm(dim=2)
        near = (distance < NEAR) & visible[..., None, None]
        errors.append((step * fields.offsets - true).norm(dim=2)[near])
        learned = distance < network.head.settings.offset_reach
        offsets = torch.where(learned[:, :, None], true / step, fields.offsets)
        L = head.head.vote(fields._replace(offsets=offsets))
        found = mdn.torch.subpixel_argmax(-L).positions * step + (step - 1) / 2
        away.append((found - joints).norm(dim=-1)[visible])
    share = (torch.cat(away) <= 2).float().mean()
    return f"{torch.cat(errors).mean():.2f}", f"{100 * share:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
