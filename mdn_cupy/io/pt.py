"""Tensors that `torch.save` wrote; nothing else in such a file is unpickled."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import dtype_name, is_torch, to_numpy
from mdn_cupy.io.contents import PICKLED, Contents, Refusal, missing

__all__ = ["KIND", "SUFFIXES", "contents"]

KIND = "torch"
SUFFIXES = (".pt", ".pth")


class _Tensor:
    """A tensor whose storage is mapped into memory, read as a NumPy array."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self.shape = tuple(tensor.shape)
        name = dtype_name(tensor)
        self.dtype = np.dtype("float32" if name == "bfloat16" else name)

    def __getitem__(self, index: int | EllipsisType) -> npt.NDArray[Any]:
        return np.array(to_numpy(self._tensor[index]))


def contents(path: Path) -> Contents:
    """Open a file of tensors, in dicts, lists or tuples of any depth.

    The numbers stay in the file until they are wanted, except in the format of torch before 1.6.
    """
    try:
        import torch
    except ModuleNotFoundError:
        missing(path, KIND, "torch", "torch")
    mapped = zipfile.is_zipfile(path)
    with open(path, "rb") as file:
        if not mapped and file.read(1) != pickle.PROTO:
            raise Refusal(f"not a readable {KIND} file (neither a ZIP archive nor a pickle)")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the pickle protocol
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise Refusal(f"{PICKLED} only, as torch.save({{'confidence': ...}}, ...)") from error
    found = dict(_items("", stored))
    return Contents(
        KIND,
        {name: _Tensor(value) for name, value in found.items() if is_torch(value)},
        {name: value for name, value in found.items() if not is_torch(value)},
    )


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        children: Any = value.items()
    elif isinstance(value, (list, tuple)) and any(map(_has_tensor, value)):
        children = enumerate(value)
    else:
        yield name or "tensor", value
        return
    for key, child in children:
        yield from _items(f"{name}/{key}" if name else str(key), child)


def _has_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = [*value.values()]
    return is_torch(value) or (isinstance(value, (list, tuple)) and any(map(_has_tensor, value)))
