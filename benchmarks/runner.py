"""Run measurements one after the other, with a progress bar, and collect their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.report import PeakMemory, Report, Speed

__all__ = ["Step", "first_line", "run"]


@dataclass(frozen=True)
class Step:
    """One measurement.

    Attributes
    ----------
    title : str
        Of the table that its result belongs to.
    name : str
        For the progress bar.
    measure : callable
        Returns the rows that it adds.
    """

    title: str
    name: str
    measure: Callable[[], Iterable[Speed | PeakMemory]]


def run(steps: list[Step], report: Report) -> Report:
    """Measure step by step into a report.

    A step that fails, without memory or in a library, leaves a note and no row, so that
    an unattended run ends with the others; Ctrl-C ends the run with what there is.
    """
    for step in _progress(steps):
        try:
            for row in step.measure():
                report.add(step.title, row)
        except (MemoryError, RuntimeError) as error:
            report.notes.append(f"not measured: {step.title}, {step.name}: {first_line(error)}")
        except KeyboardInterrupt:
            report.notes.append(f"interrupted: nothing from {step.title}, {step.name} on")
            break
    return report


def _progress(steps: list[Step]) -> Iterator[Step]:
    """Walk through the steps, and show on a terminal which one runs."""
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError('tqdm is not installed; pip install "mdn-cupy[plot]"') from error

    with tqdm(total=len(steps), file=sys.stderr, leave=False, disable=None) as bar:
        for step in steps:
            bar.set_postfix_str(f"{step.title}, {step.name}")
            yield step
            bar.update()


def first_line(error: BaseException) -> str:
    """Return the message of an error, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
