"""The CPU's kernels, compiled by another process once a machine: here the window would stand still.

Numba's compiler holds the interpreter for most of the 12 s that all kernels take. What the other
process compiles it keeps on disk, where the first call of this one finds it.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import mdn_cupy as mdn

__all__ = ["STAGES", "TITLE", "begin", "mark_done", "under_way", "wait"]

TITLE = "Compiling for this processor, once"
"""What the user reads while votes wait for it."""

STAGES = ("part", "together", "gradient", "peaks")
"""What is compiled, in this order: votes of a part, of several in one map, steps, detections."""

_done = len(STAGES)  # as many need not be waited for
_changed = threading.Condition()


def begin() -> None:
    """Have the kernels compiled, unless that was done on this machine or is under way."""
    global _done
    stamp = _stamp()
    with suppress(OSError):  # nowhere to keep anything: then they are compiled as they are called
        stamp.parent.mkdir(parents=True, exist_ok=True)
        if stamp.exists() or under_way():
            return
        process = subprocess.Popen(
            [sys.executable, "-m", "mdn_viewer.compile"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _done = 0
        threading.Thread(target=_follow, args=[process], daemon=True).start()


def under_way() -> bool:
    """Whether kernels are being compiled."""
    return _done < len(STAGES)


def wait(stage: str) -> None:
    """Wait until the kernels of one of `STAGES` are there; at once where none are compiled."""
    with _changed:
        _changed.wait_for(lambda: _done > STAGES.index(stage) or not under_way())


def mark_done() -> None:
    """Keep in mind that all kernels were compiled."""
    stamp = _stamp()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()


def _follow(process: subprocess.Popen[bytes]) -> None:
    """Count the stages, a line each; in a thread. Nothing is waited for once the process ends."""
    assert process.stdout is not None
    for _ in process.stdout:
        _set_done(_done + 1)
    process.wait()
    _set_done(len(STAGES))


def _set_done(stages: int) -> None:
    global _done
    with _changed:
        _done = stages
        _changed.notify_all()


def _stamp() -> Path:
    """Return the file that is there once these kernels were compiled on this machine."""
    sources = Path(mdn.__file__).with_name("cpu").glob("*.py")
    kernels = [(path.name, path.stat().st_mtime_ns) for path in sorted(sources)]
    import platformdirs

    parts = platform.node(), platform.processor(), sys.version, version("numba"), kernels
    name = sha256(repr(parts).encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("mdn-cupy") / f"compiled-{name}"
