"""The fields of trained.mdn are those of the network, in pixels of the cutout."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

import mdn_cupy as mdn

SCRIPTS = (
    "make_trained",
    "trained_network",
    "person_cutouts",
    "keypoints.networks",
    "keypoints.settings",
    "keypoints.tasks",
)


def make_network(scripts, folder, way):
    task = scripts["tasks"].persons()
    settings = scripts["settings"].Settings(way, 0, 1, denser=2, finer=2, **task.defaults)
    torch.manual_seed(0)
    network = scripts["networks"].Network(settings, task)
    for weight in (network.head.head.confidence.weight, network.head.head.offsets.weight):
        torch.nn.init.normal_(weight, std=0.5)
    path = folder / f"{way}-0.pt"
    state = {"settings": dataclasses.asdict(settings), "network": network.state_dict()}
    torch.save(state, path)
    return scripts["trained_network"].TrainedNetwork(path)


def test_the_sample_s_map_is_the_network_s(scripts, tmp_path):
    trained = make_network(scripts, tmp_path, "within")
    fields = scripts["make_trained"].make_fields(trained)
    assert fields.image.shape == (192, 192, 3)
    assert (fields.stride, fields.origin) == (4.0, 1.5)
    picture = torch.from_numpy(fields.image).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        evidence = trained.network.evidence(picture)[0].numpy()  # of pixels of 2 × 2
    sigma = 2 * trained.network.head.head.displacement.sigma.item()
    assert fields.sigma == pytest.approx(sigma, abs=1e-3)
    geometry = {"stride": 4, "origin": 1, "output_shape": (191, 191)}  # even pixels are centres
    votes = mdn.Votes(fields.confidence, fields.offsets, sigma, **geometry)
    np.testing.assert_allclose(votes.evidence()[:, ::2, ::2], evidence, rtol=1e-3, atol=1e-4)


def test_a_network_across_parts_is_refused(scripts, tmp_path, capsys, monkeypatch):
    make_network(scripts, tmp_path, "across")
    output = tmp_path / "trained.mdn"
    argv = ["make_trained.py", "--trained", str(tmp_path / "across-0.pt"), "-o", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as refused:
        scripts["make_trained"].main()
    assert refused.value.code == 1
    assert "must be one that votes within parts, got 'across'" in capsys.readouterr().err
    assert not output.exists()
