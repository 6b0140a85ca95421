"""Make nuclei.mdn: one step of mean shift over a stained tissue, written as votes for its nuclei.

Haematoxylin dyes nuclei blue. Every blue pixel votes for the centre of mass of the blue around it,
so that the pixels of a nucleus agree on its centre. The offsets are those of Fukunaga and Hostetler
(1975): the gradient of the logarithm of the smoothed stain, times the square of the Gaussian's
width. Glands, which DAB dyes brown, are left out: their nuclei hide each other.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage, optimize
from skimage import color, data

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

CROP = slice(234, 512), slice(160, 368)  # rows and columns: where the tissue is mostly blue

PALEST, DARKEST = 0.02, 0.05  # haematoxylin, as `rgb2hed` has it, of no and of full confidence
BROWN = 0.03  # DAB from which the tissue is a gland,
SPREAD = 4.0  # smoothed so far (pixels) that the nuclei of a gland, which have less, count as it
BELIEF = 0.2  # how far one pixel is believed
BANDWIDTH = 3.0  # of the mean shift, in pixels: half the width of a nucleus

SIGMA = 2.0
THRESHOLD = 3.0  # evidence of a nucleus
MIN_DISTANCE = 5.0  # between two nuclei, in pixels
REACH = 6.0  # how far a peak may be from the centre that it is counted for


def vote_fields(image):
    """Return the confidence and offsets of every pixel's vote.

    Parameters
    ----------
    image : (H, W, 3) uint8 array

    Returns
    -------
    confidence : (1, H, W) float32 array
        From 0 at PALEST to BELIEF at DARKEST, and zero where the tissue is brown.
    offsets : (1, 2, H, W) float32 array
        To the centre of mass of the stain around, in steps of 1/64 pixel; zero where the confidence
        is.
    """
    haematoxylin, _, dab = np.moveaxis(color.rgb2hed(image), -1, 0)
    brown = ndimage.gaussian_filter(dab, SPREAD) >= BROWN
    stain = np.where(brown, 0, np.clip(haematoxylin - PALEST, 0, None))
    confidence = BELIEF * np.clip(stain / (DARKEST - PALEST), 0, 1)

    density = ndimage.gaussian_filter(stain, BANDWIDTH) + 1e-6  # no logarithm of 0
    shift = BANDWIDTH**2 * np.stack(np.gradient(np.log(density))[::-1])  # x before y
    offsets = np.where(confidence > 0, np.round(64 * shift) / 64, 0) + 0.0  # no minus zeros
    return confidence[None].astype(np.float32), offsets[None].astype(np.float32)


def count_found(peaks, centres):
    """Count the centres that have a peak within REACH, each peak being taken once."""
    places = np.stack([peaks.y, peaks.x], axis=-1)
    near = np.linalg.norm(places[:, None] - centres, axis=-1) <= REACH
    pairs = optimize.linear_sum_assignment(near, maximize=True)
    return int(near[pairs].sum())


def main():
    """Make the sample and say how many nuclei its votes find."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "nuclei.mdn",
        help="where to write the fields (default: nuclei.mdn beside this script)",
    )
    output = parser.parse_args().output

    image = data.immunohistochemistry()[CROP]
    confidence, offsets = vote_fields(image)
    fields = mdn.Fields(
        confidence=confidence,
        offsets=offsets,
        image=image,
        sigma=SIGMA,
        names=("nucleus",),
        source="Mean shift of haematoxylin on skimage.data.immunohistochemistry(), rows 234 to 511,"
        " columns 160 to 367 (colonic glands, Center for Microscopy And Molecular Imaging, no known"
        " copyright restrictions), made by samples/make_nuclei.py",
    )
    mdn.save_fields(output, fields)

    say(f"{output}: {np.count_nonzero(confidence)} votes, {output.stat().st_size} bytes")
    centres = np.loadtxt(HERE / "nuclei_centres.csv", delimiter=",", skiprows=1)
    evidence = fields.votes("nucleus").evidence()
    for threshold in (2.5, THRESHOLD, 3.5, 4.0):
        peaks = mdn.find_peaks(evidence, threshold=threshold, min_distance=MIN_DISTANCE)
        found = count_found(peaks, centres)
        say(
            f"threshold {threshold}: {len(peaks)} peaks; {found} of the {len(centres)} nuclei"
            f" counted by eye have one within {REACH:g} px"
        )


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
