"""The examples of the torch layer's guide run."""

import re

import torch
from helpers import ROOT

import mdn_cupy as mdn

GUIDE = (ROOT / "docs" / "torch.md").read_text(encoding="utf-8")


def test_the_examples_of_the_guide_run():
    network, torchvision = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names = {}
    exec(network, names)
    assert names["logits"].shape == names["heatmaps"].shape
    assert names["x_y"].shape == (2, 3, 2)
    exec(torchvision, names)
    model = torch.nn.Module()
    model.roi_heads = torch.nn.Module()
    predictor = names["voting"](model, edges=[(0, 1)]).roi_heads.keypoint_predictor
    assert predictor(torch.zeros(1, 512, 14, 14)).shape == (1, 17, 56, 56)


def test_what_the_guide_names_is_there():
    table = GUIDE.split("\n## ")[0]
    for name in re.findall(r"^\| (`.*`) \|", table, flags=re.MULTILINE):
        for each in re.findall(r"`(\w+)`", name):
            assert hasattr(mdn.torch, each), each
