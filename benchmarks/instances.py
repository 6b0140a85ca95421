"""Time the labels of 1 megapixel of sources and 1,000 peaks, beside the vote and torch.

In torch it is Panoptic-DeepLab's grouping: distances of every landing point to every centre, and
the least of them. All K x H x W would take 4 GB; 4,096 points at a time, the fastest, take 16 MB.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

if __name__ == "__main__":  # not this folder, whose `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import mdn_cupy as mdn
from benchmarks.timing import Budget, compete

SIDE, ROWS, COLUMNS = 1024, 40, 25  # of the sources; of the centres
SIGMA, SPREAD = 2.0, 1.5
THRESHOLD, RADIUS = 4.6, 8.0
CHUNK = 4096
DISTANCES = {  # modes of torch.cdist: |p - q| as it is, and from p·q, which rounds
    "by differences": "donot_use_mm_for_euclid_dist",
    "by products": "use_mm_for_euclid_dist",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each; default: 10")
    budget = Budget(parser.parse_args(argv).seconds)
    votes = made()
    peaks = votes.peaks(threshold=THRESHOLD, min_distance=RADIUS)
    ways = ways_to_label(votes, peaks)
    labels, _ = votes.instances(peaks, radius=RADIUS)
    same = np.mean(labels == ways["grouping by differences"]())
    print(f"{SIDE} x {SIDE} sources, {len(peaks)} peaks, {mdn.backends()['cpu'].detail}")
    print(f"{same:.4%} of the labels are those of the grouping; fastest and median in ms")
    for name, timing in compete(ways, budget).items():
        print(f"{name:24} {1e3 * timing.fastest:8.1f} {1e3 * timing.median:8.1f}")


def ways_to_label(votes: mdn.Votes, peaks: mdn.Peaks) -> dict[str, Callable[[], Any]]:
    """Name functions to time: the vote, and ways to label."""
    return {
        "votes.noisy_or": votes.noisy_or,
        "votes.instances": partial(votes.instances, peaks, radius=RADIUS),
        **{f"grouping {how}": partial(grouped, votes, peaks, how) for how in DISTANCES},
    }


def made() -> mdn.Votes:
    """Make votes of every pixel for the nearest of centres on a grid that is not quite regular."""
    rng = np.random.default_rng(0)
    grid = np.indices((COLUMNS, ROWS)).reshape(2, -1).T + 0.5
    centres = grid * [SIDE / COLUMNS, SIDE / ROWS] + rng.uniform(-4, 4, grid.shape)
    points = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)
    _, nearest = cKDTree(centres).query(points)
    offsets = centres[nearest] - points + rng.normal(0, SPREAD, points.shape)
    confidence = rng.random((SIDE, SIDE), np.float32)
    return mdn.Votes(confidence, np.moveaxis(offsets, -1, 0).astype(np.float32), SIGMA)


def grouped(votes: mdn.Votes, peaks: mdn.Peaks, how: str) -> npt.NDArray[np.int64]:
    """Label every source with the centre nearest to its landing point, from 1 on."""
    centres = torch.from_numpy(np.stack([peaks.x, peaks.y], axis=1).astype(np.float32))
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    landing = (torch.stack([x, y]) + torch.from_numpy(votes.offsets)).reshape(2, -1).T
    labels = [
        torch.cdist(points, centres, compute_mode=DISTANCES[how]).argmin(dim=1) + 1
        for points in landing.split(CHUNK)
    ]
    return np.asarray(torch.cat(labels).reshape(SIDE, SIDE))


if __name__ == "__main__":
    main()
