"""The options of the functions on Dask arrays, for `help`, editors, type checkers and errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast

from mdn_cupy.problem import spelled_out
from mdn_cupy.validation import called

__all__ = ["takes_arguments_of", "takes_options"]

P = ParamSpec("P")
Result = TypeVar("Result")


def takes_arguments_of(
    model: Callable[P, Any],
) -> Callable[[Callable[..., Result]], Callable[P, Result]]:
    """Give a function the arguments of one with `**options`, shown by name, and name it where it
    takes none such."""
    parameters = [*spelled_out(model).parameters.values()]

    def decorate(function: Callable[..., Result]) -> Callable[P, Result]:
        shown = signature(function).replace(parameters=parameters)
        function.__signature__ = shown  # type: ignore[attr-defined]

        @wraps(function)
        def checked(*arguments: Any, **options: Any) -> Result:
            return called(function.__name__, function, *arguments, **options)

        return cast(Callable[P, Result], checked)

    return decorate


def takes_options(function: Callable[P, Result]) -> Callable[P, Result]:
    """Show the options of a function with `**options` by name, and name it where it takes none."""
    return takes_arguments_of(function)(function)
