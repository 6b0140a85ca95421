"""Time contenders in turn, so that a disturbance of one run disturbs them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Budget", "Clock", "Contender", "Timing", "compete", "wall"]

Contender = Callable[[], object]
Clock = Callable[[Contender], float]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the fastest and the median of several."""

    fastest: float
    median: float
    runs: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Sum up measured calls."""
        return cls(min(seconds), statistics.median(seconds), len(seconds))


@dataclass(frozen=True)
class Budget:
    """How often to measure: for so many seconds, at least and at most so many runs."""

    seconds: float
    least: int = 3
    most: int = 1000

    def spent(self, seconds: list[float]) -> bool:
        """Return whether these runs are enough."""
        enough = sum(seconds) >= self.seconds or len(seconds) >= self.most
        return enough and len(seconds) >= self.least


def wall(call: Contender) -> float:
    """Seconds that a call takes by the wall clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compete(
    contenders: Mapping[str, Contender], budget: Budget, clock: Clock = wall
) -> dict[str, Timing]:
    """Measure contenders in rounds, each once a round until its budget is spent.

    Parameters
    ----------
    contenders : mapping of str to callable
        What to measure, by name.
    budget : Budget
        Of each contender.
    clock : callable
        Runs a contender and says how many seconds it took.

    Returns
    -------
    dict of str to Timing
        In the order of the contenders.

    Examples
    --------
    >>> from benchmarks.timing import Budget, compete
    >>> compete({"sum": lambda: sum(range(9))}, Budget(1.0), clock=lambda call: 0.5)
    {'sum': Timing(fastest=0.5, median=0.5, runs=3)}
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    while running := [name for name, taken in seconds.items() if not budget.spent(taken)]:
        for name in running:
            seconds[name].append(clock(contenders[name]))
    return {name: Timing.of(taken) for name, taken in seconds.items()}
