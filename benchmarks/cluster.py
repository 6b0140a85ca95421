"""Fields larger than memory on two worker processes of a Dask cluster, beside one.

    python samples/make_large_field.py /tmp/slide.zarr --size 8192
    python -m benchmarks.cluster /tmp/slide.zarr

Each has one thread, and one core: Zarr decompresses in threads of its own, which would take a lone
worker to 1.13 cores. The two clusters run alternately. Where other programs run, the clock says
little: what the busier of two workers had to do, in CPU time, is what it would take on an idle
machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import time
from typing import NamedTuple

import distributed
import numpy as np

import mdn_cupy as mdn

SIGMA = 3.0
REACH = 24  # pixels, the promise: of a nucleus 8 and noise of 1


class Run(NamedTuple):
    """Seconds of one run."""

    clock: float
    busiest: float  # CPU time of the worker that has most
    total: float  # of all


def measure(path: str, workers: int, chunks: int, reach: float | None) -> Run:
    """Vote and write the evidence of a slide."""
    with (
        tempfile.TemporaryDirectory() as folder,
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        vote(path, f"{folder}/first.zarr", 4 * chunks, None)  # kernels are compiled, files cached
        shutil.rmtree(f"{folder}/first.zarr")
        cores = itertools.cycle(sorted(os.sched_getaffinity(0)))
        for core, address in zip(cores, client.scheduler_info()["workers"], strict=False):
            client.run(stay_on, core, workers=[address])
        before = client.run(time.process_time)
        clock = time.perf_counter()
        vote(path, f"{folder}/votes.zarr", chunks, reach)
        clock = time.perf_counter() - clock
        busy = [after - before[name] for name, after in client.run(time.process_time).items()]
    return Run(clock, max(busy), sum(busy))


def stay_on(core: int) -> None:
    """Keep all threads of this process on one core; those to come inherit it."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def vote(path: str, store: str, chunks: int, reach: float | None) -> None:
    """Write the evidence, with its pyramid."""
    fields = mdn.dask.open_fields(path, chunks=chunks)
    given = fields.confidence, fields.offsets, SIGMA
    mdn.dask.to_zarr(0 - mdn.dask.log_complement(*given, reach=reach), store)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", help="a Zarr group of samples/make_large_field.py")
    parser.add_argument("--chunks", type=int, default=1024, help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of which the best counts; %(default)s"
    )
    arguments = parser.parse_args()
    print("| reach | workers | clock | CPU, the busiest | CPU, all | load |")
    print("|---|---|---|---|---|---|")
    for said, reach in (("promised", REACH), ("measured", None)):
        runs: dict[int, list[Run]] = {1: [], 2: []}
        for _ in range(arguments.rounds):
            for workers, found in runs.items():
                found.append(measure(arguments.fields, workers, arguments.chunks, reach))
                shown = " | ".join(f"{seconds:.2f} s" for seconds in found[-1])
                print(f"| {said} | {workers} | {shown} | {os.getloadavg()[0]:.1f} |", flush=True)
        one, two = (np.median(found, axis=0) for found in runs.values())
        print(
            f"{said}: two workers are {one[0] / two[0]:.2f} times as fast by the clock, "
            f"{one[1] / two[1]:.2f} times by the CPU time of the busiest (medians)"
        )


if __name__ == "__main__":
    main()
