"""Checks of arguments; pure, and every message names the argument and the remedy."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from mdn_cupy.arrays import kind_of
from mdn_cupy.validation import and_divided

__all__ = [
    "FLOATING",
    "check_dense",
    "check_device",
    "check_dtype",
    "check_floating",
    "is_jit_tracing",
    "refuse_script",
]

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The dtypes of fields and of parameters."""

_NAMES = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATING)


def is_jit_tracing() -> bool:
    """Whether torch.jit traces, in which sizes are tensors."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def check_floating(name: str, value: object) -> None:
    """Raise unless an argument is a dense tensor of a floating dtype."""
    if not isinstance(value, Tensor) or value.dtype not in FLOATING:
        kind = value.dtype if isinstance(value, Tensor) else kind_of(value)
        remedy = (
            f".float() converts it{and_divided(name, value)}"
            if isinstance(value, Tensor)
            else "torch.as_tensor(...) makes one"
        )
        raise TypeError(
            f"{name} must be a torch tensor of a floating dtype ({_NAMES}), got {kind}; {remedy}"
        )
    check_dense(name, value)


def check_dense(name: str, tensor: Tensor) -> None:
    """Raise for a tensor that is sparse, nested or packed for another library."""
    if tensor.is_nested:
        raise TypeError(
            f"{name} must be a dense tensor, got a nested one; "
            "torch.nested.to_padded_tensor(...) converts it"
        )
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} must be a dense tensor, got {tensor.layout}; convert it with .to_dense()"
        )


def check_device(name: str, tensor: Tensor, other: str, device: torch.device) -> None:
    """Raise unless a tensor is on the device of another argument."""
    if tensor.device != device:
        raise TypeError(
            f"{name} is on {tensor.device}, {other} on {device}; move it with .to('{device}')"
        )


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise unless a module's parameters can be of this dtype; None is torch's default."""
    if dtype is not None and dtype not in FLOATING:
        raise TypeError(f"dtype must be a floating dtype ({_NAMES}), got {dtype!r}")


def refuse_script(module: torch.nn.Module) -> NoReturn:
    """Raise NotImplementedError for `torch.jit.script` of a module."""
    raise NotImplementedError(
        f"torch.jit.script cannot compile {type(module).__name__}; torch.jit.trace(module, inputs) "
        "makes a TorchScript program of it, which takes maps of any size"
    )
