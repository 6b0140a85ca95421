"""Which axes an array has: the check that every adapter begins with, and what it makes of a batch.

A layout is written as a string of axes, "2J H W": a letter stands for one length throughout a
family's arrays, a number for itself, a number before a letter multiplies it, "4|5" allows either.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mdn_cupy.arrays import Array, adopt, cast_to, is_number, is_torch, namespace, on_device
from mdn_cupy.fields import Fields
from mdn_cupy.validation import check_flag, floating_dtype

__all__ = ["cells", "check_positive", "clipped", "convert", "no_cross_votes", "vectors"]

Layouts = Mapping[str, str]
Shape = tuple[int, ...]


def convert(
    family: str,
    to_fields: Callable[..., dict[str, Any]],
    arrays: Mapping[str, Array | None],
    layouts: Layouts,
    *,
    centred: bool = False,
    image: Any = None,
    others: Mapping[str, Layouts] | None = None,
    **settings: Any,
) -> Fields | list[Fields]:
    """Check the layout of a family's arrays and convert them, one image after the other.

    Parameters
    ----------
    family : str
        The adapter's name, for error messages and as the fields' source.
    to_fields : callable
        Takes the arrays of one image, of a floating dtype of at least 32 bits, by name; returns
        keywords of `Fields`.
    arrays : dict of array
        What the network wrote, by the adapter's argument; None where it was left out.
    layouts : dict of str
        The axes of every array for one image.
    centred : bool
        Whether cells sit half a stride in, and cover the output: stride · (H, W) pixels.
    image : array or sequence of array, optional
        The image, or one for each of a batch.
    others : dict of dict of str, optional
        Other layouts that users have, by what to say of them.
    **settings
        More keywords of `Fields`, the same for all images; what is None is left out. Without sigma
        it is half a stride, at which the votes of neighbouring cells meet, and 2 at least.

    Returns
    -------
    Fields or list of Fields
        A list where the arrays have one more leading axis, the batch.

    Raises
    ------
    TypeError
        If an array is not floating, or they are not on one device.
    ValueError
        If the shapes fit no layout; the message says which other they look like.
    """
    _, given = adopt(**{name: x for name, x in arrays.items() if x is not None})
    given = {name: cast_to(x, floating_dtype(name, x)) for name, x in given.items()}
    shapes = {name: tuple(x.shape) for name, x in given.items()}
    layouts = {name: layouts[name] for name in given}
    settings = {name: value for name, value in settings.items() if value is not None}

    def one(image: Any, values: Mapping[str, Array]) -> Fields:
        made = {"source": family, "stride": 1.0, **to_fields(**values), **settings}
        stride = made["stride"]
        if centred:
            height, width = made["confidence"].shape[-2:]
            made["origin"] = stride / 2
            made["output_shape"] = round(stride * height), round(stride * width)
        widest = max(stride) if isinstance(stride, tuple) else stride
        made.setdefault("sigma", max(2.0, widest / 2))
        if image is not None:
            made.pop("output_shape", None)
        return Fields(**made, image=image)

    first = next(iter(given.values()))
    if _fit(shapes, layouts):
        with on_device(first):
            return one(image, given)
    if not _fit(shapes, _batched(layouts)):
        raise ValueError(f"{family}: {_misfit(shapes, layouts, others or {})}")
    count = len(first)
    if image is not None and len(image) != count:
        raise ValueError(
            f"{family}: image must hold {count} images, as the batch, got {len(image)}"
        )
    images = [None] * count if image is None else image
    with on_device(first):
        return [one(images[b], {name: x[b] for name, x in given.items()}) for b in range(count)]


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


def _fit(shapes: Mapping[str, Shape], layouts: Layouts) -> bool:
    lengths: dict[str, int] = {}
    return all(
        len(shape) == len(axes := layouts[name].split())
        and all(_fits(axis, n, lengths) for axis, n in zip(axes, shape, strict=True))
        for name, shape in shapes.items()
    )


def _fits(axis: str, n: int, lengths: dict[str, int]) -> bool:
    """Compare one axis; `lengths` remembers what the letters stand for."""
    factor, letter = re.fullmatch(r"([\d|]*)([A-Z]?)", axis).groups()  # type: ignore[union-attr]
    if not letter:
        return n in map(int, factor.split("|"))
    count, rest = divmod(n, int(factor or 1))
    return rest == 0 and lengths.setdefault(letter, count) == count


def _batched(layouts: Layouts) -> dict[str, str]:
    return {name: f"B {layout}" for name, layout in layouts.items()}


def _misfit(shapes: Mapping[str, Shape], layouts: Layouts, others: Mapping[str, Layouts]) -> str:
    """Say what was wanted, what was seen, and which other layout it looks like."""
    wanted = "; ".join(f"{name} ({_axes(layout)})" for name, layout in layouts.items())
    seen = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    guesses = (
        said
        for said, guess in _guesses(layouts, others)
        if _fit(shapes, guess) or _fit(shapes, _batched(guess))
    )
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


def _axes(layout: str) -> str:
    return ", ".join(layout.split())


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
