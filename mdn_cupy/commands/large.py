"""What the subcommands do with fields larger than memory: by chunks, from Zarr, resumably."""

from __future__ import annotations

import argparse
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdn_cupy import __version__
from mdn_cupy.peaks import Peaks
from mdn_cupy.threads import get_num_threads
from mdn_cupy.validation import per_axis

if TYPE_CHECKING:
    from mdn_cupy.dask import LazyFields

__all__ = ["add_to", "find", "is_asked", "label", "vote"]

_CHUNKS = 2048
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
    return any(x is not None for x in given) or str(arguments.output).endswith(".zarr")


def vote(arguments: argparse.Namespace, source: str) -> str:
    """Write a vote map to a Zarr store."""
    output = _store(arguments.output)
    return _worked(arguments, lambda: _voted(arguments, source, output, arguments.rule)[1])


def find(arguments: argparse.Namespace, write: Callable[[list[dict[str, Any]]], None]) -> str:
    """Find the peaks of the fields, and hand the columns of all maps to a writer of tables."""

    def work() -> str:
        from mdn_cupy import dask

        store = Path(f"{arguments.output}.partial.zarr")
        array = _stored_evidence(arguments, store)
        peaks = _peaks(dask, array, arguments)
        columns = peaks.to_dict()
        names = [str(n) for n in columns.pop("map")] if array.ndim > 2 else ["0"] * len(peaks)
        write([{"frame": [0] * len(peaks), "part": names, **columns}])
        shutil.rmtree(store)
        return f"{len(peaks)} peaks: written to {arguments.output}"

    return _worked(arguments, work)


def label(arguments: argparse.Namespace) -> str:
    """Label the sources, and write the labels to a Zarr store."""

    def work() -> str:
        from mdn_cupy import dask

        output = _store(arguments.output)
        store = Path(f"{arguments.output}.partial.zarr")
        peaks = _peaks(dask, _stored_evidence(arguments, store), arguments)
        fields, c, o, options, said = _problem(arguments, arguments.input)
        radius = arguments.radius
        labels, _ = dask.instances(c, o, _sigma(arguments, fields), peaks, radius=radius, **options)
        limits = {name: getattr(arguments, name) for name in ("radius", *_LIMITS)}
        said = {**said, "of": "instances", "rule": arguments.rule, **limits}
        with _bar("labels") as progress:
            dask.to_zarr(labels, output, fingerprint=said, kind="labels", progress=progress)
        shutil.rmtree(store)
        return f"{len(peaks)} instances: labels {[*labels.shape]} written to {output}"

    return _worked(arguments, work)


_LIMITS = ("threshold", "min_distance", "max_peaks", "border")


def _evidence(arguments: argparse.Namespace) -> str:
    if not arguments.threshold > 0:
        raise ValueError(
            f"threshold must be greater than 0, which is the evidence where nothing votes, got "
            f"{arguments.threshold:g}"
        )
    if arguments.cross:
        raise ValueError("--cross is for fields that fit into memory: leave out --chunks")
    return "evidence" if arguments.rule == "noisy_or" else str(arguments.rule)


def _stored_evidence(arguments: argparse.Namespace, store: Path) -> Any:
    """Vote for the evidence, unless that was done, and return it as it lies on the disk."""
    from mdn_cupy import dask

    _voted(arguments, arguments.input, store, _evidence(arguments))
    return dask.stored(store)


def _peaks(dask: Any, array: Any, arguments: argparse.Namespace) -> Peaks:
    limits = {name: getattr(arguments, name) for name in _LIMITS}
    peaks: Peaks = dask.find_peaks(array, **limits).compute()
    return peaks


def _voted(
    arguments: argparse.Namespace, source: str, output: str | Path, rule: str
) -> tuple[Any, str]:
    """Write a map to a store; return it as it lies there, and what to say."""
    from mdn_cupy import dask

    fields, c, o, options, said = _problem(arguments, source)
    said = {**said, "of": "votes", "rule": rule}
    sigma = _sigma(arguments, fields)
    make = getattr(dask, _RULES.get(rule, rule))
    done = dask.stored(output, said)
    if done is None:
        array = make(c, o, sigma, reach=arguments.reach, chunks=c.chunksize[-2:], **options)
        array = 0 - array if rule == "evidence" else array
        with _bar("votes") as progress:
            count = dask.to_zarr(array, output, fingerprint=said, progress=progress)
        went_on = f"{count} shards computed"
        done = array
    else:
        went_on = "which had been done"
    return done, f"{rule} of shape {done.shape}, {done.dtype}, {went_on}: written to {output}"


def _problem(
    arguments: argparse.Namespace, source: str
) -> tuple[LazyFields, Any, Any, dict[str, Any], dict[str, Any]]:
    """Open the fields: confidence, offsets, options and what the values depend on."""
    from mdn_cupy import dask

    if getattr(arguments, "cross", False):
        raise ValueError("--cross is for fields that fit into memory: write .npy")
    names = {n: getattr(arguments, n, None) for n in ("confidence", "offsets")}
    fields = dask.open_fields(source, chunks=_CHUNKS, **names)
    side = arguments.chunks
    if arguments.memory is not None:
        if side is not None:
            raise ValueError("give --chunks or --memory, not both")
        pixel = fields.confidence.dtype.itemsize + 2 * fields.offsets.dtype.itemsize
        width = fields.confidence.shape[-1]
        limit = dask.parse_bytes(arguments.memory)
        side = dask.chunk_for(limit, width, pixel, get_num_threads())
    if side is not None and side < 1:
        raise ValueError(f"--chunks must be at least 1, got {side}")
    if side is not None:
        fields = dask.open_fields(source, chunks=side, **names)
    c, o, part = fields.confidence, fields.offsets, arguments.part
    options = dict(fields.geometry)
    for name in ("stride", "origin"):
        if getattr(arguments, name) is not None:
            options[name] = per_axis(name, getattr(arguments, name), positive=name == "stride")
    if c.ndim > 3:
        raise ValueError(f"{source}: wants confidence (H, W) or (P, H, W), got {c.shape}")
    if part == "all" and c.ndim == 3:
        options["aggregate"] = 0
    elif part not in (None, "all"):
        if not part.isdecimal() or int(part) >= (c.shape[0] if c.ndim == 3 else 1):
            raise ValueError(f"no part {part!r}; give a number, or all")
        c, o = (x[int(part)] if c.ndim == 3 else x for x in (c, o))
    said = {
        "version": __version__,
        **fields.fingerprint,
        "sigma": _sigma(arguments, fields),
        "part": part,
        **options,
    }
    return fields, c, o, options, said


def _sigma(arguments: argparse.Namespace, fields: LazyFields) -> float:
    return float(fields.sigma if arguments.sigma is None else arguments.sigma)


def _store(output: Any) -> str:
    if not str(output).rstrip("/").endswith(".zarr"):
        raise ValueError(f"{output}: name a .zarr store for fields larger than memory")
    return str(output)


def _worked(arguments: argparse.Namespace, work: Callable[[], str]) -> str:
    from mdn_cupy import dask

    with dask.working(arguments.scheduler), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", dask.OutlierWarning)
        text = work()
    notes = [f"note: {w.message}" for w in said if issubclass(w.category, dask.OutlierWarning)]
    return "\n".join([*notes, text])


class _bar:
    """A bar over the shards, on a terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._level = what, ""
        self._shown: Any = None

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self._progress

    def __exit__(self, *exception: object) -> None:
        if self._shown is not None:
            self._shown.close()

    def _progress(self, level: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._shown is None or level != self._level:
            if self._shown is not None:
                self._shown.close()
            self._level = level
            said = f"{self._what}, level {level}"
            options: dict[str, Any] = {
                "unit": "shard",
                "file": sys.stderr,
                "leave": False,
                "disable": None,
            }
            self._shown = tqdm(desc=said, total=total, initial=done, **options)
        else:
            self._shown.update(done - self._shown.n)
