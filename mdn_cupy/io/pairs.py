"""Files of one array each, `.npy` and TIFF: those that belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mdn_cupy.io.contents import Contents, Member, Refusal, explained
from mdn_cupy.io.naming import stem

__all__ = ["contents", "grouped"]


def contents(
    path: Path, kind: str, read_array: Callable[[Path], Member], given: Iterable[str | None]
) -> Contents:
    """Open a file of one array and its partners in the same folder.

    Parameters
    ----------
    path : path
        One of the files.
    kind : str
        What to call them in messages.
    read_array : callable
        Opens one.
    given : iterable of str or None
        The names of partners, or their absolute paths, if the caller gave some. By default they
        are the files that are called the same but for the usual name: hand_heatmap.npy and
        hand_offsets.npy.
    """
    names = [name for name in given if name is not None]
    strange = [name for name in names if not (path.parent / name).is_file()]
    if strange:
        raise Refusal(f"no file {strange[0]!r} beside it")
    arrays = {path.name: read_array(path)}
    try:
        for name in names or _partners(path):
            with explained(path.parent / name, kind):
                arrays[name] = read_array(path.parent / name)
    except (OSError, ValueError) as error:
        raise Refusal(f"its partner {error}") from error
    return Contents(kind, arrays)


def grouped(paths: Iterable[Path]) -> list[Path]:
    """Keep one file of each pair.

    Examples
    --------
    >>> from pathlib import Path
    >>> [file.name for file in grouped([Path("a_confidence.npy"), Path("a_offsets.npy")])]
    ['a_confidence.npy']
    """
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(_key(path), path)
    return list(first.values())


def _partners(path: Path) -> list[str]:
    return sorted(
        file.name
        for file in path.parent.iterdir()
        if file.suffix.lower() == path.suffix.lower() and _key(file) == _key(path)
    )


def _key(path: Path) -> str:
    rest = stem(path.name)
    return f"/{path.name}" if rest is None else rest
