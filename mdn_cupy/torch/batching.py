"""The operators under torch.func.vmap: one call, with the mapped axis in front of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from mdn_cupy.torch.library import FieldTensors, OptionScalars

__all__ = ["vmap_accumulate", "vmap_gather"]

_TRAILING = (2, 3, 2)  # axes of confidence, offsets and sigma that do not lead

Dims = Sequence[int | None]


def vmap_accumulate(call: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """Make the rule of accumulate, in terms of a call that takes its arguments."""

    def rule(_: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[Tensor, int]:
        fields, scalars = arguments[:3], arguments[3:]
        return call(*_in_front(fields, in_dims[:3]), *_shifted(scalars)), 0

    return rule


def vmap_gather(call: Callable[..., FieldTensors]) -> Callable[..., tuple[FieldTensors, Dims]]:
    """Make the rule of gather; every gradient that is wanted has the mapped axis."""

    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[FieldTensors, Dims]:
        cotangent = _mapped(arguments[0], in_dims[0], info.batch_size)
        scalars, wanted = arguments[4:-1], arguments[-1]
        # A gradient for every entry of the mapped axis, where the map itself may have shared them.
        fields = [
            _mapped(x, dim, info.batch_size)
            for x, dim in zip(arguments[1:4], in_dims[1:4], strict=True)
        ]
        aligned = _in_front(fields, (0, 0, 0))
        gradients = call(cotangent, *aligned, *_shifted(scalars), wanted)
        c, o, s = (
            g.reshape(x.shape) if asked else g
            for g, x, asked in zip(gradients, fields, wanted, strict=True)
        )
        return (c, o, s), tuple(0 if asked else None for asked in wanted)

    return rule


def _mapped(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The mapped axis first; a view that repeats the tensor if it has none."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _in_front(fields: Sequence[Tensor], dims: Dims) -> list[Tensor]:
    """Bring the mapped axes to the front of the broadcast leading axes."""
    own = [x.ndim - (dim is not None) for x, dim in zip(fields, dims, strict=True)]
    leading = max(n - trailing for n, trailing in zip(own, _TRAILING, strict=True))
    return [
        x if dim is None else x.movedim(dim, 0)[(slice(None), *[None] * (leading + trailing - n))]
        for x, dim, n, trailing in zip(fields, dims, own, _TRAILING, strict=True)
    ]


def _shifted(arguments: Sequence[Any]) -> OptionScalars:
    """Count the axis to aggregate from behind the mapped one."""
    scalars = OptionScalars(*arguments)
    if scalars.aggregate is None or scalars.aggregate < 0:
        return scalars
    return scalars._replace(aggregate=scalars.aggregate + 1)
