"""Where the work is done, and in chunks of which size."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import dask
import dask.array as da
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph
from dask.utils import parse_bytes

from mdn_cupy.threads import get_num_threads

__all__ = ["Progress", "chunk_for", "computed", "working"]

Progress = Callable[[str, int, int], None]

_ANSWER = 10.0  # seconds in which a scheduler answers, and a cluster has a worker
_PATIENCE = 60.0  # seconds in which a cluster that has lost all its workers may get new ones
_STEP = 256  # pixels
_BASE = 350e6  # bytes of Python, NumPy, Numba, Dask and Zarr, compiled kernels and a graph
_PER_PIXEL = 60  # bytes of a block while it is voted: fields, their parts, sums and a result


@contextmanager
def working(address: str | None) -> Iterator[None]:
    """Work on a cluster of Dask while in the block, or on this process's threads.

    Parameters
    ----------
    address : str or None
        Of the cluster's scheduler, ``tcp://host:8786``; None for threads, as many as
        `mdn_cupy.get_num_threads` says.

    Raises
    ------
    OSError
        If nothing answers there within 10 s, or it has no worker.
    ValueError
        If it is no address.
    """
    if address is None:
        # Dask's own pool would still run tasks after one has failed, into the end of the process.
        with (
            ThreadPoolExecutor(get_num_threads()) as pool,
            dask.config.set(scheduler="threads", pool=pool),
        ):
            yield
        return
    import distributed

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # errors are raised, too
    with ExitStack() as entered:
        entered.enter_context(dask.config.set({"distributed.comm.timeouts.connect": _ANSWER}))
        try:
            # A client that refuses its address waits 20 s for itself at the end of the process, and
            # for ever for one where something listens and says nothing.
            with ThreadPoolExecutor(1) as apart:  # of an event loop that may run in this thread
                apart.submit(asyncio.run, _answers(address)).result()
        except ValueError as error:
            raise ValueError(
                f"scheduler must be the address of a Dask cluster, tcp://host:8786, got {address!r}"
                f" ({error})"
            ) from None
        except OSError:
            said = f"{address}: no scheduler of Dask answers there within {_ANSWER:g} s"
            raise TimeoutError(said) from None
        # As the default, one that finds no cluster would stay so: nothing could be computed.
        client = distributed.Client(address, timeout=_ANSWER, set_as_default=False)
        entered.enter_context(client)
        entered.enter_context(client.as_current())
        entered.enter_context(dask.config.set(scheduler="dask.distributed"))
        try:
            client.wait_for_workers(1, timeout=_ANSWER)
        except TimeoutError:
            said = f"{address}: the cluster has had no worker for {_ANSWER:g} s"
            raise TimeoutError(said) from None
        yield


async def _answers(address: str) -> None:
    """Raise OSError if no scheduler answers at an address."""
    import distributed

    arguments = distributed.Security().get_connection_args("client")
    found = await asyncio.wait_for(distributed.comm.connect(address, **arguments), _ANSWER)
    await found.close()


def computed(
    graph: HighLevelGraph,
    keys: list[Any],
    what: str,
    progress: Progress | None = None,
    before: int = 0,
) -> list[Any]:
    """Compute keys of a graph of arrays with the scheduler in force.

    Parameters
    ----------
    graph : HighLevelGraph
        In which the keys are.
    keys : list
        What to compute.
    what : str
        The first argument of `progress`.
    progress : callable, optional
        Called first and after each, with the number of those that are done and of all.
    before : int
        How many more there are, which were done before.

    Returns
    -------
    list
        What the keys stand for, in their order.

    Raises
    ------
    RuntimeError
        If the cluster was lost, had no worker for a minute, or a task killed its workers.
    """
    count, total = itertools.count(before), before + len(keys)

    def done() -> None:
        if progress is not None:
            progress(what, next(count), total)

    done()
    if not keys:
        return []
    client = _client()
    wanted = set(keys)
    if client is None:

        def after(key: Any, *_: Any) -> None:
            if key in wanted:
                done()

        with Callback(posttask=after):
            found: Any = dask.base.compute_as_if_collection(da.Array, graph, keys)
            return list(found)
    # A dict would be hashed, task by task: 2 s for 64 chunks, before the first one begins.
    optimized = HighLevelGraph.merge(da.Array.__dask_optimize__(graph, keys))
    futures = client.get(optimized, keys, sync=False)
    distributed = sys.modules["distributed"]
    try:
        for future in _ended(client, futures):
            if future.status != "finished":
                future.result()
            done()
        return list(client.gather(futures))
    except (CancelledError, distributed.KilledWorker) as error:
        raise RuntimeError(f"the cluster was lost: {error}") from None
    finally:
        for future in futures:
            future.release()  # unlike cancel, also where the connection is closed


def _ended(client: Any, futures: list[Any]) -> Iterator[Any]:
    """Yield futures as they end; RuntimeError if there is no worker for long."""
    as_completed = sys.modules["distributed"].as_completed
    left = {future.key: future for future in futures}
    while left:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            said = f"the cluster has had no worker for {_PATIENCE:g} s"
            raise RuntimeError(said) from None
        ended = as_completed([*left.values()], timeout=_PATIENCE)
        with suppress(TimeoutError):
            while (future := next(ended, None)) is not None:
                del left[future.key]
                yield future


def _client() -> Any:
    """The cluster to which Dask sends its work, if there is one."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in (None, "dask.distributed"):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def chunk_for(memory: float | str, pixel: int, threads: int) -> int:
    """Return the side of the largest chunks with which a run stays within a memory limit.

    Parameters
    ----------
    memory : float or str
        Bytes that the process may need: 2e9 or "2GB".
    pixel : int
        Bytes of a source in the store, of confidence and offsets together.
    threads : int
        Chunks that are worked on at a time.

    Raises
    ------
    ValueError
        If even the smallest need more.
    """
    try:
        memory = float(parse_bytes(memory))
    except (ValueError, OverflowError):
        raise ValueError(f"memory must be a number of bytes such as 2GB, got {memory!r}") from None

    def needed(side: int) -> float:
        return _BASE + threads * side * side * (pixel + _PER_PIXEL)

    sides = [side for side in range(_STEP, 16384 + _STEP, _STEP) if needed(side) <= memory]
    if not sides:
        raise ValueError(
            f"memory must be at least {needed(_STEP) / 1e6:.0f}MB on {threads} threads, got "
            f"{memory / 1e6:.0f}MB; or set fewer threads by MDN_NUM_THREADS"
        )
    return sides[-1]
