"""The page of pictures of evaluate_pose.py: persons with the skeletons that were found."""

import coco_persons as coco
import numpy as np
from matplotlib.figure import Figure
from person_cutouts import SIDE

import mdn_cupy as mdn

COLOURS = {0: "#f0e442", 1: "#56b4e9", 2: "#ff4fd8"}  # the middle, left and right


def draw(findings):
    """Draw the first persons, one a row: what is annotated, then what each way found.

    Limbs are as opaque as the less certain of their ends (a score of 1 or more is certain), since
    every way finds all 17 points, also of parts that are out of sight.

    Parameters
    ----------
    findings : evaluate_pose.Findings

    Returns
    -------
    matplotlib.figure.Figure
        Ready to be saved.
    """
    rows, columns = len(findings.cutouts), 1 + len(findings.found)
    figure = Figure(figsize=(2.6 * columns, 2.8 * rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (person, (pixels, crop)) in enumerate(
        zip(findings.persons, findings.cutouts, strict=False)
    ):
        marked = (person.keypoints[:, 2] > 0).astype(float)
        _draw_person(axes[row, 0], pixels, crop.to_input(person.keypoints[:, :2]), marked)
        axes[row, 0].set_title("annotated", fontsize=9)
        for column, (way, found) in enumerate(findings.found.items(), start=1):
            points, scores = found[row]
            _draw_person(axes[row, column], pixels, crop.to_input(points), scores.clip(0.0, 1.0))
            similarity = coco.oks(person, points)
            axes[row, column].set_title(f"{way}, OKS {similarity:.3f}", fontsize=9)
    return figure


def _draw_person(axes, pixels, points, certainty):
    axes.imshow(pixels)
    for first, second in mdn.adapters.POSENET_EDGES:
        axes.plot(
            *points[[first, second]].T,
            color=COLOURS[max(_side(first), _side(second))],
            alpha=min(certainty[first], certainty[second]),
            linewidth=1.6,
        )
    axes.scatter(
        *points.T,
        s=9,
        c=[COLOURS[_side(part)] for part in range(len(points))],
        alpha=np.asarray(certainty),
        edgecolors="black",
        linewidths=0.4,
        zorder=3,
    )
    axes.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
    axes.set_axis_off()


def _side(part):
    """0 for the nose, 1 for the left and 2 for the right parts, which alternate."""
    return 0 if part == 0 else 2 - part % 2
