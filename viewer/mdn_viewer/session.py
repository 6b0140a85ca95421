"""What is being looked at, and the votes for it. Knows neither Qt nor napari."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn

__all__ = ["ALL", "RULES", "Peak", "VoteMap", "VotingSession"]

ALL = "all"
"""The part that stands for all parts voting into one map."""

RULES = ("noisy-or", "additive")
"""The vote maps of a session, in the order in which they are shown."""

_TRUNCATE = 4.0  # as in mdn_cupy.noisy_or
_NARROWEST, _WIDEST = 0.3, 8.0  # pixels; at 0.3 a vote's neighbours get 1/250 of it

FloatArray = npt.NDArray[np.floating]


class Peak(NamedTuple):
    """Where a vote map is highest, in pixels of the output grid."""

    value: float
    row: int
    column: int

    def __str__(self) -> str:
        return f"{self.value:#.4g} at row {self.row}, col {self.column}"


class VoteMap(NamedTuple):
    """One rule's vote map, and its peak: None where no vote landed."""

    values: FloatArray  # (Ho, Wo)
    peak: Peak | None


@dataclass(frozen=True, eq=False)
class VotingSession:
    """A field set, the part of it that votes, and the width of the votes.

    A session never changes: another sigma is another session (`dataclasses.replace`). So a thread
    may compute one while the window moves on to the next.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The field set.
    part : int or str
        Number or name of the part that votes, or `ALL`: all of them, into one map.
    sigma : float
        Width of the Gaussian, in output pixels.

    Raises
    ------
    ValueError
        If there is no such part, or sigma is not a positive number.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> print(session.vote()["noisy-or"].peak)
    1.000 at row 95, col 166
    """

    fields: mdn.Fields
    part: int | str
    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma must be greater than 0, got {self.sigma:g}")
        if self.part != ALL:
            object.__setattr__(self, "part", self.fields.part(self.part))

    def vote(self) -> dict[str, VoteMap]:
        """Compute the vote map of every rule in `RULES`."""
        votes = self.fields.votes(None if self.part == ALL else self.part)
        m, log_complement = mdn.noisy_or(**votes, sigma=self.sigma, return_log_complement=True)
        s = mdn.additive(**votes, sigma=self.sigma)
        # m saturates at 1, the evidence -L does not: it still tells the peak.
        return {
            "noisy-or": VoteMap(m, _peak(m, -log_complement)),
            "additive": VoteMap(s, _peak(s, s)),
        }

    @property
    def parts(self) -> list[tuple[str, int | str]]:
        """What there is to choose from: (label, part), the labels all different."""
        names = self.fields.names
        labels = [f"{n} [{p}]" if names.count(n) > 1 else n for p, n in enumerate(names)]
        together: list[tuple[str, int | str]] = [("all parts together", ALL)]
        return [*zip(labels, range(len(names)), strict=True), *(together if len(names) > 1 else [])]

    @property
    def sigma_limits(self) -> tuple[float, float]:
        """The widths worth looking at: from votes a pixel wide to votes that all run together."""
        widest = max(_WIDEST, 3 * self.fields.sigma, 1.5 * self.fields.stride)
        return min(_NARROWEST, self.sigma), max(widest, self.sigma)

    @property
    def work(self) -> float:
        """About how many pixels `vote` touches: what its time grows with."""
        parts, height, width = self.fields.confidence.shape
        image = self.fields.image
        rows, columns = (
            image.shape[:2]
            if image is not None
            else (
                self.fields.stride * height,
                self.fields.stride * width,
            )
        )
        votes = height * width * (parts if self.part == ALL else 1)
        window = (2 * _TRUNCATE * min(self.sigma, rows + columns) + 1) ** 2
        return float(rows * columns + votes * min(window, rows * columns))


def _peak(values: FloatArray, evidence: FloatArray) -> Peak | None:
    voted = evidence > 0  # False where a NaN confidence reached
    if not voted.any():
        return None
    row, column = np.unravel_index(int(np.argmax(np.where(voted, evidence, 0))), values.shape)
    return Peak(float(values[row, column]), int(row), int(column))
