"""A device for torch that is not the CPU and has no GPU: memory here, kernels on the host executor.

`install` gives torch a backend named "imagined", where `mdn_cupy.torch` does what it does on CUDA:
tensors of a real second device, autograd's real device thread, but NumPy memory and the host
executor. It offers
the few operators that the project may use there. Whatever reads a tensor on the host or copies it
to the CPU (`item`, `cpu`, `numpy`, a comparison in Python) finds no kernel and raises.

Installing cannot be undone and must come before autograd's first backward pass: in a process of
its own.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils import backend_registration

from cuda_host import fake_cupy, kernels

__all__ = ["Record", "capture", "install", "records", "stream", "tensor", "to_numpy"]


class Record(NamedTuple):
    """What was done, in which thread, on which device and, for a launch, on which stream."""

    what: str
    thread: int
    device: int
    stream: int | None = None


records: list[Record] = []
_state = SimpleNamespace(stream=0, capturing=False)  # the engine hands the stream to its thread
_memory: dict[int, np.ndarray] = {}


class _Thread(threading.local):
    """CUDA's current device: another than that of the tensors, until someone changes it."""

    def __init__(self) -> None:
        self.devices = [1]


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.PrivateUse1


def install() -> None:
    """Give torch the device, and the project CuPy's stand-in and torch.cuda's."""
    backend_registration._setup_privateuseone_for_python_backend("imagined", None, None, _Guard())
    library = torch.library.Library("aten", "IMPL")
    for name, function in _OPERATORS.items():
        library.impl(name, function, "PrivateUse1")
    ours = torch.library.Library("mdn_cupy", "IMPL")
    for name in ("accumulate", "gather"):
        ours.impl(name, _as_on_cuda(name), "PrivateUse1")
    _kept.extend([library, ours])  # what they register ends with them
    torch.cuda.device = _device
    torch.cuda.current_stream = _current_stream
    torch.cuda.synchronize = torch.cuda.Stream.synchronize = _forbidden
    fake_cupy._thread = _Thread()
    fake_cupy.RawModule = _Module
    fake_cupy.empty = fake_cupy.zeros = _forbidden  # memory is torch's
    sys.modules["cupy"] = fake_cupy


@contextmanager
def stream(number: int) -> Iterator[None]:
    """Make a stream torch's current one on device 0; 0 is the legacy stream."""
    before, _state.stream = _state.stream, number
    yield
    _state.stream = before


@contextmanager
def capture(number: int) -> Iterator[None]:
    """Capture a stream: from now on only memory of torch's and launches on this stream."""
    with stream(number):
        _state.capturing = True
        yield
        _state.capturing = False


def tensor(values: Any) -> torch.Tensor:
    """Copy an array to the device."""
    values = np.ascontiguousarray(values)
    made = _empty(values.shape, getattr(torch, values.dtype.name))
    _array(made)[...] = values
    return made


def to_numpy(made: torch.Tensor) -> np.ndarray:
    """Read a tensor, which only the tests can."""
    return _array(made).copy()


def _as_on_cuda(name: str) -> Any:
    """Do what the project's operator does with CUDA tensors."""
    cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    return lambda *args: getattr(torch.ops.mdn_cupy, name).default.redispatch(cuda, *args)


def _forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("something waits for the device, or takes memory that is not torch's")


# torch.cuda --------------------------------------------------------------------------------------


@contextmanager
def _device(device: torch.device) -> Iterator[None]:
    assert device.type == "imagined"
    with fake_cupy.Device(device.index):  # torch and CuPy share CUDA's current device
        yield


def _current_stream(device: torch.device) -> Any:
    assert device == torch.device("imagined", 0), "the stream of another device"
    handle = _state.stream
    return SimpleNamespace(cuda_stream=handle)


class _Module:
    """CuPy's module, with launches that may be captured."""

    def __init__(self, **_: Any) -> None:
        pass

    def get_function(self, name: str) -> Any:
        assert not _state.capturing, "a kernel is loaded during capture"
        loaded_on = fake_cupy.current()

        def function(grid: Any, block: Any, args: Any, *, stream: Any = None) -> None:
            assert fake_cupy.current() == loaded_on, "a function of another device's module"
            assert stream.ptr == _state.stream, "a launch on a stream that is not torch's current"
            assert stream.ptr or not _state.capturing, (
                "a launch on the legacy stream during capture"
            )
            _record(name, fake_cupy.current(), stream.ptr)
            kernels(name).get_function(name)(grid, block, args)

        return function


def _record(what: str, device: int, launched_on: int | None = None) -> None:
    records.append(Record(what, threading.get_native_id(), device, launched_on))


# torch's memory and operators there ---------------------------------------------------------------


class _Tensor(ctypes.Structure):
    """DLManagedTensor of DLPack."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_kept: list[Any] = []
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


def _over(array: np.ndarray, shape: Any, strides: Any, offset: int = 0) -> torch.Tensor:
    """Return a tensor on the device whose memory is an array's; strides and offset in elements."""
    whole = ctypes.c_int64 * len(shape)
    described = _Tensor(
        array.ctypes.data + offset * array.itemsize,
        *(12, 0, len(shape)),  # kDLExtDev, torch's PrivateUse1
        *({"f": 2, "i": 0}[array.dtype.kind], 8 * array.itemsize, 1),
        *(whole(*shape), whole(*strides), 0, None, None),
    )
    _kept.append((described, array))
    made = torch.from_dlpack(_capsule(ctypes.addressof(described), b"dltensor", None))
    assert made.device.type == "imagined"
    return made


def _empty(size: Any, dtype: Any = None, *_: Any, **__: Any) -> torch.Tensor:
    dtype = dtype or torch.get_default_dtype()
    array = np.full(max(1, int(np.prod(size))), 99, str(dtype).removeprefix("torch."))
    _memory[array.ctypes.data] = array
    if 0 not in size:
        _record("empty", 0)
    return _over(array, size, [int(np.prod(size[n + 1 :])) for n in range(len(size))])


def _array(made: torch.Tensor) -> np.ndarray:
    (base,) = (x for at, x in _memory.items() if at <= made.data_ptr() < at + x.nbytes)
    first = (made.data_ptr() - base.ctypes.data) // base.itemsize
    strides = [stride * base.itemsize for stride in made.stride()]
    return np.lib.stride_tricks.as_strided(base[first:], tuple(made.shape), strides)


def _zero(made: torch.Tensor) -> torch.Tensor:
    _array(made)[...] = 0
    return made


def _as_strided(made: torch.Tensor, size: Any, strides: Any, offset: Any = None) -> torch.Tensor:
    assert offset is None
    (base,) = (x for at, x in _memory.items() if at <= made.data_ptr() < at + x.nbytes)
    return _over(base, size, strides, (made.data_ptr() - base.ctypes.data) // base.itemsize)


def _view(made: torch.Tensor, size: Any) -> torch.Tensor:
    assert made.is_contiguous()
    strides = [int(np.prod(size[n + 1 :])) for n in range(len(size))]
    return _as_strided(made, size, strides)


def _sum(made: torch.Tensor, axes: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    _record("sum", 0)
    return tensor(_array(made).sum(tuple(axes), keepdims=keepdim))


def _copy(made: torch.Tensor, target: torch.Tensor, _: bool = False) -> torch.Tensor:
    if made.numel():
        _forbidden()
    return target


_OPERATORS = {
    "_copy_from": _copy,
    "empty.memory_format": _empty,
    "zero_": _zero,
    "view": _view,
    "as_strided": _as_strided,
    "sum.dim_IntList": _sum,
}
