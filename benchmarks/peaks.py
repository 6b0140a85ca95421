"""Time the search for all peaks of a map of 1 megapixel, beside scikit-image and SciPy, in one run.

`scipy.ndimage.maximum_filter` alone is what a search by hand begins with: it neither lists nor
spaces the peaks.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from skimage.feature import peak_local_max

if __name__ == "__main__":  # not this folder, whose `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import mdn_cupy as mdn
from benchmarks.timing import Budget, compete

Map = npt.NDArray[np.float32]

SIDE, PEAKS = 1024, 1000
MIN_DISTANCE = 5
CASES = {  # threshold of each
    "1,000 Gaussians": 0.5,
    "1,000 Gaussians, noise": 0.5,
    "noise only": 0.5,
    "8 grey values": 1.0,
    "one plateau": 0.5,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each; default: 1")
    budget = Budget(parser.parse_args(argv).seconds)
    print(f"{SIDE} x {SIDE} float32, min_distance {MIN_DISTANCE}, {mdn.backends()['cpu'].detail}")
    print("fastest and median in ms; peaks found")
    for name, threshold in CASES.items():
        evidence = made(name)
        ways = ways_to_search(evidence, threshold)
        found = {way: len(search()) for way, search in ways.items()}  # and compiled
        found["maximum_filter"] = 0
        for way, timing in compete(ways, budget).items():
            times = f"{1e3 * timing.fastest:8.1f} {1e3 * timing.median:8.1f}"
            print(f"{name:24} {way:16} {times} {found[way] or '':7}")


def ways_to_search(evidence: Map, threshold: float) -> dict[str, Callable[[], Any]]:
    """Name functions that search one map."""
    options = {"threshold_abs": threshold, "min_distance": MIN_DISTANCE, "exclude_border": False}
    return {
        "mdn.find_peaks": partial(
            mdn.find_peaks, evidence, threshold=threshold, min_distance=MIN_DISTANCE
        ),
        "peak_local_max": partial(peak_local_max, evidence, **options),
        "maximum_filter": partial(maximum_filter, evidence, 3),
    }


def made(name: str) -> Map:
    """Make the evidence of a case."""
    rng = np.random.default_rng(0)
    if name == "noise only":
        return rng.random((SIDE, SIDE), np.float32)
    if name == "8 grey values":
        return rng.integers(0, 8, (SIDE, SIDE)).astype(np.float32)
    if name == "one plateau":
        return np.ones((SIDE, SIDE), np.float32)
    reach, sigma = 16, 3.0
    along = np.arange(-reach, reach + 1)
    evidence = np.zeros((SIDE + 2 * reach, SIDE + 2 * reach), np.float32)
    for _ in range(PEAKS):
        row, column = rng.integers(0, SIDE, 2)
        y, x = rng.uniform(-0.5, 0.5, 2)
        bump = np.exp(-((along[:, None] - y) ** 2 + (along - x) ** 2) / (2 * sigma**2))
        place = slice(row, row + 2 * reach + 1), slice(column, column + 2 * reach + 1)
        evidence[place] += rng.uniform(1, 5) * bump
    evidence = evidence[reach:-reach, reach:-reach].copy()
    if name.endswith("noise"):
        evidence += rng.normal(0, 0.02, evidence.shape).astype(np.float32)
    return evidence


if __name__ == "__main__":
    main()
