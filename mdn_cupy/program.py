"""The command line: `mdn-cupy info | vote | compare | peaks | instances | convert`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mdn_cupy import __version__, console
from mdn_cupy.commands import compare, convert, info, instances, parsing, peaks, vote

_DESCRIPTION = """\
Votes of a Mass Displacement Network: every pixel of a confidence field votes for the point its
offset leads to, blurred by a Gaussian, and the votes combine by a noisy-or or by addition.

IN is a .mdn file, a .npz, HDF5, torch or Zarr file of a network, or the name of a sample: pose,
faces, trained (networks' keypoint fields on a photograph), coins (Hough voting), nuclei (mean
shift), delta (the paper's argument in a field). All commands take the same options of how it is
read."""

_EXAMPLES = """\
examples:
  mdn-cupy compare pose --part nose --sigma 8 -o compare.png
  mdn-cupy compare pose --part "right wrist" --cross -o cross.png
  mdn-cupy vote coins --rule evidence -o evidence.npy
  mdn-cupy peaks coins --part all --threshold 4.6 -o coins.csv
  mdn-cupy info pose
  mdn-cupy info"""

_PROGRAM = "mdn-cupy"


def main(argv: Sequence[str] | None) -> int:
    """Run the command line; see `mdn_cupy.__main__.main`."""
    refusals = (
        ValueError,
        TypeError,
        OSError,
        MemoryError,
        ImportError,  # of an extra, or of what fsspec needs for a URL
        RuntimeError,
    )
    return console.run(_PROGRAM, lambda: _said_in_options(argv), refusals)


def _said_in_options(argv: Sequence[str] | None) -> int:
    """Run the command line, and write `layout='CHW'` in what it refuses as an option."""
    try:
        return _run(argv)
    except ValueError as error:
        message = parsing.said_in_options(str(error))
        raise ValueError(message or type(error).__name__) from error


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.run is info.run:
        said = info.run(arguments)
    else:
        with _without_cupy():  # they vote on the CPU
            said = arguments.run(arguments)
    printed = console.say(_PROGRAM, said)
    return 0 if printed or arguments.output else console.NOT_PRINTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mdn-cupy {__version__}")
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=parsing.CommandParser
    )
    for each in (info, compare, vote, peaks, instances, convert):
        command = commands.add_parser(
            each.__name__.rpartition(".")[2],
            help=each.HELP,
            description=each.DESCRIPTION,
            epilog=each.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        each.add_to(command)
        command.set_defaults(run=each.run)
    return parser


@contextmanager
def _without_cupy() -> Iterator[None]:
    """Let no import find CuPy: Zarr's would, and CUDA's libraries with it, which is 230 MB."""
    if "cupy" in sys.modules:
        yield
        return
    sys.modules["cupy"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["cupy"]
