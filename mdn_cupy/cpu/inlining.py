"""Functions that kernels call: Numba compiles them into the kernels, and Python calls them as they
are, so that each can be tested, or stepped through, on NumPy arrays.

`numba.njit` would translate each to machine code of its own, too, which doubles the time of a first
call, and its `inline="always"` copies Numba's code, which takes twice that time again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from numba import types
from numba.core import cgutils, typed_passes, untyped_passes
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import lower_builtin, lower_getattr_generic, models, register_model

__all__ = ["inlined", "part", "register"]

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    """Let kernels call a function, which LLVM puts in the place of every call."""
    return _compiled_into_callers(function, always=True)


def part(function: F) -> F:
    """Let kernels call a function, which LLVM inlines where it pays."""
    return _compiled_into_callers(function, always=False)


def register(
    function: Callable[..., Any],
    typing: Callable[..., Any],
    lower: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]] = ((types.VarArg(types.Any),),),
    prefer_literal: bool = False,
) -> None:
    """Let kernels call a function: `typing` has the type of its result for those of its arguments,
    or None, and `lower` makes the instructions, as of `numba.extending.lower_builtin`."""

    def generic(self: Any, given: Any, named: Any) -> Any:
        result = None if named else typing(*given)
        return None if result is None else signature(result, *given)

    body = {
        "key": function,
        "generic": generic,
        "prefer_literal": prefer_literal,
        "metadata": {"target": "cpu"},  # tried first: each that is tried without success takes time
    }
    infer_global(function, types.Function(type("Template", (AbstractTemplate,), body)))
    for each in arguments:
        lower_builtin(function, *each)(lower)


class _Code(CPUCodeLibrary):
    """The code of a function, to be linked into that of kernels and optimised there."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _Compiler(CompilerBase):
    """Those of Numba's passes that functions without closures, exceptions and objects need, whose
    variables keep their type; the global constant 1 is of another type than 1 + n."""

    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("compiled into callers")
        for each in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.GenericRewrites,
            typed_passes.NopythonTypeInference,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]


def _compiled_into_callers(function: F, always: bool) -> F:
    @cache
    def compiled(*arguments: Any) -> Any:
        flags: Any = Flags()
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.forceinline, flags.error_model = always, "numpy"
        typing, target = cpu_target.typing_context, cpu_target.target_context
        code = _Code(target.codegen(), function.__qualname__)
        return _Compiler(typing, target, code, arguments, None, flags, {}).compile_extra(function)

    def typing(*given: Any) -> Any:
        return compiled(*map(_passed, given)).signature.return_type

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        made = compiled(*map(_passed, signature.args))
        context.active_code_library.add_linking_library(made.library)
        passed = [
            cgutils.alloca_once_value(builder, value) if _passed(given) != given else value
            for given, value in zip(signature.args, values, strict=True)
        ]
        call = context.call_internal_no_propagate  # there are no exceptions to look for
        _, result = call(builder, made.fndesc, made.signature, passed)
        return result

    register(function, typing, lower)
    return function


class _Reference(types.Type):
    """A named tuple by its address: to pass its arrays one by one, of seven numbers each, would
    take as long to compile as all else."""

    def __init__(self, of: Any) -> None:
        super().__init__(f"reference({of})")
        self.of = of


def _passed(given: Any) -> Any:
    """The type in which an argument is passed."""
    return _Reference(given) if isinstance(given, types.BaseNamedTuple) else given


@register_model(_Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, reference: Any) -> None:
        pointer = manager[reference.of].get_value_type().as_pointer()
        super().__init__(manager, reference, pointer)


@infer_getattr
class _Fields(AttributeTemplate):
    key = _Reference

    def generic_resolve(self, reference: Any, field: str) -> Any:  # type: ignore[override]
        return _passed(dict(zip(reference.of.fields, reference.of.types, strict=True))[field])


def _field(context: Any, builder: Any, reference: Any, value: Any, field: str) -> Any:
    n = reference.of.fields.index(field)
    kind, address = reference.of.types[n], cgutils.gep_inbounds(builder, value, 0, n)
    return builder.load(address) if _passed(kind) == kind else address


lower_getattr_generic(_Reference)(_field)
