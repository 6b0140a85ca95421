"""`mdn-cupy compare`: a figure of both rules' maps of one part."""

from __future__ import annotations

import argparse

from mdn_cupy.commands import opening, parsing, voting
from mdn_cupy.files import replacing

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "draw image, confidence, noisy-or and additive map, and print the peaks"
DESCRIPTION = """\
Draw the image, the confidence, the noisy-or and the additive map of a part side by side, and print
the peaks of both maps."""

EXAMPLES = """\
examples:
  mdn-cupy compare pose --part nose --sigma 8 -o compare.png
  mdn-cupy compare pose --part "right wrist" --cross -o cross.png
  mdn-cupy compare run.h5 --from deeplabcut --stride 8 --sigmoid --frames 5 -o frame5.png"""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `compare` to its parser."""
    parsing.add_output_to(command, "figure to write: .png, .pdf or .svg")
    voting.add_part_to(command, "the first")
    opening.add_to(command)


def run(arguments: argparse.Namespace) -> str:
    """Write the figure; return what is to be said."""
    from mdn_cupy import plotting

    suffix = parsing.check_suffix(arguments.output, (".png", ".pdf", ".svg")).lstrip(".")
    plotting.require_matplotlib()
    fields, part, votes = voting.one_map(arguments)
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
