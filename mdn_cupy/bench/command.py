"""`mdn-cupy bench`: its arguments, and what they ask for."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mdn_cupy import console
from mdn_cupy.bench.report import Report
from mdn_cupy.bench.suite import first_line
from mdn_cupy.files import replacing

__all__ = ["add_to"]

_DESCRIPTION = """\
Measures votes per second, forward and backward, against the speed of this machine's registers and
against what one would write with torch or NumPy, and the memory that it takes. Fastest runs are
compared; the columns after them say how many times as long the others take."""


def add_to(commands: Any) -> None:
    """Add `bench` to the subcommands of a parser."""
    command = commands.add_parser(
        "bench", help="measure how fast this library is here", description=_DESCRIPTION
    )
    command.add_argument("--quick", action="store_true", help="less of it, in under a minute")
    command.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to vote (default: cpu)"
    )
    command.add_argument(
        "--json", dest="output", type=Path, metavar="FILE", help="also write everything to a file"
    )
    command.add_argument(
        "--resources",
        action="store_true",
        help="measure nothing; compile the CUDA kernels, which takes no GPU, and print how many "
        "registers and how much memory they need on every architecture",
    )
    command.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> str:
    """Return tables; ValueError if what was asked for cannot be had here."""
    text = ""
    try:
        with ExitStack() as stack:
            # Opened before the work, so that it is not in vain.
            file = stack.enter_context(replacing(arguments.output)) if arguments.output else None
            text, data = (
                _resources()
                if arguments.resources
                else _measured(arguments.device, arguments.quick)
            )
            if file:
                file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError:
        if text:  # what took minutes to measure does not depend on the disk
            console.say("mdn-cupy", text)
        raise
    return f"{text}\nwritten to {arguments.output}" if arguments.output else text


def _measured(device: str, quick: bool) -> tuple[str, dict[str, Any]]:
    report = _on_cuda(quick) if device == "cuda" else _on_cpu(quick)
    return str(report), report.data()


def _on_cpu(quick: bool) -> Report:
    from mdn_cupy.bench import cpu

    return cpu.measure(cpu.QUICK if quick else cpu.FULL)


def _on_cuda(quick: bool) -> Report:
    from mdn_cupy import cuda as backend
    from mdn_cupy.bench import cuda
    from mdn_cupy.bench.device import CupyDevice

    status = backend.status()
    if not status.works:
        raise ValueError(f"--device cuda: {status.detail}")
    try:
        return cuda.measure(cuda.QUICK if quick else cuda.FULL, CupyDevice())
    except RuntimeError as error:  # CUDA's, or a kernel that is off the specification
        raise ValueError(f"--device cuda: {first_line(error)}") from error


def _resources() -> tuple[str, dict[str, Any]]:
    from mdn_cupy.cuda.resources import resource_table, resources

    try:
        rows = resources()
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"--resources: {first_line(error)}") from error
    described = [
        {**row._asdict(), "occupancy": row.occupancy, "limited_by": row.limited_by} for row in rows
    ]
    return resource_table(rows), {"resources": described}
