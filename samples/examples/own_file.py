"""Your network's file: a run in DeepLabCut's layout, and what is found in its frames.

    python samples/examples/own_file.py -o own_file.png

Two paws walk across 40 frames. What a network of DeepLabCut would write of them is made up here,
with noise: scores on a grid of stride 8, offsets in units of 7.2801 pixels, x and y of each part in
turn. The adapter knows that layout; `open_fields` reads frame by frame.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mdn_cupy as mdn

FRAMES, HEIGHT, WIDTH, STRIDE, LOCREF_STD = 40, 16, 30, 8, 7.2801
NAMES = ("left paw", "right paw")


def main(arguments=None):
    """Write the run, find the paws in it, and draw where they were and where they are found."""
    parser = argparse.ArgumentParser(description="A file in DeepLabCut's layout, frame by frame.")
    parser.add_argument("-o", "--output", default="own_file.png", help="picture to write")
    output = parser.parse_args(arguments).output

    adapter = partial(
        mdn.adapters.deeplabcut, stride=STRIDE, apply_sigmoid=False, sigma=3.0, names=NAMES
    )
    truth = walk()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.npz")
        write_run(path, truth)
        frames = mdn.open_fields(path, adapter=adapter)
        found = np.array([[strongest(fields, part) for part in NAMES] for fields in frames])
    error = np.hypot(*np.moveaxis(found - truth, -1, 0))
    print(f"{len(found)} frames, mean error {error.mean():.2f} px, largest {error.max():.2f} px")

    figure = Figure((8, 3.6), layout="constrained")
    axes = figure.subplots()
    for part, colour in enumerate(("tab:blue", "tab:orange")):
        axes.plot(*truth[:, part].T, "-", color=colour, alpha=0.5, label=f"{NAMES[part]}, truth")
        axes.plot(*found[:, part].T, ".", color=colour, label=f"{NAMES[part]}, found")
    axes.set(xlabel="x, px", ylabel="y, px", title="paws over 40 frames", aspect="equal")
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(output, dpi=100)


def strongest(fields, part):
    """Return x and y of the strongest peak of a part."""
    peaks = fields.votes(part).peaks(threshold=0.7, max_peaks=1)
    return float(peaks.x[0]), float(peaks.y[0])


def walk():
    """Return the true places of the paws, [frames, parts, 2]: x, y."""
    t = np.linspace(0, 1, FRAMES)
    lift = 14 * np.abs(np.sin(np.stack([t, t + 0.25], 1) * 3 * np.pi))
    x = np.stack([30 + 170 * t, 20 + 170 * t], axis=1)
    return np.stack([x, np.array([80.0, 95.0]) - lift], axis=-1)


def write_run(path, truth):
    """Write what a network of DeepLabCut would: heatmap and locref."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    centre = STRIDE * (np.stack([column, row]) + 0.5)  # of each cell: x, y
    way = truth[..., None, None] - centre  # [frames, parts, 2, H, W]
    near = np.exp(-(way**2).sum(axis=2) / (2 * 10**2))
    heatmap = np.clip(0.9 * near + rng.normal(0, 0.01, near.shape), 0, 1)
    locref = (way + rng.normal(0, 1.5, way.shape)) / LOCREF_STD
    locref = locref.reshape(len(truth), -1, HEIGHT, WIDTH)
    np.savez(path, heatmap=heatmap.astype("f4"), locref=locref.astype("f4"))


if __name__ == "__main__":
    main()
