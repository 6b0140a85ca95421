"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` once all of it is written.

    Parameters
    ----------
    path : path
        The file to create or to replace; untouched if the block raises.

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
    path = Path(path).resolve()  # through a link, what it leads to is replaced
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a directory; name a file in it")
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise type(error)(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        os.chmod(beside, mode & 0o777)  # mkstemp made it private
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
