"""Save what is open and asked to a session file, and open it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mdn_cupy as mdn
from mdn_cupy.files import replacing
from mdn_viewer.canvas.camera import Camera
from mdn_viewer.core.code_export import is_there
from mdn_viewer.core.detections import Search
from mdn_viewer.core.opened import open_saved
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.second import Own
from mdn_viewer.core.session_file import SavedSession, read_session, write_session
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.layers.own import layer_of, own_layers, same_layer, written
from mdn_viewer.widgets.compare import ComparePanel
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.second import SecondPanel
from mdn_viewer.widgets.truth import TruthPanel

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from mdn_viewer.canvas.comparison import ComparisonCanvas
    from mdn_viewer.core.model import VotingModel

__all__ = ["SessionFiles"]


class SessionFiles:
    """Read from the window what a `SavedSession` holds, and set it there.

    Parameters
    ----------
    viewer, model, canvas
        What is open.
    panels : (ComparePanel, PeaksPanel, GradientPanel, TruthPanel, SecondPanel)
        What is asked.
    wait : callable
        Waits until the maps are those of the layers.
    """

    def __init__(
        self,
        viewer: Viewer,
        model: VotingModel,
        canvas: ComparisonCanvas,
        panels: tuple[ComparePanel, PeaksPanel, GradientPanel, TruthPanel, SecondPanel],
        wait: Callable[[], None],
    ) -> None:
        self._viewer, self._model, self._canvas, self._wait = viewer, model, canvas, wait
        self._compare, self._peaks, self._gradient, self._truth, self._second = panels

    def save(self, path: str) -> None:
        """Write a session file, and beside it fields that are in no file, and labels.

        Raises
        ------
        OSError, ValueError
            If nothing is open, or it cannot be written.
        """
        model, session, second = self._model, self._model.session, self._second
        if session is None:
            raise ValueError("there is nothing open to save")
        stem = Path(path).with_suffix("")
        first = _kept(session.fields, model.origin, model.frame, model.frames, f"{stem}.mdn")
        other, opened, other_files = second.fields(), second.opened, UNKNOWN
        if other is not None and opened is not None:
            frames = opened.frames if opened.several else ()
            other_files = _kept(other, opened.origin, model.frame, frames, f"{stem}-second.mdn")
        fitted = self._canvas.fitted
        layers = [
            written(layer, partial(_kept_labels, f"{stem}-labels-{n}.npy"))
            for n, layer in enumerate(own_layers(self._viewer))
        ]
        annotations = self._truth.annotations
        write_session(
            path,
            SavedSession(
                fields=first,
                part=session.part,
                sigma=session.sigma,
                sum_rule=session.sum_rule,
                truncate=session.truncate,
                cross=session.cross,
                frame=model.frame,
                shown=[kind for kind, box in self._compare.shown.items() if box.isChecked()],
                camera=None if fitted else self._canvas.camera,
                pixel=model.pixel,
                rule=model.asked_rule,
                source=model.source,
                search=self._peaks.search,
                annotations="" if annotations is None else annotations.source,
                second=other_files,
                own=second.own,
                layers=layers,
                target=self._gradient.settings,
            ),
        )

    def open(self, path: str) -> None:
        """Open a session file; nothing changes if its fields cannot be opened.

        Layers of it that are there already, as they were saved, are not added once more.

        Raises
        ------
        OSError, ValueError
            If it is no session, or its fields are not there or do not fit.
        """
        saved = read_session(path)
        opened = open_saved(saved)
        own = [layer_of(layer) for layer in saved.layers]
        model = self._model
        same = model.loaded if model.origin == opened.origin else None
        if same is not None and is_there(same, opened.origin, model.frame):
            model.reset_fields()
        else:
            layers = layer_data(opened, Path(path).stem)
            for data, keywords, _ in layers:
                self._viewer.add_image(data, **keywords)
        self._wait()
        self._restore(saved, own)

    def restore(self, saved: SavedSession) -> None:
        """Ask of the fields that are open what was asked of them when the session was saved.

        Raises
        ------
        OSError, ValueError
            If a layer of the user's is not there or makes no sense.
        """
        self._restore(saved, [layer_of(layer) for layer in saved.layers])

    def _restore(self, saved: SavedSession, own: list[Layer]) -> None:
        model, there = self._model, own_layers(self._viewer)
        for n, layer in enumerate(own):
            same = next((x for x in there if same_layer(x, layer)), None)
            if same is None:
                self._viewer.add_layer(layer)
            else:
                there.remove(same)
                own[n] = same
        model.go_to(saved.frame)
        model.change(**saved.settings)
        for kind, box in self._compare.shown.items():
            box.setChecked(kind in saved.shown)
        self._peaks.form.show_search(Search(*saved.search))
        if saved.annotations:
            self._truth.open(saved.annotations)
        else:
            self._truth.forget()
        self._second.show_own(Own(*saved.own))
        if saved.second:
            self._second.take(saved.second)
        else:
            self._second.choice.setCurrentIndex(0)
        self._wait()
        if saved.camera is None:
            self._canvas.reset_view()
        else:
            self._canvas.look_at(Camera(*saved.camera))
        model.ask_pixel(saved.pixel, saved.rule)
        model.ask_source(saved.source)
        name, width, loss = saved.target
        kept = zip(own, saved.layers, strict=True)  # napari gives names that are taken a number
        target = next((layer for layer, said in kept if said.get("name") == name), None)
        if target is None and name in self._viewer.layers:
            target = self._viewer.layers[name]
        self._gradient.restore(target, width, loss)


def _kept_labels(path: str, labels: Any) -> str:
    with replacing(path) as file:
        np.save(file, labels)
    return str(Path(path).absolute())


def _kept(
    fields: mdn.Fields, origin: Origin, frame: int, frames: Sequence[mdn.Fields], beside: str
) -> Origin:
    """Return where fields are; those that are in no file are written beside the session."""
    if is_there(fields, origin, frame):
        return origin
    now = (fields if n == frame else each for n, each in enumerate(frames))
    mdn.save_fields(beside, now if frames else fields)
    return Origin((str(Path(beside).absolute()),))
