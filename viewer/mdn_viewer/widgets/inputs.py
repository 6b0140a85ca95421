"""The tab of the fields: which layers vote, how their offsets are to be read, and two files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.types import FileDialogMode
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    PushButton,
)

from mdn_cupy.io import Layout
from mdn_viewer.core.instruction import Instruction
from mdn_viewer.layers.conversion import Reading
from mdn_viewer.widgets.controls import Message, PixelPair

__all__ = ["InputControls"]

_OWN_AXES = ("as (P, 2, H, W)", "")
_ORDERS: list[tuple[str, bool]] = [("x, y (right, down)", False), ("y, x (down, right)", True)]
_NUMBERS = "biuf"  # kinds of NumPy's: booleans, integers, floats
_UNITS: list[tuple[str, bool]] = [("pixels of the output", False), ("sources of the grid", True)]


class InputControls(Container[Any]):
    """Three layers, their grid and the meaning of the offsets; two `.npy` files to open instead.

    Parameters
    ----------
    images, offsets : callable
        Return the layers there are to choose from.
    open_arrays : callable
        Takes a confidence and an offset array with their names, and makes layers of them.
    """

    title = "Fields"

    def __init__(
        self,
        images: Callable[[Any], list[Any]],
        offsets: Callable[[Any], list[Any]],
        open_arrays: Callable[..., None],
    ) -> None:
        super().__init__()
        self._open_arrays = open_arrays
        self.confidence = _layer_box(
            "confidence",
            images,
            "Image layer (H, W) or (P, H, W): how sure each source is, from 0 to 1.",
        )
        self.offsets = _layer_box(
            "offsets",
            offsets,
            "How far each source's vote goes: an image layer (2, H, W) or (P, 2, H, W), or vectors "
            "that start at their sources.",
        )
        self.order = ComboBox(
            label="channels", choices=_ORDERS, tooltip="What the two channels of the offsets are."
        )
        self.coarse = ComboBox(
            label="in units of",
            choices=_UNITS,
            tooltip="What an offset of 1 is: a pixel, or a stride.",
        )
        self.image = _layer_box(
            "image",
            images,
            "Image layer to show the maps over. Its pixels are the pixels of the output.",
        )
        self.stride = PixelPair(
            1e-6,
            (1.0, 1.0),
            label="stride (px)",
            tooltip="From one source to the next, in pixels of the output: rows × columns.",
        )
        self.origin = PixelPair(
            -1e9,
            (0.0, 0.0),
            label="origin (px)",
            tooltip="Where the first source is, in pixels of the output: row × column.",
        )
        self.axes = ComboBox(
            label="axes",
            choices=[_OWN_AXES],
            tooltip="Axes of the offsets: P parts, C components, H rows, W columns. Those that the "
            "sizes of both layers fit are offered.",
        )
        self.scale = FloatSpinBox(
            label="times",
            value=1.0,
            min=-1e9,
            max=1e9,
            step=0.1,
            tooltip="A factor of the offsets, such as DeepLabCut's locref_std, 7.2801.",
        )
        self.scale.native.setDecimals(6)
        self.sigmoid = CheckBox(
            text="confidences are logits", tooltip="Take the logistic function of them."
        )
        self.understood = Message("How the two layers are read, and how else they could be.")
        self.misfit = Message("What does not fit of the layers above, and why.")
        self.open_any = PushButton(
            text="Open files…",
            tooltip="Field sets of any kind; or drop them on the maps. What a file does not say is "
            "asked.",
        )
        self._add_files()
        self.margins = (0, 4, 0, 0)
        self.layer_boxes = (self.confidence, self.offsets, self.image)
        self.readings = (
            self.axes,
            self.order,
            self.coarse,
            self.scale,
            self.sigmoid,
            self.stride,
            self.origin,
        )
        chosen = (self.confidence, self.offsets, self.axes, self.order, self.coarse, self.scale)
        grid = (self.image, self.stride, self.origin, self.sigmoid, self.understood, self.misfit)
        self.extend([self.open_any, *chosen, *grid, *self._files, self.open_files, self.unreadable])

    @property
    def reading(self) -> Reading:
        """How the offsets are to be read, as chosen."""
        return Reading(
            self.stride.pair,
            self.origin.pair,
            bool(self.order.value),
            bool(self.coarse.value),
            float(self.scale.value),
            bool(self.sigmoid.value),
            str(self.axes.value),
        )

    def offer_axes(self, texts: Sequence[str], chosen: str) -> None:
        """Offer layouts, and choose one."""
        meanings = ((text, Layout(text).meaning) for text in texts)
        named = [(f"{text}: {said}" if said else text, text) for text, said in meanings]
        self.axes.choices = named or [_OWN_AXES]
        self.axes.value = chosen if chosen in texts else self.axes.choices[0]

    def forget(self) -> None:
        """Have offsets and confidences read as they are."""
        self.order.value = self.coarse.value = self.sigmoid.value = False
        self.scale.value = 1.0

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Set values without anybody acting on it."""
        with ExitStack() as stack:
            for control in (*self.layer_boxes, *self.readings):
                stack.enter_context(control.changed.blocked())
            yield

    def _add_files(self) -> None:
        def file(label: str, tooltip: str) -> FileEdit:
            mode = FileDialogMode.EXISTING_FILE
            return FileEdit(label=label, mode=mode, filter="*.npy", nullable=True, tooltip=tooltip)

        self.confidence_file = file("c .npy", "A confidence (H, W) or (P, H, W) as NumPy saves it.")
        self.offsets_file = file("o .npy", "Offsets (2, H, W) or (P, 2, H, W) as NumPy saves them.")
        self._files = (self.confidence_file, self.offsets_file)
        self.open_files = PushButton(
            text="Open both files", tooltip="Make layers of the two files above, and let them vote."
        )
        self.unreadable = Message("Why the files could not be opened.")
        self.open_files.changed.connect(self._on_open)

    def _on_open(self, *_: Any) -> None:
        try:
            arrays = [_load(control) for control in self._files]
        except (OSError, ValueError) as error:
            self.unreadable.say(str(error), wrong=not isinstance(error, Instruction))
            return
        self.unreadable.say("")
        names = [Path(str(control.value)).stem for control in self._files]
        self._open_arrays(*arrays, *names)


def _layer_box(label: str, choices: Callable[[Any], list[Any]], tooltip: str) -> ComboBox:
    return ComboBox(label=label, choices=choices, nullable=True, tooltip=tooltip)


def _load(control: FileEdit) -> Any:
    path = Path(str(control.value or ""))
    if path == Path():
        raise Instruction(f"{control.label}: choose a file first")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # whatever a file of any content makes NumPy raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not a readable .npy file ({reason})") from error
    if not isinstance(array, np.ndarray):  # a file that users choose: a value and not a type
        raise ValueError(  # noqa: TRY004
            f"{path}: an archive of several arrays; choose a .npy file with one"
        )
    reason = _unfit(array)
    if reason:
        raise ValueError(f"{path}: {reason}")
    return array


def _unfit(array: np.ndarray[Any, Any]) -> str:
    """Say why an array is neither a confidence nor offsets, whatever there is beside it."""
    if array.dtype.kind not in _NUMBERS:
        return f"it holds {array.dtype}; confidences and offsets are real numbers"
    if array.ndim < 2:
        return f"its shape is {array.shape}, without rows and columns"
    return f"it is empty, of shape {array.shape}" if array.size == 0 else ""
