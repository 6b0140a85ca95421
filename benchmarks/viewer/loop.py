"""How much a window that is updated 20 times a second slows a training loop down.

    python benchmarks/viewer/loop.py {process|thread} THREADS

The loop is torch's: a convolution and its gradient. Slices of a second with and without updates
alternate; the figure is the median of their ratios, for other programs take the cores, too.
"""

import os
import statistics
import sys
import threading
import time

import mdn_viewer
import torch

import mdn_cupy as mdn

SLICE, PAIRS, EVERY = 1.0, 15, 1 / 20  # seconds, pairs of slices, seconds


def steps_per_second(step, update):
    begun, due, steps = time.perf_counter(), 0.0, 0
    while (now := time.perf_counter()) < begun + SLICE:
        step()
        steps += 1
        if update is not None and now >= due:
            due = now + EVERY
            update()
    return steps / (time.perf_counter() - begun)


def measure(window, fields, done=lambda: None):
    layer = torch.nn.Conv2d(16, 16, 3)
    pictures = torch.rand(4, 16, 64, 64)

    def step():
        layer(pictures).square().sum().backward()

    def update():
        window.update(fields.confidence, fields.offsets)

    steps_per_second(step, update)
    ratios = []
    for _ in range(PAIRS):
        free, slowed = (steps_per_second(step, each) for each in (None, update))
        ratios.append(1 - slowed / free)
    ends = statistics.quantiles(ratios, n=4)
    load = os.getloadavg()[0]
    print(
        f"{sys.argv[1:]}: slower by {statistics.median(ratios):.1%} "
        f"(quartiles {ends[0]:.1%}, {ends[2]:.1%}), load {load:.1f}",
        flush=True,
    )
    done()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    pose = mdn.samples.load("pose")
    if sys.argv[1] == "process":
        shown = mdn_viewer.show(pose, process=True)
        measure(shown, pose)
        shown.close()
    else:
        import napari

        shown = mdn_viewer.show(pose, block=False)
        shown.widget.wait()
        threading.Thread(target=measure, args=[shown, pose, lambda: os._exit(0)]).start()
        napari.run()
