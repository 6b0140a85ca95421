"""From the arrays of a file to the fields of a frame: by an adapter's parameter names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdn_cupy.arrays import kind_of
from mdn_cupy.fields import Fields
from mdn_cupy.io.contents import Contents, Member, Refusal
from mdn_cupy.io.naming import chosen, named
from mdn_cupy.io.reading import Frames, check_frames, has_images

__all__ = ["AdaptedReading"]

Adapter = Callable[..., "Fields | list[Fields]"]


@dataclass(frozen=True)
class AdaptedReading:
    """Give the arrays that are called as an adapter's parameters to it, frame by frame.

    The first two that it cannot do without are found by the names of confidence and offsets too.
    """

    names: tuple[str | None, str | None]
    adapter: Adapter

    def frames(self, contents: Contents, names: tuple[str | None, str | None]) -> _AdaptedFrames:
        """Find the arrays, and try the adapter on zeros of their shapes: it knows its layouts."""
        parameters = inspect.signature(self.adapter).parameters
        settled = getattr(self.adapter, "keywords", {})
        needed = [
            name
            for name, p in parameters.items()
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
        ]
        roles = dict(zip(needed, (("confidence", names[0]), ("offsets", names[1])), strict=False))
        members: dict[str, Member] = {}
        for name in parameters:
            role, given = roles.get(name, ("", None))
            own = named(contents, name)
            if role and (given is not None or own is None):
                alone = given is None and len(needed) == len(contents.arrays) == 1
                own = next(iter(contents.arrays)) if alone else chosen(contents, role, given)
            if own is not None:
                members[name] = contents.arrays[own]
            elif name in contents.values:
                members[name] = np.asarray(contents.values[name])
        members = {name: member for name, member in members.items() if name not in settled}
        image = members.pop("image", None)
        values = {n: np.asarray(m[...]).tolist() for n, m in members.items() if len(m.shape) < 2}
        arrays = {n: m for n, m in members.items() if n not in values}
        unsettled = [
            name
            for name, p in parameters.items()
            if p.default is p.empty and name not in {*arrays, *values}
        ]
        if unsettled:
            name = _name_of(self.adapter)
            raise Refusal(f"{name} needs {' and '.join(unsettled)}; {contents.listed()}")
        return _AdaptedFrames(self.adapter, arrays, values, image, None).counted()


@dataclass(frozen=True, repr=False)
class _AdaptedFrames(Frames):
    adapter: Adapter
    arrays: Mapping[str, Member]
    values: Mapping[str, Any]
    image: Member | None
    count: int | None

    def counted(self) -> _AdaptedFrames:
        """Return the same with the number of frames, if the adapter takes one frame of each."""
        lengths = {member.shape[0] for member in self.arrays.values()}
        if len(lengths) == 1:
            try:
                self._adapted({n: _zeros(m.shape[1:], m) for n, m in self.arrays.items()}, None)
            except Refusal:
                pass
            else:
                (count,) = lengths
                if count == 0:
                    raise Refusal("holds no frame")
                if self.image is not None and has_images(self.image, count):
                    check_frames("image", self.image, count)
                return _AdaptedFrames(self.adapter, self.arrays, self.values, self.image, count)
        self._adapted({n: _zeros(m.shape, m) for n, m in self.arrays.items()}, None)
        return self

    def read(self, frame: int) -> Fields:
        """Read one frame."""
        index, image = self.at(frame), None
        if self.image is not None:
            each = has_images(self.image, self.count)
            image = np.asarray(self.image[index if each else ...])
        return self._adapted({n: np.asarray(m[index]) for n, m in self.arrays.items()}, image)

    def _adapted(self, arrays: Mapping[str, Any], image: Any) -> Fields:
        more, name = {} if image is None else {"image": image}, _name_of(self.adapter)
        try:
            fields = self.adapter(**arrays, **self.values, **more)
        except (TypeError, ValueError) as error:
            raise Refusal(str(error)) from error
        except Exception as error:  # of a function of the caller's own
            raise Refusal(f"{name} raised {type(error).__name__}: {error}") from error
        if isinstance(fields, list):
            raise Refusal(f"wants one axis of frames, got a batch of {len(fields)} in each")
        if not isinstance(fields, Fields):
            raise Refusal(f"{name} must return mdn_cupy.Fields, got {kind_of(fields)}")
        return fields


def _name_of(adapter: Adapter) -> str:
    own = getattr(adapter, "func", adapter)  # of functools.partial
    return str(getattr(own, "__name__", kind_of(own)))


def _zeros(shape: tuple[int, ...], member: Member) -> Any:
    return np.broadcast_to(np.zeros((), member.dtype), shape)
