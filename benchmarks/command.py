"""The command line of every benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.runner import first_line
from mdn_cupy import console
from mdn_cupy.files import replacing

__all__ = ["main"]

Measure = Callable[[bool], tuple[str, dict[str, Any]]]
"""Takes whether to be quick; returns tables for people, and everything as JSON takes it."""


def main(name: str, about: str, measure: Measure, argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write a file if one is named.

    Parameters
    ----------
    name : str
        Of the program.
    about : str
        What it measures; its help.
    measure : callable
        See `Measure`. A RuntimeError or an ImportError of it is one line and the status 2.
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--quick", action="store_true", help="less of it, in under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to a file")
    return console.run(name, lambda: _run(name, measure, parser.parse_args(argv)))


def _run(name: str, measure: Measure, arguments: argparse.Namespace) -> int:
    text = ""
    try:
        with ExitStack() as stack:
            # Opened before the work, so that it is not lost.
            file = stack.enter_context(replacing(arguments.json)) if arguments.json else None
            text, data = measure(arguments.quick)
            if file:
                file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())
    except (OSError, RuntimeError, ImportError) as error:
        if text:  # what took minutes to measure does not depend on the disk
            console.say(name, text)
        console.complain(name, first_line(error))
        return console.REFUSED
    written = f"\nwritten to {arguments.json}" if arguments.json else ""
    said = console.say(name, text + written)
    return 0 if said or arguments.json else console.NOT_PRINTED
