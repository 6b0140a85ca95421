"""What is being looked at, and the votes for it. Knows neither Qt nor napari."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_cupy.plotting import Peak
from mdn_viewer.core import compilation, device
from mdn_viewer.core.window import Window, votes_in, widths_of

__all__ = [
    "ALL",
    "KINDS",
    "RULES",
    "SUM_RULES",
    "Peak",
    "VoteMap",
    "VotingSession",
    "same_votes",
    "title",
]

ALL = "all"
"""The part that stands for all parts voting into one map."""

RULES = ("noisy_or", "additive")
"""The maps of both rules; the additive one is of the sum that a session counts by."""

SUM_RULES = ("additive", "plain_sum")
"""The rules that the sum may have."""

KINDS = (*RULES, "difference", "evidence")
"""The maps there are: of both rules, m − s, and −L, which does not saturate where m does."""

_VOTING, _LOOKING = 100.0, 5.0  # pixels that take as long as a vote's setup; as leaving one out
_NARROWEST, _WIDEST = 0.3, 8.0  # pixels; at 0.3 a vote's neighbours get 1/250 of it

FloatArray = npt.NDArray[np.floating]


class VoteMap(NamedTuple):
    """A map of the output, its peak (None where no vote landed) and the sum of its pixels."""

    values: FloatArray  # (Ho, Wo), or those of `window`
    peak: Peak | None
    total: float
    window: Window | None = None  # the pixels that `values` are; all by default


@dataclass(frozen=True, eq=False)
class VotingSession:
    """A field set, the part of it that is voted for, and how its votes are counted.

    A session never changes: another sigma is another session (`dataclasses.replace`). So a thread
    may compute one while the window moves on to the next.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The field set.
    part : int or str
        Number or name of the part that is voted for, or `ALL`: every part votes, by its own
        offsets, into one map.
    sigma : float
        Width of the Gaussian, in output pixels.
    sum_rule : {'additive', 'plain_sum'}
        Which sum the additive map is: of votes scaled by 1/(2πσ²), or of votes as they are.
    truncate : float
        A vote reaches the pixels within ``truncate * sigma`` of where it lands, along each axis.
    cross : bool
        Let all parts vote for `part`, by the field set's cross offsets.

    Raises
    ------
    ValueError
        If there is no such part, no cross offsets for it, or a number is out of range.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> print(session.vote()["noisy_or"].peak)
    1 at row 95, column 166
    """

    fields: mdn.Fields
    part: int | str
    sigma: float
    sum_rule: Literal["additive", "plain_sum"] = "additive"
    truncate: float = 4.0
    cross: bool = False

    def __post_init__(self) -> None:
        if self.part != ALL:
            object.__setattr__(self, "part", self.fields.part(self.part))
        if self.cross:
            self._check_cross()
        _ = self.votes  # raises for what is out of range

    @cached_property
    def votes(self) -> mdn.Votes:
        """The votes, in NumPy arrays."""
        part = None if self.part == ALL else self.part
        votes = self.fields.votes(part, sigma=self.sigma, cross=self.cross)
        return votes.replace(truncate=self.truncate)

    def compute(self, method: str, *arguments: Any) -> Any:
        """Call a method of the votes, on the GPU where there is one.

        Parameters
        ----------
        method : str
            Of `mdn_cupy.Votes`: a rule, `compare`, `log_complement` or a vjp.
        *arguments
            What it takes: a cotangent, the name of a rule.

        Returns
        -------
        array, or tuple of array
            What the method returns, in NumPy arrays wherever it was computed.
        """
        self._await_kernels()
        return device.call(self.fields, (self.part, self.cross), self.votes, method, *arguments)

    @property
    def program(self) -> tuple[Any, ...]:
        """What the compiled code depends on: sessions that agree in it are equally fast."""
        votes = self.votes
        return votes.confidence.dtype, votes.aggregate is None, self.sum_rule

    def rule_of(self, kind: str) -> Literal["noisy_or", "additive", "plain_sum"]:
        """Return the rule of one of `RULES`, by its name in the library."""
        return "noisy_or" if kind == "noisy_or" else self.sum_rule

    def title(self, kind: str) -> str:
        """Return what people read for one of `KINDS`: the sum is named after its rule."""
        return title(self.sum_rule if kind == "additive" else kind)

    @property
    def place(self) -> device.Place:
        """Where `compute` computes, as far as is known."""
        return device.place(self.fields)

    def vote(
        self, kinds: Collection[str] = RULES, window: Window | None = None
    ) -> dict[str, VoteMap]:
        """Compute maps, and only what they need.

        Parameters
        ----------
        kinds : collection of str
            Which of `KINDS`.
        window : Window, optional
            The pixels that are wanted; all by default. The GPU computes all of them anyway. Of a
            window the maps may be means of those of two widths nearby that are known.

        Returns
        -------
        dict of VoteMap
            In the order of `KINDS`.
        """
        maps: dict[str, VoteMap] = {}
        noisy_or, additive = _needed(kinds)
        if window is None or self.place.on_gpu:
            window, arrays = None, self._arrays(self.compute, noisy_or, additive)
        else:
            arrays = self._arrays_in(window, noisy_or, additive)
        if additive:
            s = arrays[-1]
        if noisy_or:
            m, log_complement = arrays[:2]
            # m saturates at 1, the evidence −L does not: it still tells the peak.
            at = _strongest(log_complement, np.argmin)
            maps["noisy_or"] = _map(m, at)
            if "evidence" in kinds:
                maps["evidence"] = _map(0 - log_complement, at)
        if additive:
            maps["additive"] = _map(s, _strongest(s, np.argmax))
        if "difference" in kinds:
            with np.errstate(invalid="ignore"):  # ∞ − ∞, of confidences that are out of range
                difference = m - s
            maps["difference"] = _map(difference, _strongest(abs(difference), np.argmax))
        return {kind: _placed(maps[kind], window) for kind in KINDS if kind in kinds}

    def knows(self, kinds: Collection[str], window: Window | None) -> bool:
        """Whether `vote` has little to compute, since maps of widths nearby are known."""
        key = self._key(window, *_needed(kinds))
        return window is not None and widths_of(self.fields).knows(key, self.sigma)

    def _key(self, window: Window | None, noisy_or: bool, additive: bool) -> tuple[Any, ...]:
        """What the arrays of a window depend on, but for sigma."""
        votes = self.part, self.cross, self.sum_rule, self.truncate
        return *votes, window, noisy_or, additive

    def _arrays(
        self, compute: Callable[..., Any], noisy_or: bool, additive: bool
    ) -> tuple[FloatArray, ...]:
        """Return m and L where the noisy-or is needed, and s where the sum is."""
        if noisy_or and additive:
            both: tuple[FloatArray, ...] = compute("compare", self.sum_rule)
            return both
        if noisy_or:
            return compute("noisy_or"), compute("log_complement")
        return (compute(self.sum_rule),) if additive else ()

    def _arrays_in(self, window: Window, noisy_or: bool, additive: bool) -> tuple[FloatArray, ...]:
        def arrays() -> tuple[FloatArray, ...]:
            self._await_kernels()
            votes = votes_in(self.fields, (self.part, self.cross), self.votes, window)
            found = self._arrays(
                lambda method, *arguments: getattr(votes, method)(*arguments), noisy_or, additive
            )
            if additive and self.sum_rule == "additive":
                return *found[:-1], found[-1] / window.step**2
            return found

        key = self._key(window, noisy_or, additive)
        return widths_of(self.fields).find(key, self.sigma, arrays)

    @property
    def parts(self) -> list[tuple[str, int | str]]:
        """What there is to choose from: (label, part), the labels all different."""
        names = self.fields.names
        labels = [f"{n} [{p}]" if names.count(n) > 1 else n for p, n in enumerate(names)]
        together: list[tuple[str, int | str]] = [("all parts together", ALL)]
        return [*zip(labels, range(len(names)), strict=True), *(together if len(names) > 1 else [])]

    @property
    def crossable(self) -> bool:
        """Whether other parts may vote for this one too."""
        offsets = self.fields.cross_offsets
        return offsets is not None and self.part != ALL and int(self.part) < len(offsets)

    @property
    def usual_sigmas(self) -> tuple[float, float]:
        """The widths worth looking at: from votes a pixel wide to votes that all run together."""
        widest = max(
            _WIDEST, 3 * self.fields.typical_sigma, 1.5 * float(np.max(self.fields.stride))
        )
        return _NARROWEST, widest

    @property
    def sigma_limits(self) -> tuple[float, float]:
        """The usual widths, and whatever else is between them and the present one."""
        low, high = self.usual_sigmas
        return min(low, self.sigma), max(high, self.sigma)

    @property
    def work(self) -> float:
        """About how many pixels `vote` touches: what its time grows with."""
        return self.work_in(None)

    def work_in(self, window: Window | None) -> float:
        """Return about how many pixels `vote` touches in a window, and what else takes as long."""
        (rows, columns), step, share = self.votes.shape, 1, 1.0
        if window is not None and not self.place.on_gpu:
            area = (window.bottom - window.top) * (window.right - window.left)
            share = area / max(1, rows * columns)
            (rows, columns), step = window.shape, window.step
        reached = (2 * self.truncate * min(self.sigma / step, rows + columns) + 1) ** 2
        a_source = share * (min(reached, rows * columns) + _VOTING) + _LOOKING
        return float(rows * columns + self.votes.confidence.size * a_source)

    def _await_kernels(self) -> None:
        compilation.wait("part" if self.votes.aggregate is None else "together")

    def _check_cross(self) -> None:
        if self.fields.cross_offsets is None:
            raise ValueError("these fields carry no cross offsets: parts vote for themselves only")
        if self.part == ALL:
            raise ValueError("cross-part voting is for one part: choose which")
        if not self.crossable:
            name = self.fields.names[int(self.part)]
            raise ValueError(f"these fields carry no cross offsets for {name}")


def title(kind: str) -> str:
    """Return what people read for a rule or another of `KINDS`."""
    return "plain sum" if kind == "plain_sum" else kind.replace("_", "-")


def same_votes(one: VotingSession, other: VotingSession) -> bool:
    """Whether two sessions look at the votes for the same part, be it with another sigma."""
    return (one.part, one.cross) == (other.part, other.cross)


def _needed(kinds: Collection[str]) -> tuple[bool, bool]:
    """Whether the noisy-or is needed for some of `KINDS`, and whether the sum is."""
    return (
        not {"noisy_or", "difference", "evidence"}.isdisjoint(kinds),
        not {"additive", "difference"}.isdisjoint(kinds),
    )


class _Place(NamedTuple):
    row: int
    column: int


def _strongest(values: FloatArray, search: Any) -> _Place | None:
    """Find the pixel with the most evidence; None where there is none."""
    if values.size == 0:
        return None
    index = int(search(values))
    if np.isnan(values.flat[index]):  # which argmax finds first, and where a NaN confidence reached
        values = np.nan_to_num(values, nan=0.0)
        index = int(search(values))
    if values.flat[index] == 0:
        return None
    row, column = divmod(index, values.shape[1])
    return _Place(row, column)


def _placed(vote_map: VoteMap, window: Window | None) -> VoteMap:
    """Return a map of a window, with its peak where that is in the output."""
    peak = vote_map.peak
    if window is None:
        return vote_map
    if peak is not None:
        row, column = window.top + window.step * peak.row, window.left + window.step * peak.column
        peak = replace(peak, row=row, column=column)
    return vote_map._replace(peak=peak, window=window)


def _map(values: FloatArray, at: _Place | None) -> VoteMap:
    peak = None if at is None else Peak(float(values[at.row, at.column]), at.row, at.column)
    return VoteMap(values, peak, float(np.sum(values, dtype=np.float64)))
