"""Runs the CUDA kernels on a CPU: what CuPy's module and memory offer, for NumPy arrays.

`HostModule` compiles CUDA C++ text, unchanged, with a C++ compiler and offers its kernels as CuPy's
`RawModule` does; `cuda_host.hpp` gives the text its meaning. `HostExecutor` is what
`mdn_cupy.cuda`'s functions take in CuPy's place.

What differs from a GPU: threads run one at a time, so a race shows only as a dependence on their
order, and not at all across a ballot or a shuffle, where all lanes meet here but a GPU orders no
memory (so __syncwarp stands beside them); denormal floats are not flushed to zero; exp2f, expm1f
and __fdividef are those of the host's library, where a GPU's are off by an ulp or two more.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from cuda_host.build import PLAIN, library
from mdn_cupy.cuda.kernel_source import KINDS, instances, source
from mdn_cupy.cuda.launch_plan import Launch, Operand

__all__ = ["CudaFault", "HostExecutor", "HostKernel", "HostModule", "kernels"]

_GUARD, _GUARD_BYTES = 0xA5, 1024
_POISON = {0: 0x7F, 1: 0xFF}  # by the seed's parity: huge, or NaN and −1


class CudaFault(RuntimeError):
    """What a GPU would have punished with a crash, a hang or silently wrong results."""


class HostModule:
    """CUDA C++ text, compiled as C++; `get_function(name)(grid, block, args)` as in CuPy.

    Parameters
    ----------
    text : str
        The kernels.
    names : sequence of str
        Name expressions of those that are wanted.
    options : sequence of str
        For the compiler: `build.PLAIN` or `build.SANITIZED`.
    """

    def __init__(self, text: str, names: Sequence[str], options: Sequence[str] = PLAIN) -> None:
        self._numbers = {name: n for n, name in enumerate(names)}
        exports = [f"CUDA_HOST_EXPORT({n}, {name})" for name, n in self._numbers.items()]
        unit = "\n".join(['#include "cuda_host.hpp"', text, '#line 1 "exports"', *exports, ""])
        self._library = ctypes.CDLL(str(library(unit, options)))

    def get_function(self, name: str) -> "HostKernel":
        """Return the kernel of a name expression."""
        return HostKernel(name, self._library, self._numbers[name])


class HostKernel:
    """A kernel; `seed` sets the order in which its threads and blocks run."""

    def __init__(self, name: str, library: ctypes.CDLL, number: int) -> None:
        self._name = name
        self._launch = getattr(library, f"cuda_host_launch_{number}")
        self._launch.restype = ctypes.c_char_p
        self._atomics = library.cuda_host_atomics
        self._atomics.restype = ctypes.c_ulonglong
        signature = ctypes.create_string_buffer(4096)
        getattr(library, f"cuda_host_signature_{number}")(signature)
        self._parameters = signature.value.decode().split()

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        seed: int = 1,
    ) -> int:
        """Launch, wait, and return how many atomic operations there were."""
        self._check(args)
        kept = [np.array(argument) for argument in args]
        pointers = (ctypes.c_void_p * max(1, len(kept)))(*(x.ctypes.data for x in kept))
        shape = (ctypes.c_uint * 6)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
        fault = self._launch(shape, ctypes.c_uint64(seed), pointers)
        if fault is not None:
            raise CudaFault(f"{self._name}: {fault.decode()}")
        return int(self._atomics())

    def _check(self, args: Sequence[Any]) -> None:
        """Hold the arguments to the kernel's parameters, which CuPy does not."""
        given = [_described(argument) for argument in args]
        wanted = [parameter.replace("P", "u") for parameter in self._parameters]
        if given != wanted:
            raise CudaFault(f"{self._name} takes {wanted}, got {given}")


class HostExecutor:
    """NumPy memory, and launches on the CPU.

    Every array it makes lies between guards, which are checked after every launch, and what is
    `empty` holds a pattern that changes with the seed.

    Parameters
    ----------
    seed : int
        The order of threads and blocks.
    module_of : callable
        The module that holds a kernel, by its name.
    """

    def __init__(self, seed: int = 1, module_of: Callable[[str], HostModule] | None = None) -> None:
        self.launches: list[Launch] = []
        self.atomics: dict[str, int] = {}
        self._seed = seed
        self._module_of = module_of or kernels
        self._guards: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self._filled(shape, dtype, _POISON[self._seed % 2])

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self._filled(shape, dtype, 0)

    def operand(self, array: np.ndarray) -> Operand:
        assert all(stride % array.itemsize == 0 for stride in array.strides)
        address = array.__array_interface__["data"][0]
        return Operand(address, tuple(stride // array.itemsize for stride in array.strides))

    def total(self, array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
        return array.sum(axis=tuple(axes), keepdims=True)

    def run(self, launch: Launch) -> None:
        self.launches.append(launch)
        kernel = self._module_of(launch.kernel).get_function(launch.kernel)
        self.atomics[launch.kernel] = kernel(
            launch.grid, launch.block, launch.arguments, seed=self._seed
        )
        if any((guard != _GUARD).any() for guard in self._guards):
            raise CudaFault(f"{launch.kernel} wrote beyond an array")

    def _filled(self, shape: tuple[int, ...], dtype: Any, byte: int) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.full(size + 2 * _GUARD_BYTES, _GUARD, np.uint8)
        inside = slice(_GUARD_BYTES, _GUARD_BYTES + size)
        memory[inside] = byte
        self._guards += [memory[: inside.start], memory[inside.stop :]]
        return memory[inside].view(dtype).reshape(shape)


@cache
def kernels(name: str, options: tuple[str, ...] = PLAIN) -> HostModule:
    """Return the project's kernels of the kind of the one named, compiled."""
    return _project_module(next(kind for kind in KINDS if name in instances(kind)), options)


@cache
def _project_module(kind: str, options: tuple[str, ...]) -> HostModule:
    return HostModule(source(), instances(kind), options)


def _described(argument: Any) -> str:
    """Kind and size of an argument, as cuda_host.hpp describes a parameter."""
    if not isinstance(argument, np.generic | np.ndarray) or argument.ndim:
        return type(argument).__name__
    return f"{argument.dtype.kind}{argument.dtype.itemsize}"
