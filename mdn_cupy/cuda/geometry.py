"""The structure that tells the kernels where everything lies; mirrors `kernels/geometry.cu`.

Nothing is copied to be broadcast or made contiguous: leading axes that every array walks through in
one stride are merged, and what is left goes to the kernels as sizes and strides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.problem import VoteProblem
from mdn_cupy.validation import Pair, Shape, shown_pair

__all__ = ["MAX_BLOCKS", "WARPS", "WARP_SIZE", "geometry"]

WARP_SIZE = 32
WARPS = 4  # of a block

MAX_BLOCKS = 1 << 16
"""Of a grid: any device is long since full, and the kernels loop over more work than this."""

_MAX_AXES = 8
_MAX_SIDE = 1 << 30  # of the fields; sources are numbered in 32 bits along an axis
_MAX_MAP_STRIDE = 1 << 23  # from row to row: offsets within 64 rows are counted in 32 bits
_MAX_PATCHES = (1 << 31) - MAX_BLOCKS * WARPS  # numbered in 32 bits, stepped by the grid
_FARTHEST = float(1 << 49)  # positions of sources; kernels/window.cu counts on it

# A patch is nearly square, so that the windows of its sources overlap most.
_PATCH_COLUMNS, _PATCH_ROWS = 8, 4

_AXIS = np.dtype([(name, np.int64) for name in ("size", "confidence", "offsets", "sigma", "map")])
_SCALARS = (
    *("axis_count", "height", "width", "map_height", "map_width"),
    *("confidence_row", "confidence_column", "offsets_component", "offsets_row", "offsets_column"),
    *("sigma_row", "sigma_column", "map_row", "map_column"),
    *("stride_y", "stride_x", "origin_y", "origin_x"),
    *("patches", "patches_down", "patches_across", "patch_columns_log2", "patch_rows"),
)
_GEOMETRY = np.dtype(
    [("axes", _AXIS, (_MAX_AXES,)), *((name, np.dtype(np.int64)) for name in _SCALARS)]
)


def geometry(
    problem: VoteProblem,
    confidence: Shape,
    offsets: Shape,
    sigma: Shape | None,
    maps: Shape,
    enough_patches: int = 1,
) -> npt.NDArray[Any]:
    """Describe a problem to the kernels.

    Parameters
    ----------
    problem : VoteProblem
        Shapes, stride and origin.
    confidence, offsets, sigma : tuple of int
        Strides of the problem's arrays, in elements; None for a sigma that is a number.
    maps : tuple of int
        Strides of the maps over (*maps_shape, Ho, Wo).
    enough_patches : int
        Patches shrink, down to one source, until there are so many.

    Returns
    -------
    structured array of no dimensions
        A `Geometry` of kernels/geometry.cu, read-only.

    Raises
    ------
    ValueError
        If the problem's size or the strides are beyond what the kernels serve.
    """
    _check_sizes(problem, maps)
    confidence = _broadcast(confidence, problem.confidence.shape)
    offsets = _broadcast(offsets, problem.offsets.shape)
    if sigma is None or isinstance(problem.sigma, float):
        sigma = (0,) * (len(problem.batch) + 2)
    else:
        sigma = _broadcast(sigma, problem.sigma.shape)
    height, width = problem.source_shape
    described = {
        **dict(zip(("height", "width"), problem.source_shape, strict=True)),
        **dict(zip(("map_height", "map_width"), problem.output_shape, strict=True)),
        **dict(zip(("confidence_row", "confidence_column"), confidence[-2:], strict=True)),
        **dict(zip(("sigma_row", "sigma_column"), sigma[-2:], strict=True)),
        **dict(zip(("map_row", "map_column"), maps[-2:], strict=True)),
        "offsets_component": offsets[-3],
        "offsets_row": offsets[-2],
        "offsets_column": offsets[-1],
        **dict(zip(("stride_y", "stride_x"), _bits(problem.stride), strict=True)),
        **dict(zip(("origin_y", "origin_x"), _bits(problem.origin), strict=True)),
        **_patches(math.prod(problem.batch), height, width, enough_patches),
    }
    axes = _merged(_leading_axes(problem, confidence, offsets, sigma, maps))
    result = np.zeros((), _GEOMETRY)
    for name, value in described.items():
        result[name] = value
    result["axis_count"] = len(axes)
    for n, axis in enumerate(axes):
        result["axes"][n] = axis
    result.flags.writeable = False
    return result


def _bits(pair: Pair) -> npt.NDArray[np.int64]:
    return np.array(pair, np.float64).view(np.int64)


def _broadcast(strides: Shape, shape: Sequence[int]) -> Shape:
    """Strides of an array seen in the broadcast shape: 0 along axes of length 1."""
    return tuple(0 if size == 1 else stride for stride, size in zip(strides, shape, strict=True))


def _leading_axes(
    problem: VoteProblem, confidence: Shape, offsets: Shape, sigma: Shape, maps: Shape
) -> list[Shape]:
    """(size, stride in each array) of every leading axis; 0 where broadcast or aggregated."""
    leading = len(problem.batch)
    of_map = list(maps[:-2])
    if problem.aggregate is not None:
        of_map.insert(problem.aggregate, 0)
    arrays = (confidence[:leading], offsets[:leading], sigma[:leading], of_map)
    return list(zip(problem.batch, *arrays, strict=True))


def _merged(axes: list[Shape]) -> list[Shape]:
    """Join neighbouring axes that every array walks through in one stride; drop those of size 1."""
    merged: list[Shape] = []
    for size, *strides in axes:
        if size == 1:
            continue
        if merged and list(merged[-1][1:]) == [size * stride for stride in strides]:
            size *= merged.pop()[0]
        merged.append((size, *strides))
    if len(merged) > _MAX_AXES:
        raise ValueError(
            f"the leading axes {tuple(axis[0] for axis in axes)} of these arrays do not merge into "
            f"{_MAX_AXES} in their strides; make the arrays contiguous"
        )
    return merged


def _patches(planes: int, height: int, width: int, enough: int) -> dict[str, int]:
    """Cut planes of sources into patches, one for a warp."""
    rows = min(_PATCH_ROWS, _power_of_two(height))
    most = _PATCH_COLUMNS if rows == _PATCH_ROWS else WARP_SIZE // rows
    columns = min(most, _power_of_two(width))
    while planes * -(-height // rows) * -(-width // columns) < enough:
        if rows * columns == 1:
            break
        rows, columns = (rows, columns // 2) if columns > rows else (rows // 2, columns)
    down, across = -(-height // rows), -(-width // columns)
    patches = planes * down * across
    if patches > _MAX_PATCHES:
        raise ValueError(
            f"{planes} planes of {height} x {width} sources make {patches} patches of work, more "
            f"than the {_MAX_PATCHES} of one launch; vote for parts of the batch"
        )
    return {
        "patches": patches,
        "patches_down": down,
        "patches_across": across,
        "patch_rows": rows,
        "patch_columns_log2": columns.bit_length() - 1,
    }


def _power_of_two(n: int) -> int:
    """Return the least power of two that is not below n."""
    return 1 << (n - 1).bit_length()


def _check_sizes(problem: VoteProblem, maps: Shape) -> None:
    """Raise if a size is beyond the integers or the fixed point of the kernels."""
    if max(problem.source_shape) > _MAX_SIDE:
        raise ValueError(
            f"fields of {problem.source_shape} must not be longer than {_MAX_SIDE} along an axis"
        )
    if max(problem.output_shape) > _MAX_MAP_STRIDE:
        raise ValueError(
            f"output_shape {problem.output_shape} must not be longer than {_MAX_MAP_STRIDE} along "
            "an axis on CUDA"
        )
    if max(map(abs, maps[-2:])) > _MAX_MAP_STRIDE:
        raise ValueError(
            f"the rows and columns of the cotangent lie {maps[-2:]} elements apart, more than "
            f"{_MAX_MAP_STRIDE}; make it contiguous"
        )
    axes = zip(problem.origin, problem.stride, problem.source_shape, strict=True)
    farthest = max(abs(origin) + stride * size for origin, stride, size in axes)
    if farthest >= _FARTHEST:
        raise ValueError(
            f"stride={shown_pair(problem.stride)} and origin={shown_pair(problem.origin)} place "
            f"sources {farthest:.3g} pixels away; on CUDA they must be nearer than {_FARTHEST:.3g}"
        )
