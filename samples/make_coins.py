"""Make coins.mdn: Hough voting for circles, written as a field of confidences and offsets.

A coin is brighter than the table, so the image gradient on its rim points to its centre, one radius
away. The radius is not known; so there is a map for each of several radii, in which every rim pixel
votes for the point at that radius along its gradient. Aggregated over the radii by the noisy-or,
the votes of a rim agree in one place only: the centre of the coin.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import data, feature, filters, segmentation

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

RADII = np.arange(18, 33, 2)  # pixels; the coins' radii are 18.4 to 31.6
SIGMA = 2.0

SMOOTHING = 2.0  # the reliefs on the coins are finer than this, the rims are not
HALF_CONTRAST = 0.03  # gradient (of intensities in [0, 1], per pixel) of half confidence
BELIEF = 0.2  # how far one perfect rim pixel is believed about the smallest radius


def vote_fields(image):
    """Return the confidence and offsets of every pixel's votes, one map per radius.

    Parameters
    ----------
    image : (H, W) uint8 array

    Returns
    -------
    confidence : (P, H, W) float32 array
        Gradient magnitude on the Canny edges, squashed to |g| / (|g| + HALF_CONTRAST) so that a
        coin of low contrast counts too, and zero elsewhere. Then scaled by BELIEF, for a rim pixel
        is weak evidence of any one circle; and by 1 / radius, for a large circle has more of them.
    offsets : (P, 2, H, W) float32 array
        Radius times the direction of the gradient, in steps of 1/64 pixel; zero where the
        confidence is.
    """
    intensity = image / 255
    smooth = ndimage.gaussian_filter(intensity, SMOOTHING)
    gradient = np.stack(np.gradient(smooth)[::-1])  # x before y
    magnitude = np.hypot(*gradient)
    edges = feature.canny(intensity, SMOOTHING, low_threshold=0.2, high_threshold=0.3)

    confidence = np.where(edges, magnitude / (magnitude + HALF_CONTRAST), 0)
    confidence = BELIEF * confidence * (RADII.min() / RADII)[:, None, None]

    direction = np.where(edges, gradient / np.where(edges, magnitude, 1), 0)
    offsets = RADII[:, None, None, None] * direction
    offsets = np.round(64 * offsets) / 64 + 0.0  # whole steps compress well; + 0.0: no minus zeros
    return confidence.astype(np.float32), offsets.astype(np.float32)


def coin_centres(image):
    """Centroids of the coins, found without any voting.

    A watershed of the Sobel magnitude, flooded from pixels that are surely table (below 30) and
    surely coin (above 150), with holes filled and specks opened away. The outlines and centroids
    that it gives for `skimage.data.coins` were checked by eye: 24 coins, each outlined.

    Parameters
    ----------
    image : (H, W) uint8 array

    Returns
    -------
    (n, 2) float array
        Rows and columns, to a tenth of a pixel.
    """
    markers = np.select([image < 30, image > 150], [1, 2])
    coins = segmentation.watershed(filters.sobel(image), markers) == 2
    coins = ndimage.binary_opening(ndimage.binary_fill_holes(coins), iterations=4)
    labels, count = ndimage.label(coins)
    return np.round(ndimage.center_of_mass(coins, labels, range(1, count + 1)), 1)


def find_peaks(confidence, offsets, sigma):
    """Find the peaks of the evidence −log(1 − m), which does not saturate where m rounds to 1.

    Returns
    -------
    peaks : (n, 2) int array
        Rows and columns.
    heights : (n,) array
        The evidence there.
    """
    evidence = mdn.Votes(confidence, offsets, sigma, aggregate=-3).evidence()
    peaks = feature.peak_local_max(evidence, min_distance=10, threshold_rel=0.2)
    return peaks, evidence[tuple(peaks.T)]


def main():
    """Make the sample and say how well its votes find the coins."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "coins.mdn",
        help="where to write the fields; the true centres go beside it as NAME_centres.csv"
        " (default: coins.mdn beside this script)",
    )
    output = parser.parse_args().output

    image = data.coins()
    confidence, offsets = vote_fields(image)
    fields = mdn.Fields(
        confidence=confidence,
        offsets=offsets,
        image=image,
        sigma=SIGMA,
        names=tuple(f"radius {radius}" for radius in RADII),
        source="Hough votes on skimage.data.coins() (Greek coins from Pompeii, Brooklyn Museum,"
        " no known copyright restrictions), made by samples/make_coins.py",
    )
    mdn.save_fields(output, fields)
    centres = coin_centres(image)
    centres_path = output.with_name(output.stem + "_centres.csv")
    np.savetxt(centres_path, centres, "%.1f", ",", header="row,column", comments="")

    say(f"{output}: {np.count_nonzero(confidence)} votes, {output.stat().st_size} bytes")
    say(f"{centres_path}: {len(centres)} coins")
    for sigma in (1.5, 2.0, 3.0, 4.0):
        peaks, heights = find_peaks(confidence, offsets, sigma)
        distances = np.linalg.norm(peaks[:, None] - centres, axis=-1)
        say(
            f"sigma {sigma}: {len(peaks)} peaks, the lowest {heights.min() / heights.max():.2f} of"
            f" the highest ({heights.max():.1f}); farthest coin {distances.min(0).max():.1f} px"
        )


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
