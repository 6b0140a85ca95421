"""Train the same network four ways to find the parts of figures that are partly hidden.

  heatmap   a map of each part's probability, decoded at its peak
  offsets   the same map, and offsets to the part; decoded by the additive rule (Hough voting)
  within    a Mass Displacement Network: confidences and offsets, trained through the noisy-or
  across    the same, and parts vote for their neighbours too (cross-part voting)

The pictures are drawn on the way: articulated figures over photographs that come with scikit-image,
with stray limbs behind them and patches over some of their joints. The validation pictures, by
which the settings were chosen, and the test pictures, which are of no influence, have photographs
of their own. Backbone, pictures, steps and schedule are the same for all ways.

Into the folder --out go
  table.md       share of the parts found within 2, 4 and 8 pixels, and the mean error,
                 over the seeds, in the test pictures
  results.json   the same for every single training, in the validation pictures too, and the
                 seconds that its steps took
  maps.png       what each way's map says about a hidden part (of the first seed)
  *.pt           the state of every training

A run that was stopped goes on when the same command is given again, and ends with the same numbers.
"""

from keypoints.command import Program
from keypoints.tasks import FIGURES

PROGRAM = Program(
    description=__doc__,
    examples="  python samples/train_keypoints.py --out training           the whole table\n"
    "  python samples/train_keypoints.py --out try --quick        a minute, to see it work\n"
    "  python samples/train_keypoints.py --out two --ways heatmap across --seeds 0 1 2 3 4",
    make_task=lambda _: FIGURES,
    steps=(1200, 60),
    pictures=(1000, 100),
    seeds=((0, 1, 2), (0,)),
)

main = PROGRAM.main

if __name__ == "__main__":
    raise SystemExit(main())
