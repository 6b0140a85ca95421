"""Arrays in memory by their names, and those that are read lazily: what a file would hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import dtype_name, is_torch, library, to_numpy
from mdn_cupy.io import hdf5
from mdn_cupy.io.contents import Contents

__all__ = ["Held", "contents"]


class Held:
    """An array of any library, or anything with shape, dtype and indexing, read as NumPy arrays."""

    def __init__(self, name: str, array: Any) -> None:
        self._name, self._array = name, array
        self.shape = tuple(array.shape)
        dtype = dtype_name(array) if is_torch(array) else array.dtype
        self.dtype = np.dtype("float32" if dtype == "bfloat16" else dtype)
        self.chunks = getattr(array, "chunks", None)  # as of HDF5: parts of it can be read

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        whole = index is ... and hasattr(self._array, "__array__")
        found = self._array if whole else self._array[index]
        if hasattr(found, "compute"):  # dask: `np.asarray` would drop a mask
            found = found.compute()
        return to_numpy(found if library(found) else np.asanyarray(found), self._name)


def contents(
    stored: Any, kind: str = "mapping", member: Callable[[str, Any], Any] = Held
) -> Contents:
    """Find the arrays in mappings, lists and tuples of any depth; none of them is read.

    Parameters
    ----------
    stored : mapping
        A dict, an open HDF5 group, whose attributes count too, or an open NPZ archive, whose
        arrays NumPy reads here.
    kind : str
        What to call it.
    member : callable
        Takes a name and an array, and returns a `Member`.

    Examples
    --------
    >>> import numpy as np
    >>> contents({"net": {"heatmap": np.zeros((4, 30, 40))}, "stride": 8}).listed()
    'it holds net/heatmap (4, 30, 40) float64'
    """
    if hasattr(stored, "visititems"):
        return hdf5.of_group(stored)
    found = dict(_items("", stored))
    return Contents(
        kind,
        {name: member(name, value) for name, value in found.items() if _is_array(value)},
        {n: value for n, value in found.items() if not (value is None or _is_array(value))},
    )


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(value, "visititems"):
        group = hdf5.of_group(value)
        children: Any = {**group.values, **group.arrays}.items()
    elif isinstance(value, Mapping):
        children = value.items()
    elif isinstance(value, (list, tuple)) and any(map(_has_array, value)):
        children = enumerate(value)
    else:
        yield name or "tensor", value
        return
    for key, child in children:
        yield from _items(f"{name}/{key}" if name else str(key), child)


def _is_array(value: Any) -> bool:
    named = getattr(value, "shape", None) is not None and hasattr(value, "dtype")
    return named and not isinstance(value, np.generic)


def _has_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = [*value.values()]
    return _is_array(value) or (isinstance(value, (list, tuple)) and any(map(_has_array, value)))
