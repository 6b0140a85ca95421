"""The head of regions: its losses against torchvision's and the specification, its decoding."""

import math

import numpy as np
import pytest
import torch
import torch_support  # one thread of torch's
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypointrcnn_loss

import mdn_cupy as mdn
from mdn_cupy.torch.voted_keypoints import RegionKeypointHead

assert torch_support

EDGES = ((0, 1), (1, 2))


def head(seed=0, parts=3, **options):
    """A head whose fields are no longer those it starts with."""
    torch.manual_seed(seed)
    made = RegionKeypointHead(4, parts, edges=EDGES, **options)
    with torch.no_grad():
        made.offsets.weight.normal_(std=0.5)
        made.confidence.weight.normal_(std=1.5)
    return made


def regions(count, seed=0):
    """Features, boxes and keypoints, of which some lie outside and some have no label."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, 14, 14, generator=generator)
    corner = 100 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat([corner, corner + 5 + 60 * torch.rand(count, 2, generator=generator)], 1)
    share = 1.4 * torch.rand(count, 3, 2, generator=generator) - 0.2
    points = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    visible = torch.randint(0, 3, (count, 3, 1), generator=generator)
    return features, boxes, torch.cat([points, visible], 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 8), st.integers(0, 2**31))
def test_the_softmax_is_torchvisions_loss(count, seed):
    made = head(seed, loss="softmax", offset_weight=0.0)
    features, boxes, keypoints = regions(count, seed)
    matched = [torch.arange(count)]
    want = keypointrcnn_loss(made(features), [boxes], [keypoints], matched)
    (got,) = made.losses(features, boxes, keypoints).values()
    torch.testing.assert_close(got, want)


def test_the_cross_entropy_is_that_of_the_noisy_or_with_a_gaussian():
    made = head(offset_weight=0.0, target_sigma=3.0)
    features, boxes, keypoints = regions(4)
    confidence, _, cross = made.fields(features)
    wanted, labelled = 0.0, 0
    for n in range(4):
        strength = confidence[n][None] * made.trust[..., None, None]
        m = mdn.reference.noisy_or(
            strength.detach().numpy().astype(np.float64),
            cross[n].detach().numpy().astype(np.float64),
            made.displacement.sigma.item(),
            stride=4,
            origin=1.5,
            output_shape=(56, 56),
            aggregate=-3,
        )
        x0, y0, x1, y1 = boxes[n].tolist()
        for part in range(3):
            x, y, visible = keypoints[n, part].tolist()
            if visible:
                columns = x0 + (x1 - x0) / 56 * (np.arange(56) + 0.5)
                rows = y0 + (y1 - y0) / 56 * (np.arange(56) + 0.5)
                across = ((columns - x) / (x1 - x0) * 56) ** 2
                down = ((rows - y) / (y1 - y0) * 56) ** 2
                t = np.exp(-(down[:, None] + across) / (2 * 3.0**2))
                t *= (down[:, None] <= 12.5**2) & (across <= 12.5**2)
                wanted -= (t * np.log(m[part]) + (1 - t) * np.log1p(-m[part])).sum()
                labelled += 1
    (got,) = made.losses(features, boxes, keypoints).values()
    assert got.item() == pytest.approx(wanted / (labelled * 2 * math.pi * 3.0**2), rel=1e-4)


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_a_keypoint_beyond_all_bounds_is_one_outside_its_region(loss):
    made = head(loss=loss)
    features, boxes, keypoints = regions(2)
    keypoints[..., 2] = 2
    outside, beyond = keypoints.clone(), keypoints.clone()
    outside[0, 0, 0], beyond[0, 0, 0] = 1e4, 3e38  # which no map of a small region can hold
    want, got = (made.losses(features, boxes, given) for given in (outside, beyond))
    assert got["loss_keypoint"].item() == pytest.approx(want["loss_keypoint"].item())
    assert got["loss_offsets"].isfinite()


def test_offsets_that_are_right_have_no_error():
    """Of one keypoint for all parts, in the middle of a region: every cell knows the way."""
    made = RegionKeypointHead(2, 3, edges=EDGES)
    along = torch.arange(14.0) - 6.5
    features = torch.stack(torch.meshgrid(along, along, indexing="xy"))[None]  # x and y in cells
    with torch.no_grad():
        made.offsets.weight.zero_()
        made.offsets.bias.zero_()
        made.offsets.weight[0::2, 0] = -1.0
        made.offsets.weight[1::2, 1] = -1.0
    boxes = torch.tensor([[10.0, 20.0, 38.0, 132.0]])
    keypoints = torch.tensor([24.0, 76.0, 2.0]).expand(1, 3, 3)
    assert made.losses(features, boxes, keypoints)["loss_offsets"] < 1e-6
    moved = keypoints + torch.tensor([0.5, 0.0, 0.0])  # one pixel of the map, a quarter of a cell
    error = made.losses(features, boxes, moved)["loss_offsets"]
    assert error.item() == pytest.approx(2 * 0.5 / 4)  # twice, of own and others; a smooth L1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6), st.integers(0, 2**31), st.sampled_from(["bce", "softmax"]))
def test_keypoints_are_found_at_the_highest_peaks(count, seed, loss):
    made = head(seed, loss=loss)
    features, boxes, _ = regions(count, seed)
    found, scores = made.locate(features, boxes)
    evidence = -made.log_complement(features).detach()
    in_map = mdn.torch.subpixel_argmax(evidence)
    size = boxes[:, None, 2:] - boxes[:, None, :2]
    want = boxes[:, None, :2] + (in_map.positions + 0.5) * size / 56
    torch.testing.assert_close(found[..., :2], want, rtol=0, atol=1e-3)
    assert (found[..., 2] == 1).all()
    highest = evidence.amax((-2, -1))
    m = -torch.expm1(-highest)
    torch.testing.assert_close(scores, m if loss == "bce" else mdn.torch.logit(-highest))


def test_a_map_without_votes_has_its_keypoint_in_the_middle_with_the_score_0():
    made = head()
    with torch.no_grad():
        made.confidence.weight.zero_()
        made.confidence.bias.fill_(-1e4)
    found, scores = made.locate(torch.zeros(1, 4, 14, 14), torch.tensor([[10.0, 20, 30, 60]]))
    assert found[0].tolist() == [[20, 40, 1]] * 3
    assert (scores == 0).all()


def test_keypoints_lie_nearer_than_torchvisions_decoding_finds_them():
    """A lone vote for a point between the pixels of a map that is enlarged five times."""
    made = RegionKeypointHead(1, 1, sigma=2.0)
    with torch.no_grad():
        made.offsets.weight.zero_()
        made.offsets.bias.copy_(torch.tensor([0.3, -0.2]))  # cells
        made.confidence.weight.fill_(1.0)
        made.confidence.bias.zero_()
    features = torch.full((1, 1, 14, 14), -30.0)
    features[0, 0, 5, 8] = 2.0
    boxes = torch.tensor([[7.0, 11.0, 287.0, 291.0]])
    true = torch.tensor([7 + 280 * (8.5 + 0.3) / 14, 11 + 280 * (5.5 - 0.2) / 14])
    ours = made.locate(features, boxes)[0][0, 0, :2]
    theirs = heatmaps_to_keypoints(made(features).detach(), boxes)[0][0, 0, :2]
    assert (ours - true).norm() < 0.6 < (theirs - true).norm() + 0.4


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_it_learns_where_keypoints_are(loss):
    features, boxes, keypoints = regions(2, seed=4)
    keypoints[..., :2] = boxes[:, None, :2] + torch.tensor([0.3, 0.6]) * (
        boxes[:, None, 2:] - boxes[:, None, :2]
    ) * (1 + 0.2 * torch.arange(3.0)[:, None])
    keypoints[..., 2] = 2
    torch.manual_seed(0)
    network = torch.nn.Conv2d(4, 32, 3, padding=1)
    made = RegionKeypointHead(32, 3, edges=EDGES, loss=loss)
    optimizer = torch.optim.Adam([*network.parameters(), *made.parameters()], lr=0.02)
    for _ in range(150):
        total = sum(made.losses(network(features).relu(), boxes, keypoints).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    found, scores = made.locate(network(features).relu(), boxes)
    pixel = (boxes[:, 2:] - boxes[:, :2])[:, None] / 56
    assert ((found[..., :2] - keypoints[..., :2]) / pixel).norm(dim=-1).max() < 2
    if loss == "bce":
        assert (scores > 0.5).all()
        assert (scores <= 1).all()
