"""Common to all subcommands: their output, and values of their options."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

__all__ = [
    "CommandParser",
    "add_output_to",
    "check_suffix",
    "floats",
    "named",
    "path",
    "place",
    "region",
    "said_in_options",
    "span",
]


def add_output_to(
    command: argparse.ArgumentParser, help: str, kind: Callable[[str], Any] | None = None
) -> None:
    """Add the file to write to a subcommand; a path, unless another kind is parsed."""
    command.add_argument(
        "-o", "--output", type=kind or path, required=True, metavar="OUT", help=help
    )


def check_suffix(output: Path | str, known: Collection[str]) -> str:
    """Return the lower-case suffix of a file to write; ValueError if it is not a known one."""
    suffix = "" if isinstance(output, str) else output.suffix.lower()
    if suffix not in known:
        *most, last = known
        wanted = f"name a {', '.join(most)}{' or ' if most else ''}{last} file"
        url = "a URL is for a .zarr store; " if isinstance(output, str) else ""
        raise ValueError(f"{output}: {url}{wanted}")
    if Path(output).is_dir():
        raise IsADirectoryError(f"{output}: is a directory; name a file in it")
    return suffix


def floats(text: str) -> float | list[float]:
    """Parse a number, or several with commas between them."""
    try:
        values = [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"give a number, or two with a comma between them, not {text!r}"
        ) from None
    return values[0] if len(values) == 1 else values


def named(text: str) -> str:
    """Refuse the empty name of an output, and a URL."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a file")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"name a file, not a URL: {text}")
    return text


def path(text: str) -> Path:
    """Parse the path of an output."""
    return Path(named(text))


def place(text: str) -> Path | str:
    """Parse the path of an output, and leave a URL as it is."""
    return text if "://" in text else path(text)


def span(text: str) -> list[int | None]:
    """Parse start:stop:step to the arguments of `slice`, and a number n as n:n+1."""
    try:
        values = [int(number) if number else None for number in text.split(":")]
        if len(values) == 1:
            values = [int(text), int(text) + 1 or None]
        slice_ = slice(*values)
        slice_.indices(0)
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"give A:B, A:B:STEP or a number, such as 100:200, not {text!r}"
        ) from None
    return [slice_.start, slice_.stop, slice_.step]


def region(text: str) -> tuple[slice, slice]:
    """Parse rows and columns, each as `span` does: 1000:3000,4000:6000."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"give ROWS,COLUMNS such as 1000:3000,::4, not {text!r}")
    rows, columns = (slice(*span(part)) for part in parts)
    return rows, columns


class CommandParser(argparse.ArgumentParser):
    """A command, which refuses options itself, and takes `--origin -3,-4` and `--frames -5:`."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments of the command, or end the program."""
        joined: list[str] = []
        for argument in sys.argv[1:] if args is None else args:
            if re.match(r"-[\d.:]", argument) and joined and re.fullmatch(r"--[^=]+", joined[-1]):
                joined[-1] += f"={argument}"
            else:
                joined.append(argument)
        found, unknown = super().parse_known_args(joined, namespace)
        if unknown:
            options = [name for action in self._actions for name in action.option_strings]
            near = get_close_matches(unknown[0].partition("=")[0], options, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return found, unknown


def said_in_options(message: str) -> str:
    """Write `layout='CHW'` as an option, as what was refused on a command line.

    Examples
    --------
    >>> said_in_options("give layout='(PC)HW'")
    "give --layout '(PC)HW'"
    """
    said = re.sub(
        "(layout|confidence|offsets)='(.*?)'",
        lambda found: f"--{found[1]} {shlex.quote(found[2])}",
        message,
    )
    return f"{said}; for logits give --sigmoid" if "values outside [0, 1]" in said else said
