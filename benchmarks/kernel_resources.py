"""Resources of a multiprocessor that the CUDA kernels need, as NVRTC reports; needs no GPU.

`python benchmarks/kernel_resources.py` prints it, the tests hold it against the goals.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # not this folder: its `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command
from mdn_cupy import cuda
from mdn_cupy.cuda.geometry import WARP_SIZE, WARPS
from mdn_cupy.cuda.kernel_source import KINDS, instances, options, register_limit, source

__all__ = ["ARCHITECTURES", "Multiprocessor", "Resources", "main", "resource_table", "resources"]

_ABOUT = """\
Compiles the CUDA kernels, which takes no GPU, and prints how many registers and how much memory
they need on every architecture; --quick: those of float32 on sm_90."""


class Multiprocessor(NamedTuple):
    """What one multiprocessor holds at a time."""

    warps: int
    blocks: int
    shared_bytes: int
    registers: int = 65536


ARCHITECTURES = {
    "sm_75": Multiprocessor(warps=32, blocks=16, shared_bytes=64 << 10),
    "sm_80": Multiprocessor(warps=64, blocks=32, shared_bytes=164 << 10),
    "sm_86": Multiprocessor(warps=48, blocks=16, shared_bytes=100 << 10),
    "sm_90": Multiprocessor(warps=64, blocks=32, shared_bytes=228 << 10),
    "sm_100": Multiprocessor(warps=64, blocks=32, shared_bytes=228 << 10),
    "sm_120": Multiprocessor(warps=48, blocks=24, shared_bytes=100 << 10),
}
"""From the CUDA programming guide's table of compute capabilities."""

_RESERVED_SHARED = 1 << 10  # by the system, for every block
_REGISTER_UNIT = 8  # registers of a thread are granted in these steps

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_FLOAT64 = re.compile(r"\.f64\b")


class Resources(NamedTuple):
    """What one kernel needs on one architecture."""

    architecture: str
    kernel: str
    registers: int  # of a thread
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int  # of a block
    float64: int  # instructions of the kernel's PTX that compute in or move a float64

    @property
    def occupancy(self) -> float:
        """Warps that a multiprocessor can hold, as a share of its most."""
        return min(self._blocks.values()) * WARPS / ARCHITECTURES[self.architecture].warps

    @property
    def limited_by(self) -> str:
        """What a multiprocessor runs out of first; registers only if nothing else is as scarce."""
        return min(self._blocks, key=self._blocks.__getitem__)

    @property
    def _blocks(self) -> dict[str, int]:
        """How many blocks fit a multiprocessor, by each of its resources."""
        most = ARCHITECTURES[self.architecture]
        granted = -(-self.registers // _REGISTER_UNIT) * _REGISTER_UNIT
        return {
            "warps": most.warps // WARPS,
            "blocks": most.blocks,
            "shared": most.shared_bytes // (self.shared_bytes + _RESERVED_SHARED),
            "registers": most.registers // (granted * WARP_SIZE * WARPS),
        }


def resources(
    architectures: Iterable[str] = ARCHITECTURES, kinds: Iterable[str] = KINDS
) -> list[Resources]:
    """Compile every kernel for every architecture and list its resources.

    Parameters
    ----------
    architectures : iterable of str
        Keys of `ARCHITECTURES`.
    kinds : iterable of str
        Of `KINDS`.

    Returns
    -------
    list of Resources
        In that order.

    Raises
    ------
    ImportError
        If there is no CuPy.
    RuntimeError
        If NVRTC cannot be loaded or a kernel does not compile.
    """
    programs = [
        (architecture, list(group))
        for architecture, kind in product(architectures, kinds)
        for _, group in groupby(sorted(instances(kind), key=register_limit), register_limit)
    ]
    # NVRTC compiles one program at a time, so processes; none of their parent's threads and locks.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_compiled, *zip(*programs, strict=True)))
    return [row for rows in found for row in rows]


def resource_table(rows: Iterable[Resources]) -> str:
    """Format the resources as a table."""
    lines = [
        "architecture  kernel                            registers  stack  spills  shared  "
        "float64  occupancy  limited by"
    ]
    lines += [
        f"{row.architecture:12}  {row.kernel:32}  {row.registers:9}  {row.stack_bytes:5}  "
        f"{row.spill_bytes:6}  {row.shared_bytes:6}  {row.float64:7}  {row.occupancy:9.0%}  "
        f"{row.limited_by}"
        for row in rows
    ]
    return "\n".join(lines)


def _compiled(architecture: str, kernels: list[str]) -> list[Resources]:
    """Compile kernels of one register limit in one program."""
    nvrtc = cuda.nvrtc()
    program = nvrtc.createProgram(source(), "mdn_cupy.cu", [], [])
    try:
        for kernel in kernels:
            nvrtc.addNameExpression(program, kernel)
        flags = (f"--gpu-architecture={architecture}", "-ftz=true", "--ptxas-options=-v")
        try:
            nvrtc.compileProgram(program, [*flags, *options(kernels[0])])
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise RuntimeError(f"the kernels do not compile for {architecture}:\n{log}") from error
        reports = _reports(nvrtc.getProgramLog(program))
        ptx = _bodies(nvrtc.getPTX(program))
        lowered = {kernel: nvrtc.getLoweredName(program, kernel) for kernel in kernels}
    finally:
        nvrtc.destroyProgram(program)
    return [
        Resources(architecture, kernel, *reports[name], len(_FLOAT64.findall(ptx[name])))
        for kernel, name in lowered.items()
    ]


def _reports(log: str) -> dict[str, tuple[int, int, int, int]]:
    """(registers, stack, spills, shared) of every entry function in ptxas' verbose report."""
    found = {}
    for entry in log.split("Compiling entry function")[1:]:
        name = _ENTRY.match("Compiling entry function" + entry)
        stack, used, shared = _STACK.search(entry), _USED.search(entry), _SHARED.search(entry)
        if not (name and stack and used):
            raise RuntimeError(f"ptxas reports in a form that is not known here:\n{log}")
        frame, stores, loads = map(int, stack.groups())
        found[name[1]] = (int(used[1]), frame, stores + loads, int(shared[1]) if shared else 0)
    return found


def _bodies(ptx: str | bytes) -> dict[str, str]:
    """Text of every entry function of a PTX module."""
    text = ptx.decode() if isinstance(ptx, bytes) else ptx
    entries = re.split(r"\.entry\s+(\w+)", text)
    return dict(zip(entries[1::2], entries[2::2], strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""

    def measured(quick: bool) -> tuple[str, dict[str, Any]]:
        rows = resources(("sm_90",), ("float",)) if quick else resources()
        described = [
            {**row._asdict(), "occupancy": row.occupancy, "limited_by": row.limited_by}
            for row in rows
        ]
        return resource_table(rows), {"resources": described}

    return command.main("kernel_resources.py", _ABOUT, measured, argv)


if __name__ == "__main__":
    sys.exit(main())
