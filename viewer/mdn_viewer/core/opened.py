"""What has been opened: a field set, or frames of one, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mdn_cupy as mdn
from mdn_viewer.core.origin import SINGLE, UNKNOWN, Origin
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.session_file import SavedSession

__all__ = ["Opened", "open_origin", "open_paths", "open_saved"]

_OPENING_PARTS: dict[str, int | str] = {
    "coins": ALL,  # whose radii make sense together
    "trained": 13,  # the first, an ankle, is out of sight
}


@dataclass(frozen=True, eq=False)
class Opened:
    """The frames of a field set, where they come from, and the part to look at first.

    Parameters
    ----------
    frames : sequence of mdn_cupy.Fields
        One field set, or several of the same size, each of which is read when it is looked at.
    origin : Origin
        Where they come from, if that is known.
    part : int or str
        The part to look at first.
    """

    frames: Sequence[mdn.Fields]
    origin: Origin = UNKNOWN
    part: int | str = 0

    @cached_property
    def first(self) -> mdn.Fields:
        """The first frame, in NumPy arrays.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not len(self.frames):
            raise ValueError("there is no frame")
        return self.frames[0].to_numpy()

    @property
    def several(self) -> bool:
        """Whether there are frames to choose from."""
        return len(self.frames) > 1

    @property
    def name(self) -> str:
        """The name of the first file."""
        return Path(self.origin.paths[0]).name


def open_paths(paths: Sequence[str | os.PathLike[str]], **given: Any) -> Opened:
    """Open a sample by its name, or files of any kind as one sequence of frames.

    Parameters
    ----------
    paths : sequence of path
        The files; or the name of one sample.
    **given
        As in `mdn_cupy.open_fields`.

    Raises
    ------
    OSError, ValueError
        As `mdn_cupy.open_fields` does; of a name, it lists the samples.
    """
    return open_origin(Origin.of(paths, given))


def open_origin(origin: Origin) -> Opened:
    """Open a sample, or files of any kind as one sequence of frames; as `open_paths`."""
    paths = origin.paths
    try:
        frames = origin.open()
    except ValueError as error:
        suffix = Path(paths[0]).suffix
        alone = len(paths) == 1 and suffix.lower() in SINGLE and not Path(paths[0]).is_dir()
        if not alone or {"confidence", "offsets", "adapter"} & origin.reading.keys():
            raise
        raise ValueError(
            f"{error}; or name the offsets' file too: {paths[0]} OFFSETS{suffix}"
        ) from error
    except FileNotFoundError as error:
        names = ", ".join(mdn.samples.names())
        raise FileNotFoundError(f"{error}; the samples are {names}") from error
    return Opened(frames, origin.moved(os.path.abspath), _OPENING_PARTS.get(origin.sample, 0))


def open_saved(saved: SavedSession) -> Opened:
    """Open the fields of a session; what does not fit them is refused.

    Raises
    ------
    OSError, ValueError
        If they are not there, or have no such frame or part.
    """
    opened = open_origin(saved.fields)
    count = len(opened.frames)
    if not 0 <= saved.frame < count:
        name = " ".join(saved.fields.paths)
        raise ValueError(f"{name}: there is no frame {saved.frame}, it has {count}")
    session = VotingSession(opened.frames[saved.frame], **saved.settings)
    return Opened(opened.frames, opened.origin, session.part)
