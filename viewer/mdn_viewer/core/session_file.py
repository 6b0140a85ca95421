"""What is open and asked, as a file: JSON with a version. Knows neither Qt nor napari."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from mdn_cupy.files import replacing
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session import RULES, SUM_RULES

__all__ = ["SUFFIX", "SavedSession", "read_session", "write_session"]

SUFFIX = ".mdn-session"
"""What the name of a session file ends in."""

_FORMAT, _VERSION = "mdn-session", 1
_FIELDS = "fields", "second"
_NUMBER = (int, float)


@dataclass(frozen=True)
class SavedSession:
    """What is open and asked.

    Parameters
    ----------
    fields : Origin
        Where they come from.
    part : int or str
        Number of the part, or "all".
    sigma, sum_rule, truncate, cross
        As in `VotingSession`.
    frame : int
        The frame that is shown.
    shown : list of str
        The maps that are shown, and "confidence".
    camera : list of 3 float, optional
        Row, column and zoom; the whole output by default.
    pixel, rule, source
        What is asked: a pixel [row, column] by a rule, a source [part, row, column].
    search : list
        The peaks' least score and distance, rule, and whether of every part.
    annotations : str
        The path of a file, if one is open.
    second : Origin
        Of a second field set, if one is open.
    own : list
        The second's own sigma, sum and cross, each None where it is that of the first.
    layers : list of dict
        The user's own points, shapes and labels, as `mdn_viewer.layers.own` writes them; the data
        of labels is the path of a file.
    target : list
        The target of the gradient: the name of a layer or "", its width in pixels, the loss.
    """

    fields: Origin
    part: int | str = 0
    sigma: float = 2.0
    sum_rule: str = "additive"
    truncate: float = 4.0
    cross: bool = False
    frame: int = 0
    shown: list[Any] = field(default_factory=list)
    camera: list[Any] | None = None
    pixel: list[Any] | None = None
    rule: str = "noisy_or"
    source: list[Any] | None = None
    search: list[Any] = field(default_factory=lambda: [0.5, 8.0, "noisy_or", False])
    annotations: str = ""
    second: Origin = UNKNOWN
    own: list[Any] = field(default_factory=lambda: [None, None, None])
    layers: list[Any] = field(default_factory=list)
    target: list[Any] = field(default_factory=lambda: ["", 2.0, ""])

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters of `VotingSession`, but for the fields."""
        names = "part", "sigma", "sum_rule", "truncate", "cross"
        return {name: getattr(self, name) for name in names}


_KINDS: dict[str, tuple[type, ...]] = {
    "part": (int, str),
    "sigma": _NUMBER,
    "sum_rule": (str,),
    "truncate": _NUMBER,
    "cross": (bool,),
    "frame": (int,),
    "shown": (list,),
    "camera": (list, type(None)),
    "pixel": (list, type(None)),
    "rule": (str,),
    "source": (list, type(None)),
    "search": (list,),
    "annotations": (str,),
    "own": (list,),
    "layers": (list,),
    "target": (list,),
}
_ITEMS: dict[str, tuple[tuple[type, ...], ...]] = {
    "camera": (_NUMBER,) * 3,
    "pixel": ((int,),) * 2,
    "source": ((int,),) * 3,
    "search": (_NUMBER, _NUMBER, (str,), (bool,)),
    "own": ((*_NUMBER, type(None)), (str, type(None)), (bool, type(None))),
    "target": ((str,), _NUMBER, (str,)),
}
_RULES = {"sum_rule": SUM_RULES, "rule": RULES}


def write_session(path: str | os.PathLike[str], session: SavedSession) -> None:
    """Write a session file; files below its folder are named relative to it.

    Raises
    ------
    OSError
        If the file cannot be written there.
    """
    folder = Path(path).absolute().parent
    beside = partial(_relative, folder=folder)
    values = {each.name: getattr(session, each.name) for each in fields(session)}
    values |= {name: values[name].moved(beside).to_json() for name in _FIELDS}
    values["annotations"] = beside(session.annotations)
    values["layers"] = [_moved(layer, beside) for layer in session.layers]
    data = {"format": _FORMAT, "version": _VERSION, **values}
    text = json.dumps(data, indent=1)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def read_session(path: str | os.PathLike[str]) -> SavedSession:
    """Read a session file; the paths in what is returned are absolute.

    Raises
    ------
    ValueError
        If it is no session, one of a newer version, or a value makes no sense.
    OSError
        If it cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: it is not JSON, so no session") from None
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror or error}") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise ValueError(f"{path}: it is JSON, but no session: it has no format {_FORMAT!r}")
    version = data.get("version")
    if version != _VERSION:
        raise ValueError(
            f"{path}: version {version!r} of a session; this mdn-cupy reads version {_VERSION}"
        )
    known = {each.name for each in fields(SavedSession)}
    values = {name: value for name, value in data.items() if name in known}
    for name, value in values.items():
        if not _fits(name, value):
            raise ValueError(f"{path}: {name} makes no sense: {value!r}"[:300])
    if not values.get("fields"):
        raise ValueError(f"{path}: it names no fields")
    folder = Path(path).absolute().parent
    there = partial(_absolute, folder=folder)
    values |= {n: Origin.from_json(values[n]).moved(there) for n in _FIELDS if n in values}
    values["annotations"] = there(values.get("annotations", ""))
    layers = [_moved(layer, there) for layer in values.pop("layers", [])]
    return SavedSession(**values, layers=layers)


def _moved(layer: dict[str, Any], path: Callable[[str], str]) -> dict[str, Any]:
    """Return a layer whose data is in another place, if it is in a file."""
    data = layer.get("data")
    return {**layer, "data": path(data)} if isinstance(data, str) else layer


def _fits(name: str, value: Any) -> bool:
    if name in _FIELDS:
        with suppress(ValueError, TypeError):
            Origin.from_json(value)
            return True
        return False
    if name == "truncate" and value == math.inf:
        return True  # the paper's own sum
    if not _is(value, _KINDS[name]):
        return False
    if name in _RULES:
        return value in _RULES[name]
    if name == "layers":
        return all(isinstance(each, dict) for each in value)
    if name == "shown":
        return all(isinstance(each, str) for each in value)
    if name in _ITEMS and value is not None:
        items = _ITEMS[name]
        right = len(value) == len(items) and all(map(_is, value, items))
        if name == "camera":
            return right and value[2] > 0
        return right and (name != "search" or value[2] in _RULES["rule"])
    return True


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value is of a kind; a bool is no number, and a number is finite."""
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds)


def _relative(name: str, folder: Path) -> str:
    path = Path(name).absolute()
    inside = bool(name) and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else name and str(path)


def _absolute(name: str, folder: Path) -> str:
    return name and str(folder / name)
