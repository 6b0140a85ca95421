"""Check the links of the built site and of the repository's Markdown files, without a network.

    python docs/_site/check_links.py SITE     # the folder that `mkdocs build` wrote

An internal link must lead to a file, and its anchor to an element of that page. A link to the
repository's host must lead to a file of this checkout. Other addresses must be well-formed
`https` ones; no request is sent to them. Prints each broken link and exits with 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
HOST = re.compile(r"https://example\.org/mdn-cupy(?:/blob/main/|/?)")  # docs/release.md
SKIPPED = {"mailto", "data", "javascript"}

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.*?)(?: +#+)?$", re.MULTILINE)


class Page(HTMLParser):
    """The anchors and the links of an HTML page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's anchor and where it links to."""
        for key, value in attrs:
            if value and (key == "id" or (tag == "a" and key == "name")):
                self.anchors.add(value)
            elif value and key in {"href", "src"}:
                self.links.append(value)


class Text:
    """The anchors and the links of a Markdown file, as its host shows it."""

    def __init__(self, markdown: str) -> None:
        prose = _FENCE.sub("", markdown)
        self.anchors = {_slug(heading) for heading in _HEADING.findall(prose)}
        self.links = [one or two for one, two in _LINK.findall(_CODE.sub("", prose))]


@cache
def read(path: Path) -> Page | Text | None:
    """Return what a file links to, and its anchors; None for what has none."""
    kinds = {".html": Page, ".md": Text}
    kind = kinds.get(path.suffix)
    return kind(path.read_text("utf-8")) if kind else None


def broken(path: Path, top: Path) -> Iterator[str]:
    """Yield what is wrong with the links of one file; a link that begins with / starts at `top`."""
    page = read(path)
    assert page, path
    for link in page.links:
        reason = _fault(link, path, top)
        if reason:
            yield f"{path}: {link}: {reason}"


def _fault(link: str, path: Path, top: Path) -> str | None:
    if own := HOST.match(link):
        link, path, top = f"/{link[own.end() :]}", ROOT / "README.md", ROOT
    url = urlsplit(link)
    if url.scheme in SKIPPED:
        return None
    if url.scheme or url.netloc:
        well_formed = url.scheme == "https" and "." in url.netloc and " " not in link
        return None if well_formed else "not an https address"
    place = unquote(url.path)
    target = top / place.lstrip("/") if place.startswith("/") else path.parent / place
    target = target if place else path
    if target.is_dir() and (target / "index.html").exists():
        target /= "index.html"
    if not target.exists():
        return f"there is no {target}"
    page = read(target) if url.fragment and target.is_file() else None
    if page and unquote(url.fragment) not in page.anchors:
        return f"{target} has no anchor {url.fragment}"
    return None


def _slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def markdown_files() -> list[Path]:
    """Return the repository's Markdown files outside `docs`, which are no pages by themselves."""
    folders = ("", ".github", ".napari-hub", "benchmarks", "samples")
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.md"))]


def main(arguments: list[str]) -> int:
    """Check everything; return the status for the shell."""
    if len(arguments) != 1 or not Path(arguments[0], "index.html").exists():
        print(__doc__)
        return 2
    site = Path(arguments[0])
    pages = sorted(site.rglob("*.html"))
    found = [line for page in pages for line in broken(page, site)]
    texts = markdown_files()
    found += [line for text in texts for line in broken(text, ROOT)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"links of {len(pages)} pages and {len(texts)} texts: {len(found)} broken")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
