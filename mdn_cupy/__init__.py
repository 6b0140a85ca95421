r"""Voting layers of Mass Displacement Networks: exact, deterministic, differentiable.

Every source pixel :math:`x` has a confidence :math:`c(x)` and an offset :math:`o(x)`; it votes for
the point :math:`x + o(x)`, blurred by a Gaussian of width :math:`\sigma`. The votes combine by

.. math:: m(x_0) = 1 - \prod_x (1 - w(x, x_0) c(x)) \qquad \text{(noisy-or, Eq. 2)}

.. math:: s(x_0) = \sum_x K_\sigma(x_0 - [x + o(x)]) c(x) \qquad \text{(additive, Eq. 3)}

with :math:`w = \exp(-\|x_0 - [x + o(x)]\|^2 / 2\sigma^2)` (Neverova & Kokkinos, *Mass Displacement
Networks*). Arrays are NumPy, CuPy or torch, and come back as they were given.

Examples
--------
>>> import mdn_cupy as mdn
>>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
>>> m, s = votes.noisy_or(), votes.additive()
>>> bool(m.max() > 0.99), bool(s.max() < 0.03)  # the paper's point
(True, True)
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as typing has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Any

    from mdn_cupy import adapters, reference, samples
    from mdn_cupy import dask as dask
    from mdn_cupy import torch as torch
    from mdn_cupy.arrays import to_gpu, to_numpy
    from mdn_cupy.backend import backends
    from mdn_cupy.checks import check_fields
    from mdn_cupy.fields import Fields
    from mdn_cupy.functional import additive, compare, log_complement, noisy_or, plain_sum
    from mdn_cupy.io import load_fields, open_fields, save_fields
    from mdn_cupy.peaks import Instances, Peaks, find_peaks
    from mdn_cupy.problem import Gradients, VoteKwargs
    from mdn_cupy.provenance import Footprint, Voters
    from mdn_cupy.threads import get_num_threads, interrupted_by, set_num_threads
    from mdn_cupy.votes import Votes

__version__ = "0.1.0"

# Without dask and torch: `from mdn_cupy import *` must not take the names of those libraries.
__all__ = [
    "Fields",
    "Footprint",
    "Gradients",
    "Instances",
    "Peaks",
    "VoteKwargs",
    "Voters",
    "Votes",
    "adapters",
    "additive",
    "backends",
    "check_fields",
    "compare",
    "find_peaks",
    "get_num_threads",
    "interrupted_by",
    "load_fields",
    "log_complement",
    "noisy_or",
    "open_fields",
    "plain_sum",
    "reference",
    "samples",
    "save_fields",
    "set_num_threads",
    "to_gpu",
    "to_numpy",
]

# Imported when asked for, so that a command can say what Ctrl+C does while NumPy is imported.
_OPTIONAL = ("dask", "torch")  # each named as the library that it needs
_MODULES = {"adapters", "reference", "samples", *_OPTIONAL}
_HOMES = {
    name: home
    for home, names in {
        "arrays": ("to_gpu", "to_numpy"),
        "backend": ("backends",),
        "checks": ("check_fields",),
        "fields": ("Fields",),
        "functional": ("additive", "compare", "log_complement", "noisy_or", "plain_sum"),
        "io": ("load_fields", "open_fields", "save_fields"),
        "peaks": ("Instances", "Peaks", "find_peaks"),
        "problem": ("Gradients", "VoteKwargs"),
        "provenance": ("Footprint", "Voters"),
        "threads": ("get_num_threads", "interrupted_by", "set_num_threads"),
        "votes": ("Votes",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            return import_module(f"mdn_cupy.{name}")
        except ModuleNotFoundError as error:
            if name not in _OPTIONAL:
                raise
            raise AttributeError(str(error)) from error  # of which `hasattr` makes False
    if name not in _HOMES:
        raise AttributeError(f"module 'mdn_cupy' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"mdn_cupy.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    from importlib.util import find_spec

    return sorted({*globals(), *__all__, *filter(find_spec, _OPTIONAL)})
