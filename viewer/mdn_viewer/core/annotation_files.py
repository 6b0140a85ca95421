"""Where parts truly are, read from the files of annotation tools."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Annotations", "read_annotations"]

Place = tuple[float, float]

_X, _Y = ("x", "column", "col"), ("y", "row")
_PART, _FRAME = ("part", "keypoint", "bodypart", "name"), ("frame", "time", "image")


@dataclass(frozen=True, eq=False)
class Annotations:
    """Places of parts in frames.

    Attributes
    ----------
    places : dict of (frame, part) to (row, column)
        In pixels of the image; the frame is a number, that in a file's name, or None for any; of a
        name without one the name.
    areas : dict of frame to float
        Of the annotated object, in square pixels, where the file says.
    source : str
        Where they come from.
    numbers : tuple of int
        Of images that are frames by their order: the numbers in their names, if each has its own.
    """

    places: Mapping[tuple[Any, str], Place]
    areas: Mapping[Any, float]
    source: str = ""
    numbers: tuple[int, ...] = ()

    @lru_cache(maxsize=2)  # noqa: B019 the last two tell what was moved, and are few
    def among(self, count: int) -> Annotations:
        """Return the same for so many frames.

        Images whose names have the numbers of frames are those frames, in whatever order the file
        lists them; others, such as COCO's photographs, are frames by their order.
        """
        if not self.numbers or max(self.numbers) >= max(count, len(self.numbers)):
            return self
        places = {(self.numbers[frame], part): at for (frame, part), at in self.places.items()}
        areas = {self.numbers[frame]: area for frame, area in self.areas.items()}
        return Annotations(places, areas, self.source)

    def of(self, frame: Any) -> dict[str, Place]:
        """Return the places in a frame by the parts' names."""
        return {part: at for (f, part), at in self.places.items() if f in (None, frame)}

    @property
    def frames(self) -> list[Any]:
        """The frames that have annotations."""
        return list(dict.fromkeys(frame for frame, _ in self.places))


def read_annotations(path: str | os.PathLike[str]) -> Annotations:
    """Read annotations from a file.

    Parameters
    ----------
    path : path
        COCO keypoints (`.json`), DeepLabCut (`.csv`, or `.h5` where pandas and tables are there),
        or any `.csv` with the columns part, x and y (or column and row), and frame if there are
        several: a number, or a file's name with a number in it. Places that are empty, NaN or
        infinite count as not annotated.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is none of these; the message says what is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "truth.csv")
    ...     _ = file.write_text("part,x,y\\nnose,166,95\\n")
    ...     read_annotations(file).of(0)
    {'nose': (95.0, 166.0)}
    """
    path = Path(path)
    readers = {".json": _read_coco, ".csv": _read_csv, ".h5": _read_h5, ".hdf5": _read_h5}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: annotations are read from {', '.join(readers)}")
    try:
        return reader(path)
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text; save it with the encoding UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is no JSON, or cut off ({error})") from error
    except (KeyError, IndexError, TypeError, ValueError, csv.Error) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not annotations of a known kind ({what})") from error


def _read_coco(path: Path) -> Annotations:
    """Read COCO keypoints; of several persons in an image, the largest."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError("it has no annotations; give the file of the annotations, not of results")  # noqa: TRY004
    names = {c["id"]: c["keypoints"] for c in data["categories"] if "keypoints" in c}
    frames = {image["id"]: n for n, image in enumerate(data["images"])}
    largest: dict[int, Any] = {}
    for each in sorted(data["annotations"], key=lambda a: float(a.get("area", 0))):
        if each.get("num_keypoints", 1) and each["category_id"] in names:
            largest[frames[each["image_id"]]] = each
    places: dict[tuple[Any, str], Place] = {}
    areas: dict[Any, float] = {}
    for frame, each in largest.items():
        points = np.asarray(each["keypoints"], float).reshape(-1, 3)
        for name, (x, y, visible) in zip(names[each["category_id"]], points, strict=True):
            if visible > 0:
                places[frame, name] = float(y), float(x)
        if (area := float(each.get("area", 0))) > 0:
            areas[frame] = area
    numbers = [_frame(str(image.get("file_name", ""))) for image in data["images"]]
    each_its_own = len({*numbers}) == len(numbers) and all(isinstance(n, int) for n in numbers)
    return Annotations(places, areas, str(path), tuple(numbers) if each_its_own else ())


def _read_csv(path: Path) -> Annotations:
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes the mark
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise ValueError("it is empty")
    if rows[0][0].strip().casefold() == "scorer":
        return _deeplabcut(rows, path)
    header = [name.strip().casefold() for name in rows[0]]
    if len(header) == 1 and ";" in header[0]:
        raise ValueError("its columns are separated by ';'; save it with commas")
    part, x, y = (_column(header, names) for names in (_PART, _X, _Y))
    frame = next((header.index(name) for name in _FRAME if name in header), None)
    places: dict[tuple[Any, str], Place] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) < len(header):
            raise ValueError(f"row {number} has {len(row)} columns, and the first {len(header)}")
        place = _place(row[y], row[x], f"row {number}")
        if place is not None:
            places[None if frame is None else _frame(row[frame]), row[part]] = place
    return Annotations(places, {}, str(path))


def _deeplabcut(rows: Sequence[Sequence[str]], path: Path) -> Annotations:
    """Read DeepLabCut's table: a header of scorer, (individuals,) bodyparts and coords.

    The frame is the number in the index, or the last one in the name of the row's image.
    """
    header = {row[0].strip().casefold(): row for row in rows[:4] if not _is_number(row[-1])}
    parts, coords = header["bodyparts"], header["coords"]
    animals = [*dict.fromkeys(name for name in header.get("individuals", ())[1:] if name)]
    if len(animals) > 1:
        raise ValueError(
            f"it has the individuals {', '.join(animals)}; give a file of one of them, as the maps "
            "have one place a part"
        )
    places: dict[tuple[Any, str], Place] = {}
    first = 1 + [row[0].strip().casefold() for row in rows].index("coords")
    x_of = {
        n: part for n, (part, what) in enumerate(zip(parts, coords, strict=True)) if what == "x"
    }
    seen: dict[Any, str] = {}
    for number, row in enumerate(rows[first:], first + 1):
        if len(row) < len(parts):
            raise ValueError(f"row {number} has {len(row)} columns, and the first {len(parts)}")
        image = "/".join(row[: min(x_of, default=1)])  # or labeled-data, video, image
        frame = _frame(image)
        if seen.setdefault(frame, image) != image:
            raise ValueError(f"{seen[frame]} and {image} are both frame {frame}; give one video's")
        for n, part in x_of.items():
            if (place := _place(row[n + 1], row[n], f"row {number}")) is not None:
                places[frame, part] = place
    return Annotations(places, {}, str(path))


def _read_h5(path: Path) -> Annotations:
    try:
        import pandas
        import tables  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "DeepLabCut's .h5 needs pandas and tables: pip install pandas tables; or give the .csv "
            "that lies beside it"
        ) from error
    table: Any = pandas.read_hdf(path)
    rows = [
        [name, *(str(label[level]) for label in table.columns)]
        for level, name in enumerate(table.columns.names)
    ]
    rows += [
        ["/".join(map(str, index)) if isinstance(index, tuple) else str(index), *map(str, values)]
        for index, values in zip(table.index, table.values, strict=True)
    ]
    return _deeplabcut(rows, path)


def _column(header: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise ValueError(f"no column {' or '.join(names)} among {', '.join(header)}")


def _frame(text: str) -> Any:
    """Return the number that a text is, or the last one in the name of a file; else the text."""
    with suppress(ValueError):
        return int(text)
    numbers = re.findall(r"\d+", Path(text.replace("\\", "/")).stem)
    return int(numbers[-1]) if numbers else text


def _place(row: str, column: str, where: str) -> Place | None:
    """Return a place, or None of one that is empty or not finite."""
    if not (row and column):
        return None
    strange = [text for text in (row, column) if not _is_number(text)]
    if strange:
        raise ValueError(f"{where}: {strange[0]!r} is no number")
    place = float(row), float(column)
    return place if all(map(math.isfinite, place)) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
