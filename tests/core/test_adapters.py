"""Every adapter's votes land where the peer's decoder, reimplemented here, finds its points."""

import math
import re

import numpy as np
import pytest
import torch
from file_kinds import EDGES, FAMILIES, H, W
from helpers import ROOT

import mdn_cupy as mdn

A = mdn.adapters


def maps(*shape, seed=0, spread=1.0):
    return np.random.default_rng(seed).normal(0, spread, shape)


def scores(*shape, seed=0):
    """Maps in [0, 1] with one high value each, away from the border and elsewhere in each."""
    rng = np.random.default_rng(seed)
    array = rng.random(shape) * 1e-9
    for plane in np.ndindex(*shape[:-2]):
        array[plane][rng.integers(1, shape[-2] - 1), rng.integers(2, shape[-1] - 2)] = 0.9
    return array


def logits(probabilities):
    return np.log(probabilities) - np.log1p(-probabilities)


def top(plane):
    """Row and column of the highest value."""
    return np.unravel_index(plane.argmax(), plane.shape)


def voted(fields, part=0, *, cross=False):
    """The place (x, y) of the peak: a lone Gaussian's logarithms lie on a parabola."""
    s = fields.votes(part, sigma=1.5, cross=cross).replace(truncate=6.0).plain_sum()
    s = np.asarray(mdn.to_numpy(s), np.float64)
    row, column = top(s)
    assert s[row, column] > 0.5, "no vote within the output"

    def vertex(before, at, after):
        before, at, after = np.log([before, at, after])
        return (before - after) / (2 * (before - 2 * at + after))

    return (
        column + vertex(*s[row, column - 1 : column + 2]),
        row + vertex(*s[row - 1 : row + 2, column]),
    )


def assert_same_place(got, want):
    assert math.dist(got, want) < 1e-3, (got, want)


SEEDS = range(4)


# DeepLabCut


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("apply_sigmoid", [True, False])
def test_deeplabcut(seed, apply_sigmoid):
    heatmap, locref = scores(3, H, W, seed=seed), maps(6, H, W, seed=seed, spread=0.5)
    written = logits(heatmap) if apply_sigmoid else heatmap
    fields = A.deeplabcut(written, locref, stride=8, apply_sigmoid=apply_sigmoid)
    assert fields.output_shape == (8 * H, 8 * W)
    for joint in range(3):
        row, column = top(heatmap[joint])
        dx, dy = 7.2801 * locref.reshape(3, 2, H, W)[joint, :, row, column]
        want = column * 8 + 0.5 * 8 + dx, row * 8 + 0.5 * 8 + dy
        assert_same_place(voted(fields, joint), want)


def test_deeplabcut_2_is_recognised_and_its_remedy_is_right():
    scmap, locref = scores(3, H, W).transpose(1, 2, 0), maps(H, W, 3, 2, spread=3.0)
    message = refusal(lambda: A.deeplabcut(scmap, locref, stride=8, apply_sigmoid=False))
    assert "DeepLabCut 2's" in message
    fields = A.deeplabcut(
        scmap.transpose(2, 0, 1),
        locref.reshape(H, W, 2 * 3).transpose(2, 0, 1),
        stride=8,
        apply_sigmoid=False,
        locref_std=1,
    )
    for joint in range(3):  # as argmax_pose_predict of the TensorFlow code
        at = top(scmap[..., joint])
        want = np.array(at)[::-1] * 8 + 0.5 * 8 + locref[at][joint]
        assert_same_place(voted(fields, joint), want)


# sleap-nn


@pytest.mark.parametrize("seed", SEEDS)
def test_sleap_nn(seed):
    foreground, offsets = scores(1, H, W, seed=seed), maps(2, H, W, seed=seed, spread=2.0)
    fields = A.sleap_nn(foreground, offsets, stride=4)
    row, column = top(foreground[0])
    dx, dy = offsets[:, row, column]
    assert_same_place(voted(fields), (column * 4 + 4 / 2.0 + dx, row * 4 + 4 / 2.0 + dy))


# MMPose


def udp_decode(heatmaps, input_size, radius_factor=0.0546875):
    """The codec's rule without the blur of the labels, for one clear label per map."""
    height, width = heatmaps.shape[1:]
    radius = radius_factor * max(width, height)
    for label, x_offset, y_offset in heatmaps.reshape(-1, 3, height, width):
        row, column = top(label)
        cells = np.array([column, row]) + radius * np.array(
            [x_offset[row, column], y_offset[row, column]]
        )
        yield cells / [width - 1, height - 1] * input_size


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("input_size", [(54, 36), (96, 48)])
def test_mmpose_udp(seed, input_size):
    heatmaps = maps(3 * 3, H, W, seed=seed, spread=0.5)
    heatmaps[::3] = scores(3, H, W, seed=seed)
    fields = A.mmpose_udp(heatmaps, input_size=input_size)
    assert fields.output_shape == input_size[::-1]
    for keypoint, want in enumerate(udp_decode(heatmaps, input_size)):
        assert_same_place(voted(fields, keypoint), want)


# PoseNet


def posenet_outputs(seed=0, parts=4, edges=3):
    heat = np.moveaxis(scores(parts, H, W, seed=seed), 0, -1)
    rest = [maps(H, W, 2 * n, seed=seed + n, spread=5.0) for n in (parts, edges, edges + 10)]
    return [logits(heat), *rest[:2], rest[2][..., : 2 * edges]]


def vector(channels, row, column, n):
    """(x, y) of the n-th part or edge: all y come before all x."""
    count = channels.shape[-1] // 2
    return np.array([channels[row, column, n + count], channels[row, column, n]])


@pytest.mark.parametrize("seed", SEEDS)
def test_posenet(seed):
    heatmap, offsets, forward, backward = posenet_outputs(seed)
    fields = A.posenet(heatmap, offsets, forward, backward, stride=16, edges=EDGES)
    for part in range(4):
        row, column = top(heatmap[..., part])
        want = np.array([column, row]) * 16 + vector(offsets, row, column, part)
        assert_same_place(voted(fields, part), want)


def test_posenet_follows_the_skeleton_as_its_decoder():
    outputs = [maps(H, W, n, seed=n, spread=25.0) for n in (4, 8, 6, 6)]  # beyond every side
    _, offsets, forward, backward = outputs
    fields = A.posenet(*outputs, stride=16, edges=EDGES)

    def nearest(point):
        column, row = np.clip(np.round(point / 16), 0, [W - 1, H - 1]).astype(int)
        return row, column

    want = np.full((4, 4, 2, H, W), np.nan)
    for row, column in np.ndindex(H, W):
        cell = np.array([column, row]) * 16
        for part in range(4):
            want[part, part, :, row, column] = vector(offsets, row, column, part)
        for edge, (first, second) in enumerate(EDGES):
            for p, k, leads in ((first, second, forward), (second, first, backward)):
                point = cell + vector(offsets, row, column, p)
                at = nearest(point + vector(leads, *nearest(point), edge))
                arrival = np.array(at)[::-1] * 16 + vector(offsets, *at, k)
                want[k, p, :, row, column] = arrival - cell
    np.testing.assert_allclose(fields.cross_offsets, want, rtol=1e-12, atol=1e-12)


def test_posenet_says_what_does_not_fit():
    heatmap, offsets, forward, backward = posenet_outputs()
    with pytest.raises(ValueError, match="both displacement_fwd and displacement_bwd"):
        A.posenet(heatmap, offsets, forward, stride=16, edges=EDGES)
    with pytest.raises(ValueError, match="3 edges and the heatmap 4 parts, but edges lists 16"):
        A.posenet(heatmap, offsets, forward, backward, stride=16)
    assert A.posenet(heatmap, offsets, stride=16).cross_offsets is None


# OpenPifPaf


@pytest.mark.parametrize("seed", SEEDS)
def test_openpifpaf(seed):
    rng = np.random.default_rng(seed)
    cif = maps(3, 5, H, W, seed=seed, spread=0.3)
    cif[:, 1] = scores(3, H, W, seed=seed)
    cif[:, 2:4] += np.indices((H, W))[::-1]  # the head adds the index
    cif[:, 4] = rng.uniform(0, 2, (3, H, W))
    fields = A.openpifpaf(cif, stride=8)
    for field in range(3):
        row, column = top(cif[field, 1])
        want = cif[field, 2, row, column] * 8, cif[field, 3, row, column] * 8
        assert_same_place(voted(fields, field), want)
        sigma = max(1.0, 0.5 * cif[field, 4, row, column] * 8)
        assert fields.votes(field).sigma[row, column] == pytest.approx(sigma, rel=1e-12)
    s = fields.votes().plain_sum()
    assert s.shape == ((H - 1) * 8 + 1, (W - 1) * 8 + 1)


# CenterNet and MoveNet


@pytest.mark.parametrize("seed", SEEDS)
def test_centernet(seed):
    heat, offset = scores(3, H, W, seed=seed), maps(2, H, W, seed=seed, spread=0.3)
    for fields, shift in (
        (A.centernet(logits(heat), offset), offset),
        (A.centernet(heat, apply_sigmoid=False), np.full((2, H, W), 0.5)),
    ):
        for part in range(3):
            row, column = top(heat[part])
            want = (np.array([column, row]) + shift[:, row, column]) * 4
            assert_same_place(voted(fields, part), want)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", ["centernet", "movenet"])
def test_the_centre_votes_for_the_keypoints(seed, family):
    heat, hps = scores(3, H, W, seed=seed), maps(6, H, W, seed=seed, spread=0.3)
    center = scores(1, H, W, seed=seed + 9)
    offset = maps(6 if family == "movenet" else 2, H, W, seed=seed)
    around = {} if family == "movenet" else {"center_offset": maps(2, H, W, spread=0.3)}
    fields = getattr(A, family)(logits(heat), offset, hps=hps, center=logits(center), **around)
    assert fields.names == ("part 0", "part 1", "part 2", "center")
    row, column = top(center[0])
    cell = np.array([column, row])
    for joint in range(3):
        first, second = hps[2 * joint : 2 * joint + 2, row, column]
        way = (second, first) if family == "movenet" else (first, second)
        only = mdn.Fields(fields.confidence[3:], fields.cross_offsets[joint, 3:], stride=4)
        assert_same_place(voted(only), (cell + way) * 4)
    shift = 0 if family == "movenet" else around["center_offset"][:, row, column]
    assert_same_place(voted(fields, "center"), (cell + shift) * 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_movenet(seed):
    heat, offset = scores(17, H, W, seed=seed), maps(34, H, W, seed=seed, spread=0.3)
    fields = A.movenet(logits(heat), offset)
    assert fields.names == A.POSENET_PARTS
    channels_last = np.moveaxis(offset, 0, -1).reshape(-1, 17, 2)  # as the peer's decode views it
    for joint in range(17):
        index = heat[joint].argmax()
        y, x = (np.array(np.unravel_index(index, (H, W))) + channels_last[index, joint]) * 4
        assert_same_place(voted(fields, joint), (x, y))


# CenterFace


@pytest.mark.parametrize("seed", SEEDS)
def test_centerface(seed):
    heat = scores(1, H, W, seed=seed)
    scale, offset = maps(2, H, W, seed=seed, spread=0.3), maps(2, H, W, seed=seed + 9, spread=0.3)
    landmarks = np.random.default_rng(seed).random((10, H, W))
    fields = A.centerface(heat, scale, offset, landmarks)
    assert fields.output_shape == (4 * H, 4 * W)
    row, column = top(heat[0])
    height, width = np.exp(scale[:, row, column]) * 4
    y, x = (np.array([row, column]) + offset[:, row, column] + 0.5) * 4
    assert_same_place(voted(fields, "face"), (x, y))
    top_y, left_x = y - height / 2, x - width / 2
    for n, name in enumerate(A.CENTERFACE_PARTS[1:]):
        down, right = landmarks[2 * n : 2 * n + 2, row, column]
        assert_same_place(voted(fields, name), (right * width + left_x, down * height + top_y))


# Panoptic-DeepLab


@pytest.mark.parametrize("seed", SEEDS)
def test_panoptic_deeplab(seed):
    height, width = 23, 37
    semantic = np.zeros((4, height, width))
    semantic[0] = 30
    row, column = (int(n) for n in np.random.default_rng(seed).integers(8, 15, 2))
    semantic[[1, 3], row, column] = 33, 32
    offset = maps(2, height, width, seed=seed, spread=2.0)
    fields = A.panoptic_deeplab(semantic, offset, things=[1, 3])
    y, x = np.array([row, column]) + offset[:, row, column]
    assert_same_place(voted(fields), (x, y))
    exp = np.exp(semantic[:, row, column])
    want = (exp[1] + exp[3]) / exp.sum()
    assert fields.confidence[0, row, column] == pytest.approx(want, rel=1e-12)
    for things in ([], [4], [-1]):
        with pytest.raises(ValueError, match="things must name channels of semantic, 0 to 3"):
            A.panoptic_deeplab(semantic, offset, things=things)


# EmbedSeg


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("widths", [1, 2])
def test_embedseg(seed, widths):
    height, width = 23, 37
    grid = {"grid_y": 64, "grid_x": 128, "pixel_y": 1.0, "pixel_x": 2.5}
    prediction = maps(3 + widths, height, width, seed=seed, spread=0.03)
    prediction[2:-1] = maps(widths, height, width, seed=seed, spread=0.2) + 0.6
    prediction[-1] = -30
    row, column = (int(n) for n in np.random.default_rng(seed).integers(9, 14, 2))
    prediction[-1, row, column] = 4
    fields = A.embedseg(prediction, **grid)
    xym = np.stack(np.meshgrid(np.linspace(0, 2.5, 128)[:width], np.linspace(0, 1.0, 64)[:height]))
    spacing = np.array([2.5 / 127, 1.0 / 63])
    embedding = np.tanh(prediction[:2]) + xym
    center = embedding[:, row, column]
    assert_same_place(voted(fields), center / spacing)
    # The peer's kernel, where x and y are as wide, is the vote's own.
    s = np.exp(10 * prediction[2:-1, row, column])
    assert fields.sigma.shape == (1, height, width)
    sigma = fields.votes(0).sigma[row, column]
    per_axis = spacing * np.sqrt(2 * s)  # 1 / sigma_x, 1 / sigma_y in pixels
    assert sigma == pytest.approx(1 / np.sqrt(per_axis.prod()), rel=1e-12)


def test_embedsegs_round_kernel_is_the_votes_own():
    prediction = np.full((4, 23, 37), -40.0)
    prediction[:2], prediction[2] = 0, 0.65
    prediction[-1, 11, 17] = 40
    fields = A.embedseg(prediction, grid_y=101, grid_x=101)
    m = fields.votes(0).replace(truncate=9.0).noisy_or()
    x = np.linspace(0, 1, 101)
    squared = (x[:37] - x[17]) ** 2 + (x[:23, None] - x[11]) ** 2
    np.testing.assert_allclose(m, np.exp(-squared * np.exp(10 * 0.65)), atol=1e-6)


# Spotiflow


@pytest.mark.parametrize("seed", SEEDS)
def test_spotiflow(seed):
    heatmap, sigma = scores(23, 37, seed=seed), 1.3
    vectors = maps(23, 37, 2, seed=seed)  # (y, x)
    squared = (vectors**2).sum(axis=-1, keepdims=True)
    flow = np.concatenate([sigma**2 - squared, 2 * sigma * vectors], -1) / (squared + sigma**2)
    subpix = flow[..., 1:] * sigma / (1 + flow[..., :1])  # as the docstring has it
    fields = A.spotiflow(heatmap, subpix)
    row, column = top(heatmap)
    y, x = np.array([row, column]) + vectors[row, column]
    assert_same_place(voted(fields), (x, y))


# Batches, libraries, images


def outputs(family, batch=(), dtype=np.float64):
    shapes, options = FAMILIES[family]
    arrays = {
        name: maps(*batch, *shape, seed=n, spread=0.5).astype(dtype)
        for n, (name, shape) in enumerate(shapes.items())
    }
    return arrays, options


def refusal(call):
    """The one line with which a call is refused."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def each_array(fields):
    for name in ("confidence", "offsets", "cross_offsets", "sigma"):
        value = getattr(fields, name)
        if value is not None and not isinstance(value, float):
            yield name, value


def test_every_family_has_its_case():
    assert set(FAMILIES) == {name for name in A.__all__ if name.islower()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_a_list_of_what_its_images_are(family):
    arrays, options = outputs(family, batch=(3,))
    images = [np.full((36, 54), n) for n in range(3)]
    batch = getattr(A, family)(**arrays, **options, image=images)
    assert isinstance(batch, list)
    assert len(batch) == 3
    for b, fields in enumerate(batch):
        alone = {name: array[b] for name, array in arrays.items()}
        single = getattr(A, family)(**alone, **options, image=images[b])
        assert fields.image is images[b]
        assert (fields.names, fields.source) == (single.names, family)
        for name, array in each_array(single):
            np.testing.assert_array_equal(getattr(fields, name), array)
    short = refusal(lambda: getattr(A, family)(**arrays, **options, image=images[:2]))
    assert "3 images" in short
    assert "got 2" in short
    assert "got int" in refusal(lambda: getattr(A, family)(**arrays, **options, image=7))
    none = {name: array[:0] for name, array in arrays.items()}
    assert getattr(A, family)(**none, **options) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_stay_tensors_and_keep_their_graph(family):
    arrays, options = outputs(family)
    want = getattr(A, family)(**arrays, **options)
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in arrays.items()}
    fields = getattr(A, family)(**tensors, **options)
    for name, array in each_array(want):
        got = getattr(fields, name)
        assert isinstance(got, torch.Tensor)
        np.testing.assert_allclose(got.detach().numpy(), array, rtol=1e-12, atol=1e-12)
    m = fields.votes().noisy_or()
    m.sum().backward()
    first = next(iter(tensors.values()))
    assert float(first.grad.abs().sum()) > 0
    assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_converted_before_it_is_multiplied(family):
    arrays, options = outputs(family, dtype=np.float16)
    fields = getattr(A, family)(**arrays, **options)
    wide = {name: array.astype(np.float32) for name, array in arrays.items()}
    want = getattr(A, family)(**wide, **options)
    assert fields.confidence.dtype == np.float32
    for name, array in each_array(want):
        np.testing.assert_array_equal(getattr(fields, name), array)


@pytest.mark.parametrize("family", FAMILIES)
def test_confidences_are_in_their_range_and_the_settings_arrive(family):
    arrays, options = outputs(family)
    first = next(iter(arrays))
    parts = len(getattr(A, family)(**arrays, **options).names)
    named = [f"name {n}" for n in range(parts - ("center" in arrays))]
    more = {} if family == "embedseg" else {"sigma": 3.5}
    wild = arrays | {first: 10 * arrays[first]}
    fields = getattr(A, family)(**wild, **options, names=named, **more)
    assert (fields.confidence >= 0).all()
    assert (fields.confidence <= 1).all()
    assert fields.names == (*named, *(["center"] if "center" in arrays else []))
    if more:
        assert fields.sigma == 3.5


# Refusals


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("family", FAMILIES)
def test_axes_in_another_order_are_recognised(family, batch):
    arrays, options = outputs(family, batch)
    last = family in ("posenet", "spotiflow")
    source, target, said = (-1, -3, "channels first") if last else (-3, -1, "channels last")
    moved = {
        name: np.moveaxis(x, source, target) if x.ndim - len(batch) > 2 else x
        for name, x in arrays.items()
    }
    if family == "openpifpaf":
        moved = {"cif": np.moveaxis(arrays["cif"], (-4, -3), (-2, -1))}
    message = refusal(lambda: getattr(A, family)(**moved, **options))
    assert message.startswith(f"{family}: wants ")
    assert said in message
    for name, x in moved.items():
        assert f"{name} {x.shape}" in message


@pytest.mark.parametrize("family", [f for f in FAMILIES if len(FAMILIES[f][0]) == 2])
def test_exchanged_arrays_are_recognised(family):
    arrays, options = outputs(family)
    (one, first), (two, second) = arrays.items()
    message = refusal(lambda: getattr(A, family)(**{one: second, two: first}, **options))
    assert f"are {one} and {two} exchanged?" in message


@pytest.mark.parametrize(
    ("family", "shapes", "said"),
    [
        ("openpifpaf", {"cif": (19, 8, H, W)}, "CAF (8)"),
        ("spotiflow", {"heatmap": (H, W), "subpix": (H, W, 3)}, "details.flow"),
        ("embedseg", {"prediction": (7, 3, H, W)}, "in 3D"),
        ("mmpose_udp", {"heatmaps": (17, H, W)}, "wants heatmaps (3K, H, W)"),
        ("sleap_nn", {"foreground": (1, H, W), "offsets": (2, H, H)}, "one more leading axis"),
        ("movenet", {"heatmap": (17, H, W), "offset": (2, H, W)}, "offset (2P, H, W)"),
        ("deeplabcut", {"scoremap": (H,), "locref": ()}, "got scoremap (7,), locref ()"),
    ],
)
def test_what_has_another_layout_is_told_which(family, shapes, said):
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    message = refusal(lambda: getattr(A, family)(**arrays, **FAMILIES[family][1]))
    assert said in message


def test_an_array_of_one_image_beside_one_of_a_batch_is_refused():
    refusal(lambda: A.sleap_nn(np.zeros((2, 1, H, W)), np.zeros((2, H, W)), stride=2))
    refusal(lambda: A.sleap_nn(np.zeros((2, 1, H, W)), np.zeros((3, 2, H, W)), stride=2))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_no_floating_array_is_named(family):
    arrays, options = outputs(family)
    for name, array in arrays.items():
        with pytest.raises(TypeError, match=f"{name} must be of a floating dtype"):
            getattr(A, family)(**arrays | {name: array.astype(int)}, **options)
        with pytest.raises(TypeError, match=f"{name} must be an array"):
            getattr(A, family)(**arrays | {name: array.tolist()}, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"locref": None}, "locref must be an array .*, got NoneType"),
        ({"strides": 8}, r"deeplabcut\(\): unexpected argument 'strides', did you mean 'stride'"),
    ],
)
def test_arguments_that_an_adapter_does_not_take(changes, message):
    arrays, options = outputs("deeplabcut")
    with pytest.raises(TypeError, match=message):
        A.deeplabcut(**arrays | options | changes)


def test_a_word_is_no_flag():
    with pytest.raises(TypeError, match="apply_sigmoid must be True or False, got 'no'"):
        A.deeplabcut(np.zeros((1, H, W)), np.zeros((2, H, W)), stride=8, apply_sigmoid="no")


def test_arrays_of_two_libraries_are_refused():
    with pytest.raises(TypeError, match=r"foreground is on torch \(cpu\), offsets is on NumPy"):
        A.sleap_nn(torch.zeros(1, H, W), np.zeros((2, H, W)), stride=2)


@pytest.mark.parametrize("family", ["centernet", "movenet"])
def test_a_centre_without_its_way_on_is_refused(family):
    arrays, _ = outputs(family)
    for missing in ("hps", "center"):
        some = {name: x for name, x in arrays.items() if name != missing}
        assert "both hps and center" in refusal(lambda some=some: getattr(A, family)(**some))


# The page in the documentation


def test_the_page_has_every_family_and_its_examples_run():
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    names, used = {}, set()
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
        used |= set(re.findall(r"adapters\.(\w+)", block))
        if "adapters." in block:
            assert isinstance(names["fields"], mdn.Fields)
    assert used == set(FAMILIES)
    for family in FAMILIES:
        assert re.search(rf"^\| `{family}` \|", page, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        *(
            ("deeplabcut", {"stride": s}, "stride must be a number")
            for s in (0, -1, np.nan, np.inf)
        ),
        *(("sleap_nn", {"stride": s}, "stride must be a number") for s in ("8", (8, 8), None)),
        ("deeplabcut", {"locref_std": "7"}, "deeplabcut: locref_std must be a number"),
        ("mmpose_udp", {"input_size": 192}, "input_size must be width and height"),
        ("mmpose_udp", {"input_size": (1, 2, 3)}, "input_size must be width and height"),
        ("panoptic_deeplab", {"things": 1}, "things must list channels"),
        ("panoptic_deeplab", {"things": (1.5,)}, "things must list channels"),
        ("panoptic_deeplab", {"things": "1"}, "things must list channels"),
        ("panoptic_deeplab", {"things": (99,)}, "things must name channels of semantic, 0 to 12"),
        ("embedseg", {"pixel_x": 0}, "embedseg: pixel_x must be a number greater than 0, got 0"),
    ],
)
def test_settings_that_do_not_fit(family, settings, message):
    arrays, usual = outputs(family)
    none = {name: array[None][:0] for name, array in arrays.items()}  # an empty batch
    for given in (arrays, none):
        assert message in refusal(lambda x=given: getattr(A, family)(**x, **{**usual, **settings}))
