"""What came out: the table over the seeds, and a page of vote maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keypoints.networks import TITLES, Network
from keypoints.task import Batch, Measures, Task
from keypoints.training import PICTURES_SEED, to_tensors
from mdn_cupy.files import replacing

__all__ = ["draw_figure", "draw_map", "make_table"]

EXAMPLES = 3  # rows of the figure


def make_table(task: Task, runs: Mapping[str, Sequence[Measures]]) -> str:
    """Write the measures of each way's trainings as Markdown, mean ± deviation over the seeds."""
    lines = [
        f"| parts | way | {' | '.join(task.columns.values())} |",
        "|---|---|" + "---|" * len(task.columns),
    ]
    groups = next(iter(runs.values()))[0]
    for group in groups:
        for way, measures in runs.items():
            cells = [_spread([m[group][name] for m in measures], name) for name in task.columns]
            lines.append(f"| {group} | {TITLES[way]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], name: str) -> str:
    """Mean ± sample deviation; of one value there is no deviation. Shares are in percent."""
    factor, digits = (100, 1) if name.startswith("pck") else (1, 2)
    values = [factor * value for value in values]
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def draw_figure(path: Path, task: Task, networks: Mapping[str, Network], count: int) -> None:
    """Draw what each network, by its title, sees of a part, on the first test pictures fit for it.

    Elbows and knees are shown whose neighbours are marked and in sight, and hidden ones if the task
    has such; not the pictures that flatter. The first `count` pictures are looked through.
    """
    batch = task.draw("test", PICTURES_SEED, range(count))
    examples = _examples(task, batch) or [(0, 0)]
    shape = len(examples), 1 + len(networks)
    figure = Figure(figsize=(2.1 * shape[1], 2.25 * shape[0] + 0.2), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    pictures, _ = to_tensors(batch)
    for axes, (index, part) in zip(grid, examples, strict=True):
        place = batch.joints[index, part]
        axes[0].imshow(batch.pictures[index].clip(0, 1))
        name = task.parts[part]
        axes[0].set_ylabel(f"{name}, hidden" if batch.hidden[index, part] else name, fontsize=9)
        for axis, network in zip(axes[1:], networks.values(), strict=True):
            x, y = draw_map(axis, network, pictures[index : index + 1], part)
            axis.set_xlabel(f"{np.hypot(*(place - (x, y))):.1f} px off", fontsize=9)
        for axis in axes:
            axis.plot(*place, "o", color="tab:green", markersize=10, fillstyle="none")
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(grid[0], ["picture", *networks], strict=True):
        axis.set_title(title, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)


def draw_map(axis: Axes, network: Network, picture: torch.Tensor, part: int) -> tuple[float, float]:
    """Draw a network's map of one part of a picture (1, 3, S, S), and its peak; return the peak."""
    network.eval()
    size = picture.shape[-1]
    with torch.inference_mode():
        evidence = network.evidence(picture)[0, part].numpy()
        x, y = network.locate(picture)[0, part].tolist()
    axis.imshow(evidence, vmin=0, cmap="magma", extent=(-0.5, size - 0.5, size - 0.5, -0.5))
    axis.plot(x, y, "x", color="tab:cyan", markersize=7)
    return x, y


def _examples(task: Task, batch: Batch) -> list[tuple[int, int]]:
    """The first pictures with an elbow or a knee to show, whose two neighbours are visible."""
    neighbours = {
        part: [a if b == part else b for a, b in task.edges if part in (a, b)]
        for part, name in enumerate(task.parts)
        if name.endswith(("elbow", "knee"))
    }
    seen = np.isfinite(batch.joints).all(axis=-1) & ~batch.hidden
    wanted = batch.hidden if task.hides else seen
    fit = np.stack([wanted[:, p] & seen[:, near].all(axis=1) for p, near in neighbours.items()])
    parts = list(neighbours)
    return [(i, parts[fit[:, i].argmax()]) for i in np.flatnonzero(fit.any(axis=0))[:EXAMPLES]]
