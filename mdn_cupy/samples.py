"""The field sets that come with the library, from a checkout or a wheel."""

from __future__ import annotations

from pathlib import Path

from mdn_cupy.fields import Fields, load_fields

__all__ = ["load", "names", "path"]

# A wheel carries the files in `_samples` beside this module; a checkout has them in `samples`.
_FOLDERS = (Path(__file__).parent / "_samples", Path(__file__).parent.parent / "samples")


def names() -> list[str]:
    """Names of the samples that are installed.

    Examples
    --------
    >>> from mdn_cupy import samples
    >>> samples.names()
    ['coins', 'delta', 'pose']
    """
    return sorted(file.stem for file in _folder().glob("*.mdn"))


def path(name: str) -> Path:
    """Path of a sample's `.mdn` file.

    Raises
    ------
    ValueError
        If there is no such sample; the message lists those that there are.
    """
    if name not in names():
        raise ValueError(f"no sample {name!r}; the samples are {', '.join(names()) or 'missing'}")
    return _folder() / f"{name}.mdn"


def load(name: str) -> Fields:
    """Load a sample.

    Parameters
    ----------
    name : str
        One of `names`: "pose", "coins" or "delta".

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


def _folder() -> Path:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
