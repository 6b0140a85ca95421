"""First votes: from a network's two fields to a peak, and back to the cells that made it.

    python samples/examples/first_votes.py -o first_votes.png

The sample `pose` holds what PoseNet says about a photograph. Left: how confident each cell of its
grid is that it belongs to the nose, and where the most confident ones believe the nose to be.
Middle: the noisy-or of all votes. Right: the share that each cell has of the peak.
"""

import argparse

import numpy as np
from matplotlib.figure import Figure

import mdn_cupy as mdn

SIGMA, THRESHOLD = 8.0, 4.6  # pixels; evidence, which is m of 0.99


def main(arguments=None):
    """Draw the picture, and print the peak and its voters."""
    parser = argparse.ArgumentParser(description="First votes: a peak and the cells that made it.")
    parser.add_argument("-o", "--output", default="first_votes.png", help="picture to write")
    output = parser.parse_args(arguments).output

    pose = mdn.samples.load("pose")
    votes = pose.votes("nose", sigma=SIGMA)
    m = votes.noisy_or()
    peaks = votes.peaks(threshold=THRESHOLD)
    x, y = float(peaks.x[0]), float(peaks.y[0])
    who = votes.voters((round(y), round(x)))
    print(f"nose at x = {x:.1f}, y = {y:.1f} with m = {peaks.score[0]:.3f}")
    for source, share in zip(who.source[:3], who.share[:3], strict=True):
        print(f"  cell in row {source[0]}, column {source[1]}: {share:.0%} of the evidence")

    confidence, offsets = pose.confidence[pose.part("nose")], pose.offsets[pose.part("nose")]
    shares = np.zeros_like(confidence)
    shares[tuple(who.source.T)] = who.share
    rows, columns = who.source[:12].T
    figure = Figure((11, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    show(left, pose, confidence, "confidence, and offsets of the voters")
    left.quiver(
        columns * pose.stride,
        rows * pose.stride,
        *offsets[:, rows, columns],
        angles="xy",
        scale_units="xy",
        scale=1,
        color="cyan",
        width=0.006,
    )
    show(middle, pose, m, "noisy-or")
    middle.plot(x, y, "+", color="cyan", markersize=12)
    show(right, pose, shares, "share of the peak's evidence")
    figure.savefig(output, dpi=100)


def show(axes, fields, values, title):
    """Draw a map, or values on the cells' grid, over the photograph."""
    height, width = fields.image.shape[:2]
    axes.imshow(fields.image, cmap="gray", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    half = 0.5 if values.shape == (height, width) else fields.stride / 2
    extent = (-half, width - 1 + half, height - 1 + half, -half)
    axes.imshow(values, cmap="inferno", alpha=0.65, extent=extent, interpolation="nearest")
    axes.set(title=title, xlim=(60, 270), ylim=(200, 10), xticks=[], yticks=[])


if __name__ == "__main__":
    main()
