"""`mdn-cupy instances`: for every source, the peak that it votes for."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mdn_cupy.commands import large, opening, parsing, voting
from mdn_cupy.files import replacing
from mdn_cupy.io import FieldsSequence

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "label every source with the peak that it votes for"
DESCRIPTION = """\
Label every source of a file's fields with the peak to whose evidence its vote adds most: 1, 2, ...
in the order of `mdn-cupy peaks`, from 1 in every frame, and 0 for none. At stride 1 that is an
instance segmentation. OUT holds int32 [frames, parts, H, W], without the axes of which there is
one."""

EXAMPLES = f"""\
{voting.THRESHOLDS}

examples:
  the edges of every coin of a sample:
    mdn-cupy instances coins --part all --threshold 4.6 --radius 8 -o coins.tif
  centre offsets of a panoptic network; votes that land farther than 12 pixels from a centre are
  for none:
    mdn-cupy instances maps.npz --from panoptic_deeplab --set things=11,12 --part all --sigma 4 \\
        --threshold 4.6 --radius 12 -o labels.npy
  a slide larger than memory, in a Zarr group, by chunks:
    mdn-cupy instances slide.zarr --memory 2GB --threshold 2.3 --radius 9 -o nuclei.zarr"""

Labels = npt.NDArray[np.int32]

_LARGEST_TIFF = 0xF0000000  # bytes; a TIFF counts them in 32 bits


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `instances` to its parser."""
    parsing.add_output_to(
        command, "labels: .tif or .npy, or .zarr, a folder or a URL", parsing.place
    )
    command.add_argument(
        "--radius",
        type=float,
        default=math.inf,
        metavar="PIXELS",
        help="how far from its peak a vote may land (default: as far as it reaches)",
    )
    voting.add_to(command)
    opening.add_to(command)
    large.add_to(command)


def run(arguments: argparse.Namespace) -> str:
    """Write the labels; return what is to be said."""
    if large.is_asked(arguments):
        return large.label(arguments)
    output = arguments.output
    writers = {".npy": _write_npy, ".tif": _write_tiff, ".tiff": _write_tiff}
    write = writers[parsing.check_suffix(output, writers)]
    frames = opening.opened(arguments)
    numbers = opening.numbers(frames, arguments)
    labels = _labels(frames, numbers, arguments)
    with replacing(output) as file:
        counts, shape = write(file, labels, len(numbers))
    return (
        f"{opening.counted(sum(counts), 'instance')} in {opening.counted(len(counts), 'frame')}: "
        f"labels {[*shape]} written to {output}"
    )


def _labels(
    frames: FieldsSequence, numbers: range, arguments: argparse.Namespace
) -> Iterator[tuple[Labels, int]]:
    """Return the labels of every frame, and how many peaks they are for."""
    shape = None
    for number in opening.progress(numbers):
        with opening.in_frame(number, arguments):
            votes, _, peaks = voting.find(frames[number], arguments)
            labels, _ = votes.instances(peaks, radius=arguments.radius)
            labels = labels.reshape([n for n in labels.shape[:-2] if n > 1] + [*labels.shape[-2:]])
            if shape not in (None, labels.shape):
                raise ValueError(
                    f"its labels have the shape {labels.shape}, those before it {shape}"
                )
        shape = labels.shape
        yield labels, len(peaks)


def _write_npy(
    file: BinaryIO, frames: Iterator[tuple[Labels, int]], count: int
) -> tuple[list[int], tuple[int, ...]]:
    """Write the labels of so many frames; return how many instances each has, and the shape."""
    counts: list[int] = []
    shape: tuple[int, ...] = ()
    for labels, instances in frames:
        if not counts:
            shape = _shape(count, labels)
            header = {"descr": labels.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(labels.tobytes())
        counts.append(instances)
    return counts, shape


def _write_tiff(
    file: BinaryIO, frames: Iterator[tuple[Labels, int]], count: int
) -> tuple[list[int], tuple[int, ...]]:
    """Write the labels of so many frames; return how many instances each has, and the shape."""
    try:
        import tifffile
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'TIFF needs tifffile, which is not installed: pip install "mdn-cupy[io]"; or write .npy'
        ) from None
    counts, first = [], next(frames)
    shape = _shape(count, first[0])
    large = math.prod(shape) * first[0].itemsize > _LARGEST_TIFF
    with tifffile.TiffWriter(file, bigtiff=large) as writer:
        for labels, instances in itertools.chain([first], frames):
            writer.write(labels, contiguous=True, photometric="minisblack")
            counts.append(instances)
    return counts, shape


def _shape(count: int, labels: Labels) -> tuple[int, ...]:
    return (*((count,) if count > 1 else ()), *labels.shape)
