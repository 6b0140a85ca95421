"""Fields in a Zarr store as Dask arrays: nothing is read before it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np

from mdn_cupy.arrays import to_gpu
from mdn_cupy.axes import OWN, Layout
from mdn_cupy.checks import outside
from mdn_cupy.cpu.half import widened
from mdn_cupy.dask.lazy import Index, chunk_sizes, lazily, local, read, shown
from mdn_cupy.io import naming
from mdn_cupy.io.contents import Contents, Refusal, explained
from mdn_cupy.io.reading import ArrayReading, Order
from mdn_cupy.io.zarr import contents
from mdn_cupy.validation import check_count, check_positive, check_size, per_axis

__all__ = ["LazyFields", "fingerprint_of", "open_fields", "zarr_array"]


@dataclass(frozen=True)
class LazyFields:
    """Fields that were not read yet: what `open_fields` returns.

    Attributes
    ----------
    confidence : dask array [..., H, W]
        Confidences.
    offsets : dask array [..., 2, H, W]
        Offsets, in the same chunks.
    sigma : float
        A width that suits them.
    geometry : dict
        The options stride, origin, output_shape and aggregate of the functions of `mdn_cupy.dask`.
    fingerprint : dict
        Which files these are, and how they are read: another content has another one.
    names : tuple of str
        Of the maps that the votes make.
    """

    confidence: da.Array
    offsets: da.Array
    sigma: float
    geometry: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    names: tuple[str, ...] = ("part 0",)


def open_fields(
    url: str | Path,
    *,
    chunks: Any = None,
    confidence: str | None = None,
    offsets: str | None = None,
    order: Order = "xy",
    layout: str | None = None,
    stride: float | Sequence[float] | None = None,
    origin: float | Sequence[float] | None = None,
    sigma: float | None = None,
    names: Sequence[str] | None = None,
    output_shape: Sequence[int] | None = None,
    sigmoid: bool = False,
    scale: float | Sequence[float] = 1.0,
    frame: int | None = None,
    part: int | str | None = None,
    cross: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
    check: bool = False,
) -> LazyFields:
    """Open the fields in a Zarr group, of version 2 or 3, as Dask arrays.

    A task that votes reads of them what it needs itself: nothing that was read waits, or travels
    between workers.

    Parameters
    ----------
    url : str or path
        A folder, or any URL that fsspec knows.
    chunks : optional
        Rows and columns of the chunks, as Dask takes them, such as a number for both; by default
        the shards of the confidence, or its chunks.
    confidence, offsets : str, optional
        Names of the two arrays, [..., H, W] and [..., 2, H, W]; by default found as
        `mdn_cupy.open_fields` finds them.
    order, sigmoid, scale : optional
        As in `mdn_cupy.open_fields`.
    layout : str, optional
        Other axes of the arrays than these, as in `mdn_cupy.open_fields`.
    stride, origin, sigma, names, output_shape : optional
        Instead of what the group says.
    frame : int, optional
        Which frame, where the arrays have a first axis of frames.
    part : int or str, optional
        The part, by its number or name, that votes alone; by default each votes for a map of its
        own. 'all' lets all of them vote into one map.
    cross : bool
        Let all parts vote for each one, or for `part`, by the array cross_offsets.
    device : {'cpu', 'cuda'}
        Where the votes are cast: a task copies what it has read to the GPU, and `to_zarr` copies
        its map back before the task ends. Give a worker one thread for each GPU.
    check : bool
        Look at all values that are read, as `mdn_cupy.check_fields` does: others than votes are a
        ValueError when a result is computed. Cross offsets may be NaN.

    Returns
    -------
    LazyFields
        With the numbers stride, origin, sigma and output_shape of the group, where it has them.

    Raises
    ------
    OSError
        If there is nothing there, or it cannot be read.
    TypeError, ValueError
        If an argument does not fit.
    ValueError
        If it is no Zarr group or holds no such fields; the message begins with the URL.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import zarr
    >>> import mdn_cupy as mdn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     group = zarr.open_group(f"{folder}/slide.zarr")
    ...     _ = group.create_array("confidence", data=np.full((300, 400), 0.5, np.float16))
    ...     _ = group.create_array("offsets", data=np.zeros((2, 300, 400), np.float16))
    ...     fields = mdn.dask.open_fields(f"{folder}/slide.zarr", chunks=256)
    ...     m = mdn.dask.noisy_or(fields.confidence, fields.offsets, 2.0, **fields.geometry)
    ...     m.chunks, bool(m.compute().min() > 0.9)
    (((256, 44), (256, 144)), True)
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    url = local(url)
    frame = None if frame is None else check_count("frame", frame, 0)
    given_layout = None if layout is None else Layout(layout)
    if cross and layout is not None:
        raise ValueError("cross offsets are (P, P, 2, H, W): leave the layout out")
    how = ArrayReading((None, None), given_layout, order, sigmoid, scale, {})
    numbers = {"stride": stride, "origin": origin, "sigma": sigma, "output_shape": output_shape}
    given = {name: _CHECKS[name](value) for name, value in numbers.items() if value is not None}
    with explained(str(url), "Zarr"):
        found = contents(url)
        arrays = _chosen(found, confidence, offsets, cross)
        group = arrays["confidence"].rpartition("/")[0]
        c, o = (
            _Reader(
                found.arrays[name],
                how,
                role,
                frame,
                device=device,
                check=check and not (cross and role == "offsets"),
            )
            for role, name in arrays.items()
        )
        c, o, shape, own = _arranged(c, o, given_layout, arrays)
        geometry, width = _numbers_of(found, group, given)
        texts = _names(found.beside(group, "names") if names is None else np.asarray(names), shape)
        number = None if part in (None, "all") else _part(str(part), texts)
        if given_layout is not None and "P" not in given_layout.maps:
            number = 0  # one map
    grid = own[-2:] if chunks is None else chunk_sizes(chunks, shape[-2:], c.array.dtype)
    leading = own[:-2] if len(own) == len(shape) else (1,) * (len(shape) - 2)
    before: tuple[int, ...] = (shape[0],) if cross else ()
    if number is not None and len(shape) == 3:  # of crossed offsets all parts vote for it
        o, before = replace(o, part=number), ()
        if not cross:
            c, shape, leading = replace(c, part=number), shape[1:], leading[1:]
    if cross:
        leading = shape[:-2]  # all voters of a map together
    if (part == "all" and len(shape) == 3) or cross:
        geometry["aggregate"] = -3
    ones: tuple[int, ...] = (1,) * len(before)
    factors = np.unique(np.broadcast_to(scale, 2)).tolist()
    scale = factors[0] if len(factors) == 1 else np.asarray(scale).tolist()
    reading = {"order": order, "layout": layout, "sigmoid": sigmoid, "scale": scale}
    identity = fingerprint_of(url, [*arrays.values()])
    identity |= {**reading, "frame": frame, "cross": cross, "part": part}
    return LazyFields(
        c.lazy(shape, (*leading, *grid), identity),
        o.lazy((*before, *shape[:-2], 2, *shape[-2:]), (*ones, *leading, 2, *grid), identity),
        width,
        geometry,
        identity,
        ("all",) if part == "all" else texts if number is None else (texts[number],),
    )


def _chosen(
    found: Contents, confidence: str | None, offsets: str | None, cross: bool
) -> dict[str, str]:
    """The names of the two arrays by their roles."""
    given = (("confidence", confidence), ("offsets", offsets))
    arrays = {role: naming.chosen(found, role, name) for role, name in given}
    if cross:
        group = arrays["confidence"].rpartition("/")[0]
        arrays["offsets"] = f"{group}/cross_offsets".lstrip("/")
        if arrays["offsets"] not in found.arrays:
            raise Refusal(f"cross-part voting needs cross_offsets; {found.listed()}")
    for name in arrays.values():
        if np.dtype(found.arrays[name].dtype).kind != "f":
            raise Refusal(f"{name} must be of a floating dtype, got {found.arrays[name].dtype}")
    return arrays


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "stride": partial(per_axis, "stride", positive=True),
    "origin": partial(per_axis, "origin"),
    "sigma": partial(check_positive, "sigma"),
    "output_shape": check_size,
}


def _numbers_of(
    found: Contents, group: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """The geometry and sigma: what is given, what the group says, or the default."""
    said = {"stride": (1.0, 1.0), "origin": (0.0, 0.0), "sigma": 2.0, **given}
    for name, check in _CHECKS.items():
        member = None if name in given else found.beside(group, name)
        if member is not None:
            try:
                said[name] = check(_numbers(name, member))
            except (TypeError, ValueError) as error:
                raise Refusal(f"{error}; give another {name}") from None
    return said, said.pop("sigma")


@dataclass(frozen=True)
class _Reader:
    """Reads a part of one of the fields, in the axes of `LazyFields`."""

    array: Any  # of Zarr
    how: ArrayReading
    role: str
    frame: int | None
    layout: Layout | None = None  # of its axes, if they are not those of `LazyFields`
    part: int | None = None
    device: str = "cpu"
    check: bool = False

    def __call__(self, index: Index) -> Any:
        whole = index if self.part is None else (slice(self.part, self.part + 1), *index)
        values = self._stored(whole) if self.layout is None else self._arranged(self.layout, whole)
        values = self._taken(values if self.part is None else values[0])
        if self.check and (said := _unsound(self.role, widened(values))):
            raise ValueError(f"{self.array.store_path}[{shown(index)}]: {said}")
        return to_gpu(values) if self.device == "cuda" else values

    def lazy(
        self, shape: Sequence[int], chunks: Sequence[int], said: Mapping[str, Any]
    ) -> da.Array:
        """Return the field as a Dask array."""
        dtype = self._taken(np.empty((2, 0, 0), self.array.dtype)).dtype
        meta = np.empty((0,) * len(shape), dtype)
        meta = to_gpu(meta) if self.device == "cuda" else meta
        named = {"array": str(self.array.store_path), "device": self.device, **said}
        return lazily(self, shape, chunks, meta, named)

    def _taken(self, values: Any) -> Any:
        return (self.how.scores if self.role == "confidence" else self.how.vectors)(values)

    def _stored(self, index: Index) -> Any:
        if self.frame is None:
            return read(self.array, index)
        return read(self.array, (slice(self.frame, self.frame + 1), *index))[0]

    def _arranged(self, layout: Layout, index: Index) -> Any:
        if self.role == "confidence":
            wanted = dict(zip("PHW", index, strict=True))
            wanted_here = tuple(wanted[letter] for letter in layout.maps)
            return layout.confidence(self._stored(wanted_here))
        wanted = dict(zip(OWN, index, strict=True))
        parts, count = wanted["P"], self.array.shape[-len(layout.axes) :]
        runs: list[dict[str, slice]] = [{"PC": slice(2 * parts.start, 2 * parts.stop)}]
        if "CP" in layout.axes:  # x and y of some parts lie apart
            half = count[layout.axes.index("CP")] // 2
            runs = [{"CP": slice(n + parts.start, n + parts.stop)} for n in (0, half)]
        found = [
            self._stored(tuple({**wanted, **run}[axis] for axis in layout.axes)) for run in runs
        ]
        axis = layout.axes.index("CP") if len(found) > 1 else 0
        sizes = [wanted[letter].stop - wanted[letter].start for letter in layout.maps]
        return layout.offsets(np.concatenate(found, axis) if axis or found[1:] else found[0], sizes)


def _arranged(
    c: _Reader, o: _Reader, layout: Layout | None, names: Mapping[str, str]
) -> tuple[_Reader, _Reader, tuple[int, ...], tuple[int, ...]]:
    """The readers in the axes of a layout, the shape [..., H, W] of the confidence in these axes,
    and the store's own chunks of its last axes, or of all."""
    framed = int(c.frame is not None)
    shape, other = (tuple(field.array.shape[framed:]) for field in (c, o))
    if c.frame is not None and (
        len(c.array.shape) < 3
        if layout is None
        else layout.leading(c.array.shape, o.array.shape) == ()
    ):
        raise Refusal(
            f"it has no frames: {names['confidence']} has the shape {tuple(c.array.shape)}; "
            "leave out the frame"
        )
    if c.frame is not None and not 0 <= c.frame < c.array.shape[0]:
        raise Refusal(f"frame must be from 0 to {c.array.shape[0] - 1}, got {c.frame}")
    own: Any = getattr(c.array, "shards", None) or getattr(c.array, "chunks", c.array.shape)
    own = own[framed:]
    if layout is not None:
        if layout.leading(shape, other) != ():
            raise Refusal(
                f"wants {layout}, and a frame where there are several; got {names['confidence']} "
                f"{tuple(c.array.shape)}, {names['offsets']} {tuple(o.array.shape)}: "
                f"{Layout.suggestion(shape, other)}"
            )
        c, o = replace(c, layout=layout), replace(o, layout=layout)
        sizes, parts = (dict(zip(layout.maps, each, strict=True)) for each in (shape, own))
        shape = tuple(sizes.get(letter, 1) for letter in "PHW")
        return c, o, shape, tuple(parts.get(letter, 1) for letter in "PHW")
    leading = shape[:-2]
    crossed = (*leading, *leading) if names["offsets"].endswith("cross_offsets") else leading
    if len(shape) < 2 or other != (*crossed, 2, *shape[-2:]):
        wanted = "(P, P, 2, H, W)" if crossed != leading else "(..., 2, H, W)"
        raise Refusal(
            f"offsets ({names['offsets']}) must have the shape {wanted} for the confidence "
            f"{tuple(c.array.shape)}, got {tuple(o.array.shape)}"
        )
    return c, o, shape, own


def _unsound(role: str, values: Any) -> str:
    """Say which values are no votes; two passes, unless there are some, of 0.05 ns a value each."""
    low, high = values.min(initial=0), values.max(initial=0)  # NaN if there is one
    if role == "confidence":
        if low >= 0 and high <= 1:
            return ""
        return outside(role, values, (values >= 0) & (values <= 1), "outside [0, 1]")
    return (
        "" if np.isfinite(high - low) else outside(role, values, np.isfinite(values), "not finite")
    )


def _names(member: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of the parts; where the group has none, those of `mdn_cupy.Fields`."""
    count = shape[-3] if len(shape) > 2 else 1
    named = [] if member is None else [str(name) for name in np.asarray(member[...]).reshape(-1)]
    if named and len(named) != count:
        raise Refusal(f"names must name {count} parts, got {len(named)}")
    return tuple(named) or tuple(f"part {n}" for n in range(count))


def _part(part: str, names: tuple[str, ...]) -> int:
    """The number of a part, by its name or number."""
    for known in (names, tuple(map(str, range(len(names))))):
        if part in known:
            return known.index(part)
    raise Refusal(f"no part {part!r}; the parts are {', '.join(names)}, or all")


def _numbers(name: str, member: Any) -> Any:
    try:
        values = np.asarray(member[...], np.float64).reshape(-1).tolist()
    except (TypeError, ValueError):
        raise Refusal(f"{name} must be of numbers, got {member[...]!r}") from None
    numbers = tuple(int(n) if n.is_integer() else n for n in values)
    return numbers[0] if len(numbers) == 1 else numbers


def zarr_array(array: Any, chunks: Sequence[int], said: Mapping[str, Any]) -> da.Array:
    """Return a Zarr array as a Dask array in chunks, with a fingerprint of what it holds."""
    meta = np.empty((0,) * array.ndim, array.dtype)
    named = {"array": str(array.store_path), **said}
    return lazily(partial(read, array), array.shape, chunks, meta, named)


def fingerprint_of(url: str | Path, names: list[str]) -> dict[str, Any]:
    """Describe arrays of a store so that another content has another description.

    Parameters
    ----------
    url : str or path
        Of the store.
    names : list of str
        Of the arrays in it.

    Returns
    -------
    dict
        The path, and of all files of the arrays the number, the bytes and the time of the last
        change.

    Raises
    ------
    ValueError
        If a file is empty.
    """
    import fsspec

    filesystem, root = fsspec.url_to_fs(str(url))
    count = size = 0
    latest = ""
    for name in names:
        for found in filesystem.find(f"{root}/{name}", detail=True).values():
            if found.get("size") == 0 and not found["name"].rpartition("/")[2].startswith("."):
                raise ValueError(  # of which zarr may read zeros
                    f"{url}: {found['name']} is empty: was it cut off? Write it again, or delete "
                    "it where all its values are the fill value"
                )
            count, size = count + 1, size + int(found.get("size") or 0)
            changed = found.get("mtime") or found.get("LastModified") or found.get("ETag") or ""
            latest = max(latest, str(changed))
    return {"input": str(root), "files": count, "bytes": size, "changed": latest}
