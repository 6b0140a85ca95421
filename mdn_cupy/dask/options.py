"""The options of the functions on Dask arrays, for `help`, editors, type checkers and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, TypedDict, TypeVar, cast

from mdn_cupy.problem import VoteOptions
from mdn_cupy.validation import called

__all__ = ["Options", "takes_options"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """What `VoteOptions` takes: written out, since type checkers understand no generated one."""

    truncate: float
    stride: float | Sequence[float]
    origin: float | Sequence[float]
    output_shape: Sequence[int] | None
    aggregate: int | None
    deterministic: bool


def takes_options(function: Function) -> Function:
    """Show the options of a function with `**options` by name, and name it where it takes none."""
    shown = signature(function)
    *own, _ = shown.parameters.values()
    parameters = [*own, *signature(VoteOptions).parameters.values()]
    function.__signature__ = shown.replace(parameters=parameters)  # type: ignore[attr-defined]

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        return called(function.__name__, function, *arguments, **options)

    return cast(Function, checked)
