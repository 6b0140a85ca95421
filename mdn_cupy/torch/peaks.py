"""The pixels at which maps peak, for tensors on the CPU and on CUDA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mdn_cupy.torch.checks import check_device, check_floating
from mdn_cupy.torch.library import as_tensor, backend_of, share

__all__ = ["check_maps", "find_peaks"]


def check_maps(evidence: Tensor, **others: Tensor) -> None:
    """Raise unless the maps are dense tensors of a floating dtype on one device that can search."""
    check_floating("evidence", evidence)
    if not (evidence.is_cpu or evidence.is_cuda):
        raise TypeError(
            f"evidence is on {evidence.device}; peaks are found on the CPU and on CUDA: move it "
            "there with .cpu() or .cuda()"
        )
    for name, tensor in others.items():
        check_floating(name, tensor)
        check_device(name, tensor, "evidence", evidence.device)


# Dynamo would trace the NumPy of the search, and cannot.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def find_peaks(evidence: Tensor, threshold: float, **limits: Any) -> Tensor:
    """Find the pixels at which maps peak, as `mdn_cupy.cpu` and `mdn_cupy.cuda` do."""
    backend, options = backend_of(evidence)
    return as_tensor(backend.find_peaks(share(evidence), threshold, **limits, **options))
