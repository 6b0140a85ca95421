"""The peaks of the maps, and the sources of each. Knows neither Qt nor napari."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core import compilation
from mdn_viewer.core.session import ALL, VotingSession

__all__ = ["Detections", "Search", "detect", "every_part", "work_of"]

FloatArray = npt.NDArray[np.floating]

_CORNERS = 49  # of an ellipse
_LEAST_RADIUS = 0.5  # pixels, or votes that agree exactly draw nothing


class Search(NamedTuple):
    """What counts as a detection.

    Parameters
    ----------
    score : float
        Least value of the map at a peak: m of the noisy-or, or the sum.
    distance : float
        Least distance of two peaks of a map, in pixels of the output.
    rule : {'noisy_or', 'additive'}
        Of which map.
    every_part : bool
        Whether to search the maps of all parts, or only that of the session's.
    """

    score: float = 0.5
    distance: float = 8.0
    rule: str = "noisy_or"
    every_part: bool = False


@dataclass(frozen=True, eq=False)
class Detections:
    """Peaks of a session's map, or of the maps of all parts.

    Attributes
    ----------
    session : VotingSession
        Whose votes.
    search : Search
        What was looked for.
    peaks : mdn_cupy.Peaks
        The peaks, in NumPy arrays.
    votes : mdn_cupy.Votes
        The votes for the maps that were searched.
    """

    session: VotingSession
    search: Search
    peaks: mdn.Peaks
    votes: mdn.Votes

    def __len__(self) -> int:
        return len(self.peaks)

    @property
    def parts(self) -> npt.NDArray[np.int64]:
        """The number of each peak's part, [n]; −1 where all parts vote into one map."""
        if self.search.every_part:
            return np.asarray(self.peaks.map)
        part = -1 if self.session.part == ALL else int(self.session.part)
        return np.full(len(self.peaks), part)

    @property
    def part_names(self) -> npt.NDArray[np.str_]:
        """The name of each peak's part, [n]."""
        names = np.array([*self.session.fields.names, ALL])
        return np.asarray(names[self.parts])

    @property
    def places(self) -> FloatArray:
        """Row and column of each peak, [n, 2]."""
        return np.stack([np.asarray(self.peaks.y), np.asarray(self.peaks.x)], axis=1)

    @cached_property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table, [n] each."""
        p = self.peaks
        return {
            "part": self.part_names,
            "row": np.asarray(p.y),
            "column": np.asarray(p.x),
            "score": np.asarray(p.score),
            "evidence": np.asarray(p.evidence),
            "spread": np.sqrt((np.asarray(p.xx) + np.asarray(p.yy)) / 2),
            "voters": np.asarray(p.voters),
        }

    def ellipses(self, most: int) -> FloatArray:
        """Return the spread of the strongest peaks' votes as ellipses, [n, m, 2].

        They are of one standard deviation, and in no order.

        Parameters
        ----------
        most : int
            How many at most.
        """
        evidence = np.asarray(self.peaks.evidence)
        strongest = np.argpartition(-evidence, most)[:most] if len(evidence) > most else slice(None)
        turn = np.linspace(0, 2 * np.pi, _CORNERS)[:-1]
        circle = np.stack([np.sin(turn), np.cos(turn)])
        p = self.peaks
        yy, xy, xx = (np.asarray(each, float)[strongest] for each in (p.yy, p.xy, p.xx))
        covariance = np.nan_to_num(np.array([[yy, xy], [xy, xx]]), posinf=0.0)
        lengths, axes = np.linalg.eigh(np.moveaxis(covariance, -1, 0))
        radii = np.maximum(np.sqrt(np.maximum(lengths, 0)), _LEAST_RADIUS)
        outlines = np.swapaxes(axes * radii[:, None] @ circle, 1, 2)
        found: FloatArray = outlines + self.places[strongest][:, None]
        return found

    def instances(self) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Return the number of the peak that each source votes for most, and the peaks' masses.

        Returns
        -------
        labels : int32 array [H, W]
            0 for none. Where several parts vote, that of the surest part at each place.
        mass : array [n]
            Of each peak the sum of the confidences of its sources.
        """
        labels, mass = self.votes.instances(self.peaks)
        if labels.ndim > 2:
            confidence = np.where(labels > 0, self.votes.confidence, -np.inf)
            surest = np.argmax(confidence, axis=0)[None]
            labels = np.take_along_axis(labels, surest, axis=0)[0]
        return labels, mass

    def coco(self, frame: int = 0) -> str:
        """Return the peaks of all parts as COCO's keypoint results: one person, a peak a part.

        The frame is the image's identifier.

        Raises
        ------
        ValueError
            If not the maps of all parts were searched.
        """
        if not self.search.every_part:
            raise ValueError("COCO's keypoints are of all parts: tick 'every part' first")
        return json.dumps(self.peaks.to_coco_keypoints(image_ids=[frame]), indent=1)

    def movement(self, frame: int = 0) -> dict[str, npt.NDArray[np.generic]]:
        """Return the table with the columns of movement: time, individual, keypoint, x, y, ….

        The frame is the time. The individual is the peak's rank in its part, the surest 0: movement
        has one place for each keypoint of an individual.
        """
        order = np.lexsort((-np.asarray(self.peaks.evidence), self.parts))
        ranks = np.empty(len(self), np.int64)
        _, first, count = np.unique(self.parts[order], return_index=True, return_counts=True)
        ranks[order] = np.arange(len(self)) - np.repeat(first, count)
        return {
            "time": np.full(len(self), frame),
            "individual": np.array([f"id_{rank}" for rank in ranks]),
            "keypoint": self.part_names,
            "x": np.asarray(self.peaks.x),
            "y": np.asarray(self.peaks.y),
            "confidence": np.asarray(self.peaks.score),
        }


def detect(session: VotingSession, search: Search) -> Detections:
    """Find the peaks of a session's map, or of the maps of all parts.

    Parameters
    ----------
    session : VotingSession
        Whose votes.
    search : Search
        What to look for.

    Raises
    ------
    ValueError
        If the least score is not above 0, or not below 1 for the noisy-or.

    Examples
    --------
    >>> pose = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> detect(pose, Search()).columns["row"].round().tolist()
    [95.0]
    >>> len(set(detect(pose, Search(every_part=True)).part_names))
    9
    """
    rule = session.rule_of(search.rule)
    least = 1.0 if rule == "noisy_or" else math.inf
    if not 0 < search.score < least:
        raise ValueError(f"the least score must lie between 0 and {least:g}, got {search.score:g}")
    threshold = -math.log1p(-search.score) if rule == "noisy_or" else search.score
    compilation.wait("peaks")
    votes = every_part(session) if search.every_part else session.votes
    peaks = votes.peaks(threshold=threshold, min_distance=search.distance, rule=rule)
    return Detections(session, search, peaks, votes)


def every_part(session: VotingSession) -> mdn.Votes:
    """Return the votes of every part for itself, a map each [P, Ho, Wo]."""
    fields, votes = session.fields, session.votes
    options: dict[str, Any] = {name: getattr(votes, name) for name in ("stride", "origin")}
    return mdn.Votes(
        fields.confidence,
        fields.offsets,
        session.sigma,
        truncate=session.truncate,
        output_shape=votes.shape,
        **options,
    )


def work_of(session: VotingSession, search: Search) -> float:
    """Return what the time of `detect` grows with."""
    return session.work * (len(session.fields.names) if search.every_part else 1)
