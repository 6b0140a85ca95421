"""Tables as files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from mdn_cupy.files import replacing

__all__ = ["write_csv"]


def write_csv(
    path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write a table to a CSV file, whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    header : sequence of str
        What the columns are called.
    rows : iterable of sequences
        Numbers and text; every number is written such that it can be read back exactly.

    Raises
    ------
    OSError
        If the file cannot be written there.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
