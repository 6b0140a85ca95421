"""The command line: `mdn-cupy info | vote | compare | peaks | instances | convert`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from mdn_cupy import __version__, console, samples
from mdn_cupy.backends import Status, backends
from mdn_cupy.commands import convert, instances, large, parsing, peaks
from mdn_cupy.fields import Fields
from mdn_cupy.files import replacing
from mdn_cupy.io import load_fields
from mdn_cupy.votes import Votes

_DESCRIPTION = """\
Votes of a Mass Displacement Network: every pixel of a confidence field votes for the point its
offset leads to, blurred by a Gaussian, and the votes combine by a noisy-or or by addition.

FIELDS is a .mdn file or the name of a sample: pose, faces, trained (networks' keypoint fields on a
photograph), coins (Hough voting), nuclei (mean shift), delta (the paper's argument in a field)."""

_EXAMPLES = """\
examples:
  mdn-cupy compare pose --part nose --sigma 8 -o compare.png
  mdn-cupy compare pose --part "right wrist" --cross -o cross.png
  mdn-cupy vote coins --rule evidence -o evidence.npy
  mdn-cupy peaks coins --part all --threshold 4.6 -o coins.csv
  mdn-cupy info"""

_PROGRAM = "mdn-cupy"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; bad input ends in one line on standard error and the status 2.

    Whatever standard output takes, files are written; Ctrl+C ends it with the status 130.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status; 1 if the result went to standard output alone, and that failed.
    """
    refusals = (
        ValueError,
        TypeError,
        OSError,
        MemoryError,
        ModuleNotFoundError,
        RuntimeError,
    )
    return console.run(_PROGRAM, lambda: _run(argv), refusals)


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    printed = console.say(_PROGRAM, arguments.run(arguments))
    return 0 if printed or arguments.output else console.NOT_PRINTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mdn-cupy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="say which backends work here, and why others do not")
    info.set_defaults(run=_info, output=None)

    compare = commands.add_parser(
        "compare", help="draw image, confidence, noisy-or and additive map, and print the peaks"
    )
    _add_fields(compare)
    compare.add_argument(
        "-o", "--output", type=Path, required=True, help="figure to write: .png, .pdf or .svg"
    )
    compare.set_defaults(run=_compare)

    vote = commands.add_parser("vote", help="write a vote map, as a NumPy array or to Zarr")
    _add_fields(vote)
    vote.add_argument(
        "--rule",
        choices=("noisy_or", "additive", "plain_sum", "evidence"),
        default="noisy_or",
        help="noisy_or: m (default); additive: the sum with K(0) = 1/(2 pi sigma^2); "
        "plain_sum: the sum with K(0) = 1; evidence: -log(1 - m), which still tells peaks apart "
        "where m has saturated",
    )
    vote.add_argument(
        "-o",
        "--output",
        type=parsing.place,
        required=True,
        help="map to write: .npy, or .zarr (OME-Zarr with a pyramid) by chunks",
    )
    large.add_to(vote)
    vote.set_defaults(run=_vote)

    for subcommand in (peaks, instances, convert):
        subcommand.add_to(commands)
    return parser


def _add_fields(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "fields", metavar="FIELDS", help="a .mdn file, a Zarr group or the name of a sample"
    )
    command.add_argument(
        "--part",
        help="name or number of the part to vote for (default: the first); 'all': every part votes "
        "into one map",
    )
    command.add_argument(
        "--sigma", type=float, help="width of the Gaussian in output pixels (default: the file's)"
    )
    command.add_argument(
        "--stride",
        type=parsing.floats,
        help="output pixels from source to source: a number, or y,x (default: the file's)",
    )
    command.add_argument(
        "--origin",
        type=parsing.floats,
        help="where the first source sits in the output: a number, or y,x (default: the file's)",
    )
    command.add_argument(
        "--cross", action="store_true", help="let all parts vote for this one (cross offsets)"
    )


def _open(arguments: argparse.Namespace) -> tuple[Fields, str | None, Votes]:
    """Load the fields; return them, the part (None: all together) and the votes for it."""
    name = arguments.fields
    fields = samples.load(name) if name in samples.names() else _load(name)
    given = {name: getattr(arguments, name) for name in ("stride", "origin")}
    fields = replace(fields, **{n: x for n, x in given.items() if x is not None})
    part = fields.names[0] if arguments.part is None else arguments.part
    if part == "all" and part not in fields.names:
        part = None
    fields.votes(part, sigma=arguments.sigma).check()  # cross offsets are NaN where there are none
    return fields, part, fields.votes(part, sigma=arguments.sigma, cross=arguments.cross)


def _load(name: str) -> Fields:
    try:
        return load_fields(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; the samples are {', '.join(samples.names())}") from error


def _compare(arguments: argparse.Namespace) -> str:
    from mdn_cupy import plotting

    suffix = parsing.check_suffix(arguments.output, (".png", ".pdf", ".svg")).lstrip(".")
    plotting.require_matplotlib()
    fields, part, votes = _open(arguments)
    comparison = plotting.compare(votes)
    drawn = plotting.draw(fields, part, comparison)
    with replacing(arguments.output) as file:
        plotting.save(drawn, file, suffix)
    return (
        f"{'all parts' if part is None else part}, sigma {plotting.width_in_words(votes.sigma)}\n"
        f"noisy-or peak {comparison.noisy_or_peak}; peaks of at least 0.5: "
        f"{len(comparison.noisy_or_peaks)}\n"
        f"additive peak {comparison.additive_peak}\n"
        f"written to {arguments.output}"
    )


def _vote(arguments: argparse.Namespace) -> str:
    from mdn_cupy.plotting import peak

    if large.is_asked(arguments):
        return large.vote(arguments, arguments.fields)
    parsing.check_suffix(arguments.output, (".npy",))
    _, _, votes = _open(arguments)
    if arguments.rule in ("noisy_or", "evidence"):
        m, log_complement, _ = votes.compare()
        evidence = 0 - log_complement  # where peaks are found: m saturates
        values = m if arguments.rule == "noisy_or" else evidence
    else:
        values = evidence = getattr(votes, arguments.rule)()
    with replacing(arguments.output) as file:
        np.save(file, values, allow_pickle=False)
    return (
        f"{arguments.rule} of shape {values.shape}, {values.dtype}, peak {peak(values, evidence)}\n"
        f"written to {arguments.output}"
    )


def _info(arguments: argparse.Namespace) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
