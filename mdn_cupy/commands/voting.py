"""Common to the subcommands that vote: whose votes, by which rule, and the peaks above what."""

from __future__ import annotations

import argparse
import math
from typing import Any, NamedTuple

from mdn_cupy.commands import opening
from mdn_cupy.fields import Fields
from mdn_cupy.peaks import Peaks, limits_of
from mdn_cupy.votes import Votes

__all__ = ["THRESHOLDS", "Found", "add_part_to", "add_to", "find", "limits", "one_map"]

THRESHOLDS = """\
--threshold is in the unit of the evidence:
  noisy_or   -log(1 - m): 0.7 for m >= 0.5, 2.3 for m >= 0.9, 4.6 for m >= 0.99
  additive   confidence a square pixel: one vote of confidence 1 makes 1 / (2 pi sigma^2)
  plain_sum  votes: one of confidence 1 makes 1"""


class Found(NamedTuple):
    """The peaks of one frame."""

    votes: Votes
    names: tuple[str, ...]  # of the maps
    peaks: Peaks


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of votes and peaks to a subcommand."""
    command.add_argument(
        "--threshold", type=float, required=True, help="least evidence of a peak; see below"
    )
    command.add_argument(
        "--min-distance",
        type=float,
        default=1.0,
        metavar="PIXELS",
        help="least distance of two peaks of a map (default: 1)",
    )
    command.add_argument(
        "--max-peaks", type=int, metavar="N", help="most peaks of a map (default: all)"
    )
    command.add_argument(
        "--border", type=int, default=0, metavar="PIXELS", help="margin without peaks (default: 0)"
    )
    command.add_argument(
        "--rule",
        choices=("noisy_or", "additive", "plain_sum"),
        default="noisy_or",
        help="how the votes combine (default: noisy_or)",
    )
    add_part_to(command, "each for a map of its own")


def add_part_to(command: argparse.ArgumentParser, default: str) -> None:
    """Add the options of whose votes make a map to a subcommand."""
    command.add_argument(
        "--part",
        help=f"name or number of the part to vote for (default: {default}); 'all': all parts vote "
        "into one map",
    )
    command.add_argument(
        "--cross", action="store_true", help="let all parts vote for each one (cross offsets)"
    )


def one_map(arguments: argparse.Namespace) -> tuple[Fields, str | None, Votes]:
    """Open one frame; return it, the part that it is about (None: all together) and the votes."""
    frames = opening.opened(arguments)
    numbers = opening.numbers(frames, arguments)
    if len(numbers) > 1:
        raise ValueError(
            f"{arguments.input}: one map is of one frame, and there are {len(numbers)}; "
            f"name one, such as --frames {numbers[0]}"
        )
    with opening.in_frame(numbers[0], arguments):
        fields = frames[numbers[0]]
        part = fields.names[0] if arguments.part is None else arguments.part
        if part == "all" and part not in fields.names:
            part = None
        fields.votes(part).check()  # cross offsets are NaN where there are none
        return fields, part, fields.votes(part, cross=arguments.cross)


def find(fields: Fields, arguments: argparse.Namespace) -> Found:
    """Vote and find the peaks, as the options say; ValueError for values that are no votes."""
    votes, names = _votes(fields, arguments.part, arguments.cross)
    Votes(fields.confidence, fields.offsets, fields.sigma).check()  # cross offsets may be NaN
    peaks = votes.peaks(rule=arguments.rule, **limits(arguments))
    return Found(votes, names, peaks)


def limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return which peaks count, as arguments of `find_peaks`."""
    if not arguments.threshold > 0:
        raise ValueError(
            f"threshold must be greater than 0, which is the evidence where nothing votes, got "
            f"{arguments.threshold:g}"
        )
    limits_of(arguments.min_distance, arguments.max_peaks, arguments.border)  # before the votes
    names = ("threshold", "min_distance", "max_peaks", "border")
    return {name: getattr(arguments, name) for name in names}


def _votes(fields: Fields, part: str | None, cross: bool) -> tuple[Votes, tuple[str, ...]]:
    """Return the votes, and the names of the maps that they make."""
    if part == "all" and part not in fields.names:
        return fields.votes(cross=cross), ("all",)
    if part is not None:
        return fields.votes(part, cross=cross), (fields.names[fields.part(part)],)
    if cross and fields.cross_offsets is None:
        raise ValueError("cross-part voting needs a field set with cross_offsets")
    offsets = fields.cross_offsets if cross else fields.offsets
    aggregate = -3 if cross else None
    votes = Votes(fields.confidence, offsets, fields.sigma, aggregate=aggregate, **fields.geometry)
    return votes, tuple(fields.names)[: math.prod(votes.shape[:-2])]
