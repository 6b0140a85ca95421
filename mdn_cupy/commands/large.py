"""What the subcommands do with fields larger than memory: by chunks, from Zarr, resumably."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mdn_cupy import __version__, samples
from mdn_cupy.commands import opening, voting
from mdn_cupy.threads import get_num_threads
from mdn_cupy.validation import check_not_negative

if TYPE_CHECKING:
    from mdn_cupy.dask import LazyFields

__all__ = ["add_to", "find", "is_asked", "label", "vote"]

_CHUNKS = 2048
_MOST = 20_000  # chunks: a file and 4 kB of the graph each
_RULES = {"evidence": "log_complement"}


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of large fields to a subcommand."""
    group = command.add_argument_group(
        "fields larger than memory, in a Zarr group",
        "by chunks, to a .zarr store or a table; a run that was stopped goes on where it stopped",
    )
    group.add_argument(
        "--chunks",
        type=int,
        metavar="PIXELS",
        help=f"work by chunks of so many rows and columns (default: {_CHUNKS})",
    )
    group.add_argument(
        "--memory", metavar="BYTES", help="choose the chunks so that so much is enough: 2GB"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask cluster to work on: tcp://host:8786 (default: threads of this process)",
    )
    group.add_argument(
        "--reach",
        type=float,
        metavar="PIXELS",
        help="promise that no offset is longer along an axis, which saves a pass over the fields; "
        "a longer one is an error",
    )


def is_asked(arguments: argparse.Namespace) -> bool:
    """Say whether the options or the output want work by chunks."""
    given = (arguments.chunks, arguments.memory, arguments.scheduler, arguments.reach)
    is_store = str(arguments.output).rstrip("/").endswith(".zarr")
    return is_store or any(x is not None for x in given)


def vote(arguments: argparse.Namespace) -> str:
    """Write a vote map to a Zarr store."""
    output = _store(arguments.output)

    def work() -> str:
        problem = _problem(arguments)
        shape, did = _voted(problem, output, arguments.rule)
        return f"{arguments.rule} of shape {shape}, float32, {did}: written to {output}"

    return _worked(arguments, work)


def find(arguments: argparse.Namespace, write: Callable[[list[dict[str, Any]]], None]) -> str:
    """Find the peaks of the fields, and hand the columns of all maps to a writer of tables."""

    def work() -> str:
        from mdn_cupy import dask

        store = f"{arguments.output}.partial.zarr"
        limits = {**voting.limits(arguments), "rule": arguments.rule}
        problem = _problem(arguments)
        array = _evidence(problem, store, arguments.rule)
        table: Any = dask.peaks
        peaks = table(*problem.votes, **problem.options, evidence=array, **limits).compute()
        _check_there(store)
        columns = peaks.to_dict()
        names = [problem.fields.names[n] for n in columns.pop("map")]
        write([{"frame": [_frame(arguments) or 0] * len(peaks), "part": names, **columns}])
        _remove(store)
        return f"{opening.counted(len(peaks), 'peak')}: written to {arguments.output}"

    return _worked(arguments, work)


def label(arguments: argparse.Namespace) -> str:
    """Label the sources, and write the labels to a Zarr store."""

    def work() -> str:
        from mdn_cupy import dask

        output = _store(arguments.output)
        store = f"{output}.partial.zarr"
        limits = voting.limits(arguments)
        radius = check_not_negative("radius", arguments.radius)
        problem = _problem(arguments)
        said = {**problem.said, "of": "instances", "rule": arguments.rule, "radius": radius}
        said |= limits
        done = dask.stored(output, said)
        if done is not None:
            _remove(store)  # it is left where the command was stopped just before
            return f"labels {[*done.shape]}, which had been done: written to {output}"
        peaks = dask.find_peaks(_evidence(problem, store, arguments.rule), **limits).compute()
        _check_there(store)
        geometry = problem.fields.geometry
        labels, _ = dask.instances(*problem.votes, peaks, radius=radius, **geometry)
        with _bar("labels") as progress:
            dask.to_zarr(labels, output, fingerprint=said, kind="labels", progress=progress)
        _remove(store)
        found = opening.counted(len(peaks), "instance")
        return f"{found}: labels {[*labels.shape]} written to {output}"

    return _worked(arguments, work)


@dataclass(frozen=True)
class _Problem:
    """What votes, and how."""

    fields: LazyFields
    promised: float | None
    said: dict[str, Any]  # on which the values depend

    @property
    def votes(self) -> tuple[Any, Any, float]:
        """Confidence, offsets and sigma."""
        return self.fields.confidence, self.fields.offsets, self.fields.sigma

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of a map in chunks; its reach is measured once, unless it was promised."""
        from mdn_cupy import dask

        options = {**self.fields.geometry, "chunks": self.fields.confidence.chunksize[-2:]}
        if self.promised is None:
            with _bar("reach") as progress:
                reach = dask.measure_reach(*self.votes, progress=progress, **options)
            return {**options, "reach": reach}
        return {**options, "reach": self.promised}


def _remove(store: str) -> None:
    """Delete a store, at a path or a URL, if it is there."""
    import fsspec

    filesystem, root = fsspec.url_to_fs(store)
    with suppress(FileNotFoundError):  # a run beside this one deletes it, too
        if filesystem.exists(root):
            filesystem.rm(root, recursive=True)


def _evidence(problem: _Problem, store: str, rule: str) -> Any:
    """Vote for the evidence, unless that was done, and return it as it lies on the disk."""
    from mdn_cupy import dask

    _voted(problem, store, "evidence" if rule == "noisy_or" else rule)
    return dask.stored(store)


def _check_there(store: str) -> None:
    """Raise RuntimeError if a run beside this one has deleted shards, which then read as zeros."""
    from mdn_cupy import dask

    if dask.stored(store) is None:
        raise RuntimeError(f"{store}: another run has deleted it meanwhile; start this one again")


def _voted(problem: _Problem, output: str, rule: str) -> tuple[tuple[int, ...], str]:
    """Write a map to a store; return its shape, and say what was to do."""
    from mdn_cupy import dask

    said = {**problem.said, "of": "votes", "rule": rule}
    done = dask.stored(output, said)
    if done is not None:
        return done.shape, "which had been done"
    array = getattr(dask, _RULES.get(rule, rule))(*problem.votes, **problem.options)
    array = 0 - array if rule == "evidence" else array
    with _bar("votes") as progress:
        count = dask.to_zarr(array, output, fingerprint=said, progress=progress)
    return array.shape, f"{opening.counted(count, 'shard')} computed"


def _problem(arguments: argparse.Namespace) -> _Problem:
    """Open the fields, in the chunks that are asked for."""
    from mdn_cupy import dask

    if arguments.input in samples.names():
        raise ValueError(
            f"{arguments.input}: it is a sample, which fits into memory; by chunks name a Zarr "
            "group, or leave out --chunks and what else is for chunks, and write no .zarr"
        )
    reading = opening.reading_of(arguments)
    if "adapter" in reading:
        raise ValueError(
            "--from is for fields that fit into memory; by chunks give --layout, --order, --scale"
        )
    if "region" in reading:
        raise ValueError("--region is for what fits into memory: leave out --chunks")
    chosen = {"part": arguments.part, "cross": arguments.cross, "frame": _frame(arguments)}
    opened = partial(dask.open_fields, arguments.input, check=True, **chosen, **reading)
    fields = opened(chunks=_CHUNKS)
    side = arguments.chunks
    if arguments.memory is not None:
        if side is not None:
            raise ValueError("give --chunks or --memory, not both")
        pixel = fields.confidence.dtype.itemsize + 2 * fields.offsets.dtype.itemsize
        side = dask.chunk_for(arguments.memory, pixel, get_num_threads())
    if side is not None and side < 1:
        raise ValueError(f"--chunks must be at least 1, got {side}")
    if side is not None:
        count = math.prod(-(-n // side) for n in fields.confidence.shape[-2:])
        if count > _MOST:
            raise ValueError(
                f"--chunks {side} makes {count} chunks; give more pixels, for {_MOST} at most"
            )
        fields = opened(chunks=side)
    if fields.confidence.ndim > 3:
        shape = fields.confidence.shape
        raise ValueError(
            f"{arguments.input}: wants confidence (H, W) or (P, H, W), or --frames, got {shape}"
        )
    said = {"version": __version__, **fields.fingerprint, "sigma": fields.sigma, **fields.geometry}
    return _Problem(fields, arguments.reach, said)


def _frame(arguments: argparse.Namespace) -> int | None:
    """Return the frame that is asked for, if one is."""
    first, last, step = arguments.frames
    if (first, last, step) == (None, None, None):
        return None
    if first is None or last is None or last - first != 1:
        raise ValueError("--frames takes one frame by chunks, such as --frames 5")
    return int(first)


def _store(output: Any) -> str:
    store = str(output).rstrip("/")
    if not store.endswith(".zarr"):
        raise ValueError(f"{output}: name a .zarr store for fields larger than memory")
    return store


def _worked(arguments: argparse.Namespace, work: Callable[[], str]) -> str:
    from mdn_cupy import dask

    with dask.working(arguments.scheduler), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", dask.OutlierWarning)
        text = work()
    notes = [f"note: {w.message}" for w in said if issubclass(w.category, dask.OutlierWarning)]
    return "\n".join([*notes, text])


@contextmanager
def _bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each level of a store, or for another pass, on a terminal."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    with ExitStack() as shown:

        def progress(level: str, done: int, total: int) -> None:
            if level not in bars:
                shown.close()
                said = f"{what}, level {level}" if level.isdigit() else level
                options: dict[str, Any] = {"file": sys.stderr, "leave": False, "disable": None}
                bar = tqdm(desc=said, total=total, initial=done, unit="shard", **options)
                bars[level] = shown.enter_context(bar)
            bars[level].update(done - bars[level].n)

        yield progress
