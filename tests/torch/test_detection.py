"""Mask R-CNN with a keypoint branch that votes, in torchvision's own detector."""

import io

import pytest
import torch
import torch_support  # one thread of torch's
from helpers import run_python
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.detection import KeypointRCNN, MaskRCNN

import mdn_cupy as mdn
from mdn_cupy.torch.detection import COCO_EDGES

assert torch_support

PARTS, EDGES = 4, ((0, 1), (1, 2), (2, 3))
DETECTED = {"boxes", "labels", "scores", "masks", "keypoints", "keypoints_scores"}
LOSSES = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg", "loss_mask"}


class Backbone(nn.Module):
    """The least that torchvision takes: two maps of eight channels."""

    out_channels = 8

    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.coarse = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x):
        fine = self.fine(x).relu()
        return {"0": fine, "1": self.coarse(fine).relu()}


def detector(voting="across", seed=0, masks=True, **options):
    torch.manual_seed(seed)
    branch = {name: options.pop(name) for name in ("loss", "offset_weight") if name in options}
    keypoints = voting and mdn.torch.KeypointBranch(
        voting, parts=PARTS, edges=EDGES, layers=(8,), **branch
    )
    return mdn.torch.mask_rcnn_mdn(
        keypoints,
        masks=masks,
        backbone=Backbone(),
        mask_layers=(8,),
        **{
            "rpn_anchor_generator": anchors(),
            "min_size": 64,
            "max_size": 96,
            "box_batch_size_per_image": 16,
            "box_detections_per_img": 10,
            "rpn_post_nms_top_n_train": 50,
            "rpn_post_nms_top_n_test": 50,
            **options,
        },
    )


def anchors():
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(((24,), (48,)), ((0.5, 1.0),) * 2)


def images(count=2):
    return [torch.rand(3, 64, 80, generator=generator(n)) for n in range(count)]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def target(persons=2, seed=0):
    low = 30 * torch.rand(persons, 2, generator=generator(seed))
    high = low + 10 + 20 * torch.rand(persons, 2, generator=generator(seed + 1))
    points = low[:, None] + (high - low)[:, None] * torch.rand(
        persons, PARTS, 2, generator=generator(seed + 2)
    )
    visible = torch.full((persons, PARTS, 1), 2.0)
    visible[:, 0] = 0
    masks = torch.zeros(persons, 64, 80, dtype=torch.uint8)
    for mask, (x, y), (right, bottom) in zip(masks, low.int(), high.int(), strict=True):
        mask[y:bottom, x:right] = 1
    return {
        "boxes": torch.cat([low, high], 1),
        "labels": torch.ones(persons, dtype=torch.int64),
        "masks": masks,
        "keypoints": torch.cat([points, visible], 2),
    }


def assert_all_learn(model, losses):
    model.zero_grad()
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# What is made


@pytest.mark.parametrize("voting", ["across", "within", "plain", None])
@pytest.mark.parametrize("masks", [True, False])
def test_any_branches_are_trained_together_and_give_detections(voting, masks):
    model = detector(voting, masks=masks)
    losses = model(images(), [target(seed=0), target(seed=5)])
    votes = {"across": {"loss_keypoint", "loss_offsets"}, "plain": {"loss_keypoint"}, None: set()}
    wanted = LOSSES | votes.get(voting, votes["across"])
    assert losses.keys() == wanted - (set() if masks else {"loss_mask"})
    assert_all_learn(model, losses)
    with torch.no_grad():
        first, _ = model.eval()(images())
    missing = (set() if masks else {"masks"}) | (
        set() if voting else {"keypoints", "keypoints_scores"}
    )
    assert first.keys() == DETECTED - missing
    assert len(first["boxes"]) == 10  # untrained: whatever the limit lets through
    if voting:
        assert first["keypoints"].shape == (10, PARTS, 3)
        x, y = first["keypoints"][..., 0], first["keypoints"][..., 1]
        left, top, right, bottom = (side[:, None] for side in first["boxes"].T)
        assert ((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).all()


@pytest.mark.parametrize("voting", ["within", "plain"])
def test_names_of_the_state_are_torchvisions(voting):
    plain = KeypointRCNN(
        Backbone(), 2, num_keypoints=PARTS, rpn_anchor_generator=anchors(), min_size=64
    )
    masked = MaskRCNN(Backbone(), 2, rpn_anchor_generator=anchors(), min_size=64)
    branch = mdn.torch.KeypointBranch(voting, parts=PARTS, layers=(512,) * 8)
    made = mdn.torch.mask_rcnn_mdn(
        branch, backbone=Backbone(), rpn_anchor_generator=anchors(), group_norm=False
    )
    theirs = {**masked.state_dict(), **plain.state_dict()}
    skipped = made.load_state_dict(theirs, strict=False)
    if voting == "plain":
        assert not skipped.missing_keys
        assert not skipped.unexpected_keys
    else:
        for name in (*skipped.missing_keys, *skipped.unexpected_keys):
            assert name.startswith("roi_heads.keypoint_predictor.")
        assert len(skipped.unexpected_keys) == 2  # torchvision's predictor


def test_a_named_backbone_is_trained_from_scratch_with_group_normalisation():
    branch = mdn.torch.KeypointBranch(layers=(8, 8))
    model = mdn.torch.mask_rcnn_mdn(branch, backbone="resnet18", min_size=64, mask_layers=(8,))
    kinds = {type(module) for module in model.modules()}
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.roi_heads.keypoint_predictor.parts == 17
    with torch.no_grad():
        (found,) = model.eval()([torch.rand(3, 64, 64)])
    assert found["keypoints"].shape[1:] == (17, 3)


def test_the_skeleton_of_coco_joins_left_with_left():
    names = mdn.adapters.POSENET_PARTS
    for a, b in COCO_EDGES:
        sides = [names[part].split()[0] for part in (a, b)]
        assert sides[0] == sides[1] or names[a].split()[1:] == names[b].split()[1:] or a == 0
    assert len({frozenset(edge) for edge in COCO_EDGES}) == len(COCO_EDGES) == 19


# What comes in


@pytest.mark.parametrize("voting", ["across", "within", "plain"])
@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_images_without_persons_are_learned_from(voting, loss):
    model = detector(voting, loss=loss)
    for targets in ([target(0), target(2)], [target(0), target(0)]):
        losses = model(images(), targets)
        assert all(value.isfinite() for value in losses.values())
        assert_all_learn(model, losses)
    assert losses["loss_keypoint"] == 0


def test_keypoints_without_a_label_teach_nothing():
    for loss in ("bce", "softmax"):
        model = detector(loss=loss)
        unlabelled = target()
        unlabelled["keypoints"][..., 2] = 0
        losses = model(images(1), [unlabelled])
        assert losses["loss_keypoint"] == losses["loss_offsets"] == 0
        assert_all_learn(model, losses)


@pytest.mark.parametrize("voting", ["across", "plain"])
def test_no_detection_gives_empty_results(voting):
    model = detector(voting, box_score_thresh=1.0).eval()
    with torch.no_grad():
        first, _ = model(images())
    assert first["keypoints"].shape == (0, PARTS, 3)
    assert first["keypoints_scores"].shape == (0, PARTS)


def test_no_proposal_gives_empty_results_and_losses():
    none = {"rpn_score_thresh": 1.0}
    with torch.no_grad():
        first, _ = detector(**none).eval()(images())
    assert first["keypoints"].shape == (0, PARTS, 3)
    model = detector(**none)
    losses = model(images(), [target(0), target(0)])  # and no true box that would be one
    assert losses["loss_keypoint"] == 0


@pytest.mark.slow
def test_a_thousand_proposals_and_detections():
    model = detector(
        rpn_pre_nms_top_n_test=3000,
        rpn_post_nms_top_n_test=1000,
        rpn_nms_thresh=1.0,
        box_nms_thresh=1.0,
        box_detections_per_img=1000,
        min_size=128,
        max_size=160,
    ).eval()
    with torch.no_grad():
        (found,) = model(images(1))
    assert found["keypoints"].shape == (1000, PARTS, 3)
    assert found["keypoints"].isfinite().all()


def test_targets_without_keypoints_are_refused():
    model = detector()
    wrong = target()
    float64 = torch.zeros(2, PARTS, 3, dtype=torch.float64)
    for keypoints in (None, torch.zeros(2, 17, 3), torch.zeros(3, PARTS, 3), float64):
        wrong["keypoints"] = keypoints
        if keypoints is None:
            del wrong["keypoints"]
        with pytest.raises(
            ValueError, match=rf"target 0 must have keypoints, float32 \[2, {PARTS}"
        ):
            model(images(1), [wrong])


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="voting must be 'across', 'within' or 'plain'"):
        mdn.torch.mask_rcnn_mdn("everywhere")
    with pytest.raises(ValueError, match="loss must be 'bce' or 'softmax'"):
        detector(loss="mse")
    with pytest.raises(ValueError, match="offset_weight must be at least 0"):
        detector(offset_weight=-1.0)
    for layers, error, said in (
        ((), ValueError, "layers must name one convolution"),
        ((8, 0), ValueError, r"layers\[1\] must be at least 1, got 0"),
        (64, TypeError, "layers must be a sequence of channels, such as .*, got 64"),
        (("a",), TypeError, r"layers\[0\] must be a whole number, got 'a'"),
    ):
        with pytest.raises(error, match=f"^{said}"):
            mdn.torch.KeypointBranch(layers=layers)
        with pytest.raises(error, match=f"^mask_{said}"):
            mdn.torch.mask_rcnn_mdn(mask_layers=layers)
    for voting in ("plain", "within"):
        with pytest.raises(ValueError, match="parts must be at least 1, got 0"):
            mdn.torch.KeypointBranch(voting, parts=0)
        with pytest.raises(TypeError, match=r"parts must be a whole number, got 1\.5"):
            mdn.torch.KeypointBranch(voting, parts=1.5)
    with pytest.raises(TypeError, match="num_classes must be a whole number, got '2'"):
        mdn.torch.mask_rcnn_mdn(num_classes="2")
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        mdn.torch.mask_rcnn_mdn(num_classes=1)
    with pytest.raises(TypeError, match="must be a KeypointBranch, a word or None, got 17"):
        mdn.torch.mask_rcnn_mdn(17)
    with pytest.raises(TypeError, match="with out_channels, got Linear"):
        mdn.torch.mask_rcnn_mdn(backbone=nn.Linear(1, 1))
    for name in ("banana", "vgg16"):
        with pytest.raises(ValueError, match=f"one of resnet101, .*, got '{name}'"):
            mdn.torch.mask_rcnn_mdn(backbone=name)
    for weights in ("banana", "ResNet50_Weights.IMAGENET1K_V1"):
        with pytest.raises(
            ValueError, match="weights_backbone of resnet18 must be one of IMAGENET"
        ):
            mdn.torch.mask_rcnn_mdn(backbone="resnet18", weights_backbone=weights)
    with pytest.raises(ValueError, match="weights_backbone must be None"):
        mdn.torch.mask_rcnn_mdn(backbone=Backbone(), weights_backbone="IMAGENET1K_V1")


def test_weights_have_the_names_that_torchvision_takes(tmp_path, monkeypatch):
    kept = tmp_path / "hub" / "checkpoints" / ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # what lies there is not downloaded
    wanted = resnet18().state_dict()
    torch.save(wanted, kept)
    for weights in ("IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"):
        model = mdn.torch.mask_rcnn_mdn(None, backbone="resnet18", weights_backbone=weights)
        assert torch.equal(model.backbone.body.conv1.weight, wanted["conv1.weight"])


# How it is run


def test_the_same_seed_gives_the_same_losses_and_a_loaded_state_the_same_detections():
    one, two = detector(seed=0), detector(seed=1)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    two.load_state_dict(torch.load(file, weights_only=True))
    losses = []
    for model in (one, two):
        torch.manual_seed(3)  # of the sampler
        losses.append(model(images(), [target(), target(1, seed=7)]))
    assert losses[0] == losses[1]
    with torch.no_grad():
        found = [model.eval()(images())[0] for model in (one, two)]
    for name in DETECTED:
        assert torch.equal(found[0][name], found[1][name]), name


def test_the_votes_of_each_detection_are_recorded_with_its_part_of_the_image(tmp_path):
    model = detector().eval()
    with mdn.torch.record(model) as calls, torch.no_grad():
        detections = model(images())
    (call,) = calls
    for boxes, found in zip(call.boxes, detections, strict=True):
        torch.testing.assert_close(boxes, found["boxes"], atol=1e-3, rtol=0)
    fields = call.fields(target=1)
    assert len(fields) == sum(len(found["boxes"]) for found in detections)
    mdn.save_fields(tmp_path / "detection.mdn", fields[0])
    saved = mdn.load_fields(tmp_path / "detection.mdn")
    assert saved.image.shape == (56, 56, 3)
    peak = mdn.find_peaks(saved.votes().evidence(), threshold=0, max_peaks=1)
    x0, y0, x1, y1 = detections[0]["boxes"][0]
    wanted = detections[0]["keypoints"][0, 1]
    assert x0 + (x1 - x0) / 56 * (peak.x[0] + 0.5) == pytest.approx(wanted[0].item(), abs=1e-2)
    assert y0 + (y1 - y0) / 56 * (peak.y[0] + 0.5) == pytest.approx(wanted[1].item(), abs=1e-2)


def test_half_precision_trains_and_detects():
    model = detector()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images(), [target(), target(0)])
    torch.manual_seed(0)
    assert_all_learn(model, losses)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        first, _ = model.eval()(images())
    assert first["keypoints"].dtype == torch.float32
    assert first["keypoints"].isfinite().all()


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_detections():
    """Dynamo breaks its graph at torchvision's lists; what it compiles says the same."""
    model = detector(masks=False).eval()
    with torch.no_grad():
        want = model(images(1))[0]
        torch._dynamo.reset()
        got = torch.compile(model, backend="eager")(images(1))[0]
    for name in DETECTED - {"masks"}:
        torch.testing.assert_close(got[name], want[name])


RANK = """
import sys
sys.path[:0] = [{tests!r}, {torch_tests!r}]
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from test_detection import detector, images, target

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{{folder}}/store", rank=rank, world_size=2)
model = DistributedDataParallel(detector(seed=rank))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for persons in (2, 0):  # in the second step one process has no person
    losses = model(images(1), [target(persons if rank else 1, seed=rank)])
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()
torch.save([p.detach() for p in model.parameters()], f"{{folder}}/{{rank}}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_keep_the_same_weights(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    here = __file__.rpartition("/")[0]
    code = RANK.format(tests=here.rpartition("/")[0], torch_tests=here)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda rank: run_python("-c", code, str(rank), str(tmp_path)), range(2)):
            pass
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    start = [p.detach() for p in detector(seed=0).parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(first, start, strict=True))


def test_without_torchvision_the_remedy_is_named():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import mdn_cupy as mdn\n"
        "mdn.torch.MDNKeypointHead\n"
        "try: mdn.torch.mask_rcnn_mdn\n"
        "except ImportError as error: print(error)"
    )
    done = run_python("-c", code)
    assert 'pip install "mdn-cupy[detection]"' in done
