"""Common to the subcommands that open a file: its options, and a bar over its frames."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mdn_cupy import adapters, samples
from mdn_cupy.commands import parsing
from mdn_cupy.io import FieldsSequence, open_fields

__all__ = [
    "INPUT",
    "add_reading_to",
    "add_to",
    "counted",
    "in_frame",
    "known",
    "numbers",
    "opened",
    "path_of",
    "progress",
    "reading_of",
]

_TAKEN = inspect.signature(open_fields).parameters
INPUT = "a file, a folder, a quoted pattern, or the name of a sample"
_FAMILIES = [name for name in adapters.__all__ if name.islower()]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the file to open, and how to read it, to a subcommand."""
    command.add_argument("input", metavar="IN", help=INPUT)
    command.add_argument(
        "--frames",
        type=parsing.span,
        default=[None, None, None],
        metavar="A:B",
        help="take these frames only, as a Python slice: 100:200 (without 200), 5, ::10",
    )
    add_reading_to(command.add_argument_group("how the file is read"))


def add_reading_to(command: argparse._ActionsContainer) -> None:
    """Add the options of how a file is read, of which `reading_of` makes arguments."""
    command.add_argument(
        "--from",
        dest="family",
        choices=_FAMILIES,
        metavar="FAMILY",
        help="the network's adapter, which knows layout, order and scale; an example of each is in "
        "mdn-cupy convert --help: " + ", ".join(_FAMILIES),
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
        "share one (default: PCHW, or CHW of one map); frames come before them",
    )
    command.add_argument(
        "--stride",
        type=parsing.floats,
        metavar="S",
        help="output pixels from source to source: a number, or y,x (default: the file's, or 1)",
    )
    command.add_argument(
        "--origin",
        type=parsing.floats,
        metavar="T",
        help="output position of the first source: a number, or y,x (default: the file's, or 0)",
    )
    command.add_argument(
        "--sigma",
        type=float,
        metavar="PIXELS",
        help="width of the Gaussian, in output pixels (default: the file's, or 2)",
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
        type=parsing.floats,
        metavar="FACTOR",
        help="factor of the offsets, a number, or y,x: the stride, where they are in cells "
        "(default: 1)",
    )
    command.add_argument(
        "--region",
        type=parsing.region,
        metavar="ROWS,COLUMNS",
        help="read a part of the sources only, 1000:3000,4000:6000, or every n-th, ::4,::4",
    )


def opened(arguments: argparse.Namespace) -> FieldsSequence:
    """Open what the arguments name, with all its frames."""
    path, options = path_of(arguments.input), reading_of(arguments)
    with known():
        return open_fields(path, **options)


def path_of(name: str) -> Any:
    """Return the path of a sample or file."""
    return samples.path(name) if name in samples.names() else name


@contextmanager
def known() -> Iterator[None]:
    """List the samples where there is no such file."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; the samples are {', '.join(samples.names())}") from error


def numbers(frames: FieldsSequence, arguments: argparse.Namespace) -> range:
    """Return the numbers of the frames that the arguments ask for."""
    wanted = range(len(frames))[slice(*arguments.frames)]
    if not wanted:
        raise ValueError(
            f"{arguments.input}: --frames takes none of its {counted(len(frames), 'frame')}; "
            f"they are numbered from 0 to {len(frames) - 1}"
        )
    return wanted


@contextmanager
def in_frame(number: int, arguments: argparse.Namespace) -> Iterator[None]:
    """Name the input and the frame in what is wrong with it."""
    try:
        yield
    except ValueError as error:
        what = str(error).removeprefix(f"{arguments.input}: ")
        raise ValueError(f"{arguments.input}, frame {number}: {what}") from error


def counted(number: int, thing: str) -> str:
    """Write a number of things."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def reading_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `open_fields`, with the adapter and its settings if one is named."""
    given = vars(arguments).items()
    options: dict[str, Any] = {n: x for n, x in given if n in _TAKEN and x is not None}
    if arguments.family is None:
        if arguments.set:
            raise ValueError("--set is for the settings of an adapter; name it by --from")
        return options
    arrays: dict[str, Any] = {n: options.pop(n) for n in ("confidence", "offsets") if n in options}
    if "sigmoid" in options:
        options["apply_sigmoid"] = options.pop("sigmoid")
    settings = {**options, **dict(arguments.set)}
    adapter = getattr(adapters, arguments.family)
    parameters = inspect.signature(adapter).parameters.values()
    known = [p.name for p in parameters if p.kind is _KEYWORD and p.name != "image"]
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise ValueError(
            f"{arguments.family} takes no {' and no '.join(unknown)}; "
            f"its settings are {', '.join(known)}"
        )
    return {**arrays, "adapter": partial(adapter, **settings)}


def progress(items: Any) -> Any:
    """Show a bar on a terminal, if tqdm is there."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, unit="frame", file=sys.stderr, leave=False, disable=None)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"give NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
