"""Who voted for a pixel, and where a source's vote goes. Knows neither Qt nor napari."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.session import RULES, VotingSession

__all__ = ["Landing", "Provenance", "landing_of", "provenance_of"]

Float64 = npt.NDArray[np.float64]
Pixel = tuple[int, int]
Source = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Provenance:
    """The sources that voted for one pixel of a map, the strongest first.

    Attributes
    ----------
    session : VotingSession
        Whose votes.
    pixel : (row, column)
        The pixel, of the output.
    rule : str
        One of `RULES`, which the evidence is that of.
    voters : mdn_cupy.Voters
        Who voted for it.
    """

    session: VotingSession
    pixel: Pixel
    rule: str
    voters: mdn.Voters

    @property
    def value(self) -> float:
        """The value of the map: m or s."""
        evidence = self.voters.evidence
        return float(-np.expm1(-evidence)) if self.rule == "noisy_or" else evidence

    @property
    def several_parts(self) -> bool:
        """Whether more parts than one may vote for a pixel."""
        return self.session.votes.aggregate is not None

    @property
    def parts(self) -> npt.NDArray[np.int64]:
        """The number of each voter's part, [n]."""
        if self.several_parts:
            return self.voters.source[:, 0]
        return np.full(len(self.voters), int(self.session.part))

    @property
    def positions(self) -> Float64:
        """Where the voters are: rows and columns of the output, [n, 2]."""
        return Grid.of(self.session.fields).places(self.voters.source[:, -2:])

    @cached_property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The table of the voters, [n] each: part (where there are several), row, column, …."""
        who = self.voters
        parts = {"part": np.array(self.session.fields.names)[self.parts]}
        return {
            **(parts if self.several_parts else {}),
            "row": who.source[:, -2],
            "column": who.source[:, -1],
            "c": who.confidence,
            "o_x": who.offsets[:, 0],
            "o_y": who.offsets[:, 1],
            "w": who.weight,
            "share": who.share,
            "evidence": who.terms,
        }

    @cached_property
    def support(self) -> list[tuple[str, int, float]]:
        """Name, number of voters and share of the evidence of every part, the strongest first."""
        names, parts = self.session.fields.names, self.parts
        count = np.bincount(parts, minlength=len(names))
        share = np.bincount(parts, self.voters.share, len(names))
        order = np.argsort(-np.abs(share), kind="stable")
        return [(names[p], int(count[p]), float(share[p])) for p in order if count[p]]

    def __str__(self) -> str:
        (row, column), rule = self.pixel, self.session.title(self.rule)
        of_map = "m" if self.rule == "noisy_or" else "s"
        voters = "1 source" if len(self.voters) == 1 else f"{len(self.voters)} sources"
        evidence = f", evidence −L = {self.voters.evidence:.4g}" if of_map == "m" else ""
        return (
            f"row {row}, column {column}, {rule}: {of_map} = {self.value:.4g}{evidence}, "
            f"from {voters}"
        )

    @property
    def table(self) -> dict[str, npt.NDArray[np.generic]]:
        """The columns, and where the votes land."""
        x, y = self.voters.landing.T
        return {**self.columns, "p_x": x, "p_y": y}


@dataclass(frozen=True, eq=False)
class Landing:
    """Where one source's vote lands, and what it adds there.

    Attributes
    ----------
    session : VotingSession
        Whose vote.
    source : (part, row, column)
        The source, on the fields' own grid.
    footprint : mdn_cupy.Footprint
        By the noisy-or.
    pixel : (row, column) or None
        The pixel nearest to where it lands; None where its vote reaches none such.
    added : dict of (float, float)
        For each rule, what the vote adds to that pixel's evidence, and all that it has.
    """

    session: VotingSession
    source: Source
    footprint: mdn.Footprint
    pixel: Pixel | None
    added: dict[str, tuple[float, float]]

    @property
    def position(self) -> Float64:
        """Where the source is: row and column of the output."""
        return Grid.of(self.session.fields).places(self.source[1:])

    @property
    def lands(self) -> bool:
        """Whether the vote reaches any pixel of the map."""
        return self.footprint.terms.size > 0

    def __str__(self) -> str:
        vote, name = self.footprint, self.session.fields.names[self.source[0]]
        begin = (
            f"{name}, source row {self.source[1]}, column {self.source[2]}, "
            f"c = {vote.confidence:.4g}: "
        )
        if not np.isfinite(vote.landing).all():
            return begin + "its offset is not finite, it casts no vote"
        x, y = vote.landing
        begin += f"lands at row {y:.1f}, column {x:.1f}"
        if self.pixel is None:
            return begin + ", off the map or between its pixels"
        (rows, columns), title = vote.terms.shape, self.session.title
        adds = [
            f"{title(rule)} {own:.4g} of {whole:.4g} ({own / whole if whole else 0:.1%})"
            for rule, (own, whole) in self.added.items()
        ]
        return (
            f"{begin}, reaches {rows} × {columns} pixels; "
            f"to the evidence there it adds: {', '.join(adds)}"
        )


def provenance_of(session: VotingSession, pixel: Pixel, rule: str) -> Provenance:
    """Ask who voted for a pixel.

    Parameters
    ----------
    session : VotingSession
        Whose votes.
    pixel : (row, column)
        Of the output.
    rule : str
        One of `RULES`.

    Returns
    -------
    Provenance
        The voters, the strongest first.

    Raises
    ------
    IndexError
        If there is no such pixel.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> nose = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> print(provenance_of(nose, (95, 166), "noisy_or"))
    row 95, column 166, noisy-or: m = 1, evidence −L = 30.56, from 62 sources
    """
    return Provenance(session, pixel, rule, session.votes.voters(pixel, session.rule_of(rule)))


def landing_of(session: VotingSession, source: Source) -> Landing | None:
    """Ask where a source's vote lands and what it adds.

    Parameters
    ----------
    session : VotingSession
        Whose votes.
    source : (part, row, column)
        On the fields' own grid.

    Returns
    -------
    Landing or None
        None if the source's part has no vote in this session.

    Raises
    ------
    IndexError
        If there is no such source.
    """
    votes, several = session.votes, session.votes.aggregate is not None
    if not several and source[0] != session.part:
        return None
    index = source if several else source[1:]
    vote = votes.footprint(index)
    pixel = _pixel_at(vote)
    added = {}
    if pixel is not None:
        at = pixel[0] - vote.window[-2].start, pixel[1] - vote.window[-1].start
        for rule in RULES:
            name = session.rule_of(rule)
            own = votes.footprint(index, name).terms[at]
            added[rule] = float(own), votes.voters(pixel, name).evidence
    return Landing(session, source, vote, pixel, added)


def _pixel_at(vote: mdn.Footprint) -> Pixel | None:
    """Find the pixel nearest to where a vote lands, if it reaches it."""
    if not np.isfinite(vote.landing).all():
        return None
    column, row = (round(p) for p in vote.landing)
    rows, columns = vote.window[-2:]
    inside = rows.start <= row < rows.stop and columns.start <= column < columns.stop
    return (row, column) if inside else None
