"""Time the keypoint branch of a Mask R-CNN with votes, beside torchvision's own.

  loss      the last layer and its loss, forward and backward, from features of 512 channels
  branch    the same with the eight convolutions of 512 channels before it, of fewer regions
  decoding  from features to keypoints in the image

All are measured in turn, in processor seconds, so that a busy machine disturbs them alike; memory
is the peak of a new process, beyond features and weights.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypointrcnn_loss

if __name__ == "__main__":  # not this folder, whose `cuda` is not NVIDIA's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import mdn_cupy as mdn
from benchmarks.machine import processor, versions
from benchmarks.processes import status
from benchmarks.timing import Budget, compete
from mdn_cupy.torch.detection import COCO_EDGES
from mdn_cupy.torch.voted_keypoints import RegionKeypointHead

PARTS, CHANNELS, CELLS = 17, 512, 14
WAYS = ("torchvision", "within", "across")
TASKS = ("loss", "branch", "decoding")
FEWER = 16  # so many times fewer regions for the whole branch
SPREAD = 1.0  # cells; deviation of the offsets along each axis


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table, or the bytes of one way's pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each; default: 10")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--peak-of", nargs=2, metavar=("TASK", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    mdn.set_num_threads(options.threads)
    if options.peak_of:
        task, way = options.peak_of
        print(_peak(task, way, options.regions))
        return
    print(processor(), versions("torchvision"), sep="\n")
    print(f"{options.regions} regions, {PARTS} parts; {FEWER} times fewer for `branch`")
    print(f"{'task':9} {'way':12} {'ms, fastest':>12} {'median':>8} {'ratio':>6} {'MB':>6}")
    for task in TASKS:
        calls = {way: work(task, way, options.regions) for way in WAYS}
        for call in calls.values():
            call()
        timings = compete(calls, Budget(options.seconds), clock=_processor_seconds)
        for way, timing in timings.items():
            ratio = timing.fastest / timings["torchvision"].fastest
            peak = _peak_elsewhere(task, way, options) / 1e6
            print(
                f"{task:9} {way:12} {1e3 * timing.fastest:12.1f} {1e3 * timing.median:8.1f}"
                f" {ratio:6.2f} {peak:6.0f}"
            )


def work(task: str, way: str, regions: int) -> Callable[[], Any]:
    """Prepare one pass of a task."""
    torch.manual_seed(0)
    count = max(1, regions // FEWER) if task == "branch" else regions
    channels = 256 if task == "branch" else CHANNELS
    features = torch.randn(count, channels, CELLS, CELLS)
    corner = 300 * torch.rand(count, 2)
    boxes = torch.cat([corner, corner + 30 + 200 * torch.rand(count, 2)], 1)
    share = torch.rand(count, PARTS, 2)
    points = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    keypoints = torch.cat([points, torch.full((count, PARTS, 1), 2.0)], 2)
    layers = KeypointRCNNHeads(channels, (CHANNELS,) * 8) if task == "branch" else nn.Identity()
    last = _last_layer(way)

    def loss() -> None:
        given = features.detach().requires_grad_()
        inner = layers(given)
        if isinstance(last, RegionKeypointHead):
            total = torch.stack([*last.losses(inner, boxes, keypoints).values()]).sum()
        else:
            total = keypointrcnn_loss(last(inner), [boxes], [keypoints], [torch.arange(count)])
        total.backward()

    @torch.no_grad()
    def decoding() -> tuple[Tensor, Tensor]:
        if isinstance(last, RegionKeypointHead):
            return last.locate(features, boxes)
        found: tuple[Tensor, Tensor] = heatmaps_to_keypoints(last(features), boxes)
        return found

    return decoding if task == "decoding" else loss


def _last_layer(way: str) -> nn.Module:
    if way == "torchvision":
        predictor: nn.Module = KeypointRCNNPredictor(CHANNELS, PARTS)
        return predictor
    head = RegionKeypointHead(CHANNELS, PARTS, edges=COCO_EDGES if way == "across" else ())
    nn.init.normal_(head.offsets.weight, std=SPREAD / CHANNELS**0.5)
    return head


def _processor_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _peak(task: str, way: str, regions: int) -> int:
    """Bytes that a pass takes at its peak, in this process; 0 where Linux does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    work(task, way, 2)()
    call = work(task, way, regions)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def _peak_elsewhere(task: str, way: str, options: argparse.Namespace) -> int:
    command = [sys.executable, __file__, "--regions", str(options.regions)]
    command += ["--threads", str(options.threads), "--peak-of", task, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


if __name__ == "__main__":
    main()
