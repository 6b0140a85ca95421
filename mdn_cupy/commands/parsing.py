"""Common to all subcommands: their output, and values of their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

__all__ = [
    "add_output_to",
    "check_suffix",
    "floats",
    "named",
    "path",
    "place",
    "region",
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
