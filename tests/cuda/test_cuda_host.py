"""The host executor detects planted faults, and accepts the correct counterpart of each."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cuda_host import CudaFault, HostExecutor, HostModule, build

from mdn_cupy.cuda.launch_plan import Launch

HERE = Path(__file__).parents[1]
FAULTS = (
    *("write_beyond", "read_beyond", "reverse", "sum_of_neighbours", "pick"),
    *("sum_of_warp", "first_of_half", "meet", "half_way"),
)
SEEDS = range(1, 9)


@cache
def planted(_=None):
    names = [f"{name}<{faulty}>" for name in FAULTS for faulty in ("false", "true")]
    return HostModule((HERE / "cuda_host" / "faults.cu").read_text(), names)


def run(name, faulty, values, *scalars, seed=1, threads=64):
    """Run a kernel on a copy of `values` and return what it left there."""
    executor = HostExecutor(seed, planted)
    array = executor.empty(values.shape, values.dtype)
    array[...] = values
    arguments = (np.uint64(executor.operand(array).address), *scalars)
    kernel = f"{name}<{'true' if faulty else 'false'}>"
    executor.run(Launch(kernel, (1, 1, 1), (threads, 1, 1), arguments))
    return array


COUNT = np.arange(64, dtype=np.int32)


def test_a_write_beyond_an_array():
    run("write_beyond", False, COUNT[:50], np.int32(50))
    with pytest.raises(CudaFault, match="wrote beyond an array"):
        run("write_beyond", True, COUNT[:50], np.int32(50))


def test_a_missing_barrier():
    for seed in SEEDS:
        np.testing.assert_array_equal(run("reverse", False, COUNT, seed=seed), COUNT[::-1])
    assert any((run("reverse", True, COUNT, seed=seed) != COUNT[::-1]).any() for seed in SEEDS)


def test_shared_memory_that_was_never_written():
    results = {}
    for faulty in (False, True):
        for seed in (1, 2):
            sums = np.zeros(64, np.int32)
            pointers = [np.uint64(x.ctypes.data) for x in (COUNT, sums)]
            name = f"sum_of_neighbours<{'true' if faulty else 'false'}>"
            planted().get_function(name)((1,), (64,), pointers, seed=seed)
            results[faulty, seed] = sums
    np.testing.assert_array_equal(results[False, 1], results[False, 2])
    assert (results[True, 1] != results[True, 2]).any()


def test_a_variable_that_was_never_set():
    values = np.float32([0, 1, 2, 3])
    right = run("pick", False, values, np.float32(1), threads=4)
    np.testing.assert_array_equal(right, [0, 0, 1, 1])
    wrong = run("pick", True, values, np.float32(1), threads=4)
    assert (wrong != right).any()


def test_an_empty_array_that_was_never_written():
    first, second = (HostExecutor(seed).empty((3,), np.float32) for seed in (1, 2))
    assert np.isnan(first).all()
    assert (np.abs(second) > 1e38).all()


@pytest.mark.parametrize(
    "arguments",
    [
        (np.uint64(0), np.float64(1)),
        (np.uint64(0), 1.0),
        (np.uint64(0), np.int32(1)),
        (np.uint64(0),),
        (np.int32(0), np.float32(1)),
    ],
    ids=["float64", "Python float", "int32", "too few", "no address"],
)
def test_an_argument_of_another_type_than_the_parameter(arguments):
    with pytest.raises(CudaFault, match=r"takes \['u8', 'f4'\], got"):
        planted().get_function("pick<false>")((1,), (1,), arguments)


def test_lanes_that_leave_a_shuffle_out():
    assert run("sum_of_warp", False, COUNT).tolist() == [sum(range(32))] * 32 + [1520] * 32
    with pytest.raises(CudaFault, match="deadlock"):
        run("sum_of_warp", True, COUNT)


def test_a_shuffle_from_a_lane_that_takes_no_part():
    assert run("first_of_half", False, COUNT)[:16].tolist() == [0] * 16
    with pytest.raises(CudaFault, match="takes no part"):
        run("first_of_half", True, COUNT)


def test_lanes_that_meet_in_different_operations():
    run("meet", False, COUNT)
    with pytest.raises(CudaFault, match="meet in different operations"):
        run("meet", True, COUNT)


def test_a_barrier_that_not_all_threads_reach():
    run("half_way", False, COUNT)
    with pytest.raises(CudaFault, match="deadlock"):
        run("half_way", True, COUNT)


def test_a_fault_leaves_the_executor_usable():
    with pytest.raises(CudaFault):
        run("meet", True, COUNT)
    assert run("meet", False, COUNT).tolist() == [1] * 64


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"g++", "clang++", "ziglang"}, ["/bin/g++"]),
        ({"clang++", "ziglang"}, ["/bin/clang++"]),
        ({"ziglang"}, [sys.executable, "-m", "ziglang", "c++"]),
    ],
)
def test_without_a_system_compiler_that_of_ziglang_is_taken(monkeypatch, there, found):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(
        build.shutil, "which", lambda name: f"/bin/{name}" if name in there else None
    )
    monkeypatch.setattr(build, "find_spec", lambda name: name if name in there else None)
    assert list(build.compiler.__wrapped__()) == found


def test_without_any_compiler_the_message_names_both_remedies(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    monkeypatch.setattr(build, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r"install g\+\+, or ziglang"):
        build.compiler.__wrapped__()


@pytest.mark.slow
@pytest.mark.skipif(
    not build.has_sanitizers(), reason="needs g++ and its sanitizers: apt install g++"
)
def test_the_sanitizer_sees_a_read_beyond_an_array():
    """And nothing in its right counterpart, or in the project's kernels (test_cuda_kernels)."""
    for faulty in (False, True):
        done = subprocess.run(
            [sys.executable, "-m", "cuda_host.read_beyond", str(int(faulty))],
            capture_output=True,
            text=True,
            cwd=HERE,
            env=build.sanitizer_environment(),
        )
        assert ("heap-buffer-overflow" in done.stderr) == faulty, done.stderr
        assert (done.returncode != 0) == faulty
