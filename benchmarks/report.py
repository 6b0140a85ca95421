"""Results of a measurement as data, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from benchmarks.timing import Timing

__all__ = ["Limits", "PeakMemory", "Report", "Speed"]


@dataclass(frozen=True)
class Limits:
    """The device's own speed, measured in the same run."""

    pairs_per_second: float  # of the noisy-or's loop in registers
    bytes_per_second: float | None = None  # of a copy, read and written


@dataclass(frozen=True)
class Speed:
    """How long some work took.

    Attributes
    ----------
    work : str
        What was done.
    seconds : dict of str to Timing
        Ours first, then the others'.
    votes : int, optional
        Pixel-vote pairs in it.
    pairs : bool
        Whether a vote is one pair of the roofline's loop: the noisy-or, forward.
    moved_bytes : int, optional
        What has to be read and written at least.
    """

    work: str
    seconds: dict[str, Timing]
    votes: int | None = None
    pairs: bool = False
    moved_bytes: int | None = None

    @property
    def ours(self) -> Timing:
        """The first timing."""
        return next(iter(self.seconds.values()))


@dataclass(frozen=True)
class PeakMemory:
    """How much memory some work took beyond what it was given, at its peak.

    Attributes
    ----------
    work : str
        What was done.
    peak_bytes : dict of str to int
        Ours first, then the others'.
    field_bytes : int
        Inputs and outputs.
    """

    work: str
    peak_bytes: dict[str, int]
    field_bytes: int


@dataclass
class Report:
    """Everything that a run measured.

    Attributes
    ----------
    machine : dict of str to str
        Device and versions.
    limits : Limits
        Its own speed.
    speeds : dict of str to list of Speed
        By the title of their table.
    peaks : list of PeakMemory
        Of memory.
    notes : list of str
        What could not be measured, and why.
    """

    machine: dict[str, str]
    limits: Limits
    speeds: dict[str, list[Speed]] = field(default_factory=dict)
    peaks: list[PeakMemory] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, title: str, row: Speed | PeakMemory) -> None:
        """Add what was measured."""
        if isinstance(row, PeakMemory):
            self.peaks.append(row)
        else:
            self.speeds.setdefault(title, []).append(row)

    def data(self) -> dict[str, Any]:
        """Return everything, in full precision, as JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        """Tables for people."""
        head = [f"{name:9} {value}" for name, value in self.machine.items()]
        head.append(f"{'roofline':9} {_limits(self.limits)}")
        blocks = ["\n".join(head)]
        blocks += [_speeds(title, rows, self.limits) for title, rows in self.speeds.items()]
        if self.peaks:
            blocks.append(_peaks(self.peaks))
        if self.notes:
            blocks.append("\n".join(self.notes))
        return "\n\n".join(blocks)


def _limits(limits: Limits) -> str:
    measured = f"{_si(limits.pairs_per_second)} pairs/s of q[k] *= 1 - g*a[k] in registers, float32"
    if limits.bytes_per_second is not None:
        measured += f"; {_si(limits.bytes_per_second)}B/s of a copy"
    return measured


def _speeds(title: str, rows: list[Speed], limits: Limits) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    columns: dict[str, Callable[[Speed], str]] = {
        title: lambda row: row.work,
        "votes": lambda row: "" if row.votes is None else _si(row.votes),
        "median": lambda row: _duration(row.ours.median),
        "fastest": lambda row: _duration(row.ours.fastest),
        "votes/s": lambda row: "" if row.votes is None else _si(row.votes / row.ours.fastest),
    }
    if any(row.pairs for row in rows):
        columns["roofline"] = lambda row: _share(row, limits)
    if any(row.moved_bytes for row in rows):
        columns["bandwidth"] = lambda row: _bandwidth(row, limits)
    for name in names[1:]:
        columns[f"× {name}"] = partial(_ratio, name)
    return _table(columns, rows)


def _peaks(rows: list[PeakMemory]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.peak_bytes))
    columns: dict[str, Callable[[PeakMemory], str]] = {
        "peak memory beyond the inputs": lambda row: row.work,
        "in + out": lambda row: f"{_si(row.field_bytes)}B",
    }
    for name in names:
        columns[name] = partial(_peak, name)
    return _table(columns, rows)


def _table(columns: dict[str, Callable[[Any], str]], rows: Iterable[Any]) -> str:
    """Align columns: the first to the left, the others to the right."""
    cells = [list(columns), *([show(row) for show in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _share(row: Speed, limits: Limits) -> str:
    if not row.pairs or row.votes is None:
        return ""
    return f"{row.votes / row.ours.fastest / limits.pairs_per_second:.1%}"


def _bandwidth(row: Speed, limits: Limits) -> str:
    if row.moved_bytes is None or limits.bytes_per_second is None:
        return ""
    return f"{row.moved_bytes / row.ours.fastest / limits.bytes_per_second:.1%}"


def _ratio(name: str, row: Speed) -> str:
    if name not in row.seconds:
        return ""
    return f"{row.seconds[name].fastest / row.ours.fastest:.3g}"


def _peak(name: str, row: PeakMemory) -> str:
    return f"{_si(row.peak_bytes[name])}B" if name in row.peak_bytes else ""


def _si(value: float) -> str:
    """Return a number with three digits and a prefix."""
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * unit:
            return f"{value / unit:#.3g} {prefix}".replace(". ", " ")
    return f"{value:.3g} "


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 0.9995:
            return f"{seconds * scale:#.3g} {unit}".replace(". ", " ")
    return f"{seconds * 1e6:#.3g} µs"
