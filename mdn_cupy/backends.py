"""Which backends there are, and whether each works here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, NamedTuple

__all__ = ["Backend", "Status", "backends", "module"]

Backend = Literal["cpu", "cuda"]


class Status(NamedTuple):
    """Whether something works here, and in which version, or why it does not."""

    works: bool
    detail: str

    def __str__(self) -> str:
        """'works: …' or 'not here: …'."""
        return f"{'works' if self.works else 'not here'}: {self.detail}"


def backends() -> dict[str, Status]:
    """Say which backends work on this machine, and why the others do not.

    Returns
    -------
    dict of str to Status
        "cpu", "cuda" and "torch".

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> mdn.backends()["cpu"].works
    True
    """
    return {"cpu": module("cpu").status(), "cuda": module("cuda").status(), "torch": _torch()}


def module(backend: Backend) -> ModuleType:
    """Load a backend: `accumulate`, `noisy_or`, `compare` and `gather` on its arrays."""
    return import_module(f"mdn_cupy.{backend}")


def _torch() -> Status:
    if find_spec("torch") is None:
        return Status(False, 'torch is not installed; pip install "mdn-cupy[torch]"')
    from importlib.metadata import version  # 40 ms that most programs need not spend

    return Status(True, f"torch {version('torch')}")
