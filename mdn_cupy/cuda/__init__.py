"""The CUDA backend: the only importer of cupy; the same entry points as `mdn_cupy.cpu`.

`launch_plan` turns a problem into launches of the `mdn_cupy/kernels`, and an executor
provides memory and runs them: `CupyExecutor` for CuPy arrays, the one of `mdn_cupy.torch` for
tensors. CuPy is imported when it is first needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array, cast_to, dtype_name, namespace, on_device, stable_argsort
from mdn_cupy.backend import Status
from mdn_cupy.cuda.kernel_source import options, source
from mdn_cupy.cuda.launch_plan import Executor, Launch, Operand, PeakPlan, VotePlan
from mdn_cupy.maxima import cells_of, inside, strongest_first
from mdn_cupy.problem import Gradients, Rule, VoteProblem
from mdn_cupy.problem import vote_problem as problem
from mdn_cupy.validation import Shape

__all__ = [
    "CupyExecutor",
    "Executor",
    "Launch",
    "Operand",
    "accumulate",
    "compare",
    "find_peaks",
    "from_dlpack",
    "from_numpy",
    "gather",
    "instances",
    "launch",
    "noisy_or",
    "nvrtc",
    "peak_moments",
    "problem",
    "status",
]

_CLOSEST = 4  # squared distance of two peaks at least: they are never adjacent


def accumulate(problem: VoteProblem, rule: Rule, executor: Executor | None = None) -> Array:
    """Sum the terms φ(w·c) of all votes for every output pixel.

    Parameters
    ----------
    problem : VoteProblem
        What votes.
    rule : Rule
        Which φ.
    executor : Executor, optional
        Where the problem's arrays live and launches run; CuPy by default.

    Returns
    -------
    array [*maps_shape, Ho, Wo]
        Σφ: the log-complement L of the noisy-or, or the additive sum.
    """
    executor = executor or CupyExecutor(problem.confidence)
    shape = problem.result_shape
    if _is_empty(problem):
        return executor.zeros(shape, problem.dtype)
    plan = _plan(problem, rule, executor)
    if not problem.deterministic:
        result = executor.zeros(shape, problem.dtype)
        launches = plan.accumulate(executor.operand(result))
    else:
        result = executor.empty(shape, problem.dtype)
        sums = executor.zeros(shape, np.dtype(np.int64))
        peaks = executor.zeros((problem.maps,), np.dtype(np.int32))
        operands = (executor.operand(x) for x in (sums, peaks, result))
        launches = plan.accumulate_exactly(*operands)
    for each in launches:
        executor.run(each)
    return result


def noisy_or(problem: VoteProblem, executor: Executor | None = None) -> Array:
    """Compute the noisy-or map m = −expm1(L), in the memory of L; see `accumulate`."""
    log_complement = accumulate(problem, Rule.NOISY_OR, executor)
    return _one_minus_exp(log_complement, out=log_complement)


def compare(
    problem: VoteProblem, rule: Rule, executor: Executor | None = None
) -> tuple[Array, Array, Array]:
    """Compute the maps of the noisy-or and of a sum, one after the other.

    Parameters
    ----------
    problem : VoteProblem
        What votes.
    rule : Rule
        Which sum.
    executor : Executor, optional
        As in `accumulate`.

    Returns
    -------
    m, log_complement, s : array [*maps_shape, Ho, Wo]
        As `noisy_or` and `accumulate` return them.
    """
    log_complement = accumulate(problem, Rule.NOISY_OR, executor)
    return _one_minus_exp(log_complement), log_complement, accumulate(problem, rule, executor)


def gather(
    problem: VoteProblem,
    rule: Rule,
    cotangent: Array,
    wanted: tuple[bool, bool, bool] = (True, True, True),
    executor: Executor | None = None,
) -> Gradients:
    """Pull a cotangent of Σφ back to the confidences, the offsets and sigma.

    Parameters
    ----------
    problem : VoteProblem
        What voted.
    rule : Rule
        Which φ.
    cotangent : array [*maps_shape, Ho, Wo]
        ∂loss/∂Σφ, in any strides.
    wanted : tuple of three bool
        Which gradients to compute.
    executor : Executor, optional
        As in `accumulate`.

    Returns
    -------
    Gradients
        Of the shapes of the caller's arrays, contiguous; of no dimensions for a number.
    """
    executor = executor or CupyExecutor(problem.confidence)
    shapes = _argument_shapes(problem)
    if _is_empty(problem):
        empty = (executor.zeros(shape, problem.dtype) for shape in shapes)
        gradients = [x if asked else None for x, asked in zip(empty, wanted, strict=True)]
    else:
        gradients = [
            None if gradient is None else _summed_to(shape, gradient, executor)
            for gradient, shape in zip(
                _gather(problem, rule, cotangent, wanted, executor), shapes, strict=True
            )
        ]
    return problem.as_given(Gradients(*gradients))


def find_peaks(
    evidence: Array,
    threshold: float,
    reach: int,
    max_peaks: int,
    border: int,
    executor: Executor | None = None,
) -> Array:
    """Find the pixels at which maps peak; see `mdn_cupy.find_peaks` for the definition.

    The host waits for the number of candidates, and for the number of peaks that are left.

    Parameters
    ----------
    evidence : array [maps, H, W]
        float32 or float64, in any strides.
    threshold : float
        Least value of a peak; finite, a number of the maps' dtype.
    reach : int
        A weaker peak at a squared distance below this from a kept one is dropped.
    max_peaks : int
        Peaks to keep of a map.
    border : int
        Width of the margin without peaks.
    executor : Executor, optional
        As in `accumulate`.

    Returns
    -------
    int64 array [n]
        Flat indices into `evidence`, by map, then value descending, then position.
    """
    executor = executor or CupyExecutor(evidence)
    int64 = np.dtype(np.int64)
    if 0 in evidence.shape:
        return executor.zeros((0,), int64)
    _, height, width = shape = tuple(evidence.shape)
    plan = PeakPlan(shape, np.dtype(dtype_name(evidence)))
    labels, count = executor.empty(shape, int64), executor.zeros((1,), int64)
    operands = [executor.operand(x) for x in (evidence, labels, count)]
    for each in plan.find(operands[0], threshold, *operands[1:]):
        executor.run(each)
    found = int(count[0])
    if not found:
        return executor.zeros((0,), int64)
    sums, nearest = executor.zeros((found, 3), int64), executor.zeros((found,), int64)
    places = executor.empty((found,), int64)
    operands = [executor.operand(x) for x in (labels, sums, nearest, places)]
    for each in plan.place(*operands):
        executor.run(each)
    with on_device(evidence):
        places = places[stable_argsort(places)]
        places = places[inside(places, height, width, border)]
        i = places // width
        values = evidence[i // height, i % height, places % width]
        places = strongest_first(places, values, height * width)
        return _strongest(_spaced(places, plan, reach, executor), plan, max_peaks)


def instances(
    problem: VoteProblem,
    number: Array,
    x: Array,
    y: Array,
    radius: float,
    executor: Executor | None = None,
) -> Array:
    """Say for every source to which peak it adds most evidence; see `mdn_cupy.cpu.instances`.

    Parameters
    ----------
    problem : VoteProblem
        The votes.
    number : int64 array [n]
        The map of each peak.
    x, y : float64 array [n]
        Where it is, in output pixels; contiguous.
    radius : float
        Greatest distance of a landing point from its peak; may be infinite.
    executor : Executor, optional
        As in `accumulate`.

    Returns
    -------
    int32 array [*batch, H, W]
        1 for the first peak, and so on; 0 for none.
    """
    executor = executor or CupyExecutor(problem.confidence)
    shape = (*problem.batch, *problem.source_shape)
    if 0 in shape or not len(x):
        return executor.zeros(shape, np.dtype(np.int32))
    with on_device(x):
        cells = cells_of(number, x, y, problem.maps, problem.output_shape)
    labels = executor.empty(shape, np.dtype(np.int32))
    operands = [executor.operand(a) for a in (x, y, cells.numbers, cells.order, labels)]
    executor.run(_plan(problem, Rule.NOISY_OR, executor).label(cells, radius, *operands))
    return labels


def peak_moments(
    problem: VoteProblem,
    rule: Rule,
    pixels: tuple[Array, Array, Array],
    evidence: Array,
    executor: Executor | None = None,
) -> tuple[Array, ...]:
    """Sum up the votes for the pixels of peaks; see `mdn_cupy.cpu.peak_moments`.

    The sums are kept in fixed point: the same bits always. The host waits for the greatest sigma
    where sigma is an array.

    Parameters
    ----------
    problem : VoteProblem
        What votes.
    rule : Rule
        What evidence is.
    pixels : three int64 arrays [n], contiguous
        Map, row and column of each peak.
    evidence : array [n]
        What the evidence is there, in the problem's dtype.
    executor : Executor, optional
        As in `accumulate`.

    Returns
    -------
    float64 arrays [n]
        Seven, as on the CPU.
    """
    executor = executor or CupyExecutor(problem.confidence)
    number, row, column = pixels
    sums = executor.zeros((len(number), 7), np.dtype(np.int64))
    unit = 1.0
    with on_device(sums):
        if len(number) and not _is_empty(problem):
            unit = _farthest_reach(problem)
            totals = 0 - evidence if rule is Rule.NOISY_OR else evidence + 0  # contiguous
            x, y = (cast_to(each, "float64") for each in (column, row))
            cells = cells_of(number, x, y, problem.maps, problem.output_shape)
            arrays = (row, column, totals, cells.numbers, cells.order, sums)
            operands = (executor.operand(each) for each in arrays)
            executor.run(_plan(problem, rule, executor).moments(cells, unit, *operands))
        powers = (0, 0, 1, 1, 2, 2, 2)  # of distances
        found = cast_to(sums, "float64")
        return tuple(found[:, n] * (2.0**-60 * unit**power) for n, power in enumerate(powers))


def from_dlpack(exporter: Any) -> Array:
    """Return a CuPy array that shares the memory of a DLPack exporter on a CUDA device."""
    import cupy

    return cupy.from_dlpack(exporter)


def from_numpy(array: npt.NDArray[Any]) -> Array:
    """Return a copy of a NumPy array on the current device; RuntimeError where there is none."""
    here = status()
    if not here.works:
        raise RuntimeError(
            f"no GPU can be used here: {here.detail}; NumPy arrays vote on the CPU as they are"
        )
    import cupy

    with _explained():
        return cupy.asarray(array)


def launch(what: Launch, stream: Any = None) -> None:
    """Run a launch on the current device.

    Parameters
    ----------
    what : Launch
        What to run.
    stream : object with the stream's handle in `ptr`, optional
        Where to queue it; CuPy's current stream by default.
    """
    import cupy

    with _explained():
        function = _function(cupy.cuda.runtime.getDevice(), what.kernel)
        function(what.grid, what.block, what.arguments, stream=stream)


class CupyExecutor:
    """CuPy's memory and current stream on the device of an array."""

    def __init__(self, array: Array) -> None:
        self._device = array.device

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return a new array."""
        import cupy

        with self._device, _explained():
            return cupy.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return a new array of zeros."""
        import cupy

        with self._device, _explained():
            return cupy.zeros(shape, dtype)

    def operand(self, array: Array) -> Operand:
        """Say where an array lies."""
        if any(stride % array.itemsize for stride in array.strides):
            raise ValueError(
                f"the strides {array.strides} of an array are not multiples of its "
                f"{array.itemsize}-byte elements; copy it with cupy.ascontiguousarray"
            )
        return Operand(array.data.ptr, tuple(stride // array.itemsize for stride in array.strides))

    def total(self, array: Array, axes: Sequence[int]) -> Array:
        """Sum over axes."""
        with self._device, _explained():
            return array.sum(axis=tuple(axes), keepdims=True)

    def run(self, what: Launch) -> None:
        """Queue a launch."""
        with self._device:
            launch(what)


def nvrtc() -> Any:
    """Return CuPy's binding of the run-time compiler, which works with no GPU."""
    from cupy.cuda import nvrtc as compiler

    return compiler


def status() -> Status:
    """Say whether CUDA works here, and if not what would make it; never raises."""
    if find_spec("cupy") is None:
        return Status(False, 'CuPy is not installed; pip install "mdn-cupy[cuda13]" (or cuda12)')
    try:
        import cupy

        runtime = cupy.cuda.runtime
        built, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()
        if driver == 0:
            return Status(False, "no NVIDIA driver is loaded; CuPy " + cupy.__version__)
        if driver // 1000 < built // 1000:
            return Status(False, _driver_too_old(built, driver))
        count = runtime.getDeviceCount()
        name = runtime.getDeviceProperties(0)["name"].decode()
    except Exception as error:  # whatever is wrong with CuPy, it means: not here
        return Status(False, f"CuPy does not find a usable device: {error}")
    more = f" and {count - 1} more" if count > 1 else ""
    return Status(True, f"{name}{more}, CuPy {cupy.__version__}")


def _driver_too_old(built: int, driver: int) -> str:
    return (
        f"CuPy is built for CUDA {built // 1000}, the driver serves up to CUDA {driver // 1000}; "
        f'update the driver or pip install "mdn-cupy[cuda{driver // 1000}]" in a fresh environment'
    )


def _one_minus_exp(log_complement: Array, out: Array | None = None) -> Array:
    xp = namespace(log_complement)
    with on_device(log_complement):
        m = xp.expm1(log_complement, out=out)
        return xp.subtract(0, m, out=m)  # 0 where L is, and not −0


def _is_empty(problem: VoteProblem) -> bool:
    return 0 in (*problem.batch, *problem.source_shape, *problem.output_shape)


def _spaced(places: Array, plan: PeakPlan, reach: int, executor: Executor) -> Array:
    """Drop peaks near stronger ones."""
    if reach <= _CLOSEST or not len(places):
        return places
    _, height, width = plan.shape
    side, down, across = plan.cells(reach)
    i = places // width
    cells = (i // height * down + i % height // side) * across + places % width // side
    order = stable_argsort(cells)
    cells = cells[order]
    states = executor.zeros(tuple(places.shape), np.dtype(np.int32))
    operands = (executor.operand(x) for x in (places, cells, order, states))
    executor.run(plan.space(len(places), reach, *operands))
    return places[states == 1]


def _strongest(places: Array, plan: PeakPlan, max_peaks: int) -> Array:
    """Keep the first peaks of each map."""
    if max_peaks >= len(places):
        return places
    xp, maps = namespace(places), places // (plan.shape[1] * plan.shape[2])
    first = xp.searchsorted(maps, maps)  # of the same map
    return places[xp.ones_like(maps).cumsum(0) - 1 - first < max_peaks]


def _farthest_reach(problem: VoteProblem) -> float:
    """Return a power of 2 that no vote reaches beyond, 2⁵² at most."""
    widest = problem.sigma
    if not isinstance(widest, float):
        widest = float(namespace(widest).nan_to_num(widest).max())
    _, exponent = math.frexp(problem.truncate * min(widest, 2.0**52))
    return 2.0 ** min(max(exponent, -100), 52)


def _plan(problem: VoteProblem, rule: Rule, executor: Executor) -> VotePlan:
    sigma = problem.sigma
    return VotePlan(
        problem,
        rule,
        executor.operand(problem.confidence),
        executor.operand(problem.offsets),
        None if isinstance(sigma, float) else executor.operand(sigma),
    )


def _gather(
    problem: VoteProblem,
    rule: Rule,
    cotangent: Array,
    wanted: tuple[bool, bool, bool],
    executor: Executor,
) -> list[Array | None]:
    """Compute the gradients of each voting plane, not yet summed over broadcast axes."""
    plane = (*problem.batch, *problem.source_shape)
    offsets = (*problem.batch, 2, *problem.source_shape)
    gradients = [
        executor.empty(shape, problem.dtype) if asked else None
        for shape, asked in zip((plane, offsets, plane), wanted, strict=True)
    ]
    if any(wanted):
        outputs = [None if g is None else executor.operand(g) for g in gradients]
        for each in _plan(problem, rule, executor).gather(executor.operand(cotangent), *outputs):
            executor.run(each)
    return gradients


def _summed_to(shape: Shape, gradient: Array, executor: Executor) -> Array:
    """Add a gradient up over the axes along which its argument was broadcast."""
    axes = [n for n, size in enumerate(gradient.shape) if size != shape[n]]
    return executor.total(gradient, axes) if axes else gradient


def _argument_shapes(problem: VoteProblem) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of the arguments; a number counts as an array of one element."""
    sigma = problem.sigma
    width = (1,) * (len(problem.batch) + 2) if isinstance(sigma, float) else tuple(sigma.shape)
    return tuple(problem.confidence.shape), tuple(problem.offsets.shape), width


@cache
def _function(device: int, kernel: str) -> Any:
    """Load a kernel on a device, which must be current; CuPy caches the binary on disk."""
    import cupy

    module = cupy.RawModule(
        code=source(), options=options(kernel), name_expressions=(kernel,), backend="nvrtc"
    )
    return module.get_function(kernel)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what CuPy raises for lack of memory, compiler or driver into one line and a remedy."""
    import cupy

    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise MemoryError(
            f"the GPU's memory is full ({error}); vote for fewer maps at a time or a smaller "
            "output_shape, or free CuPy's cache: cupy.get_default_memory_pool().free_all_blocks()"
        ) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        raise RuntimeError(f"CUDA failed: {error}; here, {status()}") from error
    except (ImportError, OSError, RuntimeError) as error:
        if "nvrtc" not in str(error).lower():
            raise
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise RuntimeError(
            f"CuPy cannot load the compiler NVRTC ({error}); "
            f'pip install "mdn-cupy[cuda{major}]" brings it'
        ) from error
