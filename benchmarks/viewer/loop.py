"""How much a window that is updated 20 times a second slows a training loop down.

    python benchmarks/viewer/loop.py {process|thread} THREADS

The loop is torch's: a convolution and its gradient. Slices of half a second without updates, with,
with and without follow each other; the figures are medians of the ratios of such a four, for other
programs take the cores, too. The loop's own time on the processor tells of what `update` and shared
caches cost, and not of waiting for a core.
"""

import os
import statistics
import sys
import threading
import time

import mdn_viewer
import torch

import mdn_cupy as mdn

SLICE, FOURS, EVERY = 0.5, 40, 1 / 20  # seconds, groups of four slices, seconds


def steps_per_second(step, update):
    """Return steps per second of a clock, and of the thread's time on the processor."""
    begun, busy, due, steps = time.perf_counter(), time.thread_time(), 0.0, 0
    while (now := time.perf_counter()) < begun + SLICE:
        step()
        steps += 1
        if update is not None and now >= due:
            due = now + EVERY
            update()
    return steps / (time.perf_counter() - begun), steps / (time.thread_time() - busy)


def measure(window, fields, done=lambda: None):
    layer = torch.nn.Conv2d(16, 16, 3)
    pictures = torch.rand(4, 16, 64, 64)

    def step():
        layer(pictures).square().sum().backward()

    took = []

    def update():
        begun = time.thread_time()
        window.update(fields.confidence, fields.offsets)
        took.append(time.thread_time() - begun)

    steps_per_second(step, update)
    ratios = []
    for _ in range(FOURS):
        four = [steps_per_second(step, each) for each in (None, update, update, None)]
        ratios.append([1 - (b + c) / (a + d) for a, b, c, d in zip(*four, strict=True)])
    load = os.getloadavg()[0]
    print(f"{sys.argv[1:]}: load {load:.1f}")
    print(f"  update takes {1e3 * statistics.median(took):.2f} ms")
    for name, values in zip(
        ("by the clock", "on the processor"), zip(*ratios, strict=True), strict=True
    ):
        low, middle, high = statistics.quantiles(values, n=4)
        error = 1.25 * statistics.stdev(values) / len(values) ** 0.5  # of a median
        print(f"  slower {name} by {middle:.1%} ± {error:.1%} (quartiles {low:.1%}, {high:.1%})")
    sys.stdout.flush()
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
