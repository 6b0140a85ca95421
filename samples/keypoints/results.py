"""What came out: the table over the seeds, and a page of vote maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from keypoints.figures import EDGES, PARTS, SIZE, Batch, draw_batch
from keypoints.networks import TITLES, Network
from keypoints.training import PICTURES_SEED, to_tensors
from mdn_cupy.files import replacing

__all__ = ["THRESHOLDS", "Measures", "draw_figure", "make_table", "measure"]

THRESHOLDS = (2, 4, 8)
"""Pixels within which a part counts as found."""

EXAMPLES = 3  # rows of the figure

Measures = Mapping[str, Mapping[str, float]]
"""Of 'all', 'visible' and 'hidden' parts: 'pck2', 'pck4', 'pck8' and 'error'."""


def measure(errors: np.ndarray, hidden: np.ndarray) -> Measures:
    """Summarise distances between parts and where they were found.

    Parameters
    ----------
    errors : float array
        Distances in pixels.
    hidden : bool array
        Which of the parts were hidden; of the same shape.

    Returns
    -------
    mapping
        For 'all', 'visible' and 'hidden' parts the share found within each threshold ('pck2', ...)
        and the mean distance ('error').

    Examples
    --------
    >>> measure(np.array([1.0, 3.0, 8.0]), np.array([False, False, True]))["visible"]
    {'pck2': 0.5, 'pck4': 1.0, 'pck8': 1.0, 'error': 2.0}
    """
    groups = {"all": errors, "visible": errors[~hidden], "hidden": errors[hidden]}
    return {name: _measure(group) for name, group in groups.items()}


def _measure(errors: np.ndarray) -> dict[str, float]:
    shares = {f"pck{limit}": float((errors <= limit).mean()) for limit in THRESHOLDS}
    return {**shares, "error": float(errors.mean())}


def make_table(runs: Mapping[str, Sequence[Measures]]) -> str:
    """Write the measures of each way's trainings as Markdown, mean ± deviation over the seeds."""
    limits = " | ".join(f"PCK {limit} px, %" for limit in THRESHOLDS)
    lines = [f"| parts | way | {limits} | mean error, px |", "|---|---|" + "---|" * 4]
    for group in ("all", "visible", "hidden"):
        for way, measures in runs.items():
            found = ([100 * m[group][f"pck{limit}"] for m in measures] for limit in THRESHOLDS)
            cells = [TITLES[way], *map(_spread, found)]
            cells.append(_spread([m[group]["error"] for m in measures], digits=2))
            lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample deviation; of one value there is no deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def draw_figure(path: Path, networks: Mapping[str, Network]) -> None:
    """Draw what each network sees of a hidden part, on the first test pictures that have one.

    Elbows and knees are shown, whose neighbours are in sight; not the pictures that flatter.
    """
    batch = draw_batch("test", PICTURES_SEED, range(200))
    examples = _examples(batch)
    shape = len(examples), 1 + len(networks)
    figure = Figure(figsize=(2.1 * shape[1], 2.25 * shape[0] + 0.2), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    for axes, (index, part) in zip(grid, examples, strict=True):
        _draw_row(axes, batch, index, part, networks)
    for axis, title in zip(grid[0], ["picture", *(TITLES[way] for way in networks)], strict=True):
        axis.set_title(title, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _draw_row(
    axes: np.ndarray, batch: Batch, index: int, part: int, networks: Mapping[str, Network]
) -> None:
    """One picture and each network's map of one part; a circle is the truth, a cross the peak."""
    x, y = batch.joints[index, part]
    pictures, _ = to_tensors(batch)
    axes[0].imshow(batch.pictures[index].clip(0, 1))
    axes[0].set_ylabel(f"{PARTS[part]}, hidden", fontsize=9)
    for axis, network in zip(axes[1:], networks.values(), strict=True):
        network.eval()
        with torch.inference_mode():
            evidence = network.evidence(pictures[index : index + 1])[0, part].numpy()
            u, v = network.locate(pictures[index : index + 1])[0, part].tolist()
        axis.imshow(evidence, vmin=0, cmap="magma", extent=(-0.5, SIZE - 0.5, SIZE - 0.5, -0.5))
        axis.plot(u, v, "x", color="tab:cyan", markersize=7)
        axis.set_xlabel(f"{np.hypot(u - x, v - y):.1f} px off", fontsize=9)
    for axis in axes:
        axis.plot(x, y, "o", color="tab:green", markersize=10, fillstyle="none")
        axis.set(xticks=[], yticks=[])


def _examples(batch: Batch) -> list[tuple[int, int]]:
    """The first pictures with a hidden elbow or knee whose two neighbours are visible."""
    neighbours = {
        part: [a if b == part else b for a, b in EDGES if part in (a, b)]
        for part, name in enumerate(PARTS)
        if name.endswith(("elbow", "knee"))
    }
    fit = (
        (index, part)
        for index, hidden in enumerate(batch.hidden)
        for part in [p for p in neighbours if hidden[p] and not hidden[neighbours[p]].any()][:1]
    )
    return [example for example, _ in zip(fit, range(EXAMPLES), strict=False)]
