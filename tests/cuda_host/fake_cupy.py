"""A stand-in for CuPy with several devices: NumPy memory, kernels on the CPU, and a record.

It offers what `mdn_cupy` may use and nothing else: whatever would wait for a device or copy from it
(`synchronize`, `get`, `asnumpy`) is an AttributeError here.
"""

import threading
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cuda_host import kernels

__version__ = "14.2.0"


class Record(NamedTuple):
    """What was done while which device was current, and for a launch on which stream."""

    what: str
    device: int
    stream: Any = None


class Device:
    """A context that makes a device the thread's current one."""

    def __init__(self, id: int) -> None:
        self.id = id

    def __enter__(self) -> "Device":
        _thread.devices.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        _thread.devices.pop()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.devices = [0]  # as CUDA has it, a new thread starts on device 0


_thread = _Thread()
records: list[Record] = []
driver_version, runtime_version = 13000, 13000


def current() -> int:
    return _thread.devices[-1]


class ndarray(NDArrayOperatorsMixin):
    """A NumPy array that knows its device."""

    def __init__(self, array: Any, device: int | None = None) -> None:
        self.array = np.asarray(array)
        self.device = Device(current() if device is None else device)
        self.data = SimpleNamespace(ptr=self.array.__array_interface__["data"][0])

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "dtype", "strides", "itemsize"):
            return getattr(self.array, name)
        raise AttributeError(name)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> "ndarray":
        assert current() == self.device.id, f"{ufunc} on an array of another device"
        plain = [x.array if isinstance(x, ndarray) else x for x in inputs]
        if "out" in options:
            options["out"] = tuple(x.array for x in options["out"])
        return ndarray(getattr(ufunc, method)(*plain, **options))

    def reshape(self, *shape: Any) -> "ndarray":
        return ndarray(self.array.reshape(*shape), self.device.id)

    def astype(self, dtype: Any, **options: Any) -> "ndarray":
        return ndarray(self.array.astype(dtype, **options), self.device.id)

    def sum(self, **options: Any) -> "ndarray":
        records.append(Record("sum", current()))
        return ndarray(self.array.sum(**options))


def empty(shape: Any, dtype: Any) -> ndarray:
    records.append(Record("empty", current()))
    return ndarray(np.full(shape, 99, dtype))


def zeros(shape: Any, dtype: Any) -> ndarray:
    records.append(Record("zeros", current()))
    return ndarray(np.zeros(shape, dtype))


def asarray(array: Any) -> ndarray:
    records.append(Record("asarray", current()))
    return ndarray(np.array(array))


def from_dlpack(exporter: Any) -> ndarray:
    records.append(Record("from_dlpack", current()))
    return exporter.array


exp, expm1, subtract = np.exp, np.expm1, np.subtract


class RawModule:
    """Kernels of the host executor, whatever the code; records where they are loaded and run."""

    def __init__(self, code: str, options: Any, name_expressions: Any, backend: str) -> None:
        assert code
        assert backend == "nvrtc"
        assert all(isinstance(option, str) for option in options)
        self._names = name_expressions

    def get_function(self, name: str) -> Any:
        assert name in self._names
        loaded_on = current()
        records.append(Record(f"load {name}", loaded_on))

        def function(grid: Any, block: Any, args: Any, *, stream: Any = None) -> None:
            assert current() == loaded_on, "a function of another device's module"
            records.append(Record(name, current(), stream))
            kernels(name).get_function(name)(grid, block, args)

        return function


class OutOfMemoryError(MemoryError):
    """CuPy's."""


class CUDARuntimeError(RuntimeError):
    """CuPy's."""


class CUDADriverError(RuntimeError):
    """CuPy's."""


cuda = SimpleNamespace(
    Device=Device,
    driver=SimpleNamespace(CUDADriverError=CUDADriverError),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDevice=current,
        getDeviceCount=lambda: 2,
        getDeviceProperties=lambda n: {"name": b"Imagined GPU"},
        driverGetVersion=lambda: driver_version,
        runtimeGetVersion=lambda: runtime_version,
    ),
)
