"""Opens `.mdn` files and the samples in napari."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import mdn_cupy as mdn
from mdn_viewer.core.session import ALL
from mdn_viewer.layers.conversion import LayerData, layer_data

__all__ = [
    "get_reader",
    "open_coins",
    "open_delta",
    "open_faces",
    "open_nuclei",
    "open_pose",
    "opening_part",
]

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader of `.mdn` files if that is what all of the paths are."""
    return _read if all(Path(p).suffix.lower() == ".mdn" for p in _each(path)) else None


def open_pose() -> list[LayerData]:
    """Open what PoseNet makes of a photograph."""
    return _sample("pose")


def open_faces() -> list[LayerData]:
    """Open what CenterFace makes of a photograph."""
    return _sample("faces")


def open_coins() -> list[LayerData]:
    """Open Hough votes for the centres of coins, a map per radius."""
    return _sample("coins")


def open_nuclei() -> list[LayerData]:
    """Open votes for the nuclei of a stained tissue."""
    return _sample("nuclei")


def open_delta() -> list[LayerData]:
    """Open the two fields of the paper's section 2."""
    return _sample("delta")


def opening_part(sample: str) -> int | str:
    """Return the part of a sample to look at first: coins' radii make sense together."""
    return ALL if sample == "coins" else 0


def _sample(name: str) -> list[LayerData]:
    return layer_data(mdn.samples.load(name), name, opening_part(name), f"sample:{name}")


def _read(path: Paths) -> list[LayerData]:
    return [
        layer
        for p in map(Path, _each(path))
        for layer in layer_data(mdn.load_fields(p), p.stem, origin=str(p.absolute()))
    ]


def _each(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path
