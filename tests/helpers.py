"""Helpers of the tests: comparison with the specification, command lines, new processes."""

import os
import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from strategies import Drawn

import mdn_cupy as mdn
from mdn_cupy.__main__ import main

ROOT = Path(__file__).parent.parent

# Ahead of a script: these packages are not found, as if they were not installed.
BLOCK = """
from importlib.machinery import PathFinder


def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else original(name, path, target)


original = PathFinder.find_spec
PathFinder.find_spec = classmethod(find_spec)
"""

RULES = ("noisy_or", "additive", "plain_sum")


class Reference:
    """`mdn_cupy.reference` behind the functions of a backend, once for each problem.

    Backends are held to the same problems one after the other.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def map(self, rule: str, *fields: Any, **options: Any) -> np.ndarray:
        return self._once(rule, *fields, **options)

    def vjp(self, rule: str, cotangent: Any, *fields: Any, **options: Any) -> mdn.Gradients:
        return self._once(f"{rule}_vjp", cotangent, *fields, **options)

    def _once(self, name: str, *arguments: Any, **options: Any) -> Any:
        key = sha256(pickle.dumps((name, arguments, options))).digest()
        if key not in self._known:
            found = getattr(mdn.reference, name)(*arguments, **options)
            for array in (found,) if isinstance(found, np.ndarray) else found:
                array.setflags(write=False)
            self._known[key] = found
        return self._known[key]


REFERENCE = Reference()


def vote(library: Any, rule: str, drawn: Drawn, **more: Any) -> np.ndarray:
    """The map of a rule, or L, by a backend or by `REFERENCE`."""
    return library.map(rule, *drawn.fields, **drawn.options, **more)


def pull(library: Any, rule: str, cotangent: np.ndarray, drawn: Drawn) -> mdn.Gradients:
    """The gradients of a rule, or of L, by a backend or by `REFERENCE`."""
    return library.vjp(rule, cotangent, *drawn.fields, **drawn.options)


def tolerance(backend: Any, dtype: Any, float32: float = 1e-5) -> float:
    """How far a result of this dtype may be from the specification."""
    return float32 if np.dtype(dtype) == np.float32 else backend.float64_tolerance


def assert_maps_close(got: np.ndarray, want: np.ndarray, allowed: float, scale: Any = 1.0) -> None:
    """Compare pixel by pixel; the same pixels must be NaN."""
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    far = np.abs(got - want) > allowed * scale
    assert not far.any(), (np.abs(got - want).max(), np.argwhere(far)[0], got[far], want[far])


def assert_agrees(backend: Any, drawn: Drawn) -> None:
    """Hold all rules to the specification: m absolutely, L and sums beyond 1 relatively."""
    m, log_complement = (vote(backend, each, drawn) for each in ("noisy_or", "log_complement"))
    want = vote(REFERENCE, "log_complement", drawn)
    allowed = tolerance(backend, m.dtype)
    assert_maps_close(m, 0 - np.expm1(want), allowed)
    assert_maps_close(log_complement, want, allowed, 1 + np.abs(want))
    for rule in ("additive", "plain_sum"):
        s, want = vote(backend, rule, drawn), vote(REFERENCE, rule, drawn)
        assert_maps_close(s, want, allowed, np.maximum(1, np.abs(want)))
        both = backend.compare(rule, *drawn.fields, **drawn.options)
        for one, other in zip(both, (m, log_complement, s), strict=True):
            np.testing.assert_array_equal(one, other)


def assert_gradients_close(
    got: mdn.Gradients, want: mdn.Gradients, allowed: float, slack: float = 0.0
) -> None:
    """Compare each gradient as a vector: the norm of the difference over that of the reference."""
    for name, g, w in zip(mdn.Gradients._fields, got, want, strict=True):
        assert g.shape == w.shape, name
        distance, length = np.linalg.norm(np.ravel(g - w)), np.linalg.norm(np.ravel(w))
        assert distance <= allowed * length + slack, (name, distance, length)


def floor_slack(cotangent: np.ndarray, log_complement: np.ndarray, drawn: Drawn) -> float:
    """How far the floor under 1 − w·c may carry a gradient from the exact one.

    Where a saturated vote makes an exclusive product 0, the library has one ulp: times the
    cotangent of those pixels, times at most 1 + 1/σ per source.
    """
    dtype = np.result_type(drawn.confidence, drawn.offsets, np.float32)
    ulp = float(np.finfo(dtype).epsneg)
    saturated = log_complement <= 0.99 * np.log(ulp)
    sources = max(np.size(drawn.confidence), np.size(drawn.offsets), np.size(drawn.sigma))
    least = float(np.min(drawn.sigma, initial=np.inf))
    # 1e-30: where every product of a float32 problem underflows
    return ulp * float(np.abs(cotangent[saturated]).sum()) * sources * (1 + 1 / least) + 1e-30


def run_python(*arguments: str, status: int = 0, timeout: float = 300, **options: Any) -> str:
    """Run Python in a new process; return its output, or its error if it must fail."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        **options,
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done.stderr if status else done.stdout


def succeed(capsys: Any, *argv: Any) -> str:
    """Run `mdn-cupy`; return what it prints, with nothing on standard error."""
    assert main([*map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refuse(capsys: Any, *argv: Any) -> str:
    """The one line on standard error in which `mdn-cupy` refuses."""
    assert main([*map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("mdn-cupy: ")
    return captured.err


def environment(**changes: str) -> dict[str, str]:
    """The environment of this process with some variables changed."""
    return {**os.environ, **changes}
