"""`mdn-cupy info`: which backends work, or what a file holds."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from mdn_cupy import __version__, samples
from mdn_cupy.backend import Status, backends
from mdn_cupy.commands import opening
from mdn_cupy.io import inspect_file

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "say which backends work here, or what a file holds"
DESCRIPTION = """\
Say which backends work here, and why others do not; or, of a file, which arrays it holds, which two
of them are taken for confidence and offsets, and what else it says. None of its arrays is read."""

EXAMPLES = """\
examples:
  mdn-cupy info
  mdn-cupy info pose
  mdn-cupy info slide.zarr"""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `info` to its parser."""
    command.add_argument("input", metavar="IN", nargs="?", help=opening.INPUT)
    command.set_defaults(output=None)


def run(arguments: argparse.Namespace) -> str:
    """Return what is to be said."""
    return _backends() if arguments.input is None else _held(arguments.input)


def _held(name: str) -> str:
    with opening.known():
        found = inspect_file(opening.path_of(name))
    taken = {found.confidence: "confidence", found.offsets: "offsets"}
    rows = [
        (member, f"{np.dtype(array.dtype)} {[*array.shape]}", taken.get(member, ""))
        for member, array in found.arrays.items()
    ]
    if not rows:
        return f"{found.path} holds no array"
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    lines = [
        f"  {member:{widths[0]}}  {what:{widths[1]}}  {role}".rstrip()
        for member, what, role in rows
    ]
    missing = [role for role in ("confidence", "offsets") if getattr(found, role) is None]
    if missing:
        lines.append(f"name the {' and '.join(missing)} by --{' NAME --'.join(missing)} NAME")
    if found.settings:
        lines.append(f"settings: {', '.join(found.settings)}")
    return "\n".join([f"{found.path} holds", *lines])


def _backends() -> str:
    return "\n".join(
        [
            f"mdn-cupy {__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}",
            *(f"{name:7} {status}" for name, status in {**backends(), "viewer": _viewer()}.items()),
            f"samples {', '.join(samples.names()) or 'missing'}",
        ]
    )


def _viewer() -> Status:
    try:
        return Status(True, f"napari {version('napari')}")
    except PackageNotFoundError:
        return Status(False, 'napari is not installed; pip install "mdn-cupy[viewer]"')
