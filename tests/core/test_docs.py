"""The examples in the docstrings and in the README are true."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from helpers import ROOT

import mdn_cupy

README = (ROOT / "README.md").read_text(encoding="utf-8")

MODULES = sorted(module.name for module in pkgutil.walk_packages(mdn_cupy.__path__, "mdn_cupy."))


@pytest.mark.parametrize("name", ["mdn_cupy", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", mdn_cupy.__all__)
def test_what_is_public_has_an_example(name):
    thing = getattr(mdn_cupy, name)
    if not inspect.ismodule(thing) and name not in {"Gradients", "save_fields"}:
        assert ">>> " in inspect.getdoc(thing)
    assert inspect.getdoc(thing)


def test_the_examples_of_the_readme_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    names = {
        "logits": torch.zeros(3, 8, 9, requires_grad=True),
        "target": torch.zeros(3, 8, 9),
    }
    for block in blocks:
        if "import torch" in block:
            names["offsets"] = torch.zeros(3, 2, 8, 9)
        exec(block, names)
        if "nose" in block:
            assert names["m"].shape == names["s"].shape == (385, 385)
            assert names["g"].confidence.shape == (25, 25)
            assert names["part"].shape == (30, 30)
    assert names["logits"].grad.abs().max() > 0
    assert len(names["who"]) > 0 < names["spot"].weight.size


def test_what_the_readme_points_to_is_there():
    places = re.findall(r"\]\(([^)#:]+)\)", README)
    assert places
    for place in places:
        assert (ROOT / place).exists(), place
