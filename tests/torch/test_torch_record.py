"""What `record` keeps votes as the layers did, and shows what they saw."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
import torchvision

import mdn_cupy as mdn

EDGES = [(0, 1), (1, 2)]


def network(**options):
    torch.manual_seed(0)
    head = mdn.torch.MDNKeypointHead(8, parts=3, **options)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=4, padding=1), head)
    for convolution in (head.confidence, head.offsets):
        torch.nn.init.normal_(convolution.weight, std=0.3)
    return model


def maps(fields, part=None):
    return np.stack([each.votes(part).noisy_or() for each in fields])


@pytest.mark.parametrize("sigma", [1.5, [1.0, 2.0, 3.0]])
def test_the_fields_give_the_maps_of_a_head(sigma):
    model, images = network(sigma=sigma), torch.rand(2, 3, 64, 48)
    with mdn.torch.record(model) as calls:
        logits = model(images)
    (call,) = calls
    assert call.layer == "1"
    fields = call.fields()
    got = np.stack([maps(fields, part) for part in range(3)], 1)
    want = call.votes().noisy_or().numpy()
    np.testing.assert_allclose(got, want, atol=2e-6)
    torch.testing.assert_close(mdn.torch.logit(call.votes().log_complement()), logits)
    assert [f.image.shape for f in fields] == 2 * [(64, 48, 3)]
    expected = np.rint(255 * images[1].numpy().transpose(1, 2, 0))
    np.testing.assert_array_equal(fields[1].image, expected)
    assert fields[1].source == "1, 2 of 2"


@pytest.mark.parametrize("sigma", [1.5, [[1.0, 2.0, 3.0], [2.0, 1.0, 2.0], [3.0, 2.0, 1.0]]])
def test_all_parts_vote_for_a_target_by_their_trust(sigma):
    model = network(sigma=sigma, edges=EDGES)
    with mdn.torch.record(model) as calls:
        L = model[1].log_complement(model[0](torch.rand(2, 3, 32, 32)))
    (call,) = calls
    for target in range(3):
        got = maps(call.fields(target))
        want = -torch.expm1(L[:, target]).detach().numpy()
        np.testing.assert_allclose(got, want, atol=2e-6)
    own = call.fields()[0]
    np.testing.assert_array_equal(own.cross_offsets[1, 1], own.offsets[1])
    assert np.isnan(own.cross_offsets[0, 2]).all()
    with pytest.raises(ValueError, match="0 … 2, got 3"):
        call.fields(3)
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises((TypeError, ValueError), match="target must be"):
            call.fields(wrong)


def test_a_layer_of_one_map_and_one_of_several():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = mdn.torch.MassDisplacement(sigma=1.5, stride=2)
            self.all = mdn.torch.MassDisplacement("additive", [1.0, 2.0], aggregate=-3)

        def forward(self, c, o):
            alone = self.own(c[0, 0], o[0, 0])
            return alone, self.all(c, o), self.all.votes(c, o, origin=1.0).log_complement()

    model, (c, o) = Model(), (torch.rand(3, 2, 5, 6), torch.randn(3, 2, 2, 5, 6))
    with mdn.torch.record(model) as calls:
        alone, together, _ = model(c.requires_grad_(), o)
    assert [call.layer for call in calls] == ["own", "all", "all"]
    (single,) = calls[0].fields()
    np.testing.assert_allclose(single.votes(0).noisy_or(), alone.detach(), atol=1e-6)
    assert single.sigma == 1.5
    summed = [fields.votes().additive() for fields in calls[1].fields()]
    np.testing.assert_allclose(np.stack(summed), together.detach(), atol=1e-6)
    assert calls[2].options["origin"] == 1.0
    assert not calls[1].confidence.requires_grad
    with pytest.raises(ValueError, match="no head with edges"):
        calls[0].fields(0)


def test_gradients_and_the_model_are_as_before():
    model, images = network(edges=EDGES), torch.rand(1, 3, 32, 32)
    model(images).sum().backward()
    want = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    before = {name: {*vars(module)} for name, module in model.named_modules()}
    with mdn.torch.record(model) as outer, mdn.torch.record(model) as inner:
        model(images).sum().backward()
    assert len(outer) == len(inner) == 1
    torch.testing.assert_close([p.grad for p in model.parameters()], want, rtol=0, atol=0)
    model(images)
    assert len(outer) == 1
    assert {name: {*vars(module)} for name, module in model.named_modules()} == before
    assert not model._forward_pre_hooks


def test_it_ends_where_the_model_fails():
    model = network()
    with pytest.raises(TypeError, match="features"), mdn.torch.record(model):
        model[1]("features")
    assert "vote" not in vars(model[1])


def test_a_copy_that_is_made_meanwhile_votes_by_itself_and_is_not_recorded():
    model, images = network(edges=EDGES), torch.rand(1, 3, 32, 32)
    with mdn.torch.record(model) as calls, mdn.torch.record(model) as inner:
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for each in copies:
            torch.nn.init.constant_(each[1].trust_logit, 3.0)
            each(images)
        assert not calls
    changed = copy.deepcopy(model)
    changed[1].trust_logit = copies[0][1].trust_logit
    for each in copies:
        torch.testing.assert_close(each(images), changed(images))
    assert not inner
    assert not {"vote", "__getstate__"} & {*vars(model[1]), *vars(copies[0][1])}


def test_a_compiled_model_in_half_precision():
    model = network()
    compiled = torch.compile(model, backend="eager")
    with mdn.torch.record(compiled) as calls, torch.autocast("cpu", torch.bfloat16):
        compiled(torch.rand(1, 3, 32, 32))
    (call,) = calls
    assert call.layer == "1"
    assert call.fields()[0].confidence.dtype == np.float32


def test_other_images_and_none():
    model = torch.nn.Sequential(torch.nn.AvgPool2d(2), network())
    with mdn.torch.record(model) as calls:
        model(3 + torch.randn(1, 3, 64, 64))  # normalised, and twice as fine as the map
        model[1](torch.rand(1, 3, 32, 32))  # which is not the model that is recorded
        model(torch.rand(4, 3, 64, 64))
    image = calls[0].fields()[0].image
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    fields = calls[2].fields()
    assert len(fields) == 4
    assert fields[3].image is not None


def test_what_is_recorded_is_saved_and_read_again(tmp_path):
    model = network()
    with mdn.torch.record(model) as calls:
        model(torch.rand(2, 3, 32, 32))
    fields = [dataclasses.replace(f, names=["a", "b", "c"]) for f in calls[0].fields()]
    mdn.save_fields(tmp_path / "batch.mdn", fields)
    again = mdn.open_fields(tmp_path / "batch.mdn")[1]
    np.testing.assert_array_equal(maps([again], "b"), maps(fields[1:], "b"))
    np.testing.assert_array_equal(again.image, fields[1].image)


def test_regions_of_a_detector_come_with_their_part_of_the_image():
    torch.manual_seed(0)
    backbone = torch.nn.Conv2d(3, 8, 3, stride=8, padding=1)
    backbone.out_channels = 8
    model = torchvision.models.detection.KeypointRCNN(
        backbone,
        min_size=96,  # images are made twice as large
        max_size=128,
        rpn_anchor_generator=torchvision.models.detection.rpn.AnchorGenerator(((32,),), ((1.0,),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 3, 2),
        box_head=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 16)),
        box_predictor=torchvision.models.detection.faster_rcnn.FastRCNNPredictor(16, 2),
        keypoint_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 4, 2),
        keypoint_head=torch.nn.Identity(),
        keypoint_predictor=mdn.torch.MDNKeypointHead(8, parts=2, stride=4),
        box_score_thresh=0.0,
        box_detections_per_img=3,
    ).eval()
    ramp = torch.linspace(0, 1, 64).expand(3, 48, 64)  # an image that tells its columns
    with mdn.torch.record(model) as calls, torch.no_grad():
        detections = model([torch.zeros(3, 48, 48), ramp])
    (call,) = calls
    assert call.layer == "roi_heads.keypoint_predictor"
    found = [len(each["boxes"]) for each in detections]
    assert min(found) > 0
    assert [len(boxes) for boxes in call.boxes] == found
    for boxes, each in zip(call.boxes, detections, strict=True):
        torch.testing.assert_close(boxes, each["boxes"], atol=1e-3, rtol=0)
    fields = call.fields()
    assert all(f.image.shape == (16, 16, 3) for f in fields)
    assert fields[0].image.max() == 0
    for box, each in zip(call.boxes[1], fields[found[0] :], strict=True):
        columns = box[0] + (torch.arange(16) + 0.5) / 16 * (box[2] - box[0]) - 0.5
        columns = columns.clamp(0, 63).numpy()
        np.testing.assert_allclose(each.image[8, 2:-2, 0], 255 * columns[2:-2] / 63, atol=3)


def test_what_cannot_be_recorded_is_said():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got str"), mdn.torch.record("model"):
        pass
    with pytest.raises(ValueError, match="no layer of Linear votes"):  # noqa: SIM117
        with mdn.torch.record(torch.nn.Linear(1, 1)):
            pass
