"""What is open and asked, as a file: JSON with a version. Knows neither Qt nor napari."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from mdn_cupy.files import replacing
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session import RULES, SUM_RULES

__all__ = ["SUFFIX", "SavedSession", "read_session", "write_session"]

SUFFIX = ".mdn-session"
"""What the name of a session file ends in."""

_FORMAT, _VERSION = "mdn-session", 1

_Origin = Annotated[Origin, PlainValidator(Origin.from_json)]
_Positive = Annotated[float, Field(gt=0)]
_OrInfinite = Annotated[float, Field(allow_inf_nan=True, gt=0)]
_Rule = Annotated[str, Field(pattern=f"^({'|'.join(RULES)})$")]
_SumRule = Annotated[str, Field(pattern=f"^({'|'.join(SUM_RULES)})$")]


@dataclass(frozen=True)
class SavedSession:
    """What is open and asked; `read_session` holds a file to the types of these fields.

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
    camera : tuple of 3 float, optional
        Row, column and zoom; the whole output by default.
    pixel, rule, source
        What is asked: a pixel (row, column) by a rule, a source (part, row, column).
    search : tuple
        A `Search`: what counts as a peak.
    annotations : str
        The path of a file, if one is open.
    second : Origin
        Of a second field set, if one is open.
    own : tuple
        An `Own`: what the second has of its own.
    layers : list of dict
        The user's own points, shapes and labels, as `mdn_viewer.layers.own` writes them; the data
        of labels is the path of a file.
    target : tuple
        The target of the gradient: the name of a layer or "", its width in pixels, the loss.
    """

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)

    fields: _Origin
    part: int | str = 0
    sigma: float = 2.0
    sum_rule: _SumRule = "additive"
    truncate: _OrInfinite = 4.0  # infinite for the paper's own sum
    cross: bool = False
    frame: int = 0
    shown: list[str] = field(default_factory=list)
    camera: tuple[float, float, _Positive] | None = None
    pixel: tuple[int, int] | None = None
    rule: _Rule = "noisy_or"
    source: tuple[int, int, int] | None = None
    search: tuple[float, float, _Rule, bool] = (0.5, 8.0, "noisy_or", False)
    annotations: str = ""
    second: _Origin = UNKNOWN
    own: tuple[float | None, _SumRule | None, bool | None] = (None, None, None)
    layers: list[dict[str, Any]] = field(default_factory=list)
    target: tuple[str, float, str] = ("", 2.0, "")

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters of `VotingSession`, but for the fields."""
        names = "part", "sigma", "sum_rule", "truncate", "cross"
        return {name: getattr(self, name) for name in names}

    def moved(self, move: Callable[[str], str]) -> SavedSession:
        """Return the same session on files in another place."""
        return replace(
            self,
            fields=self.fields.moved(move),
            second=self.second.moved(move),
            annotations=move(self.annotations),
            layers=[_moved(layer, move) for layer in self.layers],
        )


def write_session(path: str | os.PathLike[str], session: SavedSession) -> None:
    """Write a session file; files below its folder are named relative to it.

    Raises
    ------
    OSError
        If the file cannot be written there.
    """
    beside = partial(_relative, folder=Path(path).absolute().parent)
    data = {"format": _FORMAT, "version": _VERSION, **vars(session.moved(beside))}
    text = json.dumps(data, indent=1, default=Origin.to_json)
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
        text = Path(path).read_text(encoding="utf-8")
        data = json.loads(text)
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
    if not data.get("fields"):
        raise ValueError(f"{path}: it names no fields")
    try:
        saved = _reader().validate_json(text)
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise ValueError(f"{path}: {name} makes no sense: {data[name]!r}"[:300]) from None
    return saved.moved(partial(_absolute, folder=Path(path).absolute().parent))


@cache
def _reader() -> TypeAdapter[SavedSession]:
    return TypeAdapter(SavedSession)


def _moved(layer: dict[str, Any], path: Callable[[str], str]) -> dict[str, Any]:
    """Return a layer whose data is in another place, if it is in a file."""
    data = layer.get("data")
    return {**layer, "data": path(data)} if isinstance(data, str) else layer


def _relative(name: str, folder: Path) -> str:
    path = Path(name).absolute()
    inside = bool(name) and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else name and str(path)


def _absolute(name: str, folder: Path) -> str:
    return name and str(folder / name)
