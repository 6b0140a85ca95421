"""Both rules' peaks, and a pixel's value, at every sigma. Knows neither Qt nor napari."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core.session import RULES, VotingSession, same_votes

__all__ = ["Sweep", "bound", "same_sweep", "sweep", "work_of"]

Float64 = npt.NDArray[np.float64]
Pixel = tuple[int, int]

_SIGMAS = 48


@dataclass(frozen=True, eq=False)
class Sweep:
    """The peaks of a session's maps at each sigma, from the least to the greatest.

    Attributes
    ----------
    session : VotingSession
        Whose votes; its own sigma does not matter.
    sigmas : float64 array [n]
        The widths, ascending, in output pixels; equally far apart in their logarithm.
    peaks : dict of float64 array [n]
        The highest value of each rule's map; 0 where nothing votes.
    bound : float64 array [n]
        The most that a single source can add to a pixel of the sum.
    pixel : (row, column) or None
        The pixel that was asked about.
    values : dict of float64 array [n]
        The value of each rule's map there; none if no pixel was asked about.
    """

    session: VotingSession
    sigmas: Float64
    peaks: dict[str, Float64]
    bound: Float64
    pixel: Pixel | None = None
    values: dict[str, Float64] = field(default_factory=dict)

    def serves(self, session: VotingSession) -> bool:
        """Whether it is also that of another session, at whatever sigma that is."""
        return same_sweep(self.session, session)

    def at(self, pixel: Pixel | None) -> Sweep:
        """Return the same sweep with the values of another pixel."""
        if pixel is None:
            return replace(self, pixel=None, values={})
        widest = replace(self.session, sigma=float(self.sigmas[-1]))
        who = widest.votes.voters(pixel)
        # All sources that vote for it at any sigma, in one row, and a map of this pixel only.
        x, y = (who.landing - pixel[::-1]).T
        row = mdn.Votes(
            who.confidence[None],
            np.stack([x - np.arange(len(who)), y])[:, None],
            self.sigmas[:, None, None],
            truncate=self.session.truncate,
            output_shape=(1, 1),
        )
        maps = (row.noisy_or(), getattr(row, self.session.sum_rule)())
        values = {rule: m.ravel() for rule, m in zip(RULES, maps, strict=True)}
        return replace(self, pixel=pixel, values=values)

    @property
    def table(self) -> dict[str, Float64]:
        """Every curve under its name, the sigmas first."""
        curves, rule_of = {"sigma": self.sigmas}, self.session.rule_of
        curves |= {f"{rule_of(rule)} peak": peaks for rule, peaks in self.peaks.items()}
        if self.pixel is not None:
            row, column = self.pixel
            at = f"at row {row}, column {column}"
            curves |= {f"{rule_of(rule)} {at}": values for rule, values in self.values.items()}
        return {**curves, "most that one source can add": self.bound}


def work_of(session: VotingSession) -> float:
    """Return what the time of `sweep` grows with, in the unit of `VotingSession.work`."""
    return sum(replace(session, sigma=float(sigma)).work for sigma in _sigmas(session))


def sweep(
    session: VotingSession,
    go_on: Callable[[], bool] = lambda: True,
    progress: Callable[[int, int], Any] = lambda done, of: None,
) -> Sweep | None:
    """Vote at every sigma worth looking at.

    Parameters
    ----------
    session : VotingSession
        What votes.
    go_on : callable
        Asked before every sigma whether to go on.
    progress : callable
        Told before every sigma how many are done, of how many.

    Returns
    -------
    Sweep or None
        None if it was broken off.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> found = sweep(VotingSession(mdn.samples.load("delta"), "delta", 3.0))
    >>> bool(np.allclose(found.peaks["noisy_or"], 1)), bool(np.ptp(found.peaks["additive"]) > 1)
    (True, True)
    >>> bool(np.allclose(found.peaks["additive"], found.bound))  # the paper's section 2
    True
    """
    sigmas = _sigmas(session)
    peaks: dict[str, list[float]] = {rule: [] for rule in RULES}
    for done, sigma in enumerate(sigmas):
        if not go_on():
            return None
        progress(done, len(sigmas))
        maps = replace(session, sigma=float(sigma)).vote(RULES)
        for rule in RULES:
            peak = maps[rule].peak
            peaks[rule].append(0.0 if peak is None else peak.value)
    found = {rule: np.array(values) for rule, values in peaks.items()}
    return Sweep(session, sigmas, found, bound(sigmas, session.sum_rule))


def same_sweep(one: VotingSession, other: VotingSession) -> bool:
    """Whether the sweep of a session is also that of another: they differ in sigma at most."""
    (low, high), (lowest, highest) = other.sigma_limits, one.sigma_limits
    same = same_votes(one, other) and one.fields is other.fields
    kernel = (one.sum_rule, one.truncate) == (other.sum_rule, other.truncate)
    return same and kernel and lowest <= low and high <= highest


def bound(sigma: Float64, rule: str) -> Float64:
    """Return the most that a source can add to a pixel of a sum: K(0).

    It is 1/(2πσ²) of the additive rule (supplement, Eq. 6), and 1 of the plain sum.
    """
    return 1 / (2 * np.pi * sigma**2) if rule == "additive" else np.ones_like(sigma)


def _sigmas(session: VotingSession) -> Float64:
    sigmas = np.geomspace(*session.sigma_limits, _SIGMAS)
    sigmas[[0, -1]] = session.sigma_limits  # which geomspace rounds
    return sigmas
