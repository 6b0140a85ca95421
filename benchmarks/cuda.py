"""Measure on an NVIDIA GPU: `python benchmarks/cuda.py --quick`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # not this folder: its `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command
from benchmarks import device as devices
from benchmarks.device import Device
from benchmarks.inputs import Case, Shape, collapsed, scattered
from benchmarks.machine import versions
from benchmarks.peers import (
    GRADIENT_TOLERANCE,
    MAP_TOLERANCE,
    OURS,
    Peer,
    RuleName,
    check,
    hold,
    peers,
)
from benchmarks.report import Limits, Report, Speed
from benchmarks.runner import Step, first_line, run
from benchmarks.timing import Budget, Contender, Timing, compete
from mdn_cupy import cuda, reference
from mdn_cupy.arrays import Array
from mdn_cupy.problem import Gradients, Rule, VoteOptions, vote_problem

__all__ = ["FULL", "QUICK", "Plan", "main", "measure", "roofline"]

_ABOUT = """\
Measures votes per second on CUDA's current device, forward and backward, against the speed of its
registers and of its memory, and against what one would write with torch. Fastest runs are compared;
the columns after them say how many times as long the others take."""

Field = tuple[Callable[[Shape, float], Case], Shape, float]  # kind, shape and sigma

_MOST_PEER_VOTES = 2e8  # windowed torch takes 6 GB for them
_THREADS, _PIXELS, _ROWS = 256, 8, 256  # of a block; roofline.cu


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    budget: Budget  # of every contender; the device's time, a tenth of the wall's
    fields: tuple[Field, ...]
    copied_bytes: int
    roofline_times: int


_SMALL = scattered((2, 13, 17), 1.3)
_POSE = ((17, 128, 128), 2.0)
_FIELDS: tuple[Field, ...] = (
    (scattered, *_POSE),
    (collapsed, *_POSE),
    (scattered, (1, 512, 512), 3.0),
    (collapsed, (1, 512, 512), 3.0),
    (scattered, (272, 64, 64), 1.5),
    (scattered, (17, 256, 256), 4.0),
    (scattered, (1, 2048, 2048), 1.0),
)
QUICK = Plan(Budget(0.02), _FIELDS[:2], copied_bytes=1 << 28, roofline_times=64)
FULL = Plan(Budget(0.1), _FIELDS, copied_bytes=1 << 28, roofline_times=256)


def measure(plan: Plan, device: Device) -> Report:
    """Measure on a CUDA device, with a progress bar on standard error.

    Parameters
    ----------
    plan : Plan
        `QUICK`, `FULL` or one's own.
    device : Device
        A `CupyDevice`, or what stands in for it.

    Returns
    -------
    Report
        What was measured.

    Raises
    ------
    RuntimeError
        If the kernels do not run, or do not compute what the specification says.
    """
    _check(device, _SMALL)
    limits = Limits(_pairs_per_second(plan, device), _bytes_per_second(plan, device))
    report = Report({"machine": device.name, "versions": versions()}, limits)
    return run(list(_steps(plan, device, _others(device, report), report.notes)), report)


def _others(device: Device, report: Report) -> list[Peer]:
    """List the peers that compute the right thing on this device, and note why others do not."""
    if device.torch is None:
        report.notes.append("no peers: there is no torch that can use this device")
        return []
    found = []
    for peer in (peer for peer in peers() if peer.takes_tensors):
        try:
            check(peer, _SMALL, device.torch)
            found.append(peer)
        except (MemoryError, RuntimeError) as error:
            report.notes.append(f"left out: {first_line(error)}")
    return found


class _Pass:
    """A forward and a backward pass of a case on a device."""

    def __init__(self, device: Device, case: Case, rule: Rule, *, deterministic: bool = True):
        confidence, offsets = (device.array(x) for x in (case.confidence, case.offsets))
        options = VoteOptions(deterministic=deterministic)
        self._problem = vote_problem(confidence, offsets, case.sigma, options)
        self._rule = rule
        self._executor = device.executor(confidence)
        self._cotangent = device.array(case.cotangent)

    def forward(self) -> Array:
        """Σφ, for the noisy-or L."""
        return cuda.accumulate(self._problem, self._rule, self._executor)

    def backward(self) -> Gradients:
        """Return the gradients of confidence and offsets, the cotangent being that of Σφ."""
        wanted = (True, True, False)
        return cuda.gather(self._problem, self._rule, self._cotangent, wanted, self._executor)

    def both(self) -> None:
        """Forward, then backward."""
        self.forward()
        self.backward()


def _check(device: Device, case: Case) -> None:
    """Compare our kernels with the specification: the noisy-or by L, the sum with its gradients."""
    fields = (case.confidence, case.offsets, case.sigma)
    log_complement = reference.log_complement(*fields)
    for deterministic in (True, False):
        votes = _Pass(device, case, Rule.NOISY_OR, deterministic=deterministic)
        hold("noisy_or", votes.forward(), log_complement, MAP_TOLERANCE)
    sums = _Pass(device, case, Rule.ADDITIVE)
    hold("additive", sums.forward(), reference.additive(*fields), MAP_TOLERANCE)
    got, want = sums.backward(), reference.additive_vjp(case.cotangent, *fields)
    for gradient, specified in ((got.confidence, want.confidence), (got.offsets, want.offsets)):
        hold("additive backward", gradient, specified, GRADIENT_TOLERANCE)


def _pairs_per_second(plan: Plan, device: Device) -> float:
    """Measure the noisy-or's loop in the registers of the whole device."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 1.0, _PIXELS).astype(np.float32)
    # Signs alternate, so that the products stay near 1 however long the loop runs.
    confidence = rng.uniform(0.5e-3, 1e-3, _ROWS).astype(np.float32)
    confidence[1::2] *= -1
    loop = roofline(device, device.array(weight), device.array(confidence))
    loop(1)  # compiled
    timing = compete({"": partial(loop, plan.roofline_times)}, plan.budget, device.seconds)[""]
    pairs = device.blocks * _THREADS * _PIXELS * _ROWS * plan.roofline_times
    return pairs / timing.fastest


def roofline(device: Device, weight: Array, confidence: Array) -> Callable[[int], Array]:
    """Compile roofline.cu: Π (1 − confidence[n]·weight[k]) over all n, many times over.

    Parameters
    ----------
    device : Device
        Where.
    weight, confidence : array [8], [256]
        There, float32.

    Returns
    -------
    callable
        Runs it: takes the number of passes over the confidences, and returns the products
        [blocks, 256, 8]; pixel k of a thread has the weight of (thread + k) mod 8.
    """
    kernel = device.kernel(Path(__file__).with_name("roofline.cu").read_text("utf-8"), "roofline")
    executor = device.executor(weight)
    product = executor.empty((device.blocks, _THREADS, _PIXELS), np.dtype(np.float32))
    pointers = [np.uint64(executor.operand(x).address) for x in (weight, confidence, product)]

    def run_loop(times: int) -> Array:
        kernel((device.blocks, 1, 1), (_THREADS, 1, 1), (*pointers, np.int32(times)))
        return product

    return run_loop


def _bytes_per_second(plan: Plan, device: Device) -> float:
    """Measure a copy in the device's memory; it reads and writes."""
    source = device.array(np.zeros(plan.copied_bytes, np.uint8))
    target = device.array(np.zeros(plan.copied_bytes, np.uint8))

    def copy() -> None:
        target[...] = source

    timing = compete({"": copy}, plan.budget, device.seconds)[""]
    return 2 * plan.copied_bytes / timing.fastest


def _steps(plan: Plan, device: Device, others: list[Peer], notes: list[str]) -> Iterator[Step]:
    for field in plan.fields:
        step = partial(_forward, plan, device, field, others, notes)
        yield Step("forward", field[0].__name__, step)
    for field in plan.fields:
        step = partial(_backward, plan, device, field, notes)
        yield Step("backward", field[0].__name__, step)
    for field in plan.fields:
        step = partial(_training, plan, device, field, others, notes)
        yield Step("forward + backward", field[0].__name__, step)


def _forward(
    plan: Plan, device: Device, field: Field, others: list[Peer], notes: list[str]
) -> Iterator[Speed]:
    case = _case(field)
    for words, rule, deterministic in (
        ("noisy-or", Rule.NOISY_OR, True),
        ("noisy-or by float atomics", Rule.NOISY_OR, False),
        ("additive", Rule.ADDITIVE, True),
    ):
        ours = _Pass(device, case, rule, deterministic=deterministic).forward
        name: RuleName = "noisy_or" if rule is Rule.NOISY_OR else "additive"
        contenders = {OURS.name: ours} | {
            peer.name: peer.forward(case, name, str(device.torch))
            for peer in others
            if name in peer.rules and case.votes <= _MOST_PEER_VOTES
        }
        timings = _compete(plan, device, contenders, notes)
        pairs = rule is Rule.NOISY_OR
        yield Speed(f"{words}, {case.name}", timings, case.votes, pairs, case.nbytes)


def _backward(plan: Plan, device: Device, field: Field, notes: list[str]) -> Iterator[Speed]:
    case = _case(field)
    contenders = {OURS.name: _Pass(device, case, Rule.NOISY_OR).backward}
    timings = _compete(plan, device, contenders, notes)
    yield Speed(f"noisy-or, {case.name}", timings, case.votes, moved_bytes=2 * case.nbytes)


def _training(
    plan: Plan, device: Device, field: Field, others: list[Peer], notes: list[str]
) -> Iterator[Speed]:
    case = _case(field)
    contenders = {OURS.name: _Pass(device, case, Rule.NOISY_OR).both} | {
        peer.name: peer.training(case, "noisy_or", str(device.torch))
        for peer in others
        if "noisy_or" in peer.rules and case.votes <= _MOST_PEER_VOTES
    }
    timings = _compete(plan, device, contenders, notes)
    yield Speed(f"noisy-or, {case.name}", timings, case.votes)


def _case(field: Field) -> Case:
    kind, shape, sigma = field
    return kind(shape, sigma)


def _compete(
    plan: Plan, device: Device, contenders: Mapping[str, Contender], notes: list[str]
) -> dict[str, Timing]:
    """Time contenders by the device's clock, without those that its memory does not suffice for."""
    able = {}
    for name, contender in contenders.items():
        try:
            contender()  # compiled, and its memory allocated
        except (MemoryError, RuntimeError) as error:
            if name == OURS.name:
                raise
            notes.append(f"left out once: {name}: {first_line(error)}")
        else:
            able[name] = contender
    return compete(able, plan.budget, device.seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""

    def measured(quick: bool) -> tuple[str, dict[str, Any]]:
        status = cuda.status()
        if not status.works:
            raise RuntimeError(status.detail)
        report = measure(QUICK if quick else FULL, devices.CupyDevice())
        return str(report), report.data()

    return command.main("cuda.py", _ABOUT, measured, argv)


if __name__ == "__main__":
    sys.exit(main())
