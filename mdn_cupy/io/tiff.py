"""One array in a TIFF stack."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.io.contents import Member, RawArray, Refusal, expect_size, missing

__all__ = ["KIND", "SUFFIXES", "read_array"]

KIND = "TIFF"
SUFFIXES = (".tif", ".tiff")


class _Pages:
    """An array that is compressed or in strips, page by page."""

    def __init__(self, series: Any) -> None:
        self._series = series
        self.shape = tuple(series.shape)
        self.dtype = series.dtype

    def __getitem__(self, index: int | EllipsisType) -> npt.NDArray[Any]:
        size = math.prod(self.shape[1:])
        page = math.prod(self._series.pages[0].shape)
        with _damage_raises():
            if index is ... or size % page:  # a page that holds several frames
                return np.asarray(self._series.asarray()[index])
            pages = range(index * size // page, (index + 1) * size // page)
            frame = np.stack([self._series.pages[number].asarray() for number in pages])
        return frame.reshape(self.shape[1:])


def read_array(path: Path) -> Member:
    """Open a TIFF; of its pages only the directories are read."""
    try:
        import tifffile
    except ModuleNotFoundError:
        missing(path, KIND, "tifffile", "io")
    with _damage_raises():
        file = tifffile.TiffFile(path)
        if not file.series:
            raise Refusal("holds no page that can be read: damaged?")
        if len(file.series) > 1:
            shapes = ", ".join(str(series.shape) for series in file.series)
            raise Refusal(f"holds {len(file.series)} series ({shapes}); save each to its own file")
        (series,) = file.series
        if series.dataoffset is None:
            return _Pages(series)
    shape, dtype = tuple(series.shape), np.dtype(series.dtype).newbyteorder(file.byteorder)
    file.close()
    there = max(0, path.stat().st_size - series.dataoffset)
    expect_size("the array", shape, dtype, there, more=True)
    return RawArray(path, series.dataoffset, shape, dtype)


@contextmanager
def _damage_raises() -> Iterator[None]:
    """Raise the errors that tifffile only logs, and drop its warnings.

    A stack that is cut off would be a shorter one; a warning would be a second line.
    """
    logger = logging.getLogger("tifffile")
    errors: list[str] = []

    def catch(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return False

    logger.addFilter(catch)
    try:
        yield
    finally:
        logger.removeFilter(catch)
    if errors:
        raise Refusal(f"damaged or cut off ({errors[0].partition(chr(10))[0]})")
