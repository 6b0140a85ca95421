"""Group the keypoints of several persons: by votes for a root part, as PersonLab does.

    python samples/group_persons.py -o persons.png

The scene is synthetic. Three figures stand so close that their limbs cross. A network would
predict for every cell near a joint how confident it is (`confidence`), where the joint is
(`offsets`) and where the neck of the same person is (`cross_offsets`): here they are drawn with
noise, and each part has a false detection; its cells disagree about the neck.

1. All parts vote for necks, across parts: each peak is a person.
2. Every part votes for itself: each peak is a keypoint of some person.
3. A keypoint is of the person to whom its sources, weighted by their confidence, vote most.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

import mdn_cupy as mdn
from mdn_cupy import console
from mdn_cupy.files import replacing

PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

PARTS = (
    *("neck", "head", "left elbow", "right elbow", "left wrist", "right wrist"),
    *("left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle"),
)
ROOT = 0
LIMBS = ((0, 1), (0, 2), (2, 4), (0, 3), (3, 5), (0, 6), (6, 8), (8, 10), (0, 7), (7, 9), (9, 11))
_LENGTHS = (0, 22, 26, 26, 24, 24, 46, 46, 34, 34, 34, 34)  # pixels from the joint before
_ANGLES = (0, -90, 130, 50, 110, 70, 102, 78, 95, 85, 92, 88)  # degrees, clockwise from the right

PERSONS = 3
SHAPE = (256, 256)
STRIDE = 4
RADIUS = 10  # pixels, of the disk of cells that see a joint
NOISE, CROSS_NOISE = 1.0, 2.5  # pixels
SIGMA, CROSS_SIGMA = 2.0, 5.0


def scene(seed=0):
    """Draw three figures and the fields that a network would predict for them.

    Parameters
    ----------
    seed : int
        Of the figures and the noise.

    Returns
    -------
    fields : mdn_cupy.Fields
        With cross offsets [1, P, 2, H, W] for the root part.
    joints : (3, P, 2) array
        (x, y) of every joint of each figure.
    """
    rng = np.random.default_rng(seed)
    joints = np.zeros((PERSONS, len(PARTS), 2))
    before = {part: parent for parent, part in LIMBS}
    joints[:, ROOT] = np.stack([78 + 50 * np.arange(PERSONS), np.full(PERSONS, 72)], -1)
    joints[:, ROOT] += rng.uniform(-8, 8, (PERSONS, 2))
    for part in range(1, len(PARTS)):
        angle = np.radians(_ANGLES[part] + rng.uniform(-25, 25, PERSONS))
        step = np.stack([np.cos(angle), np.sin(angle)], -1)
        joints[:, part] = joints[:, before[part]] + _LENGTHS[part] * step
    confidence, offsets, cross = _fields(joints, rng)
    fields = mdn.Fields(
        confidence,
        offsets,
        cross_offsets=cross[None],
        stride=STRIDE,
        output_shape=SHAPE,
        sigma=SIGMA,
        names=PARTS,
        source="samples/group_persons.py, synthetic",
    )
    return fields, joints


def _fields(joints, rng):
    """Make confidence, offsets and cross offsets near joints, and near a false one."""
    grid = STRIDE * np.indices((SHAPE[0] // STRIDE, SHAPE[1] // STRIDE))[::-1]  # x, y
    parts, shape = joints.shape[1], grid.shape[1:]
    false = rng.uniform(16, np.array(SHAPE)[::-1] - 16, (parts, 1, 2))
    targets = np.concatenate([joints.transpose(1, 0, 2), false], axis=1)  # [P, 4, 2]
    to_targets = targets[..., None, None] - grid  # [P, 4, 2, H, W]
    distance = np.hypot(*np.moveaxis(to_targets, 2, 0))
    nearest = distance.argmin(axis=1)  # [P, H, W]
    seen = distance.min(axis=1) < RADIUS
    offsets = np.take_along_axis(to_targets, nearest[:, None, None], axis=1)[:, 0]
    to_necks = joints[:, ROOT][..., None, None] - grid  # [3, 2, H, W]
    anywhere = rng.uniform(-60, 60, (parts, 1, 2, *shape))
    to_necks = np.concatenate([np.broadcast_to(to_necks, (parts, *to_necks.shape)), anywhere], 1)
    cross = np.take_along_axis(to_necks, nearest[:, None, None], axis=1)[:, 0]
    confidence = np.where(seen, rng.uniform(0.3, 0.8, seen.shape), 0)
    offsets = offsets + rng.normal(0, NOISE, offsets.shape)
    cross = cross + rng.normal(0, CROSS_NOISE, cross.shape)
    return (x.astype(np.float32) for x in (confidence, offsets, cross))


def group(fields):
    """Find the persons and their keypoints.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        With cross offsets for the root part.

    Returns
    -------
    persons, keypoints : mdn_cupy.Peaks
        One peak a person, and one a keypoint of any part.
    individuals : int array [keypoints]
        The person of each keypoint, from 0; −1 without a person.
    """
    for_necks = fields.votes(ROOT, sigma=CROSS_SIGMA, cross=True)
    persons = for_necks.peaks(threshold=8.0, min_distance=4 * CROSS_SIGMA)
    person, _ = for_necks.instances(persons, radius=3 * CROSS_SIGMA)  # [P, H, W]

    votes = mdn.Votes(fields.confidence, fields.offsets, fields.sigma, **fields.geometry)
    keypoints = votes.peaks(threshold=2.3, min_distance=RADIUS)
    keypoint, mass = votes.instances(keypoints, radius=3 * SIGMA)  # [P, H, W]

    shares = np.zeros((len(keypoints) + 1, len(persons) + 1))
    np.add.at(shares, (keypoint, person), fields.confidence)
    shares = shares[1:, 1:]
    most = shares.argmax(axis=1) if len(persons) else np.zeros(len(keypoints), int)
    clear = shares.max(axis=1, initial=0) > mass / 2  # a false detection's sources disagree
    return persons, keypoints, np.where(clear, most, -1)


def draw(fields, persons, keypoints, individuals):
    """Draw the confidence, every keypoint in its person's colour, and the limbs between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    extent = np.array([-0.5, SHAPE[1] / STRIDE - 0.5, SHAPE[0] / STRIDE - 0.5, -0.5]) * STRIDE
    axes.imshow(fields.confidence.max(axis=0), extent=extent, cmap="gray", vmax=1.6)
    for person in range(len(persons)):
        own = np.flatnonzero(individuals == person)
        places = {int(keypoints.map[n]): (keypoints.x[n], keypoints.y[n]) for n in own[::-1]}
        for ends in LIMBS:
            if places.keys() >= {*ends}:
                axes.plot(*zip(*(places[end] for end in ends), strict=True), color=f"C{person}")
        axes.plot(keypoints.x[own], keypoints.y[own], "o", color=f"C{person}", mec="white")
    unassigned = individuals < 0
    axes.plot(keypoints.x[unassigned], keypoints.y[unassigned], "x", color="white")
    axes.plot(persons.x, persons.y, "*", ms=14, mfc="none", mec="white")
    axes.set_axis_off()
    return figure


def main(argv=None):
    """Group the scene and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write: .png")
    parser.add_argument("--seed", type=int, default=0, help="another scene (default: 0)")
    arguments = parser.parse_args(argv)
    fields, joints = scene(arguments.seed)
    persons, keypoints, individuals = group(fields)
    with replacing(arguments.output) as file:
        draw(fields, persons, keypoints, individuals).savefig(file, format="png", dpi=110)
    unassigned = int((individuals < 0).sum())
    say(
        f"{len(persons)} persons of {len(joints)}, {len(keypoints) - unassigned} keypoints of "
        f"{joints.shape[0] * joints.shape[1]} grouped, {unassigned} without "
        f"a person: {arguments.output}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
