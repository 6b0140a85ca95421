"""Where pixels and sources are: the transforms of layers, in pixels of the output.

The output's pixels are those of the image, wherever its layer shows them: at 0.5 µm a pixel,
cropped, rotated. What is staged is made in these pixels, and put in the world by the image's
transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mdn_viewer.core.grid import Grid
from mdn_viewer.layers.validation import expect_upright

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Points

__all__ = ["Frame", "grid_of", "is_untransformed"]

Array = npt.NDArray[Any]

_SKEW = 1e-6  # of a stride: a thousand sources on, a thousandth of a stride
_NOISE = 1e-9  # pixels: rounding where a world's coordinates are 10⁵ times as large as a pixel
_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Frame:
    """The plane in which the output's pixels are shown; without an image, the world itself.

    Parameters
    ----------
    matrix : array [3, 3]
        Takes (row, column, 1) of a pixel to the same of the world.
    units : tuple of pint.Unit, optional
        Of the world's rows and columns, as the image's layer has them.
    name : str
        What the image is called.
    """

    matrix: Array = field(default_factory=lambda: np.eye(3))
    units: tuple[Any, ...] | None = None
    name: str = ""

    @classmethod
    def of(cls, image: Image | None) -> Frame:
        """Return the plane of an image's pixels.

        Raises
        ------
        ValueError
            If its pixels lie on a line, or its transform is not finite.
        """
        if image is None:
            return cls()
        # Of (H, W), of (H, W, 3) that is not shown in color, and of frames (T, P, H, W).
        matrix = _plane(image, (0, 1) if image.ndim < 4 else (-2, -1))
        if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix[:2, :2]) < 2:
            raise ValueError(
                f"{image.name}: the layer's transform puts all pixels on a line, or nowhere; give "
                "it another scale or affine"
            )
        units = image.units[:2] if image.ndim < 4 else image.units[-2:]
        return cls(matrix, units, image.name)

    def pixel_at(self, position: npt.ArrayLike, units: Sequence[Any] | None) -> Array:
        """Return (row, column), with fractions, of places [..., 2] in a world of some units."""
        places = np.asarray(position, np.float64) * _factors(units, self.units)
        return _places(np.linalg.inv(self.matrix), places)

    def points_of(self, layer: Points) -> Array:
        """Return the points of a layer in the world, the last two axes in pixels of the output."""
        places = np.array([layer.data_to_world(point) for point in layer.data])
        if not len(places):
            return np.zeros((0, layer.ndim))
        places[:, -2:] = self.pixel_at(places[:, -2:], layer.units)
        return places

    def put(self, layer: Layer) -> None:
        """Show a layer whose scale and translation are in pixels where the pixels are."""
        affine = np.eye(layer.ndim + 1)
        affine[-3:, -3:] = self.matrix
        if not np.array_equal(layer.affine.affine_matrix, affine):
            layer.affine = affine
        if self.units is not None and layer.units[-2:] != self.units:
            layer.units = (*layer.units[:-2], *self.units)

    def put_grid(self, layer: Layer, grid: Grid) -> None:
        """Show every source of a layer over its pixel."""
        dims = layer.ndim
        layer.rotate, layer.shear = np.eye(dims), np.zeros(dims * (dims - 1) // 2)
        layer.scale = (*layer.scale[:-2], *grid.stride)
        layer.translate = (*layer.translate[:-2], *grid.origin)
        self.put(layer)

    def matrix_of(self, layer: Layer) -> Array:
        """Return what takes (row, column, 1) of a layer's data to pixels of the output, [3, 3].

        Raises
        ------
        ValueError
            If other axes of the layer have a say in where its rows and columns are.
        """
        plane = _plane(layer)
        plane[:2] *= _factors(layer.units, self.units)[:, None]
        return np.linalg.solve(self.matrix, plane)


def grid_of(layer: Layer, frame: Frame | None = None) -> Grid:
    """Read the stride and the origin of a grid off its layer's transforms.

    Parameters
    ----------
    layer : layer
        Whose last two axes are rows and columns of sources.
    frame : Frame, optional
        Where the output's pixels are; by default the world's units are pixels.

    Raises
    ------
    ValueError
        If its rows and columns do not run along those of the output.
    """
    frame = Frame() if frame is None else frame
    matrix = frame.matrix_of(layer)
    strides, skews = matrix[[0, 1], [0, 1]], matrix[[0, 1], [1, 0]]
    if not ((strides > 0).all() and (np.abs(skews) <= _SKEW * strides.min()).all()):
        upright = np.abs(frame.matrix[[0, 1], [1, 0]]).max() == 0
        if upright and (frame.matrix[[0, 1], [0, 1]] > 0).all():
            expect_upright(layer)
        raise ValueError(
            f"{layer.name}: the layer is rotated, sheared or flipped as seen from "
            f"{frame.name or 'the output'}, but sources must lie in rows and columns of pixels of "
            "the output; give both layers the same rotate, shear and affine, and scales of one sign"
        )
    stride = tuple(_neat(x, _NOISE * x) for x in strides.tolist())
    origin = tuple(_neat(x, _NOISE) for x in matrix[:2, 2].tolist())
    return Grid((stride[0], stride[1]), (origin[0], origin[1]))


def is_untransformed(layer: Layer) -> bool:
    """Whether a layer has no transform of its own."""
    return np.allclose(_plane(layer), np.eye(3))


def _plane(layer: Layer, axes: tuple[int, int] = (-2, -1)) -> Array:
    """Return what takes (row, column, 1) of a layer's data to the same of the world, [3, 3]."""
    dims = layer.ndim
    shear = np.asarray(layer.shear, np.float64)
    if shear.ndim == 1:  # else it is the matrix already
        above, shear = shear, np.eye(dims)
        shear[np.triu_indices(dims, 1)] = above
    within = np.eye(dims + 1)
    within[:dims, :dims] = np.asarray(layer.rotate) @ shear @ np.diag(layer.scale)
    within[:dims, dims] = layer.translate
    matrix: Array = np.asarray(layer.affine.affine_matrix) @ within
    here = [axis % dims for axis in axes]
    others = [axis for axis in range(dims) if axis not in here]
    mixed = np.concatenate([matrix[np.ix_(here, others)].T, matrix[np.ix_(others, here)]])
    if (np.abs(mixed) > _SKEW * np.abs(matrix[:dims, :dims]).max()).any():
        expect_upright(layer)
    return matrix[np.ix_([*here, dims], [*here, dims])]


def _places(matrix: Array, places: Array) -> Array:
    moved: Array = places @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def _factors(units: Sequence[Any] | None, others: Sequence[Any] | None) -> Array:
    """How many of other units some are, along rows and columns; 1, as in napari, if of no kind."""
    if units is None or others is None:
        return np.ones(2)
    pairs = list(zip(units[-2:], others[-2:], strict=True))
    if not all(unit.is_compatible_with(other) for unit, other in pairs):
        return np.ones(2)
    return np.array(
        [1.0 if unit == other else (1 * unit).to(other).magnitude for unit, other in pairs]
    )


def _neat(number: float, noise: float) -> float:
    """Return a number without the rounding of a transform and its inverse."""
    near = round(number, _DECIMALS) + 0.0
    return near if abs(near - number) <= noise else number
