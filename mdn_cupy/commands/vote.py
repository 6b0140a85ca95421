"""`mdn-cupy vote`: a vote map, as an array or a Zarr store."""

from __future__ import annotations

import argparse

import numpy as np

from mdn_cupy.commands import large, opening, parsing, voting
from mdn_cupy.files import replacing

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "write a vote map, as a NumPy array or to Zarr"
DESCRIPTION = """\
Write the vote map of a part: as a NumPy array; or, by chunks, which need not fit into memory, as
OME-Zarr with a pyramid, which napari and others open."""

EXAMPLES = """\
examples:
  mdn-cupy vote pose --part nose --sigma 8 -o nose.npy
  mdn-cupy vote coins --part all --rule evidence -o evidence.npy
  mdn-cupy vote run.npz --layout "HW(CP)" --order yx --stride 16 --frames 5 -o frame5.npy
  mdn-cupy vote slide.zarr --sigma 3 --rule evidence --chunks 2048 -o evidence.zarr
  mdn-cupy vote slide.zarr --memory 2GB --reach 40 -o m.zarr
  mdn-cupy vote slide.zarr --scheduler tcp://host:8786 -o m.zarr"""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `vote` to its parser."""
    parsing.add_output_to(
        command, "map to write: .npy, or .zarr (OME-Zarr with a pyramid) by chunks", parsing.place
    )
    command.add_argument(
        "--rule",
        choices=("noisy_or", "additive", "plain_sum", "evidence"),
        default="noisy_or",
        help="noisy_or: m (default); additive: the sum with K(0) = 1/(2 pi sigma^2); "
        "plain_sum: the sum with K(0) = 1; evidence: -log(1 - m), which still tells peaks apart "
        "where m has saturated",
    )
    voting.add_part_to(command, "the first; by chunks, each for a map of its own")
    opening.add_to(command)
    large.add_to(command)


def run(arguments: argparse.Namespace) -> str:
    """Write the map; return what is to be said."""
    from mdn_cupy.plotting import peak

    if large.is_asked(arguments):
        return large.vote(arguments)
    parsing.check_suffix(arguments.output, (".npy",))
    _, _, votes = voting.one_map(arguments)
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
