"""A counter that threads share without a lock."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["take"]


def _take(typingctx: Any, counter: Any) -> Any:
    """Atomic fetch-and-add of 1 to an array of one; returns the previous value."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), codegen


take: Any = intrinsic(_take)
