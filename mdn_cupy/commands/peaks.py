"""`mdn-cupy peaks`: the peaks of every frame, as a table."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mdn_cupy import __version__
from mdn_cupy.commands import large, opening, parsing, voting
from mdn_cupy.files import explained_full, explained_write, replacing
from mdn_cupy.io import FieldsSequence

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_to", "run"]

HELP = "write the peaks of every frame as a table"
DESCRIPTION = """\
Find the peaks of the votes in every frame of a file, and write them as a table: a row a peak, with
its frame and part, where it is to a fraction of a pixel (x, y), its score (m, or the sum) and its
evidence, the covariance of where its votes land (xx, xy, yy, in square pixels), and how many voters
it has, effectively.

A run that was stopped goes on where it stopped: until it is done, its frames lie in OUT.partial."""

EXAMPLES = f"""\
{voting.THRESHOLDS}

examples:
  the coins of a sample, for which all radii vote together:
    mdn-cupy peaks coins --part all --threshold 4.6 -o coins.csv
  a video's keypoints, the best of each part in every frame:
    mdn-cupy peaks run.h5 --from deeplabcut --stride 8 --sigmoid --threshold 0.7 --max-peaks 1 \\
        -o keypoints.csv
  several animals, no two noses within 20 pixels:
    mdn-cupy peaks run.mdn --part nose --threshold 2.3 --min-distance 20 -o noses.json
  a slide larger than memory, in a Zarr group, by chunks:
    mdn-cupy peaks slide.zarr --chunks 2048 --sigma 3 --threshold 2.3 -o nuclei.csv
  with all parts voting for each one, at a width of 4 pixels:
    mdn-cupy peaks pose --cross --sigma 4 --threshold 2.3 -o pose.csv"""

_COLUMNS = ("frame", "part", "x", "y", "score", "evidence", "xx", "xy", "yy", "voters")


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of `peaks` to its parser."""
    parsing.add_output_to(command, "table: .csv or .json")
    voting.add_to(command)
    opening.add_to(command)
    large.add_to(command)


def run(arguments: argparse.Namespace) -> str:
    """Write the table; return what is to be said."""
    output: Path = arguments.output
    writers = {".csv": _write_csv, ".json": _write_json}
    write = writers[parsing.check_suffix(output, writers)]
    if large.is_asked(arguments):
        return large.find(arguments, partial(_write_all, write, output))
    frames = opening.opened(arguments)
    journal = output.with_name(f"{output.name}.partial")
    done = _find_all(journal, frames, arguments)
    with replacing(output) as file:
        counts = write(file, _tables(journal))
    journal.unlink()
    per_frame = f", {min(counts)} to {max(counts)} a frame" if len(counts) > 1 else ""
    went_on = f" ({opening.counted(done, 'frame')} had been done)" if done else ""
    return (
        f"{opening.counted(sum(counts), 'peak')} in {opening.counted(len(counts), 'frame')}"
        f"{per_frame}{went_on}: written to {output}"
    )


def _write_all(write: Any, output: Path, tables: list[dict[str, Any]]) -> None:
    """Write tables that lie in memory; columns that they lack are empty."""

    def rows(columns: dict[str, Any]) -> list[tuple[Any, ...]]:
        nothing = [None] * len(columns["frame"])
        return list(zip(*(columns.get(name, nothing) for name in _COLUMNS), strict=True))

    with replacing(output) as file:
        write(file, map(rows, tables))


# The journal has a line of JSON with the settings, and one for every frame that is done.


def _find_all(journal: Path, frames: FieldsSequence, arguments: argparse.Namespace) -> int:
    """Append the frames that the journal lacks, and return how many it had."""
    numbers = opening.numbers(frames, arguments)
    settings = _as_line(_settings(frames, arguments))
    done, size = _done(journal, settings)
    with explained_write(journal):
        file = open(journal, "r+b" if done else "wb")  # noqa: SIM115
    try:
        with explained_full(journal), file:
            file.truncate(size)
            file.seek(size)
            if not done:
                file.write(settings)
            for number in opening.progress(numbers[done:]):
                file.write(_as_line(_found(number, frames, arguments)))
                file.flush()
    except BaseException:
        if journal.exists() and journal.stat().st_size <= len(settings):
            journal.unlink()
        raise
    return done


def _done(journal: Path, settings: bytes) -> tuple[int, int]:
    """Count the whole lines of a journal of the same settings: frames and bytes."""
    if not journal.is_file():
        return 0, 0
    with open(journal, "rb") as file:
        if file.readline() != settings:
            return 0, 0
        count, size = 0, len(settings)
        for line in file:
            if line.endswith(b"\n"):
                count, size = count + 1, size + len(line)
    return count, size if count else 0


def _settings(frames: FieldsSequence, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return everything that the peaks depend on, but what the files hold."""
    given = {n: x for n, x in vars(arguments).items() if n not in ("run", "output")}
    path = Path(arguments.input)
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return {"version": __version__, "count": len(frames), "changed": changed, **given}


def _found(number: int, frames: FieldsSequence, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the columns of the peaks of one frame."""
    with opening.in_frame(number, arguments):
        _, names, peaks = voting.find(frames[number], arguments)
    columns = peaks.to_dict()
    part = [names[each] for each in columns.pop("map")]
    return {"frame": [number] * len(peaks), "part": part, **columns}


def _as_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"  # slices, of a region


def _tables(journal: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Return the rows of each frame in turn."""
    with open(journal, "rb") as file:
        file.readline()
        for line in file:
            columns = json.loads(line)
            yield list(zip(*(columns[name] for name in _COLUMNS), strict=True))


def _write_csv(file: BinaryIO, tables: Iterator[list[tuple[Any, ...]]]) -> list[int]:
    """Write the rows, and return how many each frame has."""
    counts = []
    with io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        for rows in tables:
            writer.writerows(rows)
            counts.append(len(rows))
    return counts


def _write_json(file: BinaryIO, tables: Iterator[list[tuple[Any, ...]]]) -> list[int]:
    """Write a list of objects, and return how many each frame has."""
    counts, before = [], b"["
    for rows in tables:
        for row in rows:
            file.write(before + b"\n" + json.dumps(dict(zip(_COLUMNS, row, strict=True))).encode())
            before = b","
        counts.append(len(rows))
    file.write((b"[" if before == b"[" else b"") + b"\n]\n")
    return counts
