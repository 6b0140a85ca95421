"""The CUDA kernels as text: one translation unit, its options and its template instances."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from mdn_cupy.problem import Rule

__all__ = ["FILES", "KINDS", "instances", "options", "register_limit", "source"]

FILES = (
    "geometry.cu",
    "window.cu",
    "vote.cu",
    "rules.cu",
    "fixed_point.cu",
    "accumulate.cu",
    "gather.cu",
    "peaks.cu",
    "instances.cu",
)
"""In the order in which they build on each other."""


@cache
def source() -> str:
    """Return the text of all kernels; the compiler's messages name the files and their lines."""
    folder = files("mdn_cupy") / "kernels"
    texts = (f'#line 1 "{name}"\n' + (folder / name).read_text("utf-8") for name in FILES)
    return "\n".join(texts)


KINDS = ("float", "double", "integer")
"""Kernels of a real type, and those that compute in integers only: these are no templates."""


def instances(kind: str) -> list[str]:
    """Name every kernel of a kind that can be launched."""
    if kind == "integer":
        return [
            "number_peaks",
            "sum_plateaus",
            "find_middles",
            "place_peaks",
            "space_peaks",
        ]
    names = [f"read_out<{kind}>"]
    for rule in Rule:
        names += [f"accumulate<{kind}, {int(rule)}, {total}>" for total in ("long long", kind)]
        names += [f"gather<{kind}, {int(rule)}, {moments}>" for moments in ("false", "true")]
        names += [f"{name}<{kind}, {int(rule)}>" for name in ("peak", "add_moments")]
    others = ("label_peaks", "unite_plateaus", "reject_plateaus", "label_sources")
    return [*names, *(f"{other}<{kind}>" for other in others)]


def register_limit(kernel: str) -> int:
    """Return how many registers a thread of a kernel may use.

    The compiler takes more where it may, and then fewer threads fit a multiprocessor: 40 warps of
    48 registers, 36 of 56, 32 of 64. In double, and on all architectures but sm_90 and sm_100,
    shared memory holds them to fewer anyway. There a float gather of ∂/∂c alone takes 48 to 52 of
    64 registers, and 48 of 56; with a limit of 48 it would spill 8 bytes. One of all gradients
    spills from 56 down.
    """
    if "<" not in kernel or kernel.startswith("accumulate<float"):
        return 48
    return 56 if kernel.startswith("gather<float") and kernel.endswith("false>") else 64


def options(kernel: str) -> tuple[str, ...]:
    """Return the options for NVRTC; CuPy adds the architecture and -ftz=true."""
    return ("--std=c++17", "--device-int128", f"--maxrregcount={register_limit(kernel)}")
