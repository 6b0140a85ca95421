"""The scripts of the samples, imported as they import each other."""

import importlib
import sys

import pytest
import torch
from helpers import ROOT


@pytest.fixture(scope="module", autouse=True)
def samples():
    """Their folder on the path, as for a script in it; one thread of torch, and then as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT / "samples"))
    yield
    sys.path.remove(str(ROOT / "samples"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scripts(samples, request):
    """The modules that a test file names as SCRIPTS, by the last of their names."""
    names = request.module.SCRIPTS
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
