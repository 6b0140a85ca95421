"""Launches are data: planned by pure functions, typed to the byte, nothing copied or run."""

import dataclasses
import math

import numpy as np
import pytest
from cuda_host import HostExecutor, kernels

from mdn_cupy import cuda
from mdn_cupy.cuda.geometry import MAX_BLOCKS
from mdn_cupy.cuda.launch_plan import Operand, VotePlan
from mdn_cupy.problem import Rule, VoteOptions, vote_problem

FAR = Operand(0x7F00_0000_1000, ())
MAP = Operand(0x7F00_0000_1000, (1, 1))


def problem(shape=(4, 5), offsets=None, sigma=1.0, dtype=np.float32, **options):
    """A problem of arrays without memory: only their shapes and strides count."""
    confidence = np.broadcast_to(dtype(0), shape)
    offsets = np.broadcast_to(dtype(0), offsets or (*shape[:-2], 2, *shape[-2:]))
    return vote_problem(confidence, offsets, sigma, VoteOptions(**options))


def contiguous(shape):
    return tuple(math.prod(shape[n + 1 :]) for n in range(len(shape)))


def plan(of, confidence=None, offsets=None, sigma=None, rule=Rule.NOISY_OR):
    """A plan of arrays at made-up places, contiguous unless strides are given."""
    has_sigma = not isinstance(of.sigma, float)
    return VotePlan(
        of,
        rule,
        Operand(0x1000, confidence or contiguous(of.confidence.shape)),
        Operand(0x2000, offsets or contiguous(of.offsets.shape)),
        Operand(0x3000, sigma or contiguous(of.sigma.shape)) if has_sigma else None,
    )


def axes(geometry):
    return [tuple(int(x) for x in axis) for axis in geometry["axes"][: geometry["axis_count"]]]


def geometry(of, **strides):
    (launch,) = plan(of, **strides).accumulate(FAR)
    return launch.arguments[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("sigma", [1.0, np.ones((5, 4, 5))])
def test_arguments_have_the_types_of_the_parameters(rule, dtype, sigma):
    of = problem((5, 4, 5), sigma=sigma, dtype=dtype)
    maps = Operand(0x4000, contiguous(of.result_shape))
    planned = plan(of, rule=rule)
    launches = [
        *planned.accumulate(maps),
        *planned.accumulate_exactly(maps, maps, maps),
        *planned.gather(maps, maps, None, None),
        *planned.gather(maps, None, maps, maps),
    ]
    for launch in launches:
        assert all(isinstance(x, np.generic | np.ndarray) for x in launch.arguments)
        kernels(launch.kernel).get_function(launch.kernel)._check(launch.arguments)
        assert all(n > 0 for n in (*launch.grid, *launch.block))
    assert len({launch.kernel for launch in launches}) == len(launches) == 6


def test_planning_is_pure():
    of = problem((3, 4, 5))
    first, second = (plan(of).accumulate_exactly(FAR, FAR, FAR) for _ in range(2))
    assert [x.kernel for x in first] == [x.kernel for x in second]
    for a, b in zip(first, second, strict=True):
        assert a.grid == b.grid
        assert [x.tobytes() for x in a.arguments] == [x.tobytes() for x in b.arguments]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first[0].grid = (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        first[0].arguments[0]["width"] = 7


def test_contiguous_leading_axes_merge_into_one():
    described = geometry(problem((2, 3, 7, 4, 5)))
    assert axes(described) == [(42, 20, 40, 0, 1)]


def test_a_broadcast_axis_keeps_its_neighbours_apart():
    described = geometry(
        problem((2, 1, 7, 4, 5), (1, 3, 7, 2, 4, 5), np.ones((7, 1, 1)), aggregate=-3)
    )
    assert axes(described) == [(2, 140, 0, 0, 3), (3, 0, 280, 0, 1), (7, 20, 40, 1, 0)]
    assert (described["sigma_row"], described["sigma_column"]) == (0, 0)


def test_strides_go_to_the_kernel_as_they_are():
    described = geometry(problem((2, 3, 4, 5)), confidence=(1, 2, 6, -24), offsets=(3, 0, 5, 50, 7))
    assert axes(described) == [(2, 1, 3, 0, 3), (3, 2, 0, 0, 1)]
    assert (described["confidence_row"], described["confidence_column"]) == (6, -24)
    assert described["offsets_component"] == 5
    assert (described["offsets_row"], described["offsets_column"]) == (50, 7)


def test_axes_of_length_one_vanish():
    assert axes(geometry(problem((1, 1, 1, 4, 5)))) == []


def test_too_many_axes_that_do_not_merge_are_refused():
    leading = (2,) * 9
    strides = tuple(3**n for n in range(9))
    with pytest.raises(ValueError, match="do not merge into 8"):
        geometry(problem((*leading, 4, 5)), confidence=(*strides, 5, 1))


def test_every_source_is_in_one_patch():
    for shape in [(1, 1), (1, 100), (100, 1), (3, 5), (64, 64), (5, 128, 128), (1000, 7, 7)]:
        described = geometry(problem(shape))
        rows, columns = int(described["patch_rows"]), 1 << int(described["patch_columns_log2"])
        assert rows * columns <= 32
        assert described["patches_down"] == -(-shape[-2] // rows)
        assert described["patches_across"] == -(-shape[-1] // columns)
        planes = math.prod(shape[:-2])
        assert described["patches"] == (
            planes * described["patches_down"] * described["patches_across"]
        )


def test_small_problems_are_spread_over_many_warps_and_large_ones_fill_them():
    """In `accumulate` by slices of the pixels, its patches unchanged; in `gather` by patches."""
    for shape, slices, patches in [((16, 16), 32, 256), ((128, 128), 4, 2048)]:
        of = problem(shape)
        (forward,), (backward,) = plan(of).accumulate(FAR), plan(of).gather(MAP, FAR, None, None)
        assert forward.arguments[0]["patches"] == math.prod(shape) // 32
        assert forward.grid[1:] == (slices, 1)
        assert backward.arguments[0]["patches"] == patches
        assert backward.grid[1:] == (1, 1)
    (large,) = plan(problem((64, 128, 128))).accumulate(FAR)
    assert large.grid == (8192, 1, 1)
    assert large.arguments[0]["patch_rows"] << int(large.arguments[0]["patch_columns_log2"]) == 32


def test_work_beyond_the_grid_is_looped_over():
    (launch,) = plan(problem((300, 300, 300, 300))).accumulate(FAR)
    assert launch.grid == (MAX_BLOCKS, 1, 1)
    read_out = plan(problem((70000, 1, 1))).accumulate_exactly(FAR, FAR, FAR)[-1]
    assert read_out.grid == (1, 65535, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (2**30 + 1, 1), "output_shape": (1, 1)}, "fields .* longer than"),
        ({"output_shape": (2**23 + 1, 1)}, "output_shape .* longer than"),
        ({"stride": 1e15, "output_shape": (4, 5)}, "pixels away"),
        ({"origin": (0.0, -1e15)}, "origin=.0, -1e.15. place sources .* pixels away"),
        ({"shape": (2**20, 2**20, 1, 1)}, "patches of work"),
    ],
)
def test_what_the_kernels_do_not_serve_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        geometry(problem(**arguments))


def test_a_cotangent_in_far_strides_is_refused():
    far = Operand(0, (1, 2**23 + 1, 1))
    with pytest.raises(ValueError, match="make it contiguous"):
        plan(problem((3, 4, 5))).gather(far, FAR, None, None)


@pytest.mark.parametrize("voters", [1, 2, 3, 64, 65, 2**20, 2**40])
def test_the_fixed_point_leaves_room_for_every_voter(voters):
    rows = math.isqrt(voters) if math.isqrt(voters) ** 2 == voters else 1
    bits = plan(problem((rows, voters // rows), output_shape=(1, 1))).sum_bits
    assert voters << bits <= 1 << 60 < voters << bits + 1


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0)])
@pytest.mark.parametrize("output_shape", [None, (7, 6)])
def test_empty_problems_launch_nothing(shape, output_shape):
    executor = HostExecutor()
    of = problem(shape, sigma=np.ones((4, 1)) if shape[1] else 1.0, output_shape=output_shape)
    total = cuda.accumulate(of, Rule.NOISY_OR, executor)
    assert total.shape == of.result_shape
    gradients = cuda.gather(of, Rule.NOISY_OR, total, (True, True, False), executor)
    assert [g.shape for g in gradients[:2]] == [of.confidence.shape, of.offsets.shape]
    assert gradients.sigma is None
    assert executor.launches == []


def test_an_empty_output_launches_nothing():
    executor = HostExecutor()
    of = problem((3, 4, 5), output_shape=(0, 5))
    assert cuda.accumulate(of, Rule.NOISY_OR, executor).shape == (3, 0, 5)
    gradients = cuda.gather(of, Rule.NOISY_OR, np.zeros((3, 0, 5), np.float32), executor=executor)
    assert not any(g.any() for g in gradients)
    assert gradients.sigma.shape == ()
    assert executor.launches == []


def test_gradients_that_nobody_wants_are_not_computed():
    executor = HostExecutor()
    of = problem((3, 4, 5))
    cotangent = np.ones(of.result_shape, np.float32)
    assert cuda.gather(of, Rule.NOISY_OR, cotangent, (False, False, False), executor) == (
        None,
        None,
        None,
    )
    assert executor.launches == []
    cuda.gather(of, Rule.NOISY_OR, cotangent, (True, False, False), executor)
    cuda.gather(of, Rule.NOISY_OR, cotangent, (False, False, True), executor)
    assert [x.kernel for x in executor.launches] == [
        "gather<float, 0, false>",
        "gather<float, 0, true>",
    ]
