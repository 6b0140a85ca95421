"""From a pose network's fields to keypoints, five ways.

Each way answers one set of fields with 17 points and their scores; all of them look for the points
in the same place, the person's box, and differ in nothing but how the cells' evidence is combined.

    fields = mdn.samples.load("pose")
    points, scores = decode(fields, "cross_noisy_or")
    points.shape, scores.shape    # (17, 2), x before y, in output pixels; (17,)
"""

from dataclasses import dataclass

import numpy as np
import torch

import mdn_cupy as mdn

WAYS = {
    "argmax": "argmax of the heatmap, plus its offset",
    "plain_sum": "plain sum of the part's own votes",
    "noisy_or": "noisy-or of the part's own votes",
    "cross_plain_sum": "plain sum of the part's and its neighbours' votes",
    "cross_noisy_or": "noisy-or of the part's and its neighbours' votes",
}


@dataclass(frozen=True)
class Voting:
    """How the votes are cast: their width in output pixels, and what a neighbour's are worth."""

    sigma: float = 4.0
    neighbours: float = 0.3  # times its confidence; a part's votes for itself count in full


def decode(fields, way, voting=None, box=None):
    """Find the keypoints of one person.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        With cross offsets (P, P, 2, h, w) for the two ways that need them.
    way : str
        One of `WAYS`.
    voting : Voting, optional
        Width of the votes and weight of the neighbours.
    box : (float, float, float, float), optional
        Left, top, right and bottom of where the points may be, in output pixels; by default they
        may be anywhere in the output.

    Returns
    -------
    points : (P, 2) float64 array
        x and y of every part, in output pixels.
    scores : (P,) float64 array
        The confidence (argmax) or the evidence there, which does not saturate: −log(1 − m)
        (noisy-or) or the plain sum of the votes.
    """
    if way == "argmax":
        return _argmax(fields, box)
    evidence = _evidence(fields, way, voting or Voting())
    top, left = restrict(evidence.shape[-2:], box)
    peaks = mdn.torch.subpixel_argmax(torch.from_numpy(evidence[:, top, left]))
    points = peaks.positions.double().numpy() + np.array([left.start, top.start])
    return points, peaks.scores.double().numpy()


def _evidence(fields, way, voting):
    """Compute the maps in which the points are searched, (P, Ho, Wo)."""
    rule = way.removeprefix("cross_")
    votes = mdn.Votes(fields.confidence, fields.offsets, voting.sigma, **fields.geometry)
    if rule != way:
        itself = np.eye(len(fields.confidence), dtype=bool)[:, :, None, None]
        weight = np.where(itself, 1, voting.neighbours).astype(fields.confidence.dtype)
        votes = votes.replace(
            confidence=weight * fields.confidence,  # [k, p]: what p's votes for k are worth
            offsets=fields.cross_offsets,
            aggregate=-3,
        )
    return votes.evidence(rule)


def _argmax(fields, box):
    """Every part's most confident cell among those that vote for a point in the box."""
    parts, height, width = fields.confidence.shape
    cells = fields.origin + fields.stride * np.stack(np.meshgrid(range(width), range(height)))
    points = (cells + fields.offsets).reshape(parts, 2, -1)
    confidence = fields.confidence.reshape(parts, -1)
    if box is not None:
        low, high = np.array(box[:2])[:, None], np.array(box[2:])[:, None]
        inside = ((points >= low) & (points <= high)).all(axis=1)
        # Where no cell votes for the box, the best one outside it is as good as any.
        confidence = np.where(inside | ~inside.any(axis=1, keepdims=True), confidence, -1)
    best = confidence.argmax(axis=1)
    each = np.arange(parts)
    return points[each, :, best].astype(float), confidence[each, best].astype(float)


def restrict(shape, box):
    """Rows and columns of the pixels in a box, as slices; never none."""
    height, width = shape
    left, top, right, bottom = (0, 0, width - 1, height - 1) if box is None else box
    spans = []
    for low, high, size in ((top, bottom, height), (left, right, width)):
        start = int(np.clip(np.floor(low), 0, size - 1))
        spans.append(slice(start, int(np.clip(np.ceil(high), start, size - 1)) + 1))
    return spans
