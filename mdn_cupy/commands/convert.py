"""`mdn-cupy convert`: from what a network wrote to `.mdn` files."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mdn_cupy import adapters
from mdn_cupy.io import FieldsSequence, open_fields, save_fields

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

_OPTIONS = (
    "confidence",
    "offsets",
    "order",
    "layout",
    "stride",
    "origin",
    "sigma",
    "names",
    "sigmoid",
    "scale",
)
_FAMILIES = [name for name in adapters.__all__ if name.islower()]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def add_to(commands: Any) -> None:
    """Add `convert` to the subcommands of a parser."""
    command = commands.add_parser(
        "convert",
        help="write what a network wrote as a .mdn file",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("input", metavar="IN", help="a file, a folder or a quoted pattern")
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a .mdn file for all frames; or a folder, with a / at its end, for a file each",
    )
    command.add_argument(
        "--from",
        dest="family",
        choices=_FAMILIES,
        metavar="FAMILY",
        help="the network's adapter, which knows layout, order and scale: " + ", ".join(_FAMILIES),
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting of the adapter that has no option here, such as locref_std=7.2801",
    )
    command.add_argument(
        "--confidence", metavar="NAME", help="array of the confidences (default: its usual names)"
    )
    command.add_argument(
        "--offsets", metavar="NAME", help="array of the offsets (default: its usual names)"
    )
    command.add_argument(
        "--order",
        choices=("xy", "yx"),
        help="component of the offsets that comes first (default: xy)",
    )
    command.add_argument(
        "--layout",
        metavar="AXES",
        help="axes of the offsets: P parts, C components, H rows, W columns; two in parentheses "
        "share one (default: PCHW); frames come before them",
    )
    command.add_argument(
        "--stride",
        type=_numbers,
        metavar="S",
        help="output pixels from source to source: a number, or y,x (default: the file's, or 1)",
    )
    command.add_argument(
        "--origin",
        type=_numbers,
        metavar="T",
        help="output position of the first source: a number, or y,x (default: the file's, or 0)",
    )
    command.add_argument(
        "--sigma", type=float, help="a width that suits the fields (default: the file's, or 2)"
    )
    command.add_argument(
        "--names", type=_texts, metavar="A,B,...", help="names of the parts (default: the file's)"
    )
    command.add_argument(
        "--sigmoid",
        action=argparse.BooleanOptionalAction,
        help="whether confidences are logits, an adapter's apply_sigmoid (default: they are not, "
        "or as the adapter has it)",
    )
    command.add_argument(
        "--scale",
        type=float,
        help="factor of the offsets: the stride, where they are in cells (default: 1)",
    )
    command.set_defaults(run=_convert)


def _numbers(text: str) -> float | list[float]:
    numbers = [float(number) for number in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"give NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _convert(arguments: argparse.Namespace) -> str:
    output = Path(arguments.output)
    each = arguments.output.endswith(("/", os.sep)) or output.is_dir()
    if not each and output.suffix.lower() != ".mdn":
        raise ValueError(f"{output}: name a .mdn file, or a folder with a / at its end")
    frames = open_fields(arguments.input, **_options(arguments))
    first = frames[0]
    if each:
        kept = _write_each(output, frames)
        done = f"{len(frames) - kept} written to {output}/, {kept} were there"
    else:
        save_fields(output, first if len(frames) == 1 else _progress(frames))
        done = f"written to {output}, {output.stat().st_size / 1e6:.1f} MB"
    parts, height, width = first.confidence.shape
    return (
        f"{_counted(len(frames), 'frame')} of {_counted(parts, 'part')} on {height} × {width}, "
        f"stride {first.stride}, origin {first.origin}: {done}"
    )


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `open_fields`, with the adapter and its settings if one is named."""
    options: dict[str, Any] = {n: x for n in _OPTIONS if (x := getattr(arguments, n)) is not None}
    if arguments.family is None:
        if arguments.set:
            raise ValueError("--set is for the settings of an adapter; name it by --from")
        return options
    arrays: dict[str, Any] = {n: options.pop(n) for n in ("confidence", "offsets") if n in options}
    if "sigmoid" in options:
        options["apply_sigmoid"] = options.pop("sigmoid")
    settings = {**options, **dict(arguments.set)}
    adapter = getattr(adapters, arguments.family)
    known = [p.name for p in inspect.signature(adapter).parameters.values() if p.kind is _KEYWORD]
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise ValueError(
            f"{arguments.family} takes no {' and no '.join(unknown)}; "
            f"its settings are {', '.join(known)}"
        )
    return {**arrays, "adapter": partial(adapter, **settings)}


def _write_each(folder: Path, frames: FieldsSequence) -> int:
    """Write a file for each frame that has none, and return how many have; each is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(frames) - 1))
    paths = [folder / f"{number:0{digits}}.mdn" for number in range(len(frames))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    for number in _progress(missing):
        save_fields(paths[number], frames[number])
    return len(paths) - len(missing)


def _progress(items: Any) -> Any:
    """Show a bar on a terminal, if tqdm is there."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, unit="frame", file=sys.stderr, leave=False, disable=None)
