"""MkDocs hooks: texts of the repository as pages, links to its files, and equations as MathML."""

from __future__ import annotations

import contextlib
import io
import os
import re
from html import unescape
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from latex2mathml.converter import convert

from mdn_cupy.__main__ import main

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent

_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(?=(?:#[^)\s]*)?\))")
_NAME = re.compile(r"(?<![\[`])`mdn\.([\w.]+)`")
_INCLUDE = re.compile(r"\A---\ninclude: (\S+)\n---\n")
_HELP = re.compile(r"(?<=^\$ mdn-cupy )(.*--help)$", re.MULTILINE)
_EQUATION = re.compile(r"<(span|div) class=\"arithmatex\">\\[(\[](.*?)\\[)\]]</\1>", re.DOTALL)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Insert the file that the front matter names, and make links work on the site.

    A link to a file of the repository that is no page leads to the repository; code such as
    `mdn.Votes.peaks` leads to its entry in the API.
    """
    source = f"docs/{page.file.src_uri}"
    if "include" in page.meta:
        source = page.meta["include"]
        markdown = (ROOT / source).read_text(encoding="utf-8")
    markdown = _HELP.sub(lambda command: f"{command[0]}\n{_printed(command[1].split())}", markdown)
    here = join("docs", dirname(page.file.src_uri))
    pages = included_pages()

    def on_site(link: re.Match[str]) -> str:
        target = normpath(join(dirname(source), link[1]))
        target = pages.get(target, target)
        if target.startswith("docs/"):
            return relpath(target, here)
        return f"{config.repo_url}/blob/main/{target}" if (ROOT / target).exists() else link[1]

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for n in range(0, len(parts), 2):  # what is between the blocks of code
        linked = _LINK.sub(on_site, parts[n])
        parts[n] = "\n".join(
            line if line.startswith("#") else _NAME.sub(_reference, line)
            for line in linked.split("\n")
        )
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Replace LaTeX by MathML, which browsers draw without a script."""

    def as_mathml(equation: re.Match[str]) -> str:
        display = "block" if equation[1] == "div" else "inline"
        return convert(unescape(equation[2]).strip(), display=display)

    return _EQUATION.sub(as_mathml, html)


def included_pages() -> dict[str, str]:
    """Return the pages that consist of another file, by that file's path in the repository."""
    found = {}
    for page in DOCS.rglob("*.md"):
        include = _INCLUDE.match(page.read_text(encoding="utf-8"))
        if include:
            found[include[1]] = page.relative_to(ROOT).as_posix()
    return found


def _printed(arguments: list[str]) -> str:
    """Return what `mdn-cupy` prints for these arguments."""
    os.environ["COLUMNS"] = "100"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(arguments)
    return printed.getvalue().rstrip()


def _reference(name: re.Match[str]) -> str:
    return f'<autoref identifier="mdn_cupy.{name[1]}" optional><code>mdn.{name[1]}</code></autoref>'
