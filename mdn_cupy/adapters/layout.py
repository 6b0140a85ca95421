"""What all adapters share: the check of their arrays' axes, a batch image by image, and helpers.

A layout is a string of axes for `mdn_cupy.axes.lengths`, "2J H W".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from inspect import signature
from typing import Any, ParamSpec

from mdn_cupy.arrays import (
    Array,
    adopt,
    cast_to,
    is_number,
    is_torch,
    kind_of,
    namespace,
    on_device,
)
from mdn_cupy.axes import lengths
from mdn_cupy.fields import Fields
from mdn_cupy.validation import called, check_flag, floating_dtype

__all__ = ["by_image", "cells", "check_positive", "clipped", "made", "no_cross_votes", "vectors"]

P = ParamSpec("P")

Layouts = Mapping[str, str]
Shape = tuple[int, ...]


def by_image(
    others: Mapping[str, Layouts] | None = None, **layouts: str
) -> Callable[[Callable[P, Fields | list[Fields]]], Callable[P, Fields | list[Fields]]]:
    """Let a function of one image's arrays take those of a batch, too, and check their axes.

    The function gets arrays of a floating dtype of at least 32 bits, on their device, and one
    `image`. The adapter raises TypeError if an array is not floating, or they are not on one
    device, and ValueError if the shapes fit no layout; the message says which other they look like.

    Parameters
    ----------
    others : dict of dict of str, optional
        Other layouts that users have, by what to say of them.
    **layouts : str
        The axes of every array for one image, by the function's parameters.
    """

    def decorate(
        function: Callable[P, Fields | list[Fields]],
    ) -> Callable[P, Fields | list[Fields]]:
        family, takes = function.__name__, signature(function)

        @wraps(function)
        def convert(*arguments: Any, **options: Any) -> Fields | list[Fields]:
            given = takes.bind(*arguments, **options).arguments
            image = given.pop("image", None)
            arrays = {n: given.pop(n) for n in layouts if n in given}
            wanted = {
                n: layouts[n] for n, x in arrays.items() if x is not takes.parameters[n].default
            }
            _, arrays = adopt(**{name: arrays[name] for name in wanted})
            arrays = {name: cast_to(x, floating_dtype(name, x)) for name, x in arrays.items()}
            shapes = {name: tuple(x.shape) for name, x in arrays.items()}
            sizes = _sizes(shapes, wanted)
            if sizes is None:
                raise ValueError(f"{family}: {_misfit(shapes, wanted, others or {})}")
            alone = "N" not in sizes
            if alone:
                arrays = {name: x[None] for name, x in arrays.items()}
                image = None if image is None else [image]
            first = next(iter(arrays.values()))
            images = [None] * len(first) if image is None else image
            held = len(images) if hasattr(images, "__len__") else kind_of(images)
            if held != len(first):
                raise ValueError(
                    f"{family}: image must hold {len(first)} images, as the batch, got {held}"
                )
            one: Callable[..., Any] = partial(function, **given)
            with on_device(first):
                if not len(first):  # the settings are checked all the same, on zeros
                    one(**{name: x.sum(0) for name, x in arrays.items()}, image=None)
                found = [
                    one(**{name: x[b] for name, x in arrays.items()}, image=image)
                    for b, image in enumerate(images)
                ]
            return found[0] if alone else found

        @wraps(function)
        def adapter(*arguments: P.args, **options: P.kwargs) -> Fields | list[Fields]:
            return called(family, convert, *arguments, **options)

        return adapter

    return decorate


def made(
    family: str,
    confidence: Array,
    offsets: Array,
    *,
    stride: Any = 1.0,
    centred: bool = False,
    output_shape: tuple[int, int] | None = None,
    sigma: Any = None,
    names: Sequence[str] | None = None,
    image: Any = None,
    cross_offsets: Array | None = None,
) -> Fields:
    """Return the field set of one image of a family, which is its source.

    Where `centred`, cells sit half a stride in, and cover the output: stride · (H, W) pixels.
    Without sigma it is half a stride, at which the votes of neighbouring cells meet, and 2 at
    least.
    """
    if centred:
        output_shape = tuple(round(stride * n) for n in confidence.shape[-2:])
    widest = max(stride) if isinstance(stride, tuple) else stride
    return Fields(
        confidence,
        offsets,
        cross_offsets,
        image,
        stride=stride,
        origin=stride / 2 if centred else 0.0,
        sigma=max(2.0, widest / 2) if sigma is None else sigma,
        names=() if names is None else names,
        source=family,
        output_shape=output_shape if image is None else None,
    )


def clipped(array: Array, apply_sigmoid: bool) -> Array:
    """Bring a network's scores to [0, 1]: by the logistic function, or cut off."""
    if not check_flag("apply_sigmoid", apply_sigmoid):
        return array.clip(0, 1)
    if is_torch(array):
        return array.sigmoid()
    xp = namespace(array)
    small = xp.exp(-abs(array))  # which cannot overflow
    return xp.where(array >= 0, xp.ones_like(small), small) / (1 + small)


def vectors(array: Array, count: int) -> Array:
    """Split interleaved channels: [2 n, H, W] -> [n, 2, H, W]."""
    return array.reshape(count, 2, *array.shape[-2:])


def cells(like: Array) -> Array:
    """Return the column and row of every cell of a map [H, W], as [2, H, W] of its dtype."""
    xp = namespace(like)
    ones = xp.ones_like(like)
    return xp.stack([xp.cumsum(ones, axis=1) - 1, xp.cumsum(ones, axis=0) - 1])


def no_cross_votes(offsets: Array) -> Array:
    """Return cross offsets [P, P, 2, H, W] with the parts' own on the diagonal, NaN elsewhere."""
    xp, each = namespace(offsets), list(range(len(offsets)))
    cross = xp.stack([xp.full_like(offsets, float("nan"))] * len(offsets))
    cross[each, each] = offsets
    return cross


def check_positive(family: str, **values: Any) -> None:
    """Raise ValueError unless all of an adapter's settings are numbers greater than 0."""
    for name, value in values.items():
        if not (is_number(value) and 0 < value < math.inf):
            raise ValueError(f"{family}: {name} must be a number greater than 0, got {value!r}")


def _sizes(shapes: Mapping[str, Shape], layouts: Layouts) -> dict[str, int] | None:
    """Return what the letters stand for, N for the batch's size, None where shapes do not fit."""
    return lengths(shapes.values(), [layouts[name].split() for name in shapes])


def _misfit(shapes: Mapping[str, Shape], layouts: Layouts, others: Mapping[str, Layouts]) -> str:
    """Say what was wanted, what was seen, and which other layout it looks like."""
    wanted = "; ".join(f"{name} ({', '.join(layouts[name].split())})" for name in layouts)
    seen = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    guesses = (said for said, guess in _guesses(layouts, others) if _sizes(shapes, guess))
    guess = next(guesses, "a batch has one more leading axis in each of them")
    return f"wants {wanted}; got {seen}: {guess}"


def _guesses(
    layouts: Layouts, others: Mapping[str, Layouts]
) -> Iterator[tuple[str, dict[str, str]]]:
    for said, other in others.items():
        yield said, {name: other[name] for name in layouts if name in other}
    names = list(layouts)
    for order in itertools.permutations(names):
        if list(order) != names:
            exchanged = dict(zip(order, layouts.values(), strict=True))
            yield f"are {_listed(names)} exchanged?", exchanged
    axes = {name: layout.split() for name, layout in layouts.items()}
    if all(a[-2:] == ["H", "W"] for a in axes.values()):
        yield (
            "they look like channels last (H, W, ...); move those with moveaxis(array, -1, -3)",
            {n: " ".join([*a[-2:], *a[:-2]]) for n, a in axes.items()},
        )
    else:
        yield (
            "they look like channels first (..., H, W); move those with moveaxis(array, -3, -1)",
            {n: " ".join([*a[2:], *a[:2]]) for n, a in axes.items()},
        )


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
