"""Atomic writes: a file is written under a temporary name in its folder, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

__all__ = ["as_path", "explained_full", "explained_write", "local_path", "replacing"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # all that `ndarray.tofile` says


def as_path(path: str | bytes | os.PathLike[str]) -> Path:
    """Return a path; TypeError for what names no file, ValueError for a text that cannot."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path must be a str or os.PathLike, got {type(path).__name__}") from None
    if not text:
        raise ValueError("path is empty; name a file")
    if "\0" in text:
        raise ValueError(f"path must not hold the character NUL, got {text!r}")
    return Path(text)


def local_path(path: str | bytes | os.PathLike[str]) -> Path:
    """Return a path as `as_path` does; ValueError for a URL, too."""
    if "://" in (text := str(path)):
        raise ValueError(
            f"path is a URL, {text}; name a file, which is downloaded first, or open a Zarr group "
            "there by chunks: mdn_cupy.dask.open_fields"
        )
    return as_path(path)


@contextmanager
def explained_write(path: Path) -> Iterator[None]:
    """Say of an error of the system that `path` cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{path}: cannot be written ({error.strerror})") from error


@contextmanager
def explained_full(path: Path | str) -> Iterator[None]:
    """Say of a full disk that `path` cannot be written; what is read meanwhile has other errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise type(error)(f"{path}: cannot be written ({error.strerror})") from error
        if _CUT_SHORT.fullmatch(str(error)):
            raise OSError(f"{path}: cannot be written (a full disk? {error})") from error
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` once all of it is written.

    Parameters
    ----------
    path : path
        The file to create or to replace; untouched if the block raises. A new one has the
        permissions that `open` gives, a replaced one keeps its own.

    Yields
    ------
    binary file
        What to write to.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to; the message names `path`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from mdn_cupy.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/peak.txt") as file:
    ...         _ = file.write(b"0.5")
    ...     pathlib.Path(folder, "peak.txt").read_text()
    '0.5'
    """
    path = local_path(path).resolve()  # through a link, what it leads to is replaced
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a directory; name a file in it")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    kept = path.stat().st_mode & 0o777 if path.exists() else None
    # The system applies the umask: to read it, a process would have to change it for a moment.
    opener = partial(os.open, mode=0o666 if kept is None else kept)
    with explained_write(path):
        file = open(beside, "xb", opener=opener)  # noqa: SIM115
    try:
        with explained_full(path), file:
            yield file
        with explained_write(path):
            if kept is not None:
                os.chmod(beside, kept)
            os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):  # interrupted after it had taken its place
            os.unlink(beside)
        raise
