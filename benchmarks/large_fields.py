"""Fields larger than memory: votes a second by chunks, beside the whole in memory and torch.

    python samples/make_large_field.py /tmp/slide.zarr --size 6144
    python -m benchmarks.large_fields /tmp/slide.zarr

The fields are also voted in memory, so take some that fit. All rows are of one run, in turns, and
count a vote as a source of confidence above 0. Seconds are those of the process on all cores (CPU),
since a machine may be shared, beside those of the clock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import torch

import mdn_cupy as mdn

SIGMA, TRUNCATE = 3.0, 4.0
HAND = 1024  # of the part that torch votes
CHUNK = 2048
REACH = 24  # pixels, the promise: of a nucleus 8 and noise of 1


def by_hand(fields: Any) -> Any:
    """Return the noisy-or with windows, as one writes it with torch: a scatter of patches."""
    c, o = (torch.from_numpy(np.asarray(x, np.float32)) for x in (fields[0], fields[1:]))
    height, width = c.shape
    i, j = torch.nonzero(c, as_tuple=True)
    x, y = j + o[0, i, j], i + o[1, i, j]
    radius = int(SIGMA * TRUNCATE)
    span = torch.arange(-radius, radius + 1)
    total = torch.zeros(height * width)
    for part in torch.arange(len(i)).split(20_000):
        rows = y[part].round().long()[:, None] + span
        columns = x[part].round().long()[:, None] + span
        down = torch.exp(-((rows - y[part, None]) ** 2) / (2 * SIGMA**2))
        across = torch.exp(-((columns - x[part, None]) ** 2) / (2 * SIGMA**2))
        votes = torch.log1p(-c[i[part], j[part], None, None] * down[:, :, None] * across[:, None])
        inside = ((rows >= 0) & (rows < height))[:, :, None]
        inside = inside & ((columns >= 0) & (columns < width))[:, None]
        place = rows[:, :, None] * width + columns[:, None]
        total.index_add_(0, place[inside], votes[inside])
    return total.reshape(height, width).numpy()


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the clock and of all cores, and the result."""
    clock, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - clock, time.process_time() - cpu, found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", help="a Zarr group of samples/make_large_field.py")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of which the best counts; %(default)s"
    )
    arguments = parser.parse_args()
    fields = mdn.dask.open_fields(arguments.fields, chunks=CHUNK)
    lazy = fields.confidence, fields.offsets
    c, o = dask.compute(*lazy)
    voters = int(np.count_nonzero(c))
    small = (..., slice(0, HAND), slice(0, HAND))
    stacked = da.concatenate([da.from_array(c[small][None]), da.from_array(o[small])])
    stacked = stacked.rechunk((3, HAND // 2, HAND // 2))
    hand = stacked.map_overlap(
        lambda block: by_hand(block)[None],
        depth={0: 0, 1: 40, 2: 40},
        boundary={0: "none", 1: 0, 2: 0},
        chunks=((1,), *stacked.chunks[1:]),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )
    folder = tempfile.mkdtemp()

    def written(reach: float | None) -> None:
        shutil.rmtree(f"{folder}/votes.zarr", ignore_errors=True)
        evidence = 0 - mdn.dask.log_complement(*lazy, SIGMA, reach=reach)
        mdn.dask.to_zarr(evidence, f"{folder}/votes.zarr")

    measured = mdn.dask.measure_reach(*lazy, SIGMA)
    sums = mdn.dask.log_complement(*lazy, SIGMA, reach=measured).sum(dtype=np.float64)
    jobs: dict[str, tuple[Callable[[], Any], int]] = {
        "the whole in memory": (lambda: 0 - mdn.log_complement(c, o, SIGMA), voters),
        "by chunks: read, vote": (sums.compute, voters),
        "by chunks: measure the reach": (lambda: mdn.dask.measure_reach(*lazy, SIGMA), voters),
        "by chunks: read, vote, write, the reach promised": (lambda: written(REACH), voters),
        "by chunks: measure, read, vote, write": (lambda: written(None), voters),
        "map_overlap, torch by hand": (hand.compute, int(np.count_nonzero(c[small]))),
    }
    print(f"load {os.getloadavg()[0]:.1f}, {mdn.get_num_threads()} threads")
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(arguments.rounds):
        for name, (work, votes) in jobs.items():
            clock, cpu, _ = timed(work)
            rows[name].append((clock / votes * 1e9, cpu / votes * 1e9))
    print("| | ns a voter, clock | ns a voter, CPU | beside the whole, CPU |\n|---|---|---|---|")
    whole = min(cpu for _, cpu in rows["the whole in memory"])
    for name, times in rows.items():
        clock, cpu = (float(min(each)) for each in zip(*times, strict=True))
        print(f"| {name} | {clock:.0f} | {cpu:.0f} | {cpu / whole:.2f} |")
    print(f"load {os.getloadavg()[0]:.1f}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
