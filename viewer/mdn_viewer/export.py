"""Tables, maps, pictures and text as files: each whole or not at all.

All raise OSError if the file cannot be written there.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.files import replacing

__all__ = ["save_map", "save_picture", "save_table", "save_text"]

PathLike = str | os.PathLike[str]


def save_table(path: PathLike, columns: Mapping[str, npt.ArrayLike]) -> None:
    """Write columns of equal length to a CSV file; every number can be read back exactly."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def save_map(path: PathLike, values: npt.NDArray[Any]) -> None:
    """Write a map [H, W] exactly, to a `.npy` file or else to a TIFF by napari's own writer."""
    if Path(path).suffix.lower() == ".npy":
        with replacing(path) as file:
            np.save(file, values)
        return
    from napari.utils.io import imsave  # what its writer of images calls

    with tempfile.TemporaryDirectory() as folder, replacing(path) as file:
        written = Path(folder, "map.tif")
        imsave(str(written), values)
        file.write(written.read_bytes())


def save_picture(path: PathLike, pixels: npt.NDArray[Any]) -> None:
    """Write pixels [H, W, 4] to a PNG file."""
    from matplotlib.image import imsave

    with replacing(path) as file:
        imsave(file, pixels, format="png")


def save_text(path: PathLike, text: str) -> None:
    """Write lines of text, the last of which ends, too."""
    with replacing(path) as file:
        file.write(f"{text.rstrip()}\n".encode())
