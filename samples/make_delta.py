"""Make delta.mdn: the argument for the noisy-or (supplement, section 2), as two vote maps.

"delta" has one perfectly confident source (Eq. 5). Under the normalised additive rule its vote is
worth only 1/(2 pi sigma^2) (Eq. 6), however confident it was; under the noisy-or it stays 1 at
every sigma. "agreement" has a neighbourhood of perfectly confident sources that all vote for one
pixel (Eq. 4). The plain sum makes it the number of sources, far above 1; under the noisy-or it is
1. Every vote lands on a whole pixel, so these values hold exactly.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

SHAPE = (64, 64)
SIGMA = 3.0

DELTA_SOURCE = (20, 16)  # row, column
DELTA_TARGET = (28, 40)
AGREEMENT_TARGET = (34, 30)  # off the centre of its neighbourhood, to tell the two apart
AGREEMENT_ROWS, AGREEMENT_COLUMNS = slice(28, 37), slice(28, 37)  # 81 sources


def vote_fields():
    """Return the two maps.

    Returns
    -------
    confidence : (2, 64, 64) float32 array
        1 at the sources, 0 elsewhere.
    offsets : (2, 2, 64, 64) float32 array
        From each source to its map's target, o = x0 − x; zero where the confidence is.
    """
    confidence = np.zeros((2, *SHAPE), dtype=np.float32)
    confidence[0][DELTA_SOURCE] = 1
    confidence[1, AGREEMENT_ROWS, AGREEMENT_COLUMNS] = 1

    rows, columns = np.indices(SHAPE)
    targets = (DELTA_TARGET, AGREEMENT_TARGET)
    towards = np.array([(column - columns, row - rows) for row, column in targets])
    offsets = np.where(confidence[:, None] > 0, towards, 0)
    return confidence, offsets.astype(np.float32)


def picture(confidence):
    """Something to see beneath the maps: white sources, grey targets, on black."""
    image = np.where(confidence.any(axis=0), 255, 0).astype(np.uint8)
    for target in (DELTA_TARGET, AGREEMENT_TARGET):
        image[target] = 128
    return image


def main():
    """Make the sample and print what the equations say beside what the library does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "delta.mdn",
        help="where to write the fields (default: delta.mdn beside this script)",
    )
    output = parser.parse_args().output

    confidence, offsets = vote_fields()
    fields = mdn.Fields(
        confidence=confidence,
        offsets=offsets,
        image=picture(confidence),
        sigma=SIGMA,
        names=("delta", "agreement"),
        source="synthetic: Neverova and Kokkinos, Mass Displacement Networks, supplement,"
        " section 2, Eqs. 4 to 6; made by samples/make_delta.py",
    )
    mdn.save_fields(output, fields)

    say(f"{output}: {np.count_nonzero(confidence)} votes, {output.stat().st_size} bytes")
    for sigma in (1.0, 3.0, 8.0):
        votes = mdn.Votes(confidence, offsets, sigma)
        m, additive, plain_sum = (
            rule(votes).max(axis=(1, 2))
            for rule in (mdn.Votes.noisy_or, mdn.Votes.additive, mdn.Votes.plain_sum)
        )
        say(
            f"sigma {sigma}: delta {additive[0]:.7f} (Eq. 6: {1 / (2 * np.pi * sigma**2):.7f}),"
            f" noisy-or {m[0]:.6f}; agreement {plain_sum[1]:.4f} (Eq. 4:"
            f" {np.count_nonzero(confidence[1])}), noisy-or {m[1]:.6f}"
        )


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
