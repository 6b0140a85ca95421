"""Two field sets beside each other: their maps, peaks and voters. Knows neither Qt nor napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core.detections import Detections, Search, detect, work_of
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.provenance import Pixel, Provenance, provenance_of
from mdn_viewer.core.session import ALL, VoteMap, VotingSession, title

__all__ = [
    "DIFFERENCE",
    "Comparison",
    "Own",
    "VoterPairs",
    "compare",
    "second_session",
    "second_title",
    "voters_in_both",
    "work_of_both",
]

FloatArray = npt.NDArray[np.floating]

DIFFERENCE = "difference A − B"
"""What people read for the first map less the second."""

_LISTED = "A and B", "A", "B"  # where a source is among the voters


class Own(NamedTuple):
    """What the second field set is not to take over from the first session; None takes it over."""

    sigma: float | None = None
    sum_rule: str | None = None
    cross: bool | None = None


_SAME = Own()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The maps of two sessions by one rule, and their peaks.

    Attributes
    ----------
    first, second : VotingSession
        A and B, for the part of the same name.
    search : Search
        By which rule, and what counts as a peak.
    maps : (VoteMap, VoteMap)
        Of all pixels.
    found : (Detections, Detections)
        The peaks of each.
    pairs : intp array [n, 2]
        Numbers of the peaks of each that belong together; −1 where there is none.
    """

    first: VotingSession
    second: VotingSession
    search: Search
    maps: tuple[VoteMap, VoteMap]
    found: tuple[Detections, Detections]
    pairs: npt.NDArray[np.intp]

    @property
    def difference(self) -> FloatArray:
        """The first map less the second, [Ho, Wo]."""
        with np.errstate(invalid="ignore"):  # ∞ − ∞, of confidences that are out of range
            difference: FloatArray = self.maps[0].values - self.maps[1].values
        return difference

    @cached_property
    def places(self) -> tuple[FloatArray, FloatArray]:
        """Row and column of the peaks of each, [n, 2]; NaN where there is none."""
        one, other = (_taken(d.places, i) for d, i in zip(self.found, self.pairs.T, strict=True))
        return one, other

    @cached_property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table of the peaks, [n] each: part, place and score in A and B, their distance."""
        (a, b), (one, other) = self.found, self.places
        in_a = self.pairs[:, 0] >= 0
        names = [_taken(d.part_names, i, "") for d, i in zip(self.found, self.pairs.T, strict=True)]
        return {
            "part": np.where(in_a, *names),
            "row_a": one[:, 0],
            "column_a": one[:, 1],
            "score_a": _taken(np.asarray(a.peaks.score), self.pairs[:, 0]),
            "row_b": other[:, 0],
            "column_b": other[:, 1],
            "score_b": _taken(np.asarray(b.peaks.score), self.pairs[:, 1]),
            "distance": np.hypot(*(one - other).T),
        }

    def __str__(self) -> str:
        both = int((self.pairs >= 0).all(axis=1).sum())
        only_a, only_b = (int((self.pairs[:, side] < 0).sum()) for side in (1, 0))
        reach = np.max(np.abs(self.difference), initial=0)
        a, b = (session.title(self.search.rule) for session in (self.first, self.second))
        return (
            f"{a if a == b else f'{a} (A), {b} (B)'}: A and B differ by {reach:.3g} at most; "
            f"{both} {'peak' if both == 1 else 'peaks'} in both, {only_a} in A only, "
            f"{only_b} in B only"
        )


@dataclass(frozen=True, eq=False)
class VoterPairs:
    """The voters of one pixel in two sessions; a source is the same at the same place of a part.

    Attributes
    ----------
    first, second : Provenance
        The voters of each, the strongest first.
    """

    first: Provenance
    second: Provenance

    @cached_property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table, [n] each, what differs most first.

        `part`, and `row` and `column` of the output where the source is; `listed`, "A and B", "A"
        or "B"; `evidence_a` and `evidence_b`, what the source adds to the pixel, 0 where it is not
        listed; `change`, A less B.
        """
        parts, places, counts = [], [], []
        for asked in (self.first, self.second):
            parts.append(np.array(asked.session.fields.names)[asked.parts])
            places.append(asked.positions)
            counts.append(len(asked.voters))
        part, place = np.concatenate(parts), np.concatenate(places)
        names, number = np.unique(part, return_inverse=True)
        keys = np.column_stack([number, place])
        sources, index = np.unique(keys, axis=0, return_inverse=True)
        index = index.reshape(-1)
        terms = np.zeros((2, len(sources)))
        listed = np.zeros((2, len(sources)), bool)
        sides = (self.first, index[: counts[0]]), (self.second, index[counts[0] :])
        for side, (asked, at) in enumerate(sides):
            terms[side, at], listed[side, at] = asked.voters.terms, True
        with np.errstate(invalid="ignore"):
            change = terms[0] - terms[1]
        order = np.argsort(-np.abs(change), kind="stable")
        columns: dict[str, npt.NDArray[Any]] = {
            "part": names[sources[:, 0].astype(int)] if len(sources) else part,
            "row": sources[:, 1],
            "column": sources[:, 2],
            "listed": np.select([listed.all(axis=0), listed[0]], _LISTED[:2], _LISTED[2]),
            "evidence_a": terms[0],
            "evidence_b": terms[1],
            "change": change,
        }
        return {name: values[order] for name, values in columns.items()}

    def source(self, row: int) -> tuple[int, int, int] | None:
        """Return the source in a row of the table: (part, row, column) of the first's grid.

        None where the first has no such part, or no source at that place.
        """
        fields, columns = self.first.session.fields, self.columns
        part = str(columns["part"][row])
        at = Grid.of(fields).sources([columns["row"][row], columns["column"][row]])
        if part not in fields.names or not np.allclose(at, np.rint(at), rtol=0, atol=1e-3):
            return None
        i, j = np.rint(at).astype(int).tolist()
        return fields.names.index(part), i, j

    @property
    def _value_of_second(self) -> str:
        (row, column), of, text = self.second.pixel, self.second.rule, str(self.second)
        text = text.removeprefix(f"row {row}, column {column}, ")
        title = self.second.session.title(of)
        return text.removeprefix(f"{title}: ") if title == self.first.session.title(of) else text

    def __str__(self) -> str:
        listed = self.columns["listed"]
        counts = [int((listed == where).sum()) for where in _LISTED]
        return (
            f"A: {self.first}. B: {self._value_of_second}. "
            f"{counts[0]} {'source' if counts[0] == 1 else 'sources'} in both, {counts[1]} in A "
            f"only, {counts[2]} in B only."
        )


def second_title(rule: str) -> str:
    """Return the name of the second map's cell, by one of `RULES`."""
    return f"{title(rule)} (B)"


def second_session(first: VotingSession, fields: mdn.Fields, own: Own = _SAME) -> VotingSession:
    """Return a session on other fields with the settings of a first one, but for its own.

    Parameters
    ----------
    first : VotingSession
        Whose part, by its name, kernel, sum and voters are taken over.
    fields : mdn_cupy.Fields
        The second field set. Its grid may be another one; its output may not. What it does not say,
        the names of as many parts and where the output ends, is as in the first.
    own : Own
        What is not taken over.

    Raises
    ------
    ValueError
        If it has no part of that name, no such cross offsets, or another size of output.

    Examples
    --------
    >>> pose = mdn.samples.load("pose")
    >>> first = VotingSession(pose, "nose", 8.0)
    >>> second_session(first, pose, Own(sigma=4.0)).sigma
    4.0
    """
    part = first.part if first.part == ALL else first.fields.names[int(first.part)]
    given = {name: value for name, value in own._asdict().items() if value is not None}
    try:
        second = replace(first, fields=_completed(fields, first), part=part, **given)
    except ValueError as error:
        raise ValueError(f"the second field set: {error}") from None
    ours, theirs = first.votes.shape, second.votes.shape
    if ours != theirs:
        raise ValueError(
            f"the second field set: its maps are {theirs[0]} × {theirs[1]}, those of the first "
            f"{ours[0]} × {ours[1]}; choose fields of one size of output"
        )
    return second


def _completed(fields: mdn.Fields, first: VotingSession) -> mdn.Fields:
    """Add what fields that are read from plain arrays do not say."""
    ours = first.fields
    if fields.names == tuple(f"part {n}" for n in range(len(ours.names))):
        fields = replace(fields, names=ours.names)
    if fields.image is None and fields.output_shape is None:
        missing = np.subtract(first.votes.shape, fields.votes().shape)
        if np.all((missing >= 0) & (missing < 2 * np.broadcast_to(fields.stride, 2))):
            fields = replace(fields, output_shape=first.votes.shape)
    return fields


def compare(first: VotingSession, second: VotingSession, search: Search) -> Comparison:
    """Compare the maps and the peaks of two sessions.

    Peaks of a part that are nearest to each other belong together, within `search.distance`.

    Parameters
    ----------
    first, second : VotingSession
        A and B, with outputs of one size.
    search : Search
        By which rule, and what counts as a peak.

    Raises
    ------
    ValueError
        As `detect` does.

    Examples
    --------
    >>> pose = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> print(compare(pose, replace(pose, sigma=8.0), Search()))
    noisy-or: A and B differ by 0 at most; 1 peak in both, 0 in A only, 0 in B only
    """
    rule = search.rule
    maps = first.vote((rule,))[rule], second.vote((rule,))[rule]
    found = detect(first, search), detect(second, search)
    return Comparison(first, second, search, maps, found, _paired(*found, search.distance))


def voters_in_both(comparison: Comparison, pixel: Pixel, rule: str) -> VoterPairs:
    """Ask both sessions who voted for a pixel.

    Parameters
    ----------
    comparison : Comparison
        Whose sessions.
    pixel : (row, column)
        Of the output.
    rule : str
        One of `RULES`.

    Raises
    ------
    IndexError
        If there is no such pixel.
    """
    one, other = (
        provenance_of(session, pixel, rule) for session in (comparison.first, comparison.second)
    )
    return VoterPairs(one, other)


def work_of_both(first: VotingSession, second: VotingSession, search: Search) -> float:
    """Return what the time of `compare` grows with."""
    return sum(session.work + work_of(session, search) for session in (first, second))


def _paired(one: Detections, other: Detections, distance: float) -> npt.NDArray[np.intp]:
    """Pair peaks of the same part, the nearest first, within a distance."""
    from scipy.spatial import KDTree  # 0.5 s

    names = np.unique(np.concatenate([one.part_names, other.part_names]))
    # Peaks of different parts are too far from each other along a third axis.
    trees = [
        KDTree(np.column_stack([d.places, 2 * distance * np.searchsorted(names, d.part_names)]))
        for d in (one, other)
    ]
    near = trees[0].sparse_distance_matrix(trees[1], distance, output_type="ndarray")
    partners = [np.full(len(d), -1, np.intp) for d in (one, other)]
    for i, j, _ in np.sort(near, order=["v", "i", "j"]).tolist():
        if partners[0][i] < 0 and partners[1][j] < 0:
            partners[0][i], partners[1][j] = j, i
    alone = np.flatnonzero(partners[1] < 0)
    return np.concatenate(
        [
            np.column_stack([np.arange(len(one)), partners[0]]),
            np.column_stack([np.full(len(alone), -1), alone]),
        ]
    )


def _taken(values: npt.NDArray[Any], index: npt.NDArray[np.intp], absent: Any = np.nan) -> Any:
    """Return the values at an index, and something else where it is −1."""
    taken = np.full((len(index), *values.shape[1:]), absent, values.dtype)
    taken[index >= 0] = values[index[index >= 0]]
    return taken
