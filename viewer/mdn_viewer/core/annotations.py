"""How far peaks are from where parts truly are, and which sources make it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core.detections import every_part
from mdn_viewer.core.session import VotingSession

__all__ = [
    "COCO_SIGMAS",
    "Errors",
    "Influence",
    "errors_of",
    "influence_of",
    "peak_of",
    "place_of",
]

Float64 = npt.NDArray[np.float64]
Place = tuple[float, float]

# Standard deviations of where annotators put COCO's keypoints, in units of √area: pycocotools'.
COCO_SIGMAS = {
    "nose": 0.026,
    **{
        f"{side} {part}": sigma
        for part, sigma in {
            "eye": 0.025,
            "ear": 0.035,
            "shoulder": 0.079,
            "elbow": 0.072,
            "wrist": 0.062,
            "hip": 0.107,
            "knee": 0.087,
            "ankle": 0.089,
        }.items()
        for side in ("left", "right")
    },
}
_OTHER_SIGMA = 0.05  # of parts that COCO does not have
_MOST = 200  # sources that are left out in turn, the strongest


@dataclass(frozen=True, eq=False)
class Errors:
    """How far the highest peak of each part's map is from where the part truly is.

    Attributes
    ----------
    names : list of str
        The annotated parts.
    truth, found : float64 array [n, 2]
        Row and column, to a fraction of a pixel; NaN where no vote landed.
    error : float64 array [n]
        Their distance, in pixels.
    similarity : float64 array [n]
        exp(−error² / (2·area·(2σ)²)), the term of COCO's OKS; NaN where the object has no area.
    """

    names: list[str]
    truth: Float64
    found: Float64
    error: Float64
    similarity: Float64

    @property
    def oks(self) -> float:
        """COCO's object keypoint similarity: the mean over the annotated parts."""
        return float(np.mean(self.similarity)) if len(self.similarity) else float("nan")

    @property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table, [n] each."""
        return {
            "part": np.array(self.names, dtype=str),
            "row": self.truth[:, 0],
            "column": self.truth[:, 1],
            "error": self.error,
            "similarity": self.similarity,
        }


@dataclass(frozen=True, eq=False)
class Influence:
    """What each source does to a peak's error: the error without it, all else as it is.

    Of many sources, the 200 of the largest shares.

    Attributes
    ----------
    session : VotingSession
        Whose votes.
    truth : (row, column)
        Where the peak should be.
    found : (row, column)
        Where it is.
    voters : mdn_cupy.Voters
        The sources, the most harmful first.
    without : float64 array [n]
        The peak's distance from the truth without each source, in pixels.
    """

    session: VotingSession
    truth: Place
    found: Place
    voters: mdn.Voters
    order: npt.NDArray[np.intp]
    without: Float64

    @property
    def error(self) -> float:
        """The distance of the peak from the truth, with all sources."""
        return float(np.hypot(*np.subtract(self.found, self.truth)))

    @property
    def change(self) -> Float64:
        """By how much each source moves the peak away from the truth, in pixels, [n]."""
        return self.error - self.without

    @property
    def sources(self) -> npt.NDArray[np.int64]:
        """Part, row and column of each source, [n, 3]."""
        source = self.voters.source[self.order]
        if source.shape[1] == 3:
            return source
        part = np.full((len(source), 1), int(self.session.part))
        return np.concatenate([part, source], axis=1)

    @property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table, [n] each."""
        names = np.array(self.session.fields.names)
        return {
            "part": names[self.sources[:, 0]],
            "row": self.sources[:, 1],
            "column": self.sources[:, 2],
            "share": self.voters.share[self.order],
            "without": self.without,
            "change": self.change,
        }


def errors_of(
    session: VotingSession, truth: Mapping[str, Place], area: float | None = None
) -> Errors:
    """Compare the highest peak of each annotated part's map with where the part is.

    Parameters
    ----------
    session : VotingSession
        Whose fields, sigma and kernel; the noisy-or's evidence tells the peak.
    truth : mapping of (row, column)
        By the parts' names, in pixels of the output; other names are left out.
    area : float, optional
        Of the object, in square pixels; by default that of the box around the annotated parts.
        Of one part, or of parts in a row or a column, the box has none, and there is no OKS.
    """
    names = [name for name in session.fields.names if _plain(name) in {*map(_plain, truth)}]
    places = {_plain(name): at for name, at in truth.items()}
    at = np.array([places[_plain(name)] for name in names], float).reshape(-1, 2)
    numbers = [session.fields.part(name) for name in names]
    evidence = every_part(session).evidence() if names else np.zeros((0, 1, 1))
    found = np.array([peak_of(evidence[number]) for number in numbers]).reshape(-1, 2)
    error = np.hypot(*(found - at).T)
    if area is None:
        area = float(np.prod(np.ptp(at, axis=0))) if len(at) > 1 else 0.0
    sigma = np.array([COCO_SIGMAS.get(_plain(name), _OTHER_SIGMA) for name in names])
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = np.nan_to_num(np.exp(-(error**2) / (8 * area * sigma**2)), nan=0.0)
    if not area > 0:
        similarity[:] = np.nan
    return Errors(names, at, found, error, similarity)


def influence_of(session: VotingSession, truth: Place) -> Influence:
    """Leave the sources of a peak and of the true place out in turn, and measure the error.

    The evidence is a sum over votes, so that without a vote it is exactly the evidence less the
    vote's terms: no map is computed again. Of many sources, the 200 of the largest shares.

    Parameters
    ----------
    session : VotingSession
        What votes for the peak.
    truth : (row, column)
        Where the peak should be, in pixels of the output.

    Examples
    --------
    >>> pose = VotingSession(mdn.samples.load("pose"), "left elbow", 8.0)
    >>> found = influence_of(pose, (300.0, 280.0))
    >>> bool((found.change[:-1] >= found.change[1:]).all())
    True
    """
    votes = session.votes
    evidence = np.asarray(session.compute("evidence"), np.float64)
    pixel = _strongest(evidence)
    if pixel is None:
        raise ValueError("no vote lands on the map")
    found = _refined(evidence, pixel)
    voters = votes.voters(pixel)
    strongest = np.argsort(-np.abs(voters.share), kind="stable")[:_MOST]
    # Votes for the pixel end within two windows of it: the rest of the map is searched once.
    far = 2 * session.truncate * session.sigma + 1
    ends = zip(pixel, evidence.shape, strict=True)
    near = tuple(slice(int(max(n - far, 0)), int(min(n + far, size - 1)) + 1) for n, size in ends)
    rest = evidence.copy()
    rest[near] = -np.inf
    elsewhere = _strongest(rest)
    without = np.empty(len(strongest))
    for n, k in enumerate(strongest):
        vote = votes.footprint(tuple(voters.source[k].tolist()))
        window = vote.window[-2:]
        kept = evidence[window].copy()
        evidence[window] -= vote.terms
        pixels = [x for x in (elsewhere, _strongest(evidence, near)) if x is not None]
        highest = min(pixels, key=lambda at: (-evidence[at], at), default=None)
        without[n] = np.hypot(*(_refined(evidence, highest) - truth))
        evidence[window] = kept
    order = np.argsort(without, kind="stable")
    return Influence(
        session, truth, (float(found[0]), float(found[1])), voters, strongest[order], without[order]
    )


def peak_of(evidence: npt.NDArray[np.floating]) -> Float64:
    """Return row and column of the highest peak of a map, to a fraction of a pixel.

    Near the highest pixel they are those of `mdn_cupy.find_peaks`; NaN where there is no evidence.
    """
    return _refined(evidence, _strongest(evidence))


def _refined(evidence: npt.NDArray[np.floating], pixel: tuple[int, int] | None) -> Float64:
    """Return the place of the highest pixel to a fraction of one; NaN where there is none."""
    if pixel is None:
        return np.full(2, np.nan)
    top, left = (max(n - 1, 0) for n in pixel)
    around = np.nan_to_num(evidence[top : pixel[0] + 2, left : pixel[1] + 2], nan=0.0)
    peak = mdn.find_peaks(around, threshold=0.0, max_peaks=1)
    return np.array([top + peak.y[0], left + peak.x[0]])


def _strongest(
    evidence: npt.NDArray[np.floating], part: tuple[slice, ...] = (slice(0, None),) * 2
) -> tuple[int, int] | None:
    """Return the pixel of the most evidence in a part of a map; None where there is none."""
    values = evidence[part]
    if not values.size:
        return None
    index = int(np.argmax(values))
    if np.isnan(values.flat[index]):  # argmax takes NaN for the largest
        index = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
    if not values.flat[index] > 0:
        return None
    row, column = divmod(index, values.shape[1])
    return part[0].start + row, part[1].start + column


def place_of(name: str, truth: Mapping[str, Place]) -> Place | None:
    """Return where a part truly is, by its name as files agree on it; None if none says."""
    return {_plain(part): at for part, at in truth.items()}.get(_plain(name))


def _plain(name: str) -> str:
    """Return a part's name as files agree on it: left_eye is left eye."""
    return name.replace("_", " ").replace("-", " ").strip().casefold()
