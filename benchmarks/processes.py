"""Measurements in a process of their own: imports, first calls, threads, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from benchmarks.inputs import Shape, scattered
from benchmarks.peers import OURS, peers
from benchmarks.timing import Budget, compete

__all__ = [
    "Work",
    "first_call_seconds",
    "forward_seconds",
    "import_seconds",
    "peak_bytes",
    "status",
]

_ROOT = Path(__file__).resolve().parents[1]

Work = Literal["forward", "training"]

_IMPORT = """
import time, numpy
start = time.perf_counter()
import mdn_cupy
print(time.perf_counter() - start)
"""

_FIRST_CALL = """
import time, numpy as np, mdn_cupy
confidence, offsets = np.zeros((8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
start = time.perf_counter()
mdn_cupy.noisy_or(confidence, offsets, 1.0)
print(time.perf_counter() - start)
"""

_CALL = """
import json, sys
from benchmarks import processes
name, arguments = json.loads(sys.argv[1])
print(getattr(processes, name)(*arguments))
"""


def import_seconds() -> float:
    """Time `import mdn_cupy` in a new process that has NumPy already."""
    return _measured(_IMPORT)


def first_call_seconds() -> tuple[float, float]:
    """Time the first `noisy_or` of a process: with nothing compiled yet, and with a warm cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {"NUMBA_CACHE_DIR": folder}
        return _measured(_FIRST_CALL, environment=cache), _measured(_FIRST_CALL, environment=cache)


def forward_seconds(shape: Shape, sigma: float, threads: int, seconds: float) -> float:
    """Time the noisy-or of scattered votes on a number of threads; the fastest run counts."""
    limited = {"MDN_NUM_THREADS": str(threads)}
    return _measured(_CALL, "fastest_forward", shape, sigma, seconds, environment=limited)


def peak_bytes(contender: str, work: Work, shape: Shape, sigma: float) -> int | None:
    """Measure the memory that a pass takes beyond its fields, at its peak.

    It is the resident memory of a new process, of which Linux keeps the peak.

    Parameters
    ----------
    contender : str
        Name of ours or of a peer.
    work : {'forward', 'training'}
        The noisy-or forward on arrays, or forward and backward through torch.
    shape, sigma
        Of scattered votes.

    Returns
    -------
    int or None
        Bytes; None where the system does not keep the peak.
    """
    if not sys.platform.startswith("linux"):
        return None
    return int(_measured(_CALL, "peak_of_pass", contender, work, shape, sigma))


def fastest_forward(shape: Shape, sigma: float, seconds: float) -> float:
    """`forward_seconds`, in the process that measures."""
    forward = OURS.forward(scattered(shape, sigma), "noisy_or")
    forward()
    return compete({OURS.name: forward}, Budget(seconds))[OURS.name].fastest


def peak_of_pass(name: str, work: Work, shape: Shape, sigma: float) -> int:
    """`peak_bytes`, in the process that measures."""
    contender = OURS if name == OURS.name else {peer.name: peer for peer in peers()}[name]
    prepare = contender.forward if work == "forward" else contender.training
    prepare(scattered((2, 16, 16), sigma), "noisy_or")()
    run = prepare(scattered(shape, sigma), "noisy_or")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def status(key: str) -> int:
    """Bytes of an entry of this process' memory status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))


def _measured(code: str, *call: Any, environment: Mapping[str, str] | None = None) -> float:
    """Run code in a new process; it prints one number."""
    arguments = [json.dumps((call[0], call[1:]))] if call else []
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=_ROOT,  # the packages there are found first
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise RuntimeError(f"a process that measures failed ({' '.join(arguments)}): {reason}")
    return float(done.stdout)
