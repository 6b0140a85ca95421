"""Draw the modules and their imports: `python docs/_site/make_architecture.py`.

Rooms are groups of modules; an arrow is an import that was found in the code. Arrows that others
imply are left out: a path leads the same way.
"""

from __future__ import annotations

import re
import sys
from html import escape
from itertools import product
from pathlib import Path
from typing import NamedTuple

import grimp

OUTPUT = Path(__file__).parents[1] / "images" / "architecture.svg"
WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 216, 66, 20, 52, 44, 44


class Room(NamedTuple):
    """A box of the drawing: where it is, what it says, and the modules that begin so."""

    column: float
    row: int
    name: str
    text: str
    modules: tuple[str, ...]


_OPERATOR = ("autograd", "batching", "checks", "engine", "library", "peaks", "plain")
ROOMS = [
    Room(0, 0, "mdn_viewer", "the napari plugin", ("mdn_viewer",)),
    Room(1, 0, "mdn-cupy", "the command line", ("__main__", "interrupts", "program", "commands")),
    Room(0, 3, "functional", "one call, one map", ("functional",)),
    Room(1, 1, "adapters, samples", "networks' outputs as Fields", ("adapters", "samples")),
    Room(2, 1, "dask", "fields larger than memory", ("dask",)),
    Room(3, 1, "torch", "modules, heads, losses", ("torch",)),
    Room(1, 2, "io, plotting", "files of many kinds; pictures", ("io", "plotting")),
    Room(1, 3, "fields", "a network's output", ("fields",)),
    Room(1, 4, "votes", "maps, gradients, questions", ("votes",)),
    Room(0, 5, "provenance, reference", "who voted; the specification",
         ("provenance", "checks", "reference")),
    Room(1, 5, "peaks", "maxima of the evidence", ("peaks",)),
    Room(3, 5, "torch: the operator", "autograd over both backends",
         tuple(f"torch.{name}" for name in _OPERATOR)),
    Room(1, 6, "cuda", "kernels/*.cu, through CuPy", ("cuda",)),
    Room(2, 6, "cpu", "kernels in Numba", ("cpu",)),
    Room(1, 7, "problem, validation", "what a backend is given",
         ("problem", "validation", "axes", "maxima", "threads")),
    Room(0, 7, "arrays, backend", "array libraries, devices, files",
         ("arrays", "backend", "console", "files", "notebook")),
]  # fmt: skip


def room_of(module: str) -> Room:
    """Return the room with the longest beginning of a module's name."""
    name = module.removeprefix("mdn_cupy.")
    fitting = [
        (len(each), room)
        for room in ROOMS
        for each in room.modules
        if f"{name}.".startswith(f"{each}.")
    ]
    if not fitting:
        raise LookupError(f"{module} is in no box of the drawing: add it to ROOMS in {__file__}")
    return max(fitting)[1]


def arrows() -> list[tuple[Room, Room, bool]]:
    """Return who uses whom, and whether by an import; without what other arrows imply."""
    imported = imports()
    used = {a: {b for c, b in imported | loads() if a == c and a != b} for a in ROOMS}
    reached = used
    for _ in ROOMS:
        reached = {a: used[a].union(*(reached[b] for b in used[a])) for a in ROOMS}
    return [
        (a, b, (a, b) in imported)
        for a, b in product(ROOMS, ROOMS)
        if b in used[a] and not any(b in reached[c] for c in used[a] - {b})
    ]


def imports() -> set[tuple[Room, Room]]:
    """Return the imports between rooms; the package itself stands for what it makes public."""
    graph = grimp.build_graph("mdn_cupy", "mdn_viewer")
    public = graph.find_modules_directly_imported_by("mdn_cupy")
    public -= {"mdn_cupy.dask", "mdn_cupy.torch"}  # optional: named for type checkers only
    found = set()
    for importer in graph.modules - {"mdn_cupy"}:
        imported = graph.find_modules_directly_imported_by(importer)
        if "mdn_cupy" in imported and importer.startswith("mdn_viewer"):
            imported |= public
        found |= {(room_of(importer), room_of(each)) for each in imported - {"mdn_cupy"}}
    return found


def loads() -> set[tuple[Room, Room]]:
    """Return who loads a backend by `backends.module`, when it is first needed."""
    package = Path(__file__).parents[2] / "mdn_cupy"
    loaders = {
        room_of(".".join(("mdn_cupy", *source.relative_to(package).with_suffix("").parts)))
        for source in package.rglob("*.py")
        if re.search(r"mdn_cupy.backend import .*\bmodule\b", source.read_text(encoding="utf-8"))
    }
    backends = {room_of("mdn_cupy.cpu"), room_of("mdn_cupy.cuda")}
    base = room_of("mdn_cupy.backend")
    return set(product({room for room in loaders if room.row < base.row}, backends))


def draw() -> str:
    """Return the drawing as SVG."""
    columns, rows = max(room.column for room in ROOMS) + 1, max(room.row for room in ROOMS) + 1
    width = 2 * LEFT + columns * WIDTH + (columns - 1) * GAP_X
    height = TOP + rows * HEIGHT + (rows - 1) * GAP_Y + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>The modules of mdn-cupy, and what imports what</title>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#5c6bc0"/></marker>'
        "</defs>",
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        f'<text x="{LEFT}" y="32" fill="#555">An arrow leads from a module to what it imports; '
        "arrows that others imply are left out. Dashed: loaded when it is first needed.</text>",
    ]
    for a, b, solid in arrows():
        (x1, y1), (x2, y2) = _ends(a, b)
        dashes = "" if solid else "5 4"
        bend = 30 if a.row != b.row else 0
        lines.append(
            f'<path d="M{x1:g} {y1:g} C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}" '
            f'fill="none" stroke="#5c6bc0" stroke-width="1.5" stroke-dasharray="{dashes}" '
            'marker-end="url(#head)"/>'
        )
    for room in ROOMS:
        x, y = _corner(room)
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#e8eaf6" '
            'stroke="#3949ab"/>'
            f'<text x="{x + 12:g}" y="{y + 31:g}" font-weight="600" fill="#1a237e">'
            f"{escape(room.name)}</text>"
            f'<text x="{x + 12:g}" y="{y + 53:g}" font-size="12" fill="#333">'
            f"{escape(room.text)}</text>"
        )
    return "\n".join([*lines, "</svg>", ""])


def _corner(room: Room) -> tuple[float, float]:
    return LEFT + room.column * (WIDTH + GAP_X), TOP + room.row * (HEIGHT + GAP_Y)


def _ends(a: Room, b: Room) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where an arrow begins and ends; those of one box are spread along its edge."""
    (ax, ay), (bx, by) = _corner(a), _corner(b)
    if a.row == b.row:
        right = b.column > a.column
        x1, x2 = (ax + WIDTH, bx) if right else (ax, bx + WIDTH)
        return (x1, ay + HEIGHT / 2), (x2, by + HEIGHT / 2)
    shift = WIDTH / 2 + (b.column - a.column) * 40
    return (ax + shift, ay + HEIGHT), (bx + WIDTH / 2 - (b.column - a.column) * 40, by)


if __name__ == "__main__":
    OUTPUT.write_text(draw(), encoding="utf-8")
    print(OUTPUT, file=sys.stderr)
