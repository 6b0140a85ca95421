"""The console script `mdn-viewer`: the window, open and ready to use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mdn_cupy as mdn
from mdn_cupy import console
from mdn_cupy.commands import parsing
from mdn_cupy.commands.opening import add_reading_to, reading_of
from mdn_viewer.core.opened import Opened, open_origin, open_saved
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.session_file import SUFFIX, SavedSession, read_session
from mdn_viewer.display import obstacle
from mdn_viewer.export import save_picture

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["main"]

_EPILOG = """\
examples:
  mdn-viewer pose                                   a person's nose, as a network sees it
  mdn-viewer pose --part "left shoulder" --sigma 4
  mdn-viewer coins                                  coins' centres, voted for by their edges
  mdn-viewer epoch*.mdn                             the frames of all files, on a slider
  mdn-viewer conf.npy offs.npy --image x.tif --stride 8 --order yx
  mdn-viewer --watch runs/                          the newest file in a folder, as it is written
  mdn-viewer hand.mdn --screenshot hand.png         a picture of the window, without staying in it

In the window, drag sigma and choose a part. File > Open takes .mdn files, File > Open Sample has
the samples. Without a display: mdn-cupy compare pose -o compare.png
"""
_PROGRAM = "mdn-viewer"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `mdn-viewer`.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, by default.

    Returns
    -------
    int
        Exit status: 2 for arguments that make no sense, 1 if no window can open, 130 after Ctrl+C.
    """
    return console.run(_PROGRAM, lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    args = _parser().parse_args(arguments)
    try:
        saved = _saved(args.fields, args.part, args.sigma)
        _check_screenshot(args.screenshot)
        found = _opened(args) if saved is None else open_saved(saved)
    except (OSError, TypeError, ValueError, ModuleNotFoundError) as error:
        return _fail(console.REFUSED, parsing.said_in_options(str(error)))
    why_not = obstacle()
    if why_not is not None:
        return _fail(1, why_not)
    name = args.watch.name if args.watch else Path(args.fields[0] if args.fields else "pose").stem
    return _run(found, name, args, saved)


def _opened(args: argparse.Namespace) -> Opened | None:
    """Open what the arguments name; None of what is watched, whatever is in it."""
    width, args.sigma = args.sigma, None  # of the window, and not of the file
    args.reading = reading_of(args)
    if args.watch is not None:
        if args.fields or args.screenshot:
            raise ValueError(
                "--watch takes a folder or a file, and neither fields nor a screenshot"
            )
        from mdn_viewer.watching import is_file

        file = is_file(args.watch) and args.watch.absolute().parent.is_dir()
        if not (file or args.watch.is_dir()):
            raise NotADirectoryError(f"{args.watch}: no folder or file to watch")
        return None
    return _first_session(_read(args.fields or ["pose"], args), args.part, width)


def _read(paths: Sequence[str | Path], args: argparse.Namespace) -> Opened:
    """Open paths as the options have it, over the image that they name."""
    image = "" if args.image is None else str(args.image)
    return open_origin(Origin.of(paths, args.reading, image))


def _saved(names: list[str], part: str | None, sigma: float | None) -> SavedSession | None:
    """Read a session file, if that is what the arguments name."""
    if not any(name.endswith(SUFFIX) for name in names):
        return None
    if len(names) > 1:
        raise ValueError(f"{' '.join(names)}: a session is opened alone")
    saved = read_session(names[0])
    part_seen = saved.part if part is None else part
    return replace(saved, part=part_seen, sigma=saved.sigma if sigma is None else sigma)


def _parser() -> argparse.ArgumentParser:
    parser = parsing.CommandParser(
        prog=_PROGRAM,
        description="See a network's votes move: confidences and offsets become a noisy-or and an "
        "additive map, side by side in napari, while you drag sigma.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "fields",
        nargs="*",
        help=f"a sample ({', '.join(mdn.samples.names())}; pose by default), or files that "
        "`mdn-cupy convert` reads too: the frames of all of them, in this order; or a session, "
        f"whose name ends in {SUFFIX}",
    )
    parser.add_argument("--part", help='name or number of the part to see, or "all" in one map')
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="what the fields were computed from"
    )
    parser.add_argument(
        "--watch",
        type=Path,
        metavar="PATH",
        help="show the newest file of a folder, and every newer one as soon as it is written; or a "
        "file, whenever it is written again",
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE", help="write the window to a PNG file, and leave"
    )
    add_reading_to(parser.add_argument_group("how files are read"))
    return parser


def _first_session(found: Opened, part: str | None, sigma: float | None) -> Opened:
    """Return what was opened with the part and the sigma that the window begins with."""
    width = found.first.typical_sigma if sigma is None else sigma
    session = VotingSession(found.first, found.part if part is None else part, width)
    frames = found.frames if found.several else [replace(found.first, sigma=session.sigma)]
    return Opened(frames, found.origin, session.part)


def _check_screenshot(path: Path | None) -> None:
    """Refuse now what could not be written once the window is there."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: a screenshot is a .png file")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a directory")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder")


def _run(
    found: Opened | None, name: str, args: argparse.Namespace, saved: SavedSession | None
) -> int:
    import gc

    import napari

    from mdn_viewer.watching import follow
    from mdn_viewer.window import open_window

    window = open_window(found, name)
    if saved is not None:
        window.widget.wait()
        window.widget.sessions.restore(saved)
    gc.freeze()  # modules and the window are no garbage: a full collection would take 0.2 s
    try:
        if args.watch is not None:

            def newest(path: Path) -> list[mdn.Fields]:
                return [_read([path], args).frames[-1]]

            follow(window.viewer, window.widget, args.watch, newest)
        if args.screenshot is None:
            napari.run()
            return 0
        status = _photograph(window.viewer, window.widget, args.screenshot, name)
    except KeyboardInterrupt:
        window.close()
        raise
    window.close()
    return status


def _photograph(viewer: Viewer, widget: Any, path: Path, name: str) -> int:
    widget.wait()
    if not widget.voted:
        return _fail(1, f"{name}: {widget.controls.message.said}")
    try:
        write_screenshot(viewer, path)
    except OSError as error:
        return _fail(1, str(error))
    return 0


def write_screenshot(viewer: Viewer, path: Path) -> None:
    from qtpy.QtCore import QCoreApplication, QEvent

    # What Qt puts off until its loop runs: else the sliders that napari replaced are still there.
    for _ in range(2):  # the layout follows the deletions
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
    save_picture(path, viewer.screenshot(canvas_only=False, flash=False))


def _fail(status: int, message: str) -> int:
    console.complain(_PROGRAM, message)
    return status


if __name__ == "__main__":
    sys.exit(main())
