"""How a file is to be read: what its names, shapes and numbers tell, and what they leave open."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mdn_cupy as mdn
from mdn_cupy.io import Inspected, Layout, inspect_file
from mdn_viewer.core import layout_guess
from mdn_viewer.core.origin import MOST, SINGLE, Origin, named
from mdn_viewer.core.reading import Reading

__all__ = ["FileReading", "guess"]

_LISTED = 300  # characters of what a file holds, in a message
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FileReading:
    """The two arrays of a file, how they are to be read, and the layouts that fit as well.

    Parameters
    ----------
    path : path
        The file, folder or pattern.
    confidence, offsets : str
        Names of the two arrays.
    fitting : sequence of str
        All layouts that fit.
    reading : Reading
        How they are to be read.
    family : str
        An adapter of `mdn_cupy.adapters`, which settles all the rest; none by default.
    certain : bool
        Whether nothing is left to ask.
    note : str
        What the numbers suggest.
    found : str
        The two arrays, with their shapes and dtypes, and how many others there are.
    """

    path: Path
    confidence: str
    offsets: str
    fitting: tuple[str, ...]
    reading: Reading
    family: str = ""
    certain: bool = False
    note: str = ""
    found: str = ""

    def files(self, others: Sequence[PathLike] = ()) -> Origin:
        """Return the file, and others of the same making, with how they are to be read."""
        options: dict[str, Any] = {"confidence": self.confidence, "offsets": self.offsets}
        paths = [self.path, *others]
        if self.path.suffix.lower() in SINGLE:  # the two names are those of two files
            paths, options = [self.path, Path(self.offsets)], {}
        if not self.family:
            options |= self.reading.arguments
        else:
            adapter = getattr(mdn.adapters, self.family)
            chosen = {"stride": self.reading.stride, "apply_sigmoid": self.reading.sigmoid}
            takes = inspect.signature(adapter).parameters
            chosen = {n: x for n, x in chosen.items() if n in takes and x is not None}
            options["adapter"] = partial(adapter, **chosen)
        return Origin.of(paths, options).moved(os.path.abspath)

    @property
    def key(self) -> str:
        """What files of the same making have in common."""
        names = () if self.path.suffix.lower() in SINGLE else (self.confidence, self.offsets)
        return " ".join([self.path.suffix.lower(), *names, *self.fitting])

    def remembered(self) -> dict[str, Any]:
        """Return what was settled, to be remembered for files of the same key."""
        return {**vars(self.reading), "family": self.family}

    def like(self, remembered: Mapping[str, Any]) -> FileReading:
        """Return the reading with what was settled for another file of the same key."""
        known = {n: _pair(x) for n, x in remembered.items() if n in vars(self.reading)}
        if known.get("layout") not in self.fitting:
            return self
        reading, family = replace(self.reading, **known), remembered.get("family", "")
        return replace(self, reading=reading, family=family, note="as the last time")

    @property
    def line(self) -> str:
        """What was understood, in a line."""
        if self.family:
            return f"read as {self.family} writes it"
        others = [Layout(text) for text in self.fitting]
        how = self.reading
        grid = "" if how.stride is None else f"{how.stride}"
        said = layout_guess.understood(Layout(how.layout), how.order, others, grid)
        return f"{said}; {self.note}" if self.note else said


def _pair(value: Any) -> Any:
    """Return a list, which JSON makes of a pair, as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def guess(path: PathLike, partner: str | None = None) -> FileReading:
    """Say how a file is to be read, by its names, shapes and numbers.

    Parameters
    ----------
    path : path
        What `mdn_cupy.open_fields` opens.
    partner : str, optional
        Of a file of one array: the absolute path of the other.

    Raises
    ------
    OSError, ValueError, ModuleNotFoundError
        If it cannot be read, or holds nothing that fits.
    """
    found = inspect_file(path, partner)
    shapes = {n: a.shape for n, a in found.arrays.items() if np.dtype(a.dtype).kind == "f"}
    pair = named(found) or layout_guess.find_pair(shapes)
    if pair is None:
        listed = ", ".join(f"{n} {tuple(a.shape)} {a.dtype}" for n, a in found.arrays.items())
        raise ValueError(
            f"{path}: no two arrays in it fit as confidence and offsets; "
            f"it holds {listed[:_LISTED] or 'no array'}"
        )
    confidence, offsets = found.arrays[pair[0]], found.arrays[pair[1]]
    if 0 in confidence.shape:
        raise ValueError(f"{path}: {pair[0]} {confidence.shape} has no sources")
    picture = tuple(getattr(found.arrays.get("image"), "shape", ()))
    image = layout_guess.plane(picture) if len(picture) > 1 else None
    fitting = layout_guess.layouts(confidence.shape, offsets.shape, image)
    if not fitting:
        raise ValueError(
            f"{path}: {pair[0]} {confidence.shape} and {pair[1]} {offsets.shape} fit as confidence "
            "and offsets in no layout"
        )
    texts = tuple(layout.text for layout in fitting)
    how = Reading(texts[0])
    if "stride" not in found.settings and image is not None:
        grid = layout_guess.grids(fitting[0].grid(confidence.shape), image)[0]
        how = replace(how, stride=grid.stride, origin=grid.origin)
    reading = FileReading(Path(path), *pair, texts, how, found=_described(found, pair))
    own = tuple(name.rpartition("/")[2] for name in pair) == ("confidence", "offsets")
    if own and fitting[0].text == "PCHW" and "stride" in found.settings:
        return replace(reading, certain=True)
    if math.prod(fitting[0].grid(confidence.shape)) > MOST:
        return reading  # to compare votes would read it all
    if any(np.dtype(each.dtype).kind not in "biuf" for each in (confidence, offsets)):
        return reading  # which opens nothing, and the dialog says why
    return _by_numbers(reading, fitting, confidence, offsets)


def _by_numbers(
    reading: FileReading, fitting: Sequence[Layout], confidence: Any, offsets: Any
) -> FileReading:
    """Compare what fits by the first frame's votes."""
    frames = fitting[0].leading(confidence.shape, offsets.shape)
    c, o = (np.asarray(x[0 if frames else ...], np.float32) for x in (confidence, offsets))
    how, sigmoid = reading.reading, layout_guess.are_logits(c)
    stride = 1.0 if how.stride is None else float(np.max(how.stride))
    scored = layout_guess.compare(c, o, fitting, stride, sigmoid)
    best = scored[0]
    other = next(s for s in scored if s.layout == best.layout and s.order != best.order)
    note = f"evidence {best.evidence:.3g}, {other.order} {other.evidence:.3g}"
    how = replace(how, layout=best.layout.text, order=best.order, sigmoid=sigmoid)
    return replace(reading, reading=how, note=note)


def _described(found: Inspected, pair: tuple[str, str]) -> str:
    """Write the names, shapes and dtypes of the two arrays, a line each."""
    lines = []
    for role, name in zip(("confidence", "offsets"), pair, strict=True):
        array = found.arrays[name]
        lines.append(f"{role}: {Path(name).name} {tuple(array.shape)} {array.dtype}")
    others = [name for name in found.arrays if name not in pair]
    if others:
        lines.append(f"beside them: {', '.join(others)[:_LISTED]}")
    return "\n".join(lines)
