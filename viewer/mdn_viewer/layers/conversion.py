"""Field sets as napari layers, and back. Knows layers, not windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import mdn_cupy as mdn
from mdn_cupy.io import FieldsSequence, Held, Layout
from mdn_viewer.core.contrast import reach_of, symmetric
from mdn_viewer.core.grid import Grid
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.reading import Reading
from mdn_viewer.layers.transforms import Frame
from mdn_viewer.layers.validation import expect_floating, expect_gray

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer, Vectors

__all__ = [
    "carried_by",
    "frames_of",
    "inputs_of",
    "is_output",
    "layer_data",
    "mark_output",
    "opened_of",
    "read_as",
    "renew",
    "role_of",
    "values_of",
]

Array = npt.NDArray[Any]
LayerData = tuple[Array, dict[str, Any], str]

# The keys in a layer's metadata.
_OPENED, _ROLE = "mdn_opened", "mdn_role"
_OUTPUT = "mdn_output"  # a result, which is no input of the next votes
_NEAR = 0.01  # of the way to the next source: whatever rounding does to where a vector starts


def layer_data(opened: Opened, name: str) -> list[LayerData]:
    """Turn a field set into layers that lie over each other and carry it in their metadata.

    Parameters
    ----------
    opened : Opened
        The field set, or its frames.
    name : str
        What the layers' names begin with.

    Returns
    -------
    list of (data, keywords, "image")
        The image, if there is one; the confidence, (P, H, W); the offsets, (2, P, H, W), hidden.
        Frames have an axis before P. The offsets' components come first, so that one slider of
        napari's moves the frame or the part of both.

    Raises
    ------
    ValueError
        If there is no frame, or the grid has no sources, of which napari can make no layer.
    """
    first, frames = opened.first, opened.frames if opened.several else ()
    if first.confidence.size == 0:
        raise ValueError(f"confidence has no sources: its shape is {first.confidence.shape}")
    stride, start = Grid.of(first)
    before = (1,) * bool(frames)  # the scale of the frames' axis
    axes = (*("frame",) * bool(frames), "part", "row", "column")
    zeros = (0,) * bool(frames)
    confidence, offsets, image = first.confidence, np.moveaxis(first.offsets, 1, 0), first.image
    if frames:
        confidence, offsets, image = _stacks(frames, first)
    layers: dict[str, tuple[Any, dict[str, Any]]] = {
        "confidence": (
            confidence,
            {
                "scale": (*before, 1, *stride),
                "translate": (*zeros, 0, *start),
                "axis_labels": axes,
                "colormap": "magma",
                "contrast_limits": (0, 1),
                "opacity": 0.7,
                "rgb": False,  # which napari would take a grid of three or four columns for
            },
        ),
        "offsets": (
            offsets,
            {
                "scale": (1, *before, 1, *stride),
                "translate": (0, *zeros, 0, *start),
                "axis_labels": ("x or y", *axes),
                "colormap": "twilight",  # dark where an offset is 0
                "contrast_limits": symmetric(reach_of(first.offsets)),
                "visible": False,
                "rgb": False,
            },
        ),
    }
    if first.image is not None:
        colour = first.image.ndim == 3
        layers = {"image": (image, {"rgb": colour, "multiscale": False}), **layers}
        if frames and not colour:
            layers["image"][1]["contrast_limits"] = _limits_of(first.image)
    return [
        (
            data,
            {
                "name": f"{name} {role}",
                "cache": not frames,  # dask's keeps every frame that was seen: 36 kB of 4 × 32 × 32
                "metadata": {_OPENED: opened, _ROLE: role},
                **keywords,
            },
            "image",
        )
        for role, (data, keywords) in layers.items()
    ]


def read_as(fields: mdn.Fields, reading: Reading) -> mdn.Fields:
    """Return fields that are to be read otherwise than they say."""
    return mdn.open_fields(vars(fields), **reading.arguments | {"layout": "PCHW"})[0]


def _stacks(frames: Sequence[mdn.Fields], first: mdn.Fields) -> tuple[Any, Any, Any]:
    """Return confidence, offsets and image of all frames, a chunk each, read when it is seen."""
    import dask.array as da  # napari needs it, too

    @lru_cache(maxsize=2)  # the three layers of a frame ask one after the other
    def read(frame: int) -> mdn.Fields | None:
        try:
            found = frames[frame].to_numpy()
        except Exception:  # whatever a reader raises: napari would fail, `go_to` says why
            return None
        return found if found.confidence.shape == first.confidence.shape else None

    def stack(values: Callable[[mdn.Fields], Array | None], axis: int) -> Any:
        sample = values(first)
        if sample is None:
            return None
        shape = np.expand_dims(sample, axis).shape
        chunks: list[tuple[int, ...]] = [(n,) for n in shape]
        chunks[axis] = (1,) * len(frames)

        def block(block_id: tuple[int, ...]) -> Array:
            fields = read(block_id[axis])
            found = None if fields is None else values(fields)
            return np.expand_dims(np.zeros_like(sample) if found is None else found, axis)

        map_blocks: Any = da.map_blocks
        return map_blocks(block, chunks=tuple(chunks), dtype=sample.dtype)

    image = stack(lambda fields: fields.image, 0)
    if image is not None:  # the same for every part: napari counts axes from the last
        shape = (len(frames), len(first.confidence), *image.shape[1:])
        broadcast_to: Any = da.broadcast_to
        image = broadcast_to(image[:, None], shape)
    return (
        stack(lambda fields: fields.confidence, 0),
        stack(lambda fields: np.moveaxis(fields.offsets, 1, 0), 1),
        image,
    )


def _limits_of(image: Array) -> tuple[float, float]:
    """Return the range of an image's dtype, or of the floats that it holds."""
    if image.dtype.kind in "iu":
        return 0.0, float(np.iinfo(image.dtype).max)
    return 0.0, max(reach_of(image), 1.0)


def opened_of(layer: Layer | None) -> Opened | None:
    """Return the field set that a layer of `layer_data` carries, or None."""
    return None if layer is None else layer.metadata.get(_OPENED)


def carried_by(layers: Sequence[LayerData]) -> Sequence[mdn.Fields]:
    """Return the frames of layers of `layer_data`, with the values that they hold now.

    Raises
    ------
    ValueError
        If they are of several field sets.
    """
    carried = [(data, keywords["metadata"]) for data, keywords, _ in layers]
    carried = [(data, metadata) for data, metadata in carried if _OPENED in metadata]
    if not carried:
        return ()
    opened: Opened = carried[0][1][_OPENED]
    if any(metadata[_OPENED] is not opened for _, metadata in carried):
        raise ValueError("the layers are of several field sets; select those of one")
    if opened.several:
        return opened.frames
    values: dict[str, Any] = {m[_ROLE]: np.asarray(data) for data, m in carried}
    if "offsets" in values:
        values["offsets"] = np.moveaxis(values["offsets"], 0, 1)
    return [dataclasses.replace(opened.first, **values)]


def renew(layers: Sequence[Any], frames: Sequence[mdn.Fields]) -> None:
    """Give layers of `layer_data` the values of another field set, or of as many frames.

    Layers of frames stay as they are when one field set is given.
    """
    if not layers:
        return
    opened = dataclasses.replace(layers[0].metadata[_OPENED], frames=frames)
    for data, keywords, _ in layer_data(opened, ""):
        role = keywords["metadata"][_ROLE]
        for layer in layers:
            if role_of(layer) == role and np.ndim(layer.data) == np.ndim(data):
                if data is not layer.data:
                    layer.data = data
                layer.metadata[_OPENED] = opened


def role_of(layer: Image) -> str | None:
    """Say which of a field set a layer of `layer_data` is: "image", "confidence" or "offsets"."""
    role: str | None = layer.metadata.get(_ROLE)
    return role


def is_output(layer: Layer) -> bool:
    """Whether a layer is a result that was added from the canvas, or a copy of one."""
    return _OUTPUT in layer.metadata


def inputs_of(viewer: Viewer, *kinds: type[Layer]) -> list[Any]:
    """Return the layers of a viewer of some kinds, but for results."""
    return [x for x in viewer.layers if isinstance(x, kinds) and not is_output(x)]


def mark_output(layer: Layer) -> None:
    """Mark a layer as a result: it is offered neither as an input nor as a target."""
    layer.metadata[_OUTPUT] = True


@dataclasses.dataclass(frozen=True)
class _Lazy:
    """Values that are computed when they are asked for, as `mdn_cupy.open_fields` takes them."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    compute: Callable[[Any], Array]

    def __getitem__(self, index: Any) -> Array:
        return self.compute(index)


def frames_of(
    confidence: Image,
    offsets: Image | Vectors,
    image: Image | None,
    reading: Reading,
    frame: Frame | None = None,
) -> FieldsSequence:
    """Make the field set of layers, or one for each frame; values are read when they are wanted.

    Parameters
    ----------
    confidence : layer
        Of the shape (H, W) or (P, H, W), or of a layout.
    offsets : layer
        Of the shape (2, H, W) or (P, 2, H, W), or of a layout; or one that `layer_data` made; or
        vectors, which start at their sources. A source without a vector casts no vote.
    image : layer, optional
        What the fields were computed from; its pixels are the output grid. One of as many frames
        is paged through with them.
    reading : Reading
        How they are to be read.
    frame : Frame, optional
        Where the output's pixels are; by default those of the image.

    Returns
    -------
    FieldsSequence
        With the names, and whatever else layers do not hold, of the set that `confidence` carries.

    Raises
    ------
    TypeError, ValueError
        If they do not fit each other; the message says why.
    """
    expect_gray(confidence, "confidence")
    expect_gray(offsets, "offsets")
    expect_floating(confidence)
    shape = tuple(confidence.data.shape)
    own = f"{'PHW'[-len(shape) :]} CPHW"  # as of `layer_data`
    if hasattr(offsets, "vector_style"):  # napari is not imported here: it takes seconds
        read = partial(_offsets_of_vectors, offsets, shape, reading, frame or Frame.of(image))
        o = _Lazy((2, *(1,) * (3 - len(shape)), *shape), np.float32, read)
        reading = dataclasses.replace(reading, layout=own, order="xy")
    else:
        o = _values(offsets)
        if np.dtype(o.dtype).kind in "biu":
            o = _Lazy(o.shape, np.float32, lambda index: values_of(offsets, index).astype("f4"))
        if role_of(offsets) == "offsets":
            reading = dataclasses.replace(reading, layout=own)
    arrays: dict[str, Any] = {"confidence": _values(confidence), "offsets": o}
    arrays["image"] = None if image is None else _values(image)
    layout = Layout(reading.layout) if reading.layout else Layout.usual(shape, o.shape)
    opened = opened_of(confidence)
    sizes = layout.lengths(shape, o.shape)
    if opened is not None and sizes is not None and "".join(layout.maps) in ("PHW", "HW"):
        one = tuple(sizes[axis] for axis in "PHW")
        arrays = vars(opened.first) | arrays if opened.first.confidence.shape == one else arrays
    return mdn.open_fields(arrays, **reading.arguments)


def _values(layer: Image) -> _Lazy:
    return _Lazy(tuple(layer.data.shape), layer.data.dtype, partial(values_of, layer))


def _offsets_of_vectors(
    layer: Vectors, shape: tuple[int, ...], reading: Reading, frame: Frame, _: Any
) -> Array:
    """Return the offsets (2, P, H, W) of arrows, in what the reading has them count."""
    shape = (1,) * (3 - len(shape)) + shape
    data, dims = np.asarray(layer.data, np.float64), layer.ndim
    starts, steps = data[:, 0], data[:, 1, -2:] * layer.length
    if len(shape) != 3 or dims not in (2, 3):
        raise ValueError(f"{layer.name}: vectors must have 2 or 3 dimensions, got {dims}")
    places = np.zeros((len(data), 3))
    places[:, 3 - dims :] = starts
    if not _at_sources(places, shape):  # then they may start at the sources' places in the output
        seen = frame.matrix_of(layer)
        pixels = starts[:, -2:] @ seen[:2, :2].T + seen[:2, 2]
        places[:, 1:] = Grid.of(reading).sources(pixels)
        steps = steps @ seen[:2, :2].T
    if not _at_sources(places, shape):
        raise ValueError(
            f"{layer.name}: vectors must each start at another source of the confidence, whose "
            f"grid is {shape}, or at its place in the output, as stride and origin have it"
        )
    o = np.full((2, *shape), np.nan, np.float32)
    o[:, *np.rint(places).astype(int).T] = steps[:, :-3:-1].T
    return o


def _at_sources(places: Array, shape: tuple[int, ...]) -> bool:
    """Whether every place is that of a source, each of another."""
    index = np.rint(places)
    here = (np.abs(places - index) <= _NEAR) & (index >= 0) & (index < shape)
    return bool(here.all()) and len(np.unique(index, axis=0)) == len(index)


def values_of(layer: Image, index: Any = ...) -> Array:
    """Return a layer's data, or one frame of it, at full resolution, as an array.

    Raises
    ------
    ValueError
        If they are lazy, and cannot be computed.
    """
    try:
        return Held(layer.name, layer.data[0] if layer.multiscale else layer.data)[index]
    except Exception as error:  # whatever the files or the functions behind them raise
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ValueError(f"{layer.name}: its values cannot be computed ({what})") from error
