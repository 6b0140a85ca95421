"""Launches as data: what to run on a CUDA device, computed by pure functions.

A `Launch` holds a kernel's name, its grid and block and its arguments, each of exactly the type of
the kernel's parameter. Nothing here imports CuPy; an `Executor` provides memory and runs launches:
CuPy, torch or, in the tests, a host that runs the same kernels compiled as C++.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array
from mdn_cupy.cuda.geometry import MAX_BLOCKS, WARP_SIZE, WARPS, geometry
from mdn_cupy.maxima import Cells
from mdn_cupy.problem import Rule, VoteProblem
from mdn_cupy.validation import Shape

__all__ = ["Executor", "Launch", "Operand", "PeakPlan", "VotePlan"]

_SUM_BITS = 60  # kernels/fixed_point.cu: sums stay within 2^60, every voter has its share of it
_MAX_GRID_Y = 65535

# Where there is little work it is spread over more warps, to occupy a large device: `gather` on
# smaller patches, `accumulate` on slices of what a patch votes for. There patches stay as they are,
# since a patch adds its votes up in floating point: so a map's bits depend on neither the size of
# its batch nor the grid.
_ENOUGH_WARPS = 2048
_MAX_SLICES = 32

_LONGEST = 1 << 30  # of a side of maps that are searched for peaks; kernels/peaks.cu counts on it

_C_NAMES = {"float32": "float", "float64": "double"}


def _int64_fields(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


# Structures of kernels/peaks.cu and kernels/instances.cu.
_MAPS = _int64_fields("rows", "height", "width", "map_stride", "row_stride", "column_stride")
_TARGETS = _int64_fields("peaks", "side_log2", "down", "across")
_SPACING = _int64_fields("maps", "height", "width", "side", "down", "across", "reach", "peaks")

Argument = np.generic | npt.NDArray[Any]


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Attributes
    ----------
    kernel : str
        The name expression of a template instance in `mdn_cupy/kernels`.
    grid, block : tuple of int
        Blocks of the grid and threads of a block; never 0.
    arguments : tuple of NumPy scalars and 0-d structured arrays
        Addresses are uint64; every other argument has the type of the kernel's parameter.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[Argument, ...]


class Operand(NamedTuple):
    """Address and strides of an array."""

    address: int
    strides: Shape  # in elements


class Executor(Protocol):
    """Memory of one device and the means to run launches there, in the order of the calls."""

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return a new contiguous array."""

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return a new contiguous array of zeros."""

    def operand(self, array: Array) -> Operand:
        """Return the address and the strides of an array."""

    def total(self, array: Array, axes: Sequence[int]) -> Array:
        """Sum over axes, which are kept with length 1."""

    def run(self, launch: Launch) -> None:
        """Run a launch, or queue it."""


@dataclass(frozen=True)
class VotePlan:
    """The launches of one problem, given where its arrays lie.

    Its methods raise ValueError for sizes and strides that the kernels do not serve.

    Parameters
    ----------
    problem : VoteProblem
        What votes; no axis may be empty.
    rule : Rule
        Which φ.
    confidence, offsets : Operand
        Where the fields lie.
    sigma : Operand or None
        Where sigma lies, if it is an array.
    """

    problem: VoteProblem
    rule: Rule
    confidence: Operand
    offsets: Operand
    sigma: Operand | None

    def accumulate(self, result: Operand) -> list[Launch]:
        """Σφ by float atomics, into zeroed `result`."""
        return [self._accumulate(self._real, result, None)]

    def accumulate_exactly(self, sums: Operand, peaks: Operand, result: Operand) -> list[Launch]:
        """Σφ by way of 64-bit fixed point, the same bits always.

        Parameters
        ----------
        sums : Operand [maps, Ho, Wo], int64, zeroed
            Working memory.
        peaks : Operand [maps], int32, zeroed
            Working memory.
        result : Operand [maps, Ho, Wo]
            Where Σφ goes.
        """
        kernel = f"peak<{self._real}, {int(self.rule)}>"
        return [
            self._over_patches(kernel, self._geometry(self._map_numbers), _pointer(peaks)),
            self._accumulate("long long", sums, peaks),
            self._read_out(sums, peaks, result),
        ]

    def gather(
        self,
        cotangent: Operand,
        to_confidence: Operand | None,
        to_offsets: Operand | None,
        to_sigma: Operand | None,
    ) -> list[Launch]:
        """Gradients per voting plane: [*batch, H, W], offsets [*batch, 2, H, W], as asked for."""
        moments = "true" if to_offsets or to_sigma else "false"
        kernel = f"gather<{self._real}, {int(self.rule)}, {moments}>"
        pointers = (_pointer(x) for x in (cotangent, to_confidence, to_offsets, to_sigma))
        described = self._geometry(cotangent.strides, _ENOUGH_WARPS)
        return [self._over_patches(kernel, described, *pointers)]

    def label(
        self,
        cells: Cells,
        radius: float,
        x: Operand,
        y: Operand,
        numbers: Operand,
        order: Operand,
        labels: Operand,
    ) -> Launch:
        """Find the nearest peak to where each vote lands.

        Parameters
        ----------
        cells : Cells
            The peaks in order.
        radius : float
            The farthest at which one may be.
        x, y : Operand [peaks], float64
            Where the peaks are.
        numbers, order : Operand [peaks], int64
            Of `cells`.
        labels : Operand [*batch, H, W], int32
            Where the number of a peak goes, from 1, or 0.
        """
        kernel = f"label_sources<{self._real}>"
        return self._to_peaks(kernel, cells, radius, x, y, numbers, order, labels)

    def moments(
        self,
        cells: Cells,
        reach: float,
        rows: Operand,
        columns: Operand,
        totals: Operand,
        numbers: Operand,
        order: Operand,
        sums: Operand,
    ) -> Launch:
        """Sum up the votes for the pixels of peaks.

        Parameters
        ----------
        cells : Cells
            The peaks in order.
        reach : float
            What no vote reaches beyond, a power of 2: the unit of distances.
        rows, columns : Operand [peaks], int64
            The pixels of the peaks.
        totals : Operand [peaks]
            Σφ there.
        numbers, order : Operand [peaks], int64
            Of `cells`.
        sums : Operand [peaks, 7], int64, zeroed
            Where the moments go, in units of 2⁻⁶⁰; see kernels/instances.cu.
        """
        kernel = f"add_moments<{self._real}, {int(self.rule)}>"
        return self._to_peaks(kernel, cells, 1 / reach, rows, columns, totals, numbers, order, sums)

    def _to_peaks(self, kernel: str, cells: Cells, length: float, *operands: Operand) -> Launch:
        """Launch a kernel in which each source searches the peaks near where it votes."""
        count = len(cells.order)
        described = np.array((count, cells.side_log2, cells.down, cells.across), _TARGETS)
        described.setflags(write=False)
        geometry = self._geometry(self._map_numbers, _ENOUGH_WARPS)
        pointers = map(_pointer, operands)
        number = self.problem.dtype.type(length)
        return self._over_patches(kernel, geometry, described, number, *pointers)

    @property
    def sum_bits(self) -> int:
        """Bits that the votes of all sources, each below 1, leave to the fraction of a sum."""
        voters = self.problem.voters * math.prod(self.problem.source_shape)
        return _SUM_BITS - (voters - 1).bit_length()

    @property
    def _real(self) -> str:
        return _C_NAMES[self.problem.dtype.name]

    def _accumulate(self, sum_type: str, sums: Operand, peaks: Operand | None) -> Launch:
        kernel = f"accumulate<{self._real}, {int(self.rule)}, {sum_type}>"
        described = self._geometry(self._map_numbers)
        outputs = (_pointer(sums), _pointer(peaks), np.int32(self.sum_bits))
        slices = min(-(-_ENOUGH_WARPS // int(described["patches"])), _MAX_SLICES)
        return self._over_patches(kernel, described, *outputs, slices=slices)

    def _read_out(self, sums: Operand, peaks: Operand, result: Operand) -> Launch:
        maps, pixels = self.problem.maps, math.prod(self.problem.output_shape)
        threads = WARP_SIZE * WARPS
        return Launch(
            f"read_out<{self._real}>",
            (min(-(-pixels // threads), MAX_BLOCKS), min(maps, _MAX_GRID_Y), 1),
            (threads, 1, 1),
            (
                _pointer(sums),
                _pointer(result),
                np.int64(maps),
                np.int64(pixels),
                _pointer(peaks),
                np.int32(self.sum_bits),
            ),
        )

    def _geometry(self, map_strides: Shape, enough_patches: int = 1) -> npt.NDArray[Any]:
        return geometry(
            self.problem,
            self.confidence.strides,
            self.offsets.strides,
            None if self.sigma is None else self.sigma.strides,
            map_strides,
            enough_patches,
        )

    def _over_patches(
        self, kernel: str, described: npt.NDArray[Any], *outputs: Argument, slices: int = 1
    ) -> Launch:
        """Launch a kernel that takes the geometry, the inputs and then its own arguments.

        `slices` warps share the work of a patch.
        """
        problem, real = self.problem, self.problem.dtype.type
        width = real(problem.sigma if isinstance(problem.sigma, float) else 0)
        inputs = (_pointer(x) for x in (self.confidence, self.offsets, self.sigma))
        blocks = -(-int(described["patches"]) // WARPS)
        return Launch(
            kernel,
            (min(blocks, MAX_BLOCKS), slices, 1),
            (WARP_SIZE * WARPS, 1, 1),
            (described, *inputs, width, real(problem.truncate), *outputs),
        )

    @property
    def _map_numbers(self) -> Shape:
        """Strides over the leading axes of the result, counted in maps, and 0 for the pixels."""
        shape = self.problem.maps_shape
        return (*(math.prod(shape[n + 1 :]) for n in range(len(shape))), 0, 0)


@dataclass(frozen=True)
class PeakPlan:
    """The launches that find the peaks of evidence maps.

    Parameters
    ----------
    shape : (maps, H, W)
        Of the evidence; none of them 0.
    dtype : dtype
        Of the evidence: float32 or float64.

    Raises
    ------
    ValueError
        If a map is longer than the kernels serve.
    """

    shape: Shape
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        if max(self.shape[1:]) > _LONGEST:
            raise ValueError(
                f"evidence of shape {self.shape} must not be longer than {_LONGEST} along an axis"
            )

    def find(
        self, evidence: Operand, threshold: float, labels: Operand, count: Operand
    ) -> list[Launch]:
        """Find the plateaus, of one pixel or more, that are peaks.

        Parameters
        ----------
        evidence : Operand [maps, H, W]
            The maps.
        threshold : float
            Least value of a peak.
        labels : Operand [maps, H, W], int64, contiguous
            Working memory, which `place` reads.
        count : Operand [1], int64, zeroed
            Where the number of peaks goes.
        """
        real, described = _C_NAMES[self.dtype.name], self._maps(evidence.strides)
        inputs = (described, _pointer(evidence))
        least = self.dtype.type(threshold)
        return [
            self._over_pixels(f"label_peaks<{real}>", *inputs, least, _pointer(labels)),
            self._over_pixels(f"unite_plateaus<{real}>", *inputs, _pointer(labels)),
            self._over_pixels(f"reject_plateaus<{real}>", *inputs, _pointer(labels)),
            self._over_pixels("number_peaks", described, _pointer(labels), _pointer(count)),
        ]

    def place(
        self, labels: Operand, sums: Operand, nearest: Operand, places: Operand
    ) -> list[Launch]:
        """Choose the pixel of every plateau that is nearest to its middle.

        Parameters
        ----------
        labels : Operand [maps, H, W], int64
            From `find`.
        sums : Operand [peaks, 3], int64, zeroed
            Working memory.
        nearest : Operand [peaks], int64, zeroed
            Working memory.
        places : Operand [peaks], int64
            Where the flat indices of the pixels go, in no order.
        """
        described = self._maps((0, 0, 0))
        pointers = tuple(map(_pointer, (labels, sums, nearest, places)))
        return [
            self._over_pixels(kernel, described, *pointers[:count])
            for kernel, count in (("sum_plateaus", 2), ("find_middles", 3), ("place_peaks", 4))
        ]

    def cells(self, reach: int) -> tuple[int, int, int]:
        """Return how wide the cells of a spacing are, and how many lie down and across a map."""
        side = min(math.isqrt(reach - 1) + 1, max(self.shape[1:]))
        return side, -(-self.shape[1] // side), -(-self.shape[2] // side)

    def space(
        self,
        peaks: int,
        reach: int,
        places: Operand,
        cells: Operand,
        order: Operand,
        states: Operand,
    ) -> Launch:
        """Keep the peaks that are at no squared distance below `reach` from a stronger kept one.

        Parameters
        ----------
        peaks, reach : int
            How many there are, and that distance, at least 1.
        places : Operand [peaks], int64
            Flat indices of their pixels, by map, then evidence descending, then position.
        cells : Operand [peaks], int64
            The numbers of their cells, counted over maps, down and across, sorted.
        order : Operand [peaks], int64
            Which peak each entry of `cells` belongs to.
        states : Operand [peaks], int32, zeroed
            Where 1 goes for a peak that is kept, 2 for one that is not.
        """
        spacing = np.array((*self.shape, *self.cells(reach), reach, peaks), _SPACING)
        spacing.setflags(write=False)
        return Launch(
            "space_peaks",
            (min(self.shape[0], MAX_BLOCKS), 1, 1),
            (WARP_SIZE * WARPS, 1, 1),
            (spacing, *map(_pointer, (places, cells, order, states))),
        )

    def _maps(self, strides: Shape) -> npt.NDArray[Any]:
        maps, height, width = self.shape
        described = np.array((maps * height, height, width, *strides), _MAPS)
        described.setflags(write=False)
        return described

    def _over_pixels(self, kernel: str, *arguments: Argument) -> Launch:
        maps, height, width = self.shape
        threads = WARP_SIZE * WARPS
        blocks = (min(-(-width // threads), MAX_BLOCKS), min(maps * height, _MAX_GRID_Y), 1)
        return Launch(kernel, blocks, (threads, 1, 1), arguments)


def _pointer(operand: Operand | None) -> np.uint64:
    return np.uint64(0 if operand is None else operand.address)
