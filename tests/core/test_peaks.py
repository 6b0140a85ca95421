"""All peaks of maps: what they are on every backend, and the table that holds them."""

import csv
import dataclasses
import json
import math
import sys

import numba
import numpy as np
import pytest
import torch
from backends import PEAK_COLUMNS
from cuda_host import HostExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import peak_local_max
from strategies import LAYOUTS, laid_out

import mdn_cupy as mdn
from mdn_cupy import cuda
from mdn_cupy.cpu import peaks as cpu_peaks

NOT_NUMBERS = (np.nan, np.inf, -np.inf)
SIDES = st.one_of(st.integers(1, 12), st.sampled_from([1, 2, 3, 31]))


def numbers(draw, shape):
    """Values of maps: any, few different ones, saturated ones, and some that are no numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["any", "few", "saturated", "constant"]))
    values = {
        "any": rng.normal(0.5, 1, shape),
        "few": rng.integers(0, draw(st.integers(2, 5)), shape) / 4,
        "saturated": np.minimum(rng.normal(0.5, 1, shape), 1),
        "constant": np.full(shape, 0.5),
    }[kind]
    odd = draw(st.sampled_from([0, 0, 0.1, 0.6, 1]))
    return np.where(rng.random(shape) < odd, rng.choice(NOT_NUMBERS, shape), values)


@st.composite
def searches(draw):
    """Maps, and how to search them."""
    leading = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    shape = (*leading, draw(SIDES), draw(SIDES))
    dtype = draw(st.sampled_from([np.float32, np.float32, np.float64, np.float16]))
    evidence = numbers(draw, shape).astype(dtype)
    options = {
        "threshold": draw(st.sampled_from([0.25, 0.5, 0.0, 0.3, 1.0, -1.0, -np.inf, np.inf])),
        "min_distance": draw(st.sampled_from([1, 0.0, 2.0, 2.5, 3, math.sqrt(10), 7, np.inf])),
        "max_peaks": draw(st.sampled_from([None, None, 1, 2, 5, 10**20])),
        "border": draw(st.sampled_from([0, 0, 1, 2, 40])),
    }
    if draw(st.booleans()):
        options["score"] = np.arange(evidence.size, dtype=np.float32).reshape(shape)
    return laid_out(evidence, draw(LAYOUTS)), options


def assert_same_peaks(got, want):
    """The same pixels to the bit; positions as far as logarithms agree."""
    assert got.maps_shape == want.maps_shape
    for name in ("map", "score", "evidence"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
    for name in ("x", "y"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=0, atol=1e-9)


def pixels(peaks):
    """(map, row, column) of peaks that are not between pixels."""
    return np.stack([peaks.map, peaks.y, peaks.x], -1).astype(int).tolist()


@given(searches())
def test_peaks_are_those_of_the_specification(backend, search):
    evidence, options = search
    want = mdn.reference.find_peaks(evidence, **options)
    got = backend.find_peaks(evidence, **options)
    assert_same_peaks(got, want)
    computed = np.result_type(evidence, np.float32)
    kinds = [getattr(got, name).dtype for name in PEAK_COLUMNS]
    score = np.float32 if "score" in options else computed
    assert kinds == [np.int64, np.float64, np.float64, score, computed]


@settings(max_examples=20)  # of 24000 pixels, each 0.4 s by the specification
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 6]))
def test_large_maps_of_plateaus_are_those_of_the_specification(seed, values):
    """Larger than a block and a task, with plateaus that wind through all of them."""
    rng = np.random.default_rng(seed)
    evidence = rng.integers(0, values, (2, 40, 300)).astype(np.float32)
    options = {"threshold": 1.0, "min_distance": 4.5}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cpu_peaks, "_TASK_PIXELS", 1000)
        patched.setattr(cpu_peaks, "_FOUND_TOGETHER", 1)
        got = mdn.find_peaks(evidence, **options)
    assert_same_peaks(got, mdn.reference.find_peaks(evidence, **options))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 4, 5), (2, 0, 4, 5), (3, 0, 0)])
def test_empty_maps_have_no_peaks(backend, shape):
    peaks = backend.find_peaks(np.zeros(shape, np.float32), threshold=0.0)
    assert len(peaks) == 0
    assert peaks.maps_shape == shape[:-2]
    assert peaks.to_dict() == {name: [] for name in PEAK_COLUMNS}
    assert mdn.reference.find_peaks(np.zeros(shape), threshold=0.0).maps_shape == shape[:-2]


def test_a_plateau_counts_once_at_its_middle(backend):
    m = np.zeros((12, 20), np.float32)
    rows, columns = np.indices(m.shape)
    m[(rows - 5) ** 2 + (columns - 6) ** 2 <= 16] = 1  # a disc
    m[2:4, 15:17] = 1  # between four pixels
    m[9:11, 15] = 0.8  # beside a higher one: no peak
    m[11, 16] = 0.9
    peaks = backend.find_peaks(m, threshold=0.5)
    assert (peaks.y[1:].tolist(), peaks.x[1:].tolist()) == ([5, 11], [6, 16])
    np.testing.assert_allclose([peaks.y[0], peaks.x[0]], [2.5, 15.5], atol=0.2)
    assert peaks.evidence.tolist() == [1, 1, np.float32(0.9)]


def test_a_ring_is_a_plateau_and_its_peak_is_a_pixel_of_it(backend):
    m = np.zeros((9, 9))
    m[1:8, 1:8] = 1
    m[2:7, 2:7] = 0
    peaks = backend.find_peaks(m, threshold=0.5)
    assert len(peaks) == 1
    assert (round(float(peaks.y[0])), round(float(peaks.x[0]))) in [(4, 1), (4, 7)]


def test_a_winding_plateau_that_one_pixel_exceeds_is_no_peak(backend):
    m = np.zeros((15, 15), np.float32)
    m[::2] = 1  # a line that goes back and forth
    m[1::4, -1] = 1
    m[3::4, 0] = 1
    assert len(backend.find_peaks(m, threshold=0.5)) == 1
    m[14, 14] = 2
    assert backend.find_peaks(m, threshold=0.5).evidence.tolist() == [2]


def test_ties_are_settled_by_position(backend):
    m = np.zeros((2, 9, 9))
    m[:, [1, 1, 4, 7, 7], [1, 7, 4, 1, 7]] = 1
    want = [[n, i, j] for n in range(2) for i, j in [(1, 1), (1, 7), (4, 4), (7, 1), (7, 7)]]
    assert pixels(backend.find_peaks(m, threshold=1)) == want
    spaced = backend.find_peaks(m, threshold=1, min_distance=5)
    assert pixels(spaced) == [x for x in want if x[1:] != [4, 4]]
    first = backend.find_peaks(m, threshold=1, max_peaks=2)
    assert pixels(first) == [[n, 1, j] for n in range(2) for j in (1, 7)]


def test_the_distance_is_euclidean_and_one_that_is_exactly_kept_is_far_enough(backend):
    m = np.zeros((30, 30))
    m[10, 10], m[13, 14], m[10, 16] = 3, 2, 1  # 5 apart, and 6 and 3.6 from the last
    assert len(backend.find_peaks(m, threshold=1, min_distance=2)) == 3
    assert backend.find_peaks(m, threshold=1, min_distance=5).evidence.tolist() == [3, 2]
    assert backend.find_peaks(m, threshold=1, min_distance=5.01).evidence.tolist() == [3, 1]


def test_what_was_dropped_drops_nothing(backend):
    """A row of falling peaks 3 apart: every other one stays, however long the row."""
    m = np.zeros((3, 3 * 400), np.float32)
    m[1, 1::3] = np.arange(400, 0, -1)
    peaks = backend.find_peaks(m, threshold=1, min_distance=4)
    assert peaks.x.tolist() == list(range(1, 1200, 6))


def test_peaks_in_the_margin_are_left_out_and_drop_nothing(backend):
    m = np.zeros((7, 9))
    m[3, 0], m[3, 2], m[1, 7], m[5, 7] = 5, 4, 3, 2
    assert len(backend.find_peaks(m, threshold=1, min_distance=3)) == 3
    inner = backend.find_peaks(m, threshold=1, min_distance=3, border=1)
    assert inner.evidence.tolist() == [4, 3, 2]
    assert backend.find_peaks(m, threshold=1, border=2).evidence.tolist() == [4]


def test_nan_hides_no_peak_and_infinity_is_one(backend):
    m = np.full((5, 9), np.nan, np.float32)
    m[2, 2], m[2, 6] = 1, np.inf
    m[4, :] = -np.inf
    peaks = backend.find_peaks(m, threshold=-np.inf)
    assert (peaks.y.tolist(), peaks.x.tolist()) == ([2, 2], [6, 2])
    assert peaks.evidence.tolist() == [np.inf, 1]


def test_the_threshold_is_one_of_the_dtype_of_the_map(backend):
    for dtype in (np.float32, np.float64):
        m = np.zeros((3, 3), dtype)
        m[1, 1] = 0.7  # which float32 rounds down
        assert len(backend.find_peaks(m, threshold=0.7)) == 1
        assert len(backend.find_peaks(m, threshold=np.nextafter(dtype(0.7), dtype(1)))) == 0


def test_a_gaussian_is_found_between_the_pixels(backend):
    rng = np.random.default_rng(0)
    centres = 10 + 20 * np.indices((3, 4)).reshape(2, -1) + rng.uniform(-0.5, 0.5, (2, 12))
    rows, columns = np.indices((60, 80))
    heights = np.arange(12, 0, -1)
    distances = (rows - centres[0, :, None, None]) ** 2 + (columns - centres[1, :, None, None]) ** 2
    evidence = (heights[:, None, None] * np.exp(-distances / 8)).sum(0)
    peaks = backend.find_peaks(evidence, threshold=0.5)
    np.testing.assert_allclose([peaks.y, peaks.x], centres, rtol=0, atol=1e-3)


def test_one_peak_a_map_is_torchs_subpixel_argmax():
    rng = np.random.default_rng(1)
    evidence = torch.from_numpy(rng.random((5, 20, 30)))
    peaks = mdn.find_peaks(evidence, threshold=0.0, max_peaks=1)
    found = mdn.torch.subpixel_argmax(evidence).positions
    torch.testing.assert_close(torch.stack([peaks.x, peaks.y], -1), found, rtol=0, atol=1e-12)


def test_the_columns_of_a_tensor_keep_its_graph():
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    centre = torch.tensor([4.2, 3.7], dtype=torch.float64, requires_grad=True)
    evidence = torch.exp(-((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / 4)
    peaks = mdn.find_peaks(evidence, threshold=0.5)
    (gradient,) = torch.autograd.grad(peaks.x[0], centre, retain_graph=True)
    torch.testing.assert_close(gradient, torch.tensor([1.0, 0.0], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(peaks.score[0], centre)
    assert gradient.isfinite().all()
    assert peaks.to_dict()["x"] == pytest.approx([4.2])


def test_the_coins_are_counted_by_one_call(backend):
    coins = mdn.samples.load("coins")
    m, log_complement, _ = coins.votes().compare()
    certain = -math.log1p(-0.99)
    peaks = backend.find_peaks(-log_complement, threshold=certain, score=m)
    assert len(peaks) == 24
    assert (peaks.score > 0.99).all()
    path = mdn.samples.path("coins").with_name("coins_centres.csv")
    centres = np.loadtxt(path, delimiter=",", skiprows=1)
    distance = np.hypot(*(np.stack([peaks.y, peaks.x])[:, None] - centres.T[:, :, None]))
    assert sorted(distance.argmin(0)) == list(range(24))  # each coin once
    assert distance.min(0).max() < 6  # as far as an outline's circle is from its centroid


def test_without_ties_they_are_those_of_scikit_image():
    rng = np.random.default_rng(2)
    evidence = rng.random((200, 210))
    theirs = peak_local_max(evidence, threshold_abs=0.5, exclude_border=False)
    peaks = mdn.find_peaks(evidence, threshold=0.5)
    rows, columns = np.round(peaks.y), np.round(peaks.x)
    np.testing.assert_allclose(peaks.evidence, np.sort(evidence[tuple(theirs.T)])[::-1])
    assert len(theirs) == len(rows) == len(columns) > 3000


@pytest.mark.parametrize("values", [9, 1 << 20])
def test_any_number_of_threads_finds_the_same(monkeypatch, values):
    evidence = np.random.default_rng(3).integers(0, values, (3, 300, 500)).astype(np.float32)
    found = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", count)
        found.append(cpu_peaks.find_peaks(evidence, values / 3, 9, 10**6, 0))
        np.testing.assert_array_equal(found[-1], found[0])
    assert len(found[0]) > 1000


def test_any_order_of_threads_and_blocks_finds_the_same(monkeypatch):
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan._MAX_GRID_Y", 7)
    monkeypatch.setattr("mdn_cupy.cuda.launch_plan.MAX_BLOCKS", 1)
    evidence = np.random.default_rng(4).integers(0, 3, (2, 30, 150)).astype(np.float32)
    arguments = (evidence, 1.0, 20, 9, 1)
    want = cpu_peaks.find_peaks(*arguments)
    for seed in range(1, 9):
        got = cuda.find_peaks(*arguments, executor=HostExecutor(seed))
        np.testing.assert_array_equal(got, want)


# The table


@pytest.fixture
def table():
    """Two frames of three keypoints: one without a peak, one with two."""
    evidence = np.zeros((2, 3, 8, 9), np.float32)
    evidence[0, 0, 2, 3], evidence[0, 0, 6, 7], evidence[0, 2, 4, 1] = 4, 6, 2
    evidence[1, 1, 5, 5] = 8
    return mdn.find_peaks(evidence, threshold=1, score=evidence / 8)


def test_a_table_as_a_dict_is_json(table):
    columns = json.loads(json.dumps(table.to_dict()))
    assert columns == {
        "map": [0, 0, 2, 4],
        "x": [7, 3, 1, 5],
        "y": [6, 2, 4, 5],
        "score": [0.75, 0.5, 0.25, 1.0],
        "evidence": [6, 4, 2, 8],
    }


def test_a_table_as_csv_has_a_header_and_comes_back(table, tmp_path):
    path = tmp_path / "peaks.csv"
    table.to_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.to_dict())
    assert [float(row["x"]) for row in rows] == table.x.tolist()
    with pytest.raises(OSError, match="nowhere"):
        table.to_csv(tmp_path / "nowhere" / "peaks.csv")
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_as_results_for_coco(table):
    first, second = table.to_coco_keypoints(image_ids=[17, 4])
    assert first == {
        "image_id": 17,
        "category_id": 1,
        "keypoints": [7, 6, 0.75, 0, 0, 0, 1, 4, 0.25],
        "score": 0.5,
    }
    assert (second["image_id"], second["keypoints"][3:6]) == (4, [5, 5, 1])
    apart = table.to_coco_keypoints(individuals=np.array([0, 1, 1, 0]))
    assert [(x["image_id"], x["keypoints"][:2], x["keypoints"][6:8]) for x in apart] == [
        (0, [7, 6], [0, 0]),
        (0, [3, 2], [1, 4]),
        (1, [0, 0], [0, 0]),
    ]


def test_the_spread_is_in_what_a_table_becomes(table, tmp_path):
    spread = dataclasses.replace(
        table, xx=table.x + 10, xy=table.x + 20, yy=table.x + 30, voters=table.y
    )
    first, second = spread.to_coco_keypoints()
    assert first["covariances"] == [17, 27, 37, 0, 0, 0, 11, 21, 31]
    assert first["voters"] == [6, 0, 4]
    assert second["voters"] == [0, 5, 0]
    assert list(spread.to_dataframe())[-5:] == ["evidence", "xx", "xy", "yy", "voters"]
    assert list(dataclasses.replace(table, voters=table.y).to_dict())[-2:] == ["evidence", "voters"]
    spread.to_csv(tmp_path / "peaks.csv")
    header = (tmp_path / "peaks.csv").read_text().partition("\n")[0]
    assert header == "map,x,y,score,evidence,xx,xy,yy,voters"


def test_a_table_for_pandas_has_the_columns_of_movement(table):
    frame = table.to_dataframe(keypoints=["nose", "left ear", "right ear"])
    assert list(frame) == ["time", "individual", "keypoint", "y", "x", "confidence", "evidence"]
    assert frame["time"].tolist() == [0, 0, 0, 1]
    assert frame["individual"].tolist() == [0, 1, 0, 0]
    assert frame["keypoint"].tolist() == ["nose", "nose", "right ear", "left ear"]
    assert table.to_dataframe(individuals=np.arange(5, 9))["individual"].tolist() == [5, 6, 7, 8]


def test_without_pandas_the_message_names_what_needs_none(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas; to_dict\(\) and to_csv\(\)"):
        table.to_dataframe()


def test_what_does_not_fit_the_table_is_refused(table):
    with pytest.raises(ValueError, match="image_ids must name 2 images, got 1"):
        table.to_coco_keypoints(image_ids=[3])
    with pytest.raises(ValueError, match="individuals must name 4 peaks, got 2"):
        table.to_coco_keypoints(individuals=np.array([1, 2]))
    with pytest.raises(ValueError, match="keypoints must name 3 maps, got 1"):
        table.to_dataframe(keypoints=["nose"])
    for ids in (5, "ab", np.array(5)):
        with pytest.raises(
            TypeError, match="image_ids must be a sequence, one for each of 2 images"
        ):
            table.to_coco_keypoints(image_ids=ids)
    for individuals in (np.zeros((4, 1), int), np.zeros(4), [0.5] * 4):
        with pytest.raises(
            TypeError, match="individuals must be integers, one for each of 4 peaks"
        ):
            table.to_coco_keypoints(individuals=individuals)
    with pytest.raises(TypeError, match=r"keypoints must be a sequence, .* 3 maps, got the string"):
        table.to_dataframe(keypoints="abc")
    alone = mdn.find_peaks(np.ones((3, 3)), threshold=0.5)
    assert len(mdn.find_peaks(np.ones((3, 3)), threshold=10**400)) == 0
    with pytest.raises(ValueError, match=r"no leading axis .* \(..., P, H, W\)"):
        alone.to_coco_keypoints()


# What is refused

MAP = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"evidence": [[1.0]]}, TypeError, "evidence must be an array"),
        ({"evidence": np.zeros((3, 4), int)}, TypeError, r"evidence .* floating dtype .*astype"),
        ({"evidence": np.ma.zeros((3, 4))}, TypeError, "evidence is a masked array"),
        ({"evidence": np.zeros(4)}, ValueError, r"evidence .* \(..., H, W\), got \(4,\)"),
        ({"threshold": "high"}, TypeError, "threshold must be a number, got str"),
        ({"threshold": math.nan}, ValueError, "threshold must not be NaN; -math.inf"),
        ({"min_distance": None}, TypeError, "min_distance must be a number, got NoneType"),
        ({"min_distance": -1}, ValueError, "min_distance must not be negative, got -1"),
        ({"min_distance": math.nan}, ValueError, "min_distance must not be negative, got nan"),
        ({"max_peaks": 0}, ValueError, "max_peaks must be at least 1, got 0"),
        ({"max_peaks": 1.5}, TypeError, "max_peaks must be a whole number, got 1.5"),
        ({"border": -1}, ValueError, "border must be at least 0, got -1"),
        ({"border": (1, 2)}, TypeError, r"border must be a whole number, got \(1, 2\)"),
        ({"score": np.zeros((4, 3))}, ValueError, r"score .* evidence \(3, 4\), got \(4, 3\)"),
        ({"score": np.zeros((3, 4), int)}, TypeError, "score must be of a floating dtype"),
        ({"score": torch.zeros(3, 4)}, TypeError, "score is on torch"),
        ({"evidence": torch.zeros(3, 4).int()}, TypeError, "evidence .* floating dtype .*, got"),
        ({"evidence": torch.zeros(3, 4), "score": MAP}, TypeError, "score is on NumPy"),
        ({"evidence": torch.zeros(3, 4).to_sparse()}, TypeError, "evidence must be a dense"),
        ({"evidence": torch.zeros(3, 4, device="meta")}, TypeError, r"on meta; .* \.cuda\(\)"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        mdn.find_peaks(**{"evidence": MAP, "threshold": 0.5, **changes})


def test_a_threshold_must_be_chosen():
    with pytest.raises(TypeError, match="threshold"):
        mdn.find_peaks(MAP)
