"""What a file holds: arrays of which single frames are read, and small values beside them."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any, BinaryIO, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "PICKLED",
    "Contents",
    "Member",
    "RawArray",
    "Refusal",
    "expect_size",
    "explained",
    "missing",
    "npy_header",
]

PICKLED = (
    "holds objects; pickled objects, which could run code, are never opened: save arrays of numbers"
)


class Refusal(ValueError):
    """A reason to refuse a file, without the path that `explained` puts before it."""


class Member(Protocol):
    """An array in a file; `member[t]` reads one frame of it, `member[...]` all of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""

    @property
    def dtype(self) -> Any:
        """Type of its numbers."""

    def __getitem__(self, index: int | EllipsisType, /) -> Any:
        """Read from the file."""


@dataclass(frozen=True)
class Contents:
    """The arrays of one file, none of them read, and its attributes.

    Parameters
    ----------
    kind : str
        What to call the file in messages: "HDF5".
    arrays : dict of Member
        By name; of an array in a group the path, "group/name".
    values : dict
        Numbers and text that are not stored as arrays, by name.
    """

    kind: str
    arrays: Mapping[str, Member]
    values: Mapping[str, Any] = field(default_factory=dict)

    def beside(self, group: str, name: str) -> Member | None:
        """Return what stands under a name in a group, or else at the top."""
        for place in (f"{group}/{name}".lstrip("/"), name):
            if place in self.arrays:
                return self.arrays[place]
            if place in self.values:
                return np.asarray(self.values[place])
        return None

    def listed(self, most: int = 12) -> str:
        """Say what there is: names, shapes and dtypes, in one line."""
        items = [f"{n} {tuple(a.shape)} {a.dtype}" for n, a in self.arrays.items()]
        more = f" and {len(items) - most} more" if len(items) > most else ""
        return f"it holds {', '.join(items[:most])}{more}" if items else "it holds no array"


@dataclass(frozen=True)
class RawArray:
    """An array that lies in a file uncompressed, from a known byte on.

    The file is opened for every read: nothing stays open or mapped between them, so that a file
    cut off meanwhile raises an error where a memory map would end the process (SIGBUS). So does
    another file that has taken its place, in which other numbers would lie there.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False
    inode: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inode", self.path.stat().st_ino)

    def __getitem__(self, index: int | EllipsisType) -> npt.NDArray[Any]:
        """Read one frame, or everything."""
        if self.dtype.hasobject:
            raise Refusal(PICKLED)
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != self.inode:
                raise Refusal("another file has taken its place since it was opened; open it again")
            if self.fortran and len(self.shape) > 1:  # a frame's numbers lie apart from each other
                every = np.memmap(file, self.dtype, "r", self.start, self.shape, order="F")
                return np.array(every[index])
            shape, skipped = (self.shape, 0) if index is ... else (self.shape[1:], index)
            count = math.prod(shape)
            start = self.start + skipped * count * self.dtype.itemsize
            values = np.fromfile(file, self.dtype, count, offset=start)
        if values.size != count:
            raise Refusal(f"cut off: {count - values.size} of {count} numbers are missing")
        return values.reshape(shape)


def npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a `.npy` stream; its data begin where that ends.

    Returns
    -------
    shape : tuple of int
        Lengths of the axes.
    fortran : bool
        Whether the first axis varies fastest.
    dtype : numpy.dtype
        Of objects, if the data is pickled.
    """
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise Refusal(f"an array of the .npy version {version}, which is not known")
    shape, fortran, dtype = readers[version](stream)
    if any(n < 0 for n in shape):
        raise Refusal(f"an array of the impossible shape {shape}")
    return shape, fortran, dtype


def expect_size(
    what: str, shape: tuple[int, ...], dtype: np.dtype[Any], there: int, more: bool = False
) -> None:
    """Compare the bytes that an array needs with those that there are, before any is read."""
    needed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and (there < needed or (there > needed and not more)):
        raise Refusal(f"{what} {shape} {dtype} needs {needed} bytes, there are {there}: cut off?")


@contextmanager
def explained(path: Path | str, kind: str) -> Iterator[None]:
    """Turn whatever a file of any content makes its reader raise into one line with the path first.

    Raises
    ------
    OSError
        If the system refuses to read it; of the same class as what was raised.
    ValueError
        For every other reason.
    """
    try:
        yield
    except Refusal as error:
        raise ValueError(f"{path}: {error}") from error
    except ModuleNotFoundError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except Exception as error:
        # EINVAL: a damaged archive that points to a place before its beginning
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            system = type(error).__module__ == "builtins"  # a client's may want more arguments
            kind_of_error = type(error) if system else OSError
            raise kind_of_error(f"{path}: cannot be read ({error.strerror})") from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: not a readable {kind} file ({reason})") from error


def missing(path: Path, kind: str, package: str, extra: str) -> NoReturn:
    """Raise ModuleNotFoundError for a file whose reader is not installed."""
    raise ModuleNotFoundError(
        f"{path}: {kind} files need {package}, which is not installed; "
        f'pip install "mdn-cupy[{extra}]"',
        name=package,
    )
