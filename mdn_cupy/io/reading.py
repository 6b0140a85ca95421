"""From arrays by name to the fields of a frame: by layout, order and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdn_cupy.axes import Layout
from mdn_cupy.fields import Fields
from mdn_cupy.io.contents import PICKLED, Contents, Member, Refusal
from mdn_cupy.io.naming import chosen
from mdn_cupy.validation import and_divided, check_flag, crop_range, per_axis

__all__ = [
    "BESIDE",
    "ArrayReading",
    "Frames",
    "Order",
    "Region",
    "check_frames",
    "has_images",
    "sigmoid",
]

Order = Literal["xy", "yx"]
Region = tuple[slice, slice]
FloatArray = npt.NDArray[np.floating]

# Axes of what a file may hold beside the two fields, for one frame; with one more, it is per frame.
BESIDE = {
    "cross_offsets": 5,
    "stride": 1,
    "origin": 1,
    "sigma": 3,
    "names": 1,
    "source": 0,
    "output_shape": 1,
}


@dataclass(frozen=True)
class ArrayReading:
    """Take two arrays by name, in a layout: the arguments of `open_fields`."""

    names: tuple[str | None, str | None]
    layout: Layout | None  # the usual one, where it is None
    order: Order
    sigmoid: bool
    scale: float | Sequence[float]
    given: Mapping[str, Any]
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.order not in ("xy", "yx"):
            raise ValueError(f"order must be 'xy' or 'yx', got {self.order!r}")
        check_flag("sigmoid", self.sigmoid)
        per_axis("scale", self.scale)
        if self.region is not None:
            _check_region(self.region)

    def frames(self, contents: Contents, names: tuple[str | None, str | None]) -> _ArrayFrames:
        """Find the two arrays, and refuse those of other shapes and dtypes."""
        roles = ("confidence", "offsets")
        found = [chosen(contents, role, name) for role, name in zip(roles, names, strict=True)]
        arrays = [contents.arrays[name] for name in found]
        for role, name, array in zip(roles, found, arrays, strict=True):
            if np.dtype(array.dtype).hasobject:
                raise Refusal(f"{role} ({name}) {PICKLED}")
            if np.dtype(array.dtype).kind != "f":
                raise Refusal(
                    f"{role} must be of a floating dtype, got {array.dtype} ({name}); "
                    f"make it float32{and_divided(role, array)}"
                )
        shapes = [tuple(array.shape) for array in arrays]
        layout = self.layout or Layout.usual(*shapes)
        leading = layout.leading(*shapes)
        if leading is None:
            seen = ", ".join(f"{name} {shape}" for name, shape in zip(found, shapes, strict=True))
            raise Refusal(
                f"layout {layout.text!r} wants {layout}, or both with one more leading axis of "
                f"frames; got {seen}: {Layout.suggestion(*shapes)}"
            )
        count = leading[0] if leading else None
        group = found[0].rpartition("/")[0]
        declared = contents.beside(group, "frames")
        stacked = declared is not None and declared.shape == ()  # else they are pictures
        if declared is not None and stacked and declared[...] != count:
            raise Refusal(
                f"frames is {declared[...]}, but {found[0]} has "
                f"{'no axis of frames' if count is None else f'{count} frames'}"
            )
        if count == 0:
            raise Refusal(f"holds no frame; {contents.listed()}")
        beside = {
            name: member
            for name in (*BESIDE, "image")
            if name not in self.given and (member := contents.beside(group, name)) is not None
        }
        frames = _ArrayFrames(self, layout, arrays[0], arrays[1], beside, count, stacked)
        for name, member in beside.items():
            if count is not None and frames.has_each(name):
                check_frames(name, member, count)
        return frames

    def vectors(self, array: FloatArray) -> FloatArray:
        """Bring offsets [..., 2, H, W] to (x, y), in output pixels."""
        if self.order == "yx":
            array = array[..., ::-1, :, :]
        y, x = per_axis("scale", self.scale)
        if (y, x) != (1, 1):
            with np.errstate(over="ignore"):  # infinite offsets are refused by `check_fields`
                array = array * np.array([x, y], array.dtype)[:, None, None]
        return _plain(array)

    def scores(self, array: FloatArray) -> FloatArray:
        """Bring a confidence to [0, 1]."""
        return _plain(sigmoid(array) if self.sigmoid else array)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return the logistic function of numbers, in their dtype or in float32, if that is wider.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1e9, 0.0, 1e9]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(logits, dtype=np.result_type(logits, np.float32)))  # no overflow
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


class Frames:
    """Frames of arrays: a `Source`."""

    count: int | None  # None where the arrays have no axis of frames

    def __len__(self) -> int:
        return 1 if self.count is None else self.count

    def __repr__(self) -> str:
        return "arrays"

    def at(self, frame: int) -> int | EllipsisType:
        """Return the index of a frame."""
        return ... if self.count is None else frame


@dataclass(frozen=True, repr=False)
class _ArrayFrames(Frames):
    how: ArrayReading
    layout: Layout
    confidence: Member
    offsets: Member
    beside: Mapping[str, Member]
    count: int | None
    stacked: bool  # by `save_fields`, which stacks all that is an array

    def has_each(self, name: str) -> bool:
        """Say whether what stands beside the fields has an axis of frames."""
        member = self.beside[name]
        if name == "image":
            return has_images(member, self.count, self.stacked)
        return self.count is not None and len(member.shape) > BESIDE[name]

    def read(self, frame: int) -> Fields:
        """Read one frame."""
        index, layout = self.at(frame), self.layout
        confidence = self._taken(self.confidence, index, layout.maps)
        offsets = self._taken(self.offsets, index, layout.axes)
        members: dict[str, Any] = {
            "confidence": self.how.scores(layout.confidence(confidence)),
            "offsets": self.how.vectors(layout.offsets(offsets, confidence.shape)),
        }
        for name, member in self.beside.items():
            each = index if self.has_each(name) else ...
            axes = ["", "", "", "H", "W"][-BESIDE.get(name, 0) :]
            is_field = name == "cross_offsets" or (name == "sigma" and len(member.shape) > 1)
            members[name] = self._taken(member, each, axes if is_field else [])
        if "cross_offsets" in members:
            members["cross_offsets"] = self.how.vectors(members["cross_offsets"])
        try:
            fields = Fields(**{**_settled(members), **self.how.given})
            return fields if self.how.region is None else _in_region(fields, self.how.region)
        except (TypeError, ValueError) as error:
            raise Refusal(str(error)) from error

    def _taken(self, member: Member, index: int | EllipsisType, axes: list[str]) -> Any:
        """Read a frame of an array, or the region of it; of chunked arrays nothing else is read."""
        if self.how.region is None or not {"H", "W"} & {*axes}:
            return np.asarray(member[index])
        places = dict(zip("HW", self.how.region, strict=True))
        wanted = tuple(places.get(axis, slice(None)) for axis in axes)
        if not hasattr(member, "chunks"):
            return np.asarray(member[index])[wanted]
        chunked: Any = member
        return np.asarray(chunked[wanted if index is ... else (index, *wanted)])


def _check_region(region: object) -> None:
    """Raise unless an argument is two slices of integers that go forward."""
    if not (isinstance(region, Sequence) and len(region) == 2):
        raise ValueError(f"region must be two slices, of rows and of columns, got {region!r}")
    for part, axis in zip(region, ("rows", "columns"), strict=True):
        crop_range(f"the {axis} of region", part, 0)


def _in_region(fields: Fields, region: Region) -> Fields:
    """Settle the stride of every n-th source; an image and its size are of the whole."""
    if not fields.confidence.size:
        raise ValueError(f"region must take a row and a column of sources at least, got {region}")
    steps = [part.step or 1 for part in region]
    stride = tuple((np.broadcast_to(fields.stride, 2) * steps).tolist())
    return replace(fields, stride=stride, image=None, output_shape=None)


def has_images(image: Member, frames: int | None, stacked: bool = False) -> bool:
    """Say whether there is an image of each frame, rather than one, grey or of 3 or 4 colours."""
    if frames is None or len(image.shape) < 3:
        return False
    grey = image.shape[0] == frames and image.shape[2] not in (3, 4)
    return len(image.shape) > 3 or stacked or grey


def check_frames(name: str, member: Member, frames: int) -> None:
    """Refuse an array of another number of frames, which would be read beyond its end."""
    if member.shape[0] != frames:
        raise Refusal(f"{name} {tuple(member.shape)} is not of {frames} frames")


def _plain(array: FloatArray) -> FloatArray:
    """Bring an array to C order and this machine's byte order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _settled(members: dict[str, Any]) -> dict[str, Any]:
    """Turn stored numbers and text into those of `Fields`."""
    for name in {"stride", "origin", "sigma"} & members.keys():
        numbers = members[name]
        if numbers.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be a real number, got {numbers.dtype}")
        if numbers.size == 1:
            members[name] = float(numbers.item())
        elif name != "sigma":
            if numbers.size != 2:
                wanted = "one number, or two (y, x)"
                raise ValueError(f"{name} must be {wanted}, got the shape {numbers.shape}")
            members[name] = numbers.ravel().tolist()
    if "output_shape" in members:
        members["output_shape"] = members["output_shape"].tolist()
    for name in {"names", "source"} & members.keys():
        texts = members[name].ravel().tolist()
        if not all(isinstance(text, (str, bytes)) for text in texts):
            raise TypeError(f"{name} must be text, got {members[name].dtype}")
        members[name] = texts
    if "source" in members:
        if len(members["source"]) != 1:
            raise ValueError(f"source must be one text, got {len(members['source'])}")
        (members["source"],) = members["source"]
    return members
