"""`mdn-cupy convert`: from what a network wrote to `.mdn` files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mdn_cupy.commands import opening, parsing
from mdn_cupy.fields import Fields
from mdn_cupy.files import explained_write
from mdn_cupy.io import FieldsSequence, save_fields
from mdn_cupy.votes import Votes

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "write what a network wrote as a .mdn file"
DESCRIPTION = """\
Write the fields in a file of another kind as a .mdn file, frame by frame.

IN is a .npz, HDF5, torch (.pt) or Zarr file, one of a pair of .npy or TIFF files, such as
hand_heatmap.npy beside hand_offsets.npy, or a folder or quoted pattern of these. Arrays with the
usual names (heatmap, scoremap, locref, part_offsets ...) are found; if none or several are, the
message lists what the file holds, to be named."""

EXAMPLES = """\
examples, one of each adapter, whose arrays and settings help(mdn_cupy.adapters.deeplabcut) tells:
  mdn-cupy convert run.h5 -o run.mdn --from deeplabcut --stride 8 --sigmoid --names "nose,tail base"
  mdn-cupy convert out.npz -o out.mdn --from sleap_nn --stride 2
  mdn-cupy convert out.npz -o out.mdn --from mmpose_udp --set input_size=192,256
  mdn-cupy convert "run/*.npz" -o run.mdn --from posenet --stride 16
  mdn-cupy convert cif.npz -o cif.mdn --from openpifpaf --stride 8
  mdn-cupy convert out.pt -o out.mdn --from centernet --confidence hm_hp --offsets hp_offset
  mdn-cupy convert out.pt -o out.mdn --from movenet --confidence hm_hp --offsets hp_offset
  mdn-cupy convert faces.npz -o faces.mdn --from centerface
  mdn-cupy convert maps.npz -o maps.mdn --from panoptic_deeplab --set things=11,12
  mdn-cupy convert out.pt -o out.mdn --from embedseg --set grid_x=2048 --set pixel_x=2
  mdn-cupy convert spots.npz -o spots.mdn --from spotiflow --sigma 1.5

examples without an adapter:
  a torch file with logits, and offsets in cells of 4 pixels, y first:
    mdn-cupy convert out.pt -o out.mdn --sigmoid --order yx --scale 4 --stride 4
  an HDF5 video with (T, J, H, W) scores and (T, 2 J, H, W) offsets, x and y of each joint in turn,
  in units of 7.2801 pixels; cell centres lie half a stride in:
    mdn-cupy convert run.h5 -o run.mdn --confidence net/scmap --offsets net/locref \\
        --layout "(PC)HW" --scale 7.2801 --stride 8 --origin 4
  channels last, first y of all 17 parts, then x; input of 192 x 256, so two strides (y,x):
    mdn-cupy convert "run/*.npz" -o run.mdn --layout "HW(CP)" --order yx --stride 16.25,16.4
  every frame to a file of its own; what is there already is kept, so it goes on where it stopped:
    mdn-cupy convert run.h5 -o frames/
  a hundred frames of a video:
    mdn-cupy convert run.h5 -o some.mdn --frames 100:200"""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `convert` to its parser."""
    opening.add_to(command)
    parsing.add_output_to(
        command,
        "a .mdn file for all frames; or a folder, with a / at its end, for a file each",
        parsing.named,
    )


def run(arguments: argparse.Namespace) -> str:
    """Write the file or files; return what is to be said."""
    output = Path(arguments.output)
    each = arguments.output.endswith(("/", os.sep)) or output.is_dir()
    if not each and output.suffix.lower() != ".mdn":
        raise ValueError(f"{output}: name a .mdn file, or a folder with a / at its end")
    if each and output.is_dir() and output.resolve() == Path(arguments.input).resolve():
        raise ValueError(f"{output}: is what is read; name another folder")
    frames = opening.opened(arguments)
    numbers = opening.numbers(frames, arguments)
    first = _checked(numbers[0], frames, arguments)
    if each:
        kept = _write_each(output, frames, numbers, arguments)
        done = f"{len(numbers) - kept} written to {output}/, {kept} were there"
    else:
        in_turn = (_checked(number, frames, arguments) for number in opening.progress(numbers))
        save_fields(output, first if len(numbers) == 1 else in_turn)
        done = f"written to {output}, {output.stat().st_size / 1e6:.1f} MB"
    parts, height, width = first.confidence.shape
    return (
        f"{opening.counted(len(numbers), 'frame')} of {opening.counted(parts, 'part')} "
        f"on {height} × {width}, stride {first.stride}, "
        f"origin {first.origin}: {done}"
    )


def _write_each(
    folder: Path, frames: FieldsSequence, numbers: range, arguments: argparse.Namespace
) -> int:
    """Write a file for each frame that has none, and return how many have; each is whole."""
    with explained_write(folder):
        folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(frames) - 1))
    paths = {number: folder / f"{number:0{digits}}.mdn" for number in numbers}
    missing = [number for number, path in paths.items() if not path.exists()]
    for number in opening.progress(missing):
        save_fields(paths[number], _checked(number, frames, arguments))
    return len(paths) - len(missing)


def _checked(number: int, frames: FieldsSequence, arguments: argparse.Namespace) -> Fields:
    """Read a frame; ValueError for values that are no votes, such as logits."""
    with opening.in_frame(number, arguments):
        fields = frames[number]
        Votes(fields.confidence, fields.offsets, fields.sigma).check()
    return fields
