"""Links: those of the repository's texts hold, and the check of CI names one that does not."""

import importlib.util
import shutil

import pytest
from helpers import ROOT

SCRIPT = ROOT / "docs/_site/check_links.py"


@pytest.fixture
def check_links():
    spec = importlib.util.spec_from_file_location("check_links", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_links_of_the_texts_hold(check_links):
    texts = check_links.markdown_files()
    assert {ROOT / "README.md", ROOT / "samples/README.md"} < set(texts)
    assert all(check_links.read(path).links for path in (ROOT / "README.md", ROOT / "CHANGELOG.md"))
    assert [line for path in texts for line in check_links.broken(path, ROOT)] == []


def _site(folder, link):
    (folder / "votes").mkdir()
    (folder / "index.html").write_text(f"<h1 id='top'>Votes</h1><a href='{link}'>look</a>")
    (folder / "votes/index.html").write_text("<h2 id='σ'>Sigma</h2><img src='../map.png'>")
    shutil.copy(ROOT / "docs/images/compare.png", folder / "map.png")


GOOD = [
    "votes/",
    "votes/#%CF%83",
    "#top",
    "",
    "/votes/index.html#σ",
    "https://arxiv.org/abs/1708.03816",
    "https://example.org/mdn-cupy",
    "https://example.org/mdn-cupy/blob/main/mdn_cupy/votes.py",
    "https://example.org/mdn-cupy/blob/main/CONTRIBUTING.md#tests-in-a-minute",
    "mailto:someone@example.org",
]
BAD = [
    ("vote/", "there is no "),
    ("votes/#sigma", "has no anchor sigma"),
    ("#bottom", "has no anchor bottom"),
    ("map.jpg", "there is no "),
    ("https://example.org/mdn-cupy/blob/main/mdn_cupy/vote.py", "there is no "),
    ("https://example.org/mdn-cupy/blob/main/README.md#no-such", "has no anchor no-such"),
    ("http://arxiv.org", "not an https address"),
    ("https://arxiv", "not an https address"),
]


@pytest.mark.parametrize("link", GOOD)
def test_a_good_link_passes(check_links, tmp_path, capsys, link):
    _site(tmp_path, link)
    assert check_links.main([str(tmp_path)]) == 0
    assert ": 0 broken" in capsys.readouterr().out


@pytest.mark.parametrize(("link", "reason"), BAD)
def test_a_broken_link_fails(check_links, tmp_path, capsys, link, reason):
    _site(tmp_path, link)
    assert check_links.main([str(tmp_path)]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'index.html'}: {link}: ")
    assert reason in first


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("# A `b`, *c* & [d](#a-b-c--d)", 0),
        ("[picture](map.png) and `[code](nothing.md)`\n```\n[code](nothing.md)\n```", 0),
        ("# Votes\n[wrong](#vote)\n\n[right]: map.png\n[wrong too]: map.jpg", 2),
    ],
)
def test_the_links_of_markdown(check_links, tmp_path, text, broken):
    (tmp_path / "map.png").touch()
    (tmp_path / "text.md").write_text(text, "utf-8")
    assert len(list(check_links.broken(tmp_path / "text.md", tmp_path))) == broken


def test_without_a_site_it_says_what_it_wants(check_links, tmp_path, capsys):
    assert check_links.main([str(tmp_path)]) == 2
    assert "mkdocs build" in capsys.readouterr().out
