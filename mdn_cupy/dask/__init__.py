"""Votes on Dask arrays: fields larger than memory, on one machine or a cluster.

The functions have the names and options of those of `mdn_cupy`; their results are lazy. Which
chunks of the fields a chunk of a map needs is measured in one pass, or promised by ``reach=``.

Examples
--------
>>> import dask.array as da
>>> import mdn_cupy as mdn
>>> c = da.random.default_rng(0).random((256, 256), chunks=64, dtype="float32")
>>> o = da.zeros((2, 256, 256), chunks=(2, 64, 64), dtype="float32")
>>> m = mdn.dask.noisy_or(c, o, 1.5, reach=0)  # offsets are 0
>>> m.numblocks, float(m[100, 100]) > 0.9
((4, 4), True)
"""

try:
    import dask.array  # noqa: F401
    import zarr  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'mdn_cupy.dask needs Dask and Zarr, which are not installed: pip install "mdn-cupy[dask]"',
        name=error.name,
    ) from error

from mdn_cupy.dask.functional import (
    additive,
    additive_vjp,
    compare,
    log_complement,
    log_complement_vjp,
    noisy_or,
    noisy_or_vjp,
    plain_sum,
    plain_sum_vjp,
)
from mdn_cupy.dask.instances import instances
from mdn_cupy.dask.network import from_network
from mdn_cupy.dask.peaks import find_peaks
from mdn_cupy.dask.reach import OutlierWarning, Reach, measure_reach
from mdn_cupy.dask.reading import LazyFields, open_fields
from mdn_cupy.dask.scheduling import chunk_for, working
from mdn_cupy.dask.spread import peaks
from mdn_cupy.dask.store import stored, to_zarr

__all__ = [
    "LazyFields",
    "OutlierWarning",
    "Reach",
    "additive",
    "additive_vjp",
    "chunk_for",
    "compare",
    "find_peaks",
    "from_network",
    "instances",
    "log_complement",
    "log_complement_vjp",
    "measure_reach",
    "noisy_or",
    "noisy_or_vjp",
    "open_fields",
    "peaks",
    "plain_sum",
    "plain_sum_vjp",
    "stored",
    "to_zarr",
    "working",
]
