"""Tensors that `torch.save` wrote; nothing else in such a file is unpickled."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.io import memory
from mdn_cupy.io.contents import PICKLED, Contents, Refusal, missing
from mdn_cupy.io.memory import Held

__all__ = ["KIND", "SUFFIXES", "contents"]

KIND = "torch"
SUFFIXES = (".pt", ".pth")


class _Mapped(Held):
    """A tensor whose storage is mapped into memory, which ends when the file is cut off."""

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        return np.array(super().__getitem__(index))


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
    return memory.contents(stored, KIND, _Mapped)
