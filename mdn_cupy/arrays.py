"""Detect the array library and device of an argument, and import other arrays by DLPack.

No array library but NumPy is imported here. A CuPy array or a torch tensor can only reach us if its
library is loaded already, so it is looked for in `sys.modules`.
"""

from __future__ import annotations

import numbers
import operator
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mdn_cupy.backend import Backend, module

__all__ = [
    "Array",
    "adopt",
    "cast_to",
    "dtype_name",
    "in_words",
    "integer",
    "is_number",
    "is_proxy",
    "is_torch",
    "kind_of",
    "library",
    "namespace",
    "not_an_array",
    "on_device",
    "plain",
    "refuse_masked",
    "remedy",
    "stable_argsort",
    "to_gpu",
    "to_numpy",
]

Array = Any
"""A NumPy or CuPy array or a torch tensor: anything with shape, ndim, dtype and reshape."""

_DLPACK_CPU = (1, 3)  # kDLCPU, kDLCUDAHost: memory that the CPU reads in place
_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged

_BACKENDS: dict[str, Backend | Literal["torch"]] = {
    "numpy": "cpu",
    "cupy": "cuda",
    "torch": "torch",
}
_KINDS = {"numpy": "NumPy (", "cupy": "CuPy (CUDA device ", "torch": "torch ("}


def is_number(value: object) -> bool:
    """True for a Python or NumPy real scalar, which has no device and no dtype to promote."""
    # float by its name first: asking the abstract class takes longer than all other checks.
    return isinstance(value, (float, numbers.Real)) and not isinstance(value, bool)


def integer(value: Any) -> int:
    """Return an integer of any kind as an int; TypeError for anything else.

    Also for True and False, which Python counts as 1 and 0.
    """
    if isinstance(value, bool):
        raise TypeError("got a bool")
    return operator.index(value)


def is_torch(value: object) -> bool:
    """True for a torch tensor."""
    return _is_instance(value, "torch", "Tensor")


def is_proxy(value: object) -> bool:
    """True for the proxy of a tensor that torch.fx traces."""
    return _is_instance(value, "torch.fx", "Proxy")


def library(value: object) -> str | None:
    """Name the library of an array: numpy, cupy, torch, dlpack (any other exporter) or None."""
    if isinstance(value, np.ndarray):
        return "numpy"
    if _is_instance(value, "cupy", "ndarray"):
        return "cupy"
    if is_torch(value):
        return "torch"
    exports = hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")
    return "dlpack" if exports and not isinstance(value, type) else None


def dtype_name(array: Array) -> str:
    """Name an array's dtype as NumPy would, whichever library it comes from."""
    return _name(array.dtype)


def in_words(array: Array) -> str:
    """Describe an array by dtype and shape, without its values."""
    return f"{dtype_name(array)} {[*array.shape]}"


def namespace(array: Array) -> ModuleType:
    """Return the module whose functions take this array: numpy, cupy or torch."""
    return sys.modules[str(library(array))]


def on_device(array: Array) -> AbstractContextManager[Any]:
    """Make the device of a CuPy array the current one; nothing for the others."""
    device: AbstractContextManager[Any] = (
        array.device if library(array) == "cupy" else nullcontext()
    )
    return device


def stable_argsort(array: Array) -> Array:
    """Return the indices that sort a one-dimensional array; what is equal keeps its order."""
    return array.argsort(stable=True) if is_torch(array) else array.argsort(kind="stable")


def adopt(**named: object) -> tuple[Backend | Literal["torch"], dict[str, Array]]:
    """Convert arrays to one library, and select the backend that serves them.

    CuPy arrays are returned as they are, NumPy arrays by way of `plain`; other DLPack exporters
    become CuPy (CUDA) or NumPy (CPU) without a copy.

    Parameters
    ----------
    **named : array
        The arguments by name; the names are used in the error messages.

    Returns
    -------
    backend : {'cpu', 'cuda', 'torch'}
        What serves them: the device of arrays, or torch.
    arrays : dict
        The same names, with NumPy or CuPy arrays or tensors.

    Raises
    ------
    TypeError
        If an argument is no array, or the arguments are of different libraries or devices.
    """
    if all(type(x) is np.ndarray and x.dtype.isnative for x in named.values()):
        return "cpu", named  # as mostly; asking further takes 10 µs, 4 % of a small vote
    adopted = {name: _import(name, x) for name, x in named.items()}
    places = {name: _place(x) for name, x in adopted.items()}
    first, *others = places.values()
    if any(place != first for place in others):
        # A tensor without dimensions is a number, which may stay on the CPU.
        placed = {p for n, p in places.items() if adopted[n].ndim or str(p[1]) != "cpu"}
        if len({kind for kind, _ in places.values()}) > 1 or len(placed) > 1:
            seen = ", ".join(
                f"{name} is on {_KINDS[kind]}{device})" for name, (kind, device) in places.items()
            )
            raise TypeError(
                f"the arrays must be of one library and on one device, but {seen}; move them with "
                "cupy.asarray(...), cupy.asnumpy(...), torch.as_tensor(...) or tensor.to(...)"
            )
    return _BACKENDS[first[0]], adopted


def cast_to(array: Array, dtype: np.dtype[Any] | str) -> Array:
    """Convert an array to a dtype, without a copy if it has it; infinite where out of range."""
    if is_torch(array):
        wanted = getattr(sys.modules["torch"], np.dtype(dtype).type.__name__)  # .name takes 2 µs
        return array if array.dtype == wanted else array.to(wanted)
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def to_gpu(array: Array, name: str = "array") -> Array:
    """Copy an array to the GPU, where the voting functions then compute.

    Parameters
    ----------
    array : array
        NumPy, or of any other DLPack exporter. What is on a GPU already is not copied.
    name : str
        What to call it in an error message.

    Returns
    -------
    cupy.ndarray
        On CuPy's current device, of the same shape and dtype.

    Raises
    ------
    TypeError
        If it is no array, masked, or a torch tensor.
    RuntimeError
        If no GPU can be used here; the message says why.
    MemoryError
        If the GPU's memory is full.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> pose = mdn.samples.load("pose")
    >>> fields = pose.confidence, pose.offsets
    >>> if mdn.backends()["cuda"].works:
    ...     fields = [mdn.to_gpu(field) for field in fields]
    >>> m = mdn.noisy_or(*fields, sigma=2.0, **pose.geometry)
    >>> mdn.to_numpy(m).shape
    (17, 385, 385)
    """
    if is_torch(array):
        raise TypeError(f"{name} is a torch tensor, which votes on the GPU after tensor.cuda()")
    array = _import(name, array)
    return module("cuda").from_numpy(array) if isinstance(array, np.ndarray) else array


def to_numpy(array: Array, name: str = "array") -> npt.NDArray[Any]:
    """Return an array of any library as a NumPy array, copied only if it is not on the CPU.

    Parameters
    ----------
    array : array
        NumPy, CuPy, torch or of any other DLPack exporter; a tensor is detached.
    name : str
        What to call it in an error message.

    Returns
    -------
    numpy.ndarray
        Of the same shape and dtype, but float32 for bfloat16. It shares the memory of an array that
        is on the CPU.

    Raises
    ------
    TypeError
        If it is no array, or masked.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> mdn.to_numpy(torch.ones(2, requires_grad=True))
    array([1., 1.], dtype=float32)
    """
    if is_torch(array):
        tensor = array.detach().cpu().resolve_neg()
        return np.asarray((tensor.float() if dtype_name(array) == "bfloat16" else tensor).numpy())
    array = _import(name, array)
    return np.asarray(array.get() if library(array) == "cupy" else array)


def plain(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a NumPy array of any subclass as `numpy.ndarray` in this machine's byte order.

    The arithmetic here is that of `numpy.ndarray`: an `np.matrix`, which is what NumPy makes of an
    array minus a sparse matrix, would multiply as a matrix. Only another byte order takes a copy.

    Parameters
    ----------
    name : str
        What to call it in an error message.
    array : numpy.ndarray
        Of any subclass.

    Returns
    -------
    numpy.ndarray
        Of exactly that type.

    Raises
    ------
    TypeError
        If it is masked.

    Examples
    --------
    >>> import numpy as np
    >>> plain("confidence", np.matrix([[0.5]], ">f4"))
    array([[0.5]], dtype=float32)
    """
    refuse_masked(name, array)
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def kind_of(value: object) -> str:
    """Name the type of a value with its module: Dask, Zarr and JAX all have an `Array`.

    Examples
    --------
    >>> import fractions
    >>> kind_of(fractions.Fraction(1)), kind_of([])
    ('fractions.Fraction', 'list')
    """
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def remedy(name: str, value: object) -> str:
    """Write the end of a message: what converts an argument to NumPy; empty if nothing does.

    Examples
    --------
    >>> remedy("sigma", [1.0, 2.0])
    "; pass numpy.asarray(sigma, 'float32')"
    """
    lazy = kind_of(value).startswith("dask.")  # xarray's compute() gives another DataArray
    methods = ("compute",) if lazy else ("to_numpy", "toarray", "todense")
    for method in methods:
        if hasattr(value, method):
            return f"; pass {name}.{method}()"
    if isinstance(value, (list, tuple)):
        return f"; pass numpy.asarray({name}, 'float32')"
    if library(value) is not None:
        return f"; pass mdn_cupy.to_numpy({name})"
    convertible = hasattr(value, "__array__") and not isinstance(value, (type, np.bool_))
    return f"; pass numpy.asarray({name})" if convertible else ""


def not_an_array(name: str, value: object) -> str:
    """Write the message for an argument that is no array: type, what was wanted, remedy.

    Examples
    --------
    >>> print(not_an_array("sigma", None))
    sigma must be a number or an array (NumPy, CuPy, torch or any DLPack exporter), got NoneType
    """
    wanted = "a number or an array" if name == "sigma" else "an array"
    return (
        f"{name} must be {wanted} (NumPy, CuPy, torch or any DLPack exporter), "
        f"got {kind_of(value)}{remedy(name, value)}"
    )


def refuse_masked(name: str, array: object) -> None:
    """Raise TypeError for a masked array, since the values under its mask would vote."""
    if _is_instance(array, "numpy.ma", "MaskedArray"):  # np.ma would load it here
        raise TypeError(
            f"{name} is a masked array, and masks are not looked at; fill it first, "
            "e.g. confidence.filled(0) or offsets.filled(numpy.nan), which casts no vote"
        )


def _import(name: str, value: object) -> Array:
    if isinstance(value, np.ndarray):
        return plain(name, value)
    kind = library(value)
    if kind in _BACKENDS:
        return value
    if kind == "dlpack":
        return _from_dlpack(name, value)
    raise TypeError(not_an_array(name, value))


def _from_dlpack(name: str, value: Any) -> Array:
    device, _ = value.__dlpack_device__()
    if device in _DLPACK_CPU:
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name}, a {kind_of(value)}, cannot be read by DLPack ({error}); "
                f"pass numpy.asarray({name}, 'float32')"
            ) from error
    if device in _DLPACK_CUDA:
        return module("cuda").from_dlpack(value)
    raise TypeError(
        f"{name} lives on a device of DLPack type {int(device)}; "
        "mdn_cupy votes on the CPU (1) and on CUDA (2): copy it to one of them first"
    )


def _place(array: Array) -> tuple[str, Any]:
    """The library and the device of an array that was imported."""
    if isinstance(array, np.ndarray):
        return "numpy", "CPU"
    return ("torch", array.device) if is_torch(array) else ("cupy", array.device.id)


@cache
def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _is_instance(value: object, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name, ()))
