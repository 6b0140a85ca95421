"""Count the nuclei of a synthetic slide with a small network, tile by tile, and compare seams.

    python samples/count_nuclei.py --size 2048

A network of five convolutions is trained for a few seconds to say of each pixel whether it lies in
a nucleus and where its centre is. It then looks at a slide of other nuclei in tiles with a halo of
its receptive field; votes cross the tiles, and the peaks are counted. The same with one tile, the
whole slide, has the same peaks: there is no seam.
"""

import argparse

import numpy as np
import torch
from scipy.spatial import cKDTree

import mdn_cupy as mdn

RADIUS, GRID, HALO = 6, 20, 16
DILATIONS = (1, 2, 4, 2)  # pixels: the network sees 9 on each side
SIGMA, THRESHOLD, DISTANCE, REACH = 1.5, 3.0, 8, 4 * RADIUS


def slide(size, seed):
    """Draw dark discs on a bright ground [H, W]; return also their centres [n, 2]: (y, x)."""
    rng = np.random.default_rng(seed)
    cells = size // GRID
    centres = (np.stack(np.mgrid[:cells, :cells], -1).reshape(-1, 2) + 0.5) * GRID
    centres = centres[rng.random(len(centres)) < 0.7]
    centres += rng.uniform(-3.5, 3.5, centres.shape)
    distance, _ = nearest(centres, size)
    picture = np.where(distance < RADIUS, 0.4, 0.8) + rng.normal(0, 0.08, (size, size))
    return picture.astype(np.float32), centres


def nearest(centres, size):
    """Distance [H, W] of every pixel from the nearest centre, and the way there [2, H, W]: x, y."""
    pixels = np.stack(np.mgrid[:size, :size], -1).reshape(-1, 2)
    distance, number = cKDTree(centres).query(pixels)
    way = (centres[number] - pixels)[:, ::-1].T.reshape(2, size, size)
    return distance.reshape(size, size), way


def train(steps=100):
    """Return a network of 3 channels: a logit, and the way to the centre in radii."""
    torch.manual_seed(0)
    layers, channels = [], 1
    for wide in DILATIONS:
        layers += [torch.nn.Conv2d(channels, 16, 3, padding=wide, dilation=wide), torch.nn.ReLU()]
        channels = 16
    network = torch.nn.Sequential(*layers, torch.nn.Conv2d(channels, 3, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    pictures = []
    for seed in range(4):
        picture, centres = slide(100, seed)
        distance, way = nearest(centres, 100)
        pictures.append((picture, (distance < RADIUS).astype(np.float32), way / RADIUS))
    image, inside, way = (
        torch.from_numpy(np.stack(each)).float() for each in zip(*pictures, strict=True)
    )
    for _ in range(steps):
        found = network(image[:, None] - 0.6)
        wrong = torch.nn.functional.binary_cross_entropy_with_logits(found[:, 0], inside)
        wrong = wrong + ((found[:, 1:] - way) ** 2 * inside[:, None]).mean()
        optimizer.zero_grad()
        wrong.backward()
        optimizer.step()
    return network.eval()


class Fields:
    """What the voting takes, of one tile."""

    def __init__(self, network):
        self.network = network

    def __call__(self, image):
        """Return confidence [h, w] and offsets [2, h, w] of a picture [h, w]."""
        with torch.inference_mode():
            found = self.network(torch.from_numpy(np.array(image))[None, None] - 0.6)[0]
        c = torch.sigmoid(found[0])
        c = torch.where(c > 0.5, 0.3 * c, 0)  # a vote: a disc has a hundred
        return c, (found[1:] * RADIUS).clip(-REACH, REACH)


def count(function, picture, tile):
    """Return the peaks of the slide, seen in tiles."""
    c, o = mdn.dask.from_network(function, picture, tile, HALO)
    evidence = 0 - mdn.dask.log_complement(c, o, SIGMA, reach=REACH)
    return mdn.dask.find_peaks(evidence, threshold=THRESHOLD, min_distance=DISTANCE).compute()


def main(size):
    """Train, count, and compare; return the centres and the peaks of tiles and of the whole."""
    function = Fields(train())
    picture, centres = slide(size, 99)
    tiles, whole = count(function, picture, 256), count(function, picture, size)
    places = [np.stack([peaks.y, peaks.x], 1) for peaks in (tiles, whole)]
    moved, _ = cKDTree(places[1]).query(places[0])
    missed, _ = cKDTree(places[0]).query(centres)
    print(
        f"{len(centres)} nuclei, {len(tiles)} found in tiles of 256, {len(whole)} in one tile; "
        f"the peaks differ by {moved.max():.4f} pixels at most; {(missed > 3).sum()} nuclei have "
        "no peak within 3 pixels"
    )
    return centres, tiles, whole, moved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of the slide")
    main(parser.parse_args().size)
