"""Measure on the CPU: `python benchmarks/cpu.py --quick`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not this folder: its `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, processes
from benchmarks.inputs import TRUNCATE, Case, Shape, collapsed, scattered, sparse
from benchmarks.machine import processor, versions
from benchmarks.peers import OURS, Peer, RuleName, check, has_torch, peers
from benchmarks.report import Limits, PeakMemory, Report, Speed
from benchmarks.roofline import pairs_per_second
from benchmarks.runner import Step, run
from benchmarks.timing import Budget, Contender, Timing, compete
from mdn_cupy import Votes
from mdn_cupy.backend import backends
from mdn_cupy.problem import Gradients
from mdn_cupy.threads import get_num_threads

__all__ = ["FULL", "QUICK", "Plan", "main", "measure"]

_ABOUT = """\
Measures votes per second, forward and backward, against the speed of this machine's registers and
against what one would write with torch or NumPy, and the memory that it takes. Fastest runs are
compared; the columns after them say how many times as long the others take."""

Field = tuple[Shape, float]  # shape and sigma of `inputs.scattered`


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    budget: Budget  # of every contender
    roofline_seconds: float
    fields: tuple[Field, ...]  # measured against the peers, forward and in training
    small: Field
    growth: tuple[float, ...]  # votes
    growth_of_peers: float  # up to so many votes
    processes: int  # for each number that needs a process of its own


_POSE, _LARGE, _SMALL = ((17, 128, 128), 2.0), ((1, 512, 512), 3.0), ((1, 64, 64), 1.5)
_GROWING_SIGMA = 2.0

QUICK = Plan(
    Budget(seconds=0.5, least=2),
    roofline_seconds=0.5,
    fields=(_POSE,),
    small=_SMALL,
    growth=(1e6, 1e7, 1e8),
    growth_of_peers=1e6,
    processes=1,
)
FULL = Plan(
    Budget(seconds=2.0, least=3),
    roofline_seconds=2.0,
    fields=(_POSE, _LARGE),
    small=_SMALL,
    growth=(1e6, 1e7, 1e8, 1e9, 1e10),
    growth_of_peers=1e8,
    processes=3,
)


def measure(plan: Plan) -> Report:
    """Measure on the CPU, with a progress bar on standard error.

    Parameters
    ----------
    plan : Plan
        `QUICK`, `FULL` or one's own.

    Returns
    -------
    Report
        What was measured.

    Raises
    ------
    RuntimeError
        If a contender does not compute what the specification says; nothing is measured then.
    """
    for contender in (OURS, *peers()):
        check(contender, scattered((2, 13, 17), 1.3))
    machine = {"machine": processor(), "versions": versions()}
    report = Report(machine, Limits(pairs_per_second(plan.roofline_seconds)))
    if not has_torch():
        report.notes.append(f"nothing through torch is measured: {backends()['torch'].detail}")
    return run(list(_steps(plan)), report)


def _steps(plan: Plan) -> Iterator[Step]:
    trained = [peer for peer in _others("noisy_or") if peer.takes_tensors]
    for field in plan.fields:
        for rule in OURS.rules:
            forward = partial(_forward, plan, partial(scattered, *field), rule, _others(rule))
            yield Step("forward", rule, forward)
    for field in plan.fields:
        yield Step("backward, given L", "noisy_or", partial(_backward, plan, field))
    if has_torch():
        for field in plan.fields:
            training = partial(_training, plan, field, trained)
            yield Step("training through torch", "noisy_or", training)
    yield from _alone(plan)
    for votes in plan.growth:
        others = _others("noisy_or") if votes <= plan.growth_of_peers else []
        forward = partial(_forward, plan, partial(scattered, *_of_votes(votes)), "noisy_or", others)
        yield Step("growth", f"{votes:.0e} votes", forward)
    yield Step("start", "imports and first calls", partial(_start, plan))
    if has_torch():
        for field in plan.fields:
            yield Step("memory", "training", partial(_peak, "training", field, [OURS, *trained]))
    for votes in plan.growth:
        yield Step(
            "memory", f"{votes:.0e} votes", partial(_peak, "forward", _of_votes(votes), [OURS])
        )


def _alone(plan: Plan) -> Iterator[Step]:
    """List only our own implementation."""
    for kind in (scattered, collapsed, sparse):
        forward = partial(_forward, plan, partial(kind, *plan.fields[0]), "noisy_or", [])
        yield Step("easy and hard fields", kind.__name__, forward)
    yield Step("all threads against one", "noisy_or", partial(_threads, plan, plan.fields[0]))
    forward = partial(_forward, plan, partial(scattered, *plan.small), "noisy_or", [])
    yield Step("a small field, a call", "forward", forward)
    if has_torch():
        training = partial(_training, plan, plan.small, [])
        yield Step("a small field, a call", "forward + backward", training)


def _others(rule: RuleName) -> list[Peer]:
    return [peer for peer in peers() if rule in peer.rules]


def _of_votes(votes: float) -> Field:
    """Make one square map that gets about so many votes."""
    side = max(1, round(math.sqrt(votes) / (2 * TRUNCATE * _GROWING_SIGMA)))
    return (1, side, side), _GROWING_SIGMA


def _forward(
    plan: Plan, fields: Callable[[], Case], rule: RuleName, others: list[Peer]
) -> Iterator[Speed]:
    case = fields()
    contenders = {peer.name: peer.forward(case, rule) for peer in (OURS, *others)}
    name = f"{rule.replace('_', '-')}, {case.name}"
    yield _speed(plan, name, case, contenders, pairs=rule == "noisy_or")


def _backward(plan: Plan, field: Field) -> Iterator[Speed]:
    case = scattered(*field)
    fields = (case.confidence, case.offsets, case.sigma)
    m, log_complement, _ = Votes(*fields).compare()

    def pull() -> Gradients:
        return Votes(*fields).noisy_or_vjp(m, log_complement=log_complement)

    yield _speed(plan, f"noisy-or, {case.name}", case, {OURS.name: pull})


def _training(plan: Plan, field: Field, others: list[Peer]) -> Iterator[Speed]:
    case = scattered(*field)
    contenders = {peer.name: peer.training(case, "noisy_or") for peer in (OURS, *others)}
    yield _speed(plan, f"noisy-or forward + backward, {case.name}", case, contenders)


def _speed(
    plan: Plan, work: str, case: Case, contenders: dict[str, Contender], *, pairs: bool = False
) -> Speed:
    contenders[OURS.name]()  # compiled, and its memory touched
    return Speed(work, compete(contenders, plan.budget), case.votes, pairs)


def _threads(plan: Plan, field: Field) -> Iterator[Speed]:
    case, seconds = scattered(*field), plan.budget.seconds
    counts = {OURS.name: get_num_threads(), "one thread": 1}
    rounds = [
        [processes.forward_seconds(*field, count, seconds) for count in counts.values()]
        for _ in range(plan.processes)
    ]
    taken = zip(counts, zip(*rounds, strict=True), strict=True)
    timings = {name: Timing.of(list(each)) for name, each in taken}
    yield Speed(f"noisy-or, {case.name}", timings, case.votes)


def _start(plan: Plan) -> Iterator[Speed]:
    imports = [processes.import_seconds() for _ in range(2 * plan.processes + 1)]
    cold, warm = zip(*(processes.first_call_seconds() for _ in range(plan.processes)), strict=True)
    for work, seconds in (
        ("import mdn_cupy, NumPy being there", imports),
        ("first call, nothing compiled yet", list(cold)),
        ("first call, compiled by an earlier process", list(warm)),
    ):
        yield Speed(work, {OURS.name: Timing.of(seconds)})


def _peak(work: processes.Work, field: Field, contenders: list[Peer]) -> Iterator[PeakMemory]:
    case = scattered(*field)
    peaks = {peer.name: processes.peak_bytes(peer.name, work, *field) for peer in contenders}
    found = {name: peak for name, peak in peaks.items() if peak is not None}
    if found:
        given_and_returned = case.nbytes * (2 if work == "training" else 1)
        yield PeakMemory(f"noisy-or {work}, {case.name}", found, given_and_returned)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""

    def measured(quick: bool) -> tuple[str, dict[str, Any]]:
        report = measure(QUICK if quick else FULL)
        return str(report), report.data()

    return command.main("cpu.py", _ABOUT, measured, argv)


if __name__ == "__main__":
    sys.exit(main())
