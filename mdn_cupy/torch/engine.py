"""Torch as a backend: the same entry points as `mdn_cupy.cpu`, on tensors that keep their graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdn_cupy.problem import Gradients, ProblemSpec, Rule, VoteOptions, spec_of
from mdn_cupy.torch import autograd
from mdn_cupy.torch.autograd import one_minus_exp
from mdn_cupy.torch.checks import check_floating, is_jit_tracing
from mdn_cupy.torch.library import (
    GATHER,
    FieldTensors,
    as_tensor,
    backend_of,
    map_shape,
    problem_of,
    scalars,
    share,
)
from mdn_cupy.validation import Shape, check_positive, check_shape, check_width

__all__ = [
    "TensorProblem",
    "accumulate",
    "compare",
    "gather",
    "instances",
    "noisy_or",
    "peak_moments",
    "problem",
]


@dataclass(frozen=True)
class TensorProblem:
    """Tensors of one floating dtype, as the operators take them, and the options."""

    fields: FieldTensors
    options: VoteOptions
    spec: ProblemSpec | None  # None while torch traces: the operators check what is traced

    @property
    def result_shape(self) -> Shape:
        """The shape of the vote map, in which torch may trace the sizes."""
        if self.spec is None:
            return map_shape(*self.fields, scalars(Rule.NOISY_OR, self.options))
        return self.spec.result_shape

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of the vote map."""
        return np.dtype(str(self.fields[0].dtype).removeprefix("torch."))

    def check_rule(self, rule: Rule, sigma: Tensor | float) -> None:
        """Raise ValueError if a sigma that is a number is out of a rule's range."""
        if self.spec is not None:
            self.spec.check_rule(rule, sigma)

    def check_map(self, name: str, array: Tensor) -> None:
        """Raise unless an argument has the shape of the vote map and a floating dtype."""
        check_floating(name, array)
        check_shape(name, array, self.result_shape)


def problem(
    confidence: Tensor, offsets: Tensor, sigma: Tensor | float, options: VoteOptions
) -> TensorProblem:
    """Convert the fields to one dtype, float32 or float64, and check their shapes."""
    check_floating("confidence", confidence)
    check_floating("offsets", offsets)
    if isinstance(sigma, Tensor):
        check_floating("sigma", sigma)
    dtype = torch.promote_types(torch.promote_types(confidence.dtype, offsets.dtype), torch.float32)
    fields = confidence.to(dtype), offsets.to(dtype)
    traced = torch.compiler.is_compiling() or is_jit_tracing()
    spec = None if traced else spec_of(*fields, sigma, options)
    if isinstance(sigma, Tensor):
        width = sigma.to(dtype)
    else:
        number = check_width(sigma, spec.dtype) if spec else check_positive("sigma", sigma)
        # On the CPU: the host would wait for a number that came from the GPU.
        width = torch.full((), number, dtype=dtype, device="cpu")
    return TensorProblem((*fields, width), options, spec)


def accumulate(problem: TensorProblem, rule: Rule) -> Tensor:
    """Sum φ of all votes: L of the noisy-or, or a sum; differentiable."""
    return autograd.accumulate(problem.fields, scalars(rule, problem.options))


def noisy_or(problem: TensorProblem) -> Tensor:
    """Compute the noisy-or map; differentiable."""
    return one_minus_exp(accumulate(problem, Rule.NOISY_OR))


def compare(problem: TensorProblem, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """Compute m, L and a sum; differentiable."""
    log_complement = accumulate(problem, Rule.NOISY_OR)
    return one_minus_exp(log_complement), log_complement, accumulate(problem, rule)


def gather(problem: TensorProblem, rule: Rule, cotangent: Tensor) -> Gradients:
    """Pull a cotangent of Σφ back; not itself differentiable."""
    fields = (each.detach() for each in problem.fields)
    wanted = [True, True, True]
    return Gradients(*GATHER(cotangent.detach(), *fields, *scalars(rule, problem.options), wanted))


def instances(
    problem: TensorProblem, number: Tensor, x: Tensor, y: Tensor, radius: float
) -> Tensor:
    """Say for every source to which peak it adds most evidence; see `mdn_cupy.cpu.instances`."""
    shared = problem_of(*problem.fields, problem.options)
    backend, options = backend_of(x)
    return as_tensor(
        backend.instances(shared, share(number), share(x), share(y), radius, **options)
    )


def peak_moments(
    problem: TensorProblem, rule: Rule, pixels: tuple[Tensor, Tensor, Tensor], evidence: Tensor
) -> tuple[Tensor, ...]:
    """Sum up the votes for the pixels of peaks; see `mdn_cupy.cpu.peak_moments`."""
    shared = problem_of(*problem.fields, problem.options)
    where, weights = tuple(share(each) for each in pixels), share(evidence)
    backend, options = backend_of(evidence)
    moments = backend.peak_moments(shared, rule, where, weights, **options)
    return tuple(as_tensor(moment) for moment in moments)
