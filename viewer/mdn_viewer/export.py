"""Fields, maps, pictures and programs as files: each whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_cupy.files import replacing

__all__ = ["MAP_SUFFIXES", "expect", "save_fields", "save_map", "save_picture", "save_text"]

MAP_SUFFIXES = (".npy", ".tif", ".tiff")
"""What a map may be saved as."""

PathLike = str | os.PathLike[str]


def save_fields(path: PathLike, fields: mdn.Fields) -> None:
    """Write a field set to a `.mdn` file.

    Parameters
    ----------
    path : path
        Its name ends in `.mdn`.
    fields : mdn_cupy.Fields
        What to write.

    Raises
    ------
    ValueError
        If the name has another ending.
    OSError
        If the file cannot be written there.
    """
    expect(path, "fields are", ".mdn")
    mdn.save_fields(path, fields)


def save_map(path: PathLike, values: npt.NDArray[Any]) -> None:
    """Write a map to a NumPy file, or to a TIFF by napari's own writer.

    Parameters
    ----------
    path : path
        Its name ends in one of `MAP_SUFFIXES`.
    values : array [Ho, Wo]
        The map; every value can be read back exactly.

    Raises
    ------
    ValueError
        If the name has another ending.
    OSError
        If the file cannot be written there.
    """
    if expect(path, "a map is", *MAP_SUFFIXES) == ".npy":
        with replacing(path) as file:
            np.save(file, values)
        return
    from napari.utils.io import imsave  # what its writer of images calls

    with tempfile.TemporaryDirectory() as folder, replacing(path) as file:
        written = Path(folder, "map.tif")
        imsave(str(written), values)
        file.write(written.read_bytes())


def save_picture(path: PathLike, pixels: npt.NDArray[Any]) -> None:
    """Write a screenshot to a PNG file.

    Parameters
    ----------
    path : path
        Its name ends in `.png`.
    pixels : array [H, W, 4]
        The picture.

    Raises
    ------
    ValueError
        If the name has another ending.
    OSError
        If the file cannot be written there.
    """
    from matplotlib.image import imsave

    expect(path, "a screenshot is", ".png")
    with replacing(path) as file:
        imsave(file, pixels, format="png")


def save_text(path: PathLike, text: str) -> None:
    """Write a program to a Python file.

    Parameters
    ----------
    path : path
        Its name ends in `.py`.
    text : str
        The program.

    Raises
    ------
    ValueError
        If the name has another ending.
    OSError
        If the file cannot be written there.
    """
    expect(path, "a program is", ".py")
    with replacing(path) as file:
        file.write(f"{text.rstrip()}\n".encode())


def expect(path: PathLike, what: str, *suffixes: str) -> str:
    """Return the ending of a name, if it says what is to be written.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What is to be written, and "is" or "are".
    *suffixes : str
        Its endings, in small letters.

    Raises
    ------
    ValueError
        If the name has another ending; it names those that would do.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"{path}: {what} saved as {' or '.join(suffixes)}")
    return suffix
