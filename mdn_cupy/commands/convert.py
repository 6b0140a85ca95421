"""`mdn-cupy convert`: from what a network wrote to `.mdn` files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mdn_cupy.commands import opening
from mdn_cupy.io import FieldsSequence, save_fields

__all__ = ["add_to"]

_DESCRIPTION = """\
Write the fields in a file of another kind as a .mdn file, frame by frame.

IN is a .npz, HDF5, torch (.pt) or Zarr file, one of a pair of .npy or TIFF files, such as
hand_heatmap.npy beside hand_offsets.npy, or a folder or quoted pattern of these. Arrays with the
usual names (heatmap, scoremap, locref, part_offsets ...) are found; if none or several are, the
message lists what the file holds, to be named."""

_EXAMPLES = """\
examples:
  a network that has an adapter; help(mdn_cupy.adapters.deeplabcut) tells its settings:
    mdn-cupy convert run.h5 -o run.mdn --from deeplabcut --stride 8 --sigmoid
    mdn-cupy convert maps.npz -o maps.mdn --from panoptic_deeplab --set things=11,12
  a torch file with logits, and offsets in cells of 4 pixels, y first:
    mdn-cupy convert out.pt -o out.mdn --sigmoid --order yx --scale 4 --stride 4
  an HDF5 video with (T, J, H, W) scores and (T, 2 J, H, W) offsets, x and y of each joint in turn,
  in units of 7.2801 pixels; cell centres lie half a stride in:
    mdn-cupy convert run.h5 -o run.mdn --confidence net/scmap --offsets net/locref \\
        --layout "(PC)HW" --scale 7.2801 --stride 8 --origin 4
  channels last, first y of all 17 parts, then x; input of 192 x 256, so two strides (y,x):
    mdn-cupy convert "run/*.npz" -o run.mdn --layout "HW(CP)" --order yx --stride 16.25,16.4
  every frame to a file of its own; what is there already is kept, so it goes on where it stopped:
    mdn-cupy convert run.h5 -o frames/"""


def add_to(commands: Any) -> None:
    """Add `convert` to the subcommands of a parser."""
    command = commands.add_parser(
        "convert",
        help="write what a network wrote as a .mdn file",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    opening.add_to(command)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a .mdn file for all frames; or a folder, with a / at its end, for a file each",
    )
    command.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> str:
    output = Path(arguments.output)
    each = arguments.output.endswith(("/", os.sep)) or output.is_dir()
    if not each and output.suffix.lower() != ".mdn":
        raise ValueError(f"{output}: name a .mdn file, or a folder with a / at its end")
    frames = opening.opened(arguments)
    first = frames[0]
    if each:
        kept = _write_each(output, frames)
        done = f"{len(frames) - kept} written to {output}/, {kept} were there"
    else:
        save_fields(output, first if len(frames) == 1 else opening.progress(frames))
        done = f"written to {output}, {output.stat().st_size / 1e6:.1f} MB"
    parts, height, width = first.confidence.shape
    return (
        f"{opening.counted(len(frames), 'frame')} of {opening.counted(parts, 'part')} "
        f"on {height} × {width}, stride {first.stride}, "
        f"origin {first.origin}: {done}"
    )


def _write_each(folder: Path, frames: FieldsSequence) -> int:
    """Write a file for each frame that has none, and return how many have; each is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(frames) - 1))
    paths = [folder / f"{number:0{digits}}.mdn" for number in range(len(frames))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    for number in opening.progress(missing):
        save_fields(paths[number], frames[number])
    return len(paths) - len(missing)
