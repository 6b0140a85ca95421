"""Count nuclei: peaks of the evidence, beside a count made by eye.

    python samples/examples/count_nuclei.py -o count_nuclei.png

In the sample `nuclei` each pixel that a dye has coloured votes for the centre of mass of the dye
around it; no network is needed. `Votes.peaks` lists the nuclei, `Votes.instances` says which pixels
belong to each of them.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mdn_cupy as mdn

MARKS = Path(__file__).parents[1] / "nuclei_centres.csv"  # row and column, counted by eye
THRESHOLD, MIN_DISTANCE, RADIUS = 3.0, 5, 8  # evidence; pixels


def main(arguments=None):
    """Print both counts and draw peaks, marks and instances."""
    parser = argparse.ArgumentParser(description="Count the nuclei of the sample by their votes.")
    parser.add_argument("-o", "--output", default="count_nuclei.png", help="picture to write")
    output = parser.parse_args(arguments).output

    nuclei = mdn.samples.load("nuclei")
    votes = nuclei.votes("nucleus")
    peaks = votes.peaks(threshold=THRESHOLD, min_distance=MIN_DISTANCE)
    labels, mass = votes.instances(peaks, radius=RADIUS)
    marks = np.loadtxt(MARKS, delimiter=",", skiprows=1)
    distance = np.hypot(peaks.y[:, None] - marks[:, 0], peaks.x[:, None] - marks[:, 1])
    matched = int((distance.min(axis=0) <= 6).sum())
    print(f"{len(peaks.x)} peaks; {len(marks)} nuclei counted by eye; {matched} of them are found")
    print(f"the largest has a mass of {mass.max():.0f}, the median one {np.median(mass):.0f}")

    figure = Figure((9, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(nuclei.image)
    left.plot(marks[:, 1], marks[:, 0], "o", color="lime", fillstyle="none", label="by eye")
    left.plot(peaks.x, peaks.y, "+", color="red", label="peaks of the evidence")
    left.legend(loc="lower right")
    left.set(title=f"{len(peaks.x)} peaks, {len(marks)} by eye", xticks=[], yticks=[])
    right.imshow(nuclei.image, alpha=0.6)
    shuffled = np.random.default_rng(0).permutation(len(peaks.x)) + 1
    colours = np.ma.masked_equal(np.concatenate([[0], shuffled])[labels], 0)
    right.imshow(colours, cmap="prism", interpolation="nearest", alpha=0.7)
    right.set(title="the pixels of each", xticks=[], yticks=[])
    figure.savefig(output, dpi=100)


if __name__ == "__main__":
    main()
