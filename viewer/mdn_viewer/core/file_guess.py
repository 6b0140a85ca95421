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

__all__ = ["FileReading", "guess"]

_LISTED = 300  # characters of what a file holds, in a message
_SETTLED = ("layout", "order", "scale", "sigmoid", "stride", "origin", "family")
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FileReading:
    """Arguments of `mdn_cupy.open_fields`, and the layouts that fit as well.

    Parameters
    ----------
    path : path
        The file, folder or pattern.
    confidence, offsets : str
        Names of the two arrays.
    layout : str
        Axes of the offsets.
    fitting : sequence of str
        All layouts that fit.
    order : str
        "xy" or "yx".
    scale : float
        Factor of the offsets.
    sigmoid : bool
        Whether confidences are logits.
    stride, origin : float or (float, float), optional
        None for what the file says, or 1 and 0.
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
    layout: str
    fitting: tuple[str, ...]
    order: str = "xy"
    scale: float = 1.0
    sigmoid: bool = False
    stride: float | tuple[float, float] | None = None
    origin: float | tuple[float, float] | None = None
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
        grid = {"stride": self.stride, "origin": self.origin}
        if not self.family:
            options |= {
                "layout": self.layout,
                "order": self.order,
                "scale": self.scale,
                "sigmoid": self.sigmoid,
                **grid,
            }
        else:
            settings = _settings(self.family)
            chosen = {"stride": self.stride, "apply_sigmoid": self.sigmoid}
            chosen = {n: x for n, x in chosen.items() if n in settings and x is not None}
            options["adapter"] = partial(getattr(mdn.adapters, self.family), **chosen)
        return Origin.of(paths, options).moved(os.path.abspath)

    @property
    def key(self) -> str:
        """What files of the same making have in common."""
        names = () if self.path.suffix.lower() in SINGLE else (self.confidence, self.offsets)
        return " ".join([self.path.suffix.lower(), *names, *self.fitting])

    def remembered(self) -> dict[str, Any]:
        """Return what was settled, to be remembered for files of the same key."""
        return {name: getattr(self, name) for name in _SETTLED}

    def like(self, remembered: Mapping[str, Any]) -> FileReading:
        """Return the reading with what was settled for another file of the same key."""
        known = {n: _pair(x) for n, x in remembered.items() if n in _SETTLED}
        if known.get("layout") not in self.fitting:
            return self
        return replace(self, **known, note="as the last time")

    @property
    def line(self) -> str:
        """What was understood, in a line."""
        if self.family:
            return f"read as {self.family} writes it"
        others = [Layout(text) for text in self.fitting]
        grid = "" if self.stride is None else f"{self.stride}"
        said = layout_guess.understood(Layout(self.layout), self.order, others, grid)
        return f"{said}; {self.note}" if self.note else said


def _pair(value: Any) -> Any:
    """Return a list, which JSON makes of a pair, as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _settings(family: str) -> tuple[str, ...]:
    """Return the names of an adapter's parameters."""
    return tuple(inspect.signature(getattr(mdn.adapters, family)).parameters)


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
    image = _image_size(found, confidence.shape)
    fitting = layout_guess.layouts(confidence.shape, offsets.shape, image)
    if not fitting:
        raise ValueError(
            f"{path}: {pair[0]} {confidence.shape} and {pair[1]} {offsets.shape} fit as confidence "
            "and offsets in no layout"
        )
    texts = tuple(layout.text for layout in fitting)
    reading = FileReading(Path(path), *pair, texts[0], texts, found=_described(found, pair))
    if "stride" not in found.settings and image is not None:
        grid = layout_guess.grids(fitting[0].grid(confidence.shape), image)[0]
        reading = replace(reading, stride=grid.stride, origin=grid.origin)
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
    if frames:
        c, o = c[None], o[None]
    sigmoid = layout_guess.are_logits(c)
    if sigmoid:
        c = (1 / (1 + np.exp(-np.clip(c, -80, 80)))).astype(np.float32)
    stride = float(np.max(reading.stride)) if reading.stride is not None else 1.0
    scored = layout_guess.compare(c, o, fitting, stride)
    best = scored[0]
    other = next(s for s in scored if s.layout == best.layout and s.order != best.order)
    note = f"evidence {best.evidence:.3g}, {other.order} {other.evidence:.3g}"
    return replace(reading, layout=best.layout.text, order=best.order, sigmoid=sigmoid, note=note)


def _image_size(found: Inspected, confidence: Sequence[int]) -> tuple[int, int] | None:
    """Return rows and columns of the image in a file, if there is one."""
    image = found.arrays.get("image")
    if image is None or len(image.shape) < 2:
        return None
    shape = image.shape[:-1] if image.shape[-1] in (3, 4) and len(image.shape) > 2 else image.shape
    return int(shape[-2]), int(shape[-1])


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
