"""Every kernel, compiled by NVRTC for every architecture, within the design's limits; no GPU."""

import hashlib
import re
from pathlib import Path

import pytest

from benchmarks import kernel_resources
from benchmarks.kernel_resources import ARCHITECTURES, Resources, resource_table, resources
from mdn_cupy import cuda
from mdn_cupy.cuda import kernel_source
from mdn_cupy.cuda.kernel_source import KINDS, instances, source


@pytest.fixture(scope="module")
def rows(request):
    """The resources, in pytest's cache until the kernels, their options or NVRTC change: 100 s."""
    modules = (
        Path(module.__file__).read_text("utf-8") for module in (kernel_source, kernel_resources)
    )
    text = "\0".join([source(), *modules, str(cuda.nvrtc().getVersion())])
    key = f"kernel resources/{hashlib.sha256(text.encode()).hexdigest()}"
    found = request.config.cache.get(key, None) or resources()
    request.config.cache.set(key, found)
    return [Resources(*row) for row in found]


def over(rows, limit):
    """The rows that break a limit, as a table to read."""
    return resource_table(row for row in rows if limit(row)).splitlines()[1:]


@pytest.mark.slow
def test_every_kernel_is_compiled_for_every_architecture(rows):
    kernels = [kernel for kind in KINDS for kernel in instances(kind)]
    assert len(kernels) == 51
    assert {(row.architecture, row.kernel) for row in rows} == {
        (architecture, kernel) for architecture in ARCHITECTURES for kernel in kernels
    }


def test_nothing_spills_and_nothing_needs_a_stack(rows):
    assert over(rows, lambda row: row.spill_bytes or row.stack_bytes) == []


def test_registers(rows):
    """48 forward, 64 backward and for labels; more only in double, where that takes no thread."""

    def too_many(row):
        limit = 64 if row.kernel.startswith(("gather", "label_sources", "add_moments")) else 48
        free = "<double" in row.kernel and row.limited_by != "registers"
        return row.registers > (64 if free else limit)

    assert over(rows, too_many) == []


def test_no_float64_instruction_in_a_float32_kernel(rows):
    assert over(rows, lambda row: "<float" in row.kernel and row.float64) == []
    assert all(row.float64 for row in rows if "<double" in row.kernel)


def test_occupancy(rows):
    """Shared memory and registers leave a third of the warps, in float32."""
    assert over(rows, lambda row: "<float" in row.kernel and row.occupancy < 1 / 3) == []
    alone = re.compile("(accumulate<float|gather<float, ., false)")
    assert [
        row
        for row in rows
        if row.architecture in ("sm_90", "sm_100")
        and alone.match(row.kernel)
        and row.occupancy < 40 / 64
    ] == []


@pytest.mark.parametrize(
    ("architecture", "registers", "shared_bytes", "occupancy", "limited_by"),
    [
        ("sm_90", 48, 0, 40 / 64, "registers"),  # 10 blocks of 128 threads in 65536 registers
        ("sm_90", 32, 0, 1.0, "warps"),
        ("sm_75", 32, 20 << 10, 12 / 32, "shared"),  # 3 blocks of 20 + 1 KiB in 64 KiB
        ("sm_90", 70, 29696, 28 / 64, "shared"),  # as many as its registers leave room for
        ("sm_86", 8, 0, 1.0, "warps"),
    ],
)
def test_occupancy_is_what_the_scarcest_resource_leaves(
    architecture, registers, shared_bytes, occupancy, limited_by
):
    row = Resources(architecture, "", registers, 0, 0, shared_bytes, 0)
    assert (row.occupancy, row.limited_by) == (occupancy, limited_by)
    assert resource_table([row]).endswith(limited_by)


def test_the_kernels_include_nothing():
    assert not re.search(r"^\s*#\s*include", source(), re.MULTILINE)
