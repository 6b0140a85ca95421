"""Make trained.mdn: what a Mass Displacement Network says about a cameraman.

For each of 14 joints a confidence and an offset on a grid of 24 x 24 cells, 8 pixels apart, that
vote onto the 192 x 192 pixels of the cutout, with the width that was learned. The network was
trained through these votes by train_lsp.py, within parts, and its weights are not kept here: they
were learned from photographs without a licence. What it says about one photograph is.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from keypoints.photographs import PARTS
from person_cutouts import cut_out
from skimage import data
from trained_network import HOW, TrainedNetwork, to_tensor

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

BOX = (0, 60, 310, 452)  # left, top, width and height of the person in the photograph

say = partial(console.say, PROGRAM)


def main():
    """Make the sample and say where its votes find each joint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trained", type=Path, required=True, metavar="FILE", help=f"within-0.pt: {HOW}"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "trained.mdn",
        help="where to write the fields (default: trained.mdn beside this script)",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        fields = make_fields(TrainedNetwork(arguments.trained))
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    mdn.save_fields(arguments.output, fields)
    say(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
    print_peaks(fields)


def make_fields(trained):
    """Let a trained network look at the cameraman.

    Parameters
    ----------
    trained : trained_network.TrainedNetwork
        One that votes within parts: `Fields` has no place for the trust between parts.

    Returns
    -------
    mdn_cupy.Fields
        In pixels of the cutout. The map of a part is that of the network, in finer pixels.
    """
    settings = trained.settings
    if settings.way != "within":
        raise ValueError(f"the network must be one that votes within parts, got {settings.way!r}")
    photograph = np.repeat(data.camera()[..., None], 3, axis=2)
    picture = to_tensor(cut_out(photograph, BOX)[0])
    network = trained.network
    with torch.inference_mode():
        found = network.head.head.fields(network.features(picture))
        sigma = float(network.head.head.displacement.sigma)
    cell, pixel = network.head.cell, network.head.cell / network.head.finer
    return mdn.Fields(
        found.confidence[0].numpy(),
        pixel * found.offsets[0].numpy(),
        image=np.rint(255 * picture[0].permute(1, 2, 0).numpy()).astype(np.uint8),
        stride=cell,
        origin=(cell - 1) / 2,
        sigma=round(pixel * sigma, 3),
        names=PARTS,
        source="A Mass Displacement Network within parts (EfficientNet-Lite0), trained by"
        f" samples/train_lsp.py for {settings.steps} steps on Leeds Sports Pose Extended (Johnson"
        " and Everingham, CVPR 2011), on skimage.data.camera() (Lav Varshney, CC0), made by"
        " samples/make_trained.py",
    )


def print_peaks(fields):
    """Print each joint's highest peak, the evidence and the probability there."""
    say("part                x        y   evidence   noisy-or")
    for name in fields.names:
        votes = fields.votes(name)
        peaks = mdn.find_peaks(votes.evidence(), threshold=0.0, max_peaks=1, score=votes.noisy_or())
        say(
            f"{name:15} {peaks.x[0]:6.1f}   {peaks.y[0]:6.1f}   {peaks.evidence[0]:8.3f}"
            f"   {peaks.score[0]:8.3f}"
        )


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
