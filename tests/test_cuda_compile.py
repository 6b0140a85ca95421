"""Every kernel, compiled by NVRTC for every architecture, within the design's limits; no GPU."""

import re

import pytest

from mdn_cupy.cuda.resources import ARCHITECTURES, Resources, resource_table, resources
from mdn_cupy.cuda.source import instances, source

LIMITS = {
    ("float", True): 48,
    ("float", False): 64,
    ("double", True): 64,
    ("double", False): 72,
}
"""Registers by real type and direction; True is forward."""


@pytest.fixture(scope="module")
def rows():
    return resources()


def over(rows, limit):
    """The rows that break a limit, as a table to read."""
    return resource_table(row for row in rows if limit(row)).splitlines()[1:]


def test_every_kernel_is_compiled_for_every_architecture(rows):
    kernels = [*instances("float"), *instances("double")]
    assert len(kernels) == 32
    assert {(row.architecture, row.kernel) for row in rows} == {
        (architecture, kernel) for architecture in ARCHITECTURES for kernel in kernels
    }


def test_nothing_spills_and_nothing_needs_a_stack(rows):
    assert over(rows, lambda row: row.spill_bytes or row.stack_bytes) == []


def test_registers(rows):
    """48 forward and 64 backward; 64 and 72 in double, where a number takes two."""
    forward = ("accumulate", "read_out", "peak")

    def limit(row):
        real = "float" if "<float" in row.kernel else "double"
        return LIMITS[real, row.kernel.startswith(forward)]

    assert over(rows, lambda row: row.registers > limit(row)) == []


def test_no_float64_instruction_in_a_float32_kernel(rows):
    assert over(rows, lambda row: "<float" in row.kernel and row.float64) == []
    assert all(row.float64 for row in rows if "<double" in row.kernel)


def test_occupancy(rows):
    """Shared memory and registers leave a third of the warps, in float32."""
    assert over(rows, lambda row: "<float" in row.kernel and row.occupancy < 1 / 3) == []


@pytest.mark.parametrize(
    ("architecture", "registers", "shared_bytes", "occupancy"),
    [
        ("sm_90", 48, 0, 40 / 64),  # 10 blocks of 128 threads in 65536 registers
        ("sm_90", 32, 0, 1.0),
        ("sm_75", 32, 20 << 10, 12 / 32),  # 3 blocks of 20 + 1 KiB in 64 KiB
        ("sm_86", 8, 0, 1.0),
    ],
)
def test_occupancy_is_what_the_scarcest_resource_leaves(
    architecture, registers, shared_bytes, occupancy
):
    row = Resources(architecture, "", registers, 0, 0, shared_bytes, 0)
    assert row.occupancy == occupancy


def test_the_kernels_include_nothing():
    assert not re.search(r"^\s*#\s*include", source(), re.MULTILINE)
