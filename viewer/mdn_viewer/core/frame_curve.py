"""Peaks, errors and a pixel's value over frames. Knows neither Qt nor napari."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_viewer.core.annotation_files import Annotations
from mdn_viewer.core.annotations import peak_of, place_of
from mdn_viewer.core.jobs import Stopped
from mdn_viewer.core.session import ALL, RULES, VotingSession

__all__ = ["FrameCurve", "FrameCurves", "Question"]

Float64 = npt.NDArray[np.float64]
Pixel = tuple[int, int]
Source = tuple[int, int, int]

_KEPT = 16  # groups of curves: at 10,000 frames 0.3 MB each
_PEAKS = (*RULES, "row", "column")


@dataclass(frozen=True)
class Question:
    """What is asked of every frame, besides its peaks.

    Attributes
    ----------
    pixel : (row, column) or None
        A pixel of the output, for the value of both maps.
    rule : str
        One of `RULES`: whose evidence the source has a share of.
    source : (part, row, column) or None
        A source, for its share of the evidence at the pixel.
    """

    pixel: Pixel | None = None
    rule: str = RULES[0]
    source: Source | None = None


@dataclass(frozen=True, eq=False)
class FrameCurve:
    """Curves over frames, as far as they are measured.

    Attributes
    ----------
    session : VotingSession
        Which part is voted for and how; its fields do not matter.
    question : Question
        What else was asked.
    curves : dict of float64 array [n]
        By name, a value per frame; NaN of a frame that is not measured, cannot be read, or has no
        such value.
    unreadable : dict of str
        Why a frame cannot be read, by its number.
    done : int
        How many frames are measured or cannot be read.
    """

    session: VotingSession
    question: Question
    curves: dict[str, Float64]
    unreadable: dict[int, str]
    done: int

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.curves[f"{RULES[0]} peak"])

    @property
    def table(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every curve under its name, the frames first."""
        return {"frame": np.arange(self.frames), **self.curves}


class FrameCurves:
    """Measures frames, and keeps what it has measured of each kernel, part and question.

    Parameters
    ----------
    frames : sequence of mdn_cupy.Fields
        The frames; one is read at a time.

    Examples
    --------
    >>> pose = mdn.samples.load("pose")
    >>> session = VotingSession(pose, "nose", 8.0)
    >>> curve = FrameCurves([pose, pose]).measure(session, Question((95, 166)))
    >>> [round(value, 2) for value in curve.curves["additive peak"].tolist()]
    [0.02, 0.02]
    """

    def __init__(self, frames: Sequence[mdn.Fields]) -> None:
        self.frames = frames
        self._measured: dict[Any, Float64] = {}  # a row per frame, NaN where it is not measured
        self._unreadable: dict[int, str] = {}

    def measure(
        self,
        session: VotingSession,
        question: Question,
        annotations: Annotations | None = None,
        go_on: Callable[[], bool] = lambda: True,
        progress: Callable[[int, int], Any] = lambda done, of: None,
    ) -> FrameCurve:
        """Measure the frames that have not been measured yet.

        Parameters
        ----------
        session : VotingSession
            Which part is voted for, and how.
        question : Question
            What else is asked.
        annotations : Annotations, optional
            Where the part should be in each frame.
        go_on : callable
            Asked before every frame whether to go on.
        progress : callable
            Told before every frame how many are done, of how many.

        Returns
        -------
        FrameCurve
            The curves, with what is measured if it was broken off.
        """
        peaks, asked = self._rows(session, question)
        total = len(self.frames)
        missing = np.isinf(peaks[:, 0]) | (np.isinf(asked[:, 0]) & (question.pixel is not None))
        frames = [n for n in np.flatnonzero(missing).tolist() if n not in self._unreadable]
        for done, frame in enumerate(frames):
            if not go_on():
                break
            progress(total - len(frames) + done, total)
            try:
                now = replace(session, fields=_same_size(self.frames[frame], session.fields))
                if np.isinf(peaks[frame, 0]):
                    peaks[frame] = _peaks_of(now)
                if question.pixel is not None and np.isinf(asked[frame, 0]):
                    asked[frame] = _asked_of(now, question)
            except Stopped:
                raise
            except Exception as error:  # whatever a reader of any file raises
                self._unreadable[frame] = f"frame {frame}: {error}"
        return self._curve(session, question, annotations, peaks, asked)

    def _rows(self, session: VotingSession, question: Question) -> tuple[Float64, Float64]:
        kernel = (session.part, session.cross, session.sigma, session.sum_rule, session.truncate)
        rows = []
        for key, width in ((kernel, len(_PEAKS)), ((kernel, question), 3)):
            found = self._measured.pop(key, None)
            if found is None:
                found = np.full((len(self.frames), width), np.inf)
            self._measured[key] = found  # the newest is the last
            rows.append(found)
        while len(self._measured) > _KEPT:
            del self._measured[next(iter(self._measured))]
        return rows[0], rows[1]

    def _curve(
        self,
        session: VotingSession,
        question: Question,
        annotations: Annotations | None,
        peaks: Float64,
        asked: Float64,
    ) -> FrameCurve:
        missing = np.isinf(peaks[:, 0]) | (np.isinf(asked[:, 0]) & (question.pixel is not None))
        missing[list(self._unreadable)] = False
        peaks, asked = (np.where(np.isinf(rows), np.nan, rows) for rows in (peaks, asked))
        rules = [session.rule_of(rule) for rule in RULES]
        curves = {f"{rule} peak": peaks[:, n] for n, rule in enumerate(rules)}
        if question.pixel is not None:
            at = "at row {}, column {}".format(*question.pixel)
            curves |= {f"{rule} {at}": asked[:, n] for n, rule in enumerate(rules)}
            if question.source is not None:
                curves["share of part {}, row {}, column {}".format(*question.source)] = asked[:, 2]
        if annotations is not None and session.part != ALL:
            name = session.fields.names[int(session.part)]
            truth = [place_of(name, annotations.of(n)) for n in range(len(peaks))]
            there = np.array([(np.nan, np.nan) if at is None else at for at in truth])
            curves["error"] = np.hypot(*(peaks[:, 2:] - there).T)
        done = len(peaks) - int(missing.sum())
        return FrameCurve(session, question, curves, dict(self._unreadable), done)


def _same_size(fields: mdn.Fields, first: mdn.Fields) -> mdn.Fields:
    if fields.confidence.shape != first.confidence.shape:
        raise ValueError(
            f"its confidence has the shape {fields.confidence.shape}, and the others "
            f"{first.confidence.shape}"
        )
    return fields


def _peaks_of(session: VotingSession) -> tuple[float, ...]:
    maps = session.vote((*RULES, "evidence"))
    found = [maps[rule].peak for rule in RULES]
    values = (0.0 if peak is None else peak.value for peak in found)
    return (*values, *peak_of(maps["evidence"].values).tolist())


def _asked_of(session: VotingSession, question: Question) -> tuple[float, float, float]:
    """Return the value of both maps at the pixel, and the source's share; NaN if it is outside."""
    assert question.pixel is not None
    if not all(0 <= i < n for i, n in zip(question.pixel, session.votes.shape, strict=True)):
        return np.nan, np.nan, np.nan
    of = {rule: session.votes.voters(question.pixel, session.rule_of(rule)) for rule in RULES}
    who, share = of[question.rule], 0.0
    if question.source is not None:
        source = question.source if who.source.shape[1] == 3 else question.source[1:]
        own = who.source.shape[1] == 3 or question.source[0] == session.part
        share = float(who.share[(who.source == source).all(axis=1)].sum()) if own else 0.0
    return float(-np.expm1(-of["noisy_or"].evidence)), float(of["additive"].evidence), share
