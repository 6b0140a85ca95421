"""The field sets that come with the library, from a checkout, a wheel or a ZIP archive."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from mdn_cupy.fields import Fields
from mdn_cupy.io import load_fields

__all__ = ["load", "names", "path"]

# A wheel carries the files in `_samples` beside this module; a checkout has them in `samples`. Any
# may lie in an archive from which Python imports: a path only in the way of importlib.resources.
_PACKAGE: Any = files("mdn_cupy")
_FOLDERS = (_PACKAGE / "_samples", _PACKAGE.parent / "samples")

_extracted = ExitStack()
atexit.register(_extracted.close)


def names() -> list[str]:
    """Return the names of the samples that are installed.

    Examples
    --------
    >>> from mdn_cupy import samples
    >>> samples.names()
    ['coins', 'delta', 'faces', 'nuclei', 'pose', 'trained']
    """
    folder = _folder()
    found = (Path(file.name) for file in folder.iterdir()) if folder.is_dir() else ()
    return sorted(file.stem for file in found if file.suffix == ".mdn")


def path(name: str) -> Path:
    """Return the path of a sample's `.mdn` file, or of a copy of one in a ZIP archive.

    Raises
    ------
    ValueError
        If there is no such sample; the message lists those that there are.
    """
    if name not in names():
        raise ValueError(f"no sample {name!r}; the samples are {', '.join(names()) or 'missing'}")
    return _extracted_path(name)


def load(name: str) -> Fields:
    """Load a sample.

    Parameters
    ----------
    name : str
        One of `names`: "pose", "faces", "trained", "coins", "nuclei" or "delta".

    Returns
    -------
    Fields
        The field set; `Fields.source` tells where it comes from.

    Raises
    ------
    ValueError
        If there is no such sample.

    Examples
    --------
    >>> from mdn_cupy import samples
    >>> samples.load("pose").names[0]
    'nose'
    """
    return load_fields(path(name))


@cache
def _extracted_path(name: str) -> Path:
    return _extracted.enter_context(as_file(_folder() / f"{name}.mdn"))


def _folder() -> Any:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
