"""Griffe extension: the docstrings' mathematics, tables and names as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_MATH = re.compile(r":math:`([^`]+)`")
_EQUATION = re.compile(r"^( *)\.\. math:: (.*(?:\n\1 +\S.*)*)", re.MULTILINE)
_TABLE = re.compile(r"^( *)(={3,}(?: +={3,})+)\n((?:.+\n)+?)\1\2$", re.MULTILINE)
_HEADED = re.compile(r"^ *={3,}(?: +={3,})+\n", re.MULTILINE)
_TOGETHER = re.compile(r"^( *)(\w+(?:, \w+)+) : (.*\n(?:\1 +.*\n)*)", re.MULTILINE)
_CODE = re.compile(r"``([^`]+)``")
_NAME = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")
_ARGUMENTS_OF = re.compile(r"takes_arguments_of\((\w+)\)")
_EXAMPLES = re.compile(r"^ *Examples\n *-+$", re.MULTILINE)


class DocstringMarkup(griffe.Extension):
    """Convert what numpydoc writes in reStructuredText, and link names to their entries."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert one docstring, up to its examples."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        examples = _EXAMPLES.search(text)
        end = examples.start() if examples else len(text)
        obj.docstring.value = _markdown(text[:end], obj) + text[end:]

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Give functions the parameters of what their decorator names, as they have at run time."""
        if pkg.name != "mdn_cupy":
            return
        griffe.DataclassesExtension().on_package(pkg=pkg, loader=loader)  # else only after this
        for module in (pkg["functional"], pkg["dask.functional"]):
            for function in module.functions.values():
                for each in function.decorators:
                    if model := _ARGUMENTS_OF.search(str(each.value)):
                        given = [p for p in module[model[1]].parameters if p.name != "self"]
                        function.parameters = griffe.Parameters(*given)


def _markdown(text: str, obj: griffe.Object) -> str:
    text = _TABLE.sub(_table, text)
    text = _TOGETHER.sub(_apart, text)  # else all have the first one's default
    text = _EQUATION.sub(lambda found: f"{found[1]}\\[ {found[2]} \\]", text)
    text = _MATH.sub(r"\\(\1\\)", text)
    text = _NAME.sub(lambda found: _reference(found[1], obj), text)
    return _CODE.sub(r"`\1`", text)


def _table(found: re.Match[str]) -> str:
    """Convert a simple table; columns begin where their rules do, the last has no end."""
    indent, rule, body = found.groups()
    starts = [mark.start() + len(indent) for mark in re.finditer("=+", rule)]
    ends = [*starts[1:], None]
    head, rows = [""] * len(starts), []
    for line in body.splitlines():
        if _HEADED.match(f"{line}\n"):
            (head,), rows = rows, []
            continue
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if cells[0]:
            rows.append(cells)
        else:  # a cell of several lines
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
    lines = [head, ["---"] * len(starts), *rows]
    return "\n".join(f"{indent}| {' | '.join(cells)} |" for cells in lines)


def _apart(found: re.Match[str]) -> str:
    """Give each of several parameters that are described together its own entry."""
    indent, names, rest = found.groups()
    return "".join(f"{indent}{name} : {rest}" for name in names.split(", "))


def _reference(name: str, obj: griffe.Object) -> str:
    """Link a name to the entry of the nearest object that is called so."""
    path = name.replace("mdn.", "mdn_cupy.", 1) if name.startswith("mdn.") else name
    first = path.partition(".")[0]
    scope = obj
    while scope.parent is not None and first not in scope.members:
        scope = scope.parent
    if first in scope.members and first != scope.name:
        path = f"{scope.path}.{path}"
    elif not path.startswith(("mdn_cupy", "mdn_viewer")):
        path = f"mdn_cupy.{path}"
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
