"""The examples in the docstrings run, and so does the code of every page of the documentation."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from helpers import ROOT

import mdn_cupy
from mdn_cupy.__main__ import main
from mdn_cupy.program import _parser

ELSEWHERE = {
    "docs/torch.md",
    "docs/viewer.md",
}  # tests/torch/test_torch_docs.py, tests/viewer/test_viewer_docs.py
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "samples/README.md")
)
WITH_CODE = [
    page for page in PAGES if re.search("```(python|sh)", (ROOT / page).read_text("utf-8"))
]

MODULES = sorted(module.name for module in pkgutil.walk_packages(mdn_cupy.__path__, "mdn_cupy."))


@pytest.mark.parametrize("name", ["mdn_cupy", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", mdn_cupy.__all__)
def test_what_is_public_has_an_example(name):
    thing = getattr(mdn_cupy, name)
    if not inspect.ismodule(thing) and name not in {"Gradients", "save_fields"}:
        assert ">>> " in inspect.getdoc(thing)
    assert inspect.getdoc(thing)


def _arrays():
    """Fields of a network, as a file of it has them: 300 frames, 2 parts, 6 × 8 cells."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 2, 6, 8)), rng.normal(size=(300, 4, 6, 8))


def _prepare_files(names):
    h5py = pytest.importorskip("h5py")
    heatmap, locref = _arrays()
    with h5py.File("run.h5", "w") as file:
        file["heatmap"], file["locref"] = heatmap, locref
    Path("run").mkdir()
    for n in range(3):
        fields = {
            "confidence": 1 / (1 + np.exp(-heatmap[n])),
            "offsets": locref[n].reshape(2, 2, 6, 8),
        }
        np.savez(f"run/{n}.npz", **fields)


def _prepare_slide(names):
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group("slide.zarr")
    rng = np.random.default_rng(0)
    group["confidence"] = (rng.random((90, 110)) ** 8).astype("float32")
    group["offsets"] = rng.normal(size=(2, 90, 110)).astype("float32")
    names["image"] = rng.random((1, 150, 150)).astype("float32")
    names["function"] = lambda tile: (tile[0], np.zeros((2, *tile.shape[-2:]), "float32"))


def _prepare_operations(names):
    names.update(vars(importlib.import_module("mdn_cupy.cpu.simd")))


PREPARE = {
    "docs/cpu_engine.md": _prepare_operations,
    "docs/files.md": _prepare_files,
    "docs/peaks.md": _prepare_files,
    "docs/large_fields.md": _prepare_slide,
}


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    if page in PREPARE:
        PREPARE[page](names)
    for _, language, code in re.findall(
        r"^( *)```(python|sh)\n(.*?)^\1```$",
        (ROOT / page).read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    ):
        if language == "sh":
            for line in code.replace("\\\n", " ").splitlines():
                _run(shlex.split(line, comments=True))
        elif page not in ELSEWHERE:
            _execute(dedent(code), names, capsys)


def _execute(code, names, capsys):
    """Run code; what a `print(...)  # text` says must be that text."""
    capsys.readouterr()
    exec(code, names)
    said = re.findall(r"^print\(.*\) +# ([-\d\[].*)$", code, flags=re.MULTILINE)
    if said:
        assert capsys.readouterr().out.splitlines() == said


def _run(words):
    """Run a command of this library; check that what others would be given is there."""
    if words[:1] == ["mdn-cupy"]:
        arguments = _parser().parse_args(words[1:])
        if not getattr(arguments, "scheduler", None):
            assert main(words[1:]) == 0
    elif words[:1] == ["mdn-viewer"]:
        viewer = pytest.importorskip("mdn_viewer.__main__")
        viewer._parser().parse_args(words[1:])
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        for extra in re.findall(r"[\w]+", "".join(re.findall(r"\[(.*)\]", words[-1]))):
            assert extra in extras["optional-dependencies"]
    elif words and words[0].startswith("python") and words[1].endswith(".py"):
        folder = (ROOT / words[1]).parent
        assert (ROOT / words[1]).exists()
        files = [ROOT / words[1]] if folder == ROOT else folder.rglob("*.py")
        source = "".join(path.read_text("utf-8") for path in files)
        for option in (word for word in words if word.startswith("--")):
            assert option in source, option
    elif words[:1] == ["nox"]:
        source = (ROOT / "noxfile.py").read_text("utf-8")
        assert all(f"def {name}(" in source for name in words[2:])


def test_the_readme_is_a_screen_and_a_half():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 90


def _public(module):
    """The names of `__all__`, which is read, since napari or Dask may not be there."""
    path = importlib.util.find_spec(module).origin
    for node in ast.parse(Path(path).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return [f"{module}.{name}" for name in ast.literal_eval(node.value)]
    raise AssertionError(module)


MODULES_OF_THE_API = [
    "mdn_cupy",
    *(f"mdn_cupy.{name}" for name in ("adapters", "dask", "reference", "samples", "torch")),
    "mdn_viewer",
]


@pytest.mark.parametrize("module", MODULES_OF_THE_API)
def test_every_public_name_has_its_entry(module):
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    entries = re.findall(r"^::: (\S+)$", pages, flags=re.MULTILINE)
    assert sorted(set(entries)) == sorted(entries)
    missing = [name for name in _public(module) if name not in entries]
    assert not missing, f"add to a page of docs/api: {', '.join(f'::: {name}' for name in missing)}"


def test_the_table_of_conventions_has_every_adapter():
    table = (ROOT / "docs/adapters.md").read_text("utf-8")
    for name in _public("mdn_cupy.adapters"):
        if name.islower():
            assert f"| `{name.rpartition('.')[2]}` |" in table, name


def test_every_entry_is_of_something_public():
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    entries = set(re.findall(r"^::: (\S+)$", pages, flags=re.MULTILINE))
    public = {name for module in MODULES_OF_THE_API for name in (module, *_public(module))}
    assert entries - public == {"mdn_viewer.process.WindowProcess"}  # which `show` returns


def test_the_drawing_of_the_modules_has_a_room_for_each_and_is_of_today():
    grimp = pytest.importorskip("grimp")
    path = ROOT / "docs/_site/make_architecture.py"
    spec = importlib.util.spec_from_file_location("make_architecture", path)
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    for module in grimp.build_graph("mdn_cupy", "mdn_viewer").modules - {"mdn_cupy"}:
        assert drawing.room_of(module) in drawing.ROOMS
    assert all(a.row < b.row or a.row == b.row != 0 or a.row == 0 for a, b, _ in drawing.arrows())
    assert drawing.draw().count("<rect") == len(drawing.ROOMS) + 1
    assert drawing.draw() == drawing.OUTPUT.read_text("utf-8")


@pytest.mark.parametrize("folder", ["mdn_cupy", "viewer", "samples", "benchmarks", "tests"])
def test_no_value_stands_in_parentheses_for_the_sake_of_its_comment(folder):
    """The formatter does that to a line that is too long; the comment belongs above it."""
    pattern = re.compile(r"^.* = \(\n.*  # .*\n *\)$", re.MULTILINE)
    for file in (ROOT / folder).rglob("*.py"):
        assert not pattern.search(file.read_text("utf-8")), file


def test_the_walk_through_the_cpu_engine_names_what_is_there_and_once():
    page = (ROOT / "docs" / "cpu_engine.md").read_text("utf-8")
    written = [name for name in re.findall(r"`([\w.]+)`", page) if not name.endswith(".py")]
    named = {name.rpartition(".")[2] for name in written} - {"print"}
    modules = list((ROOT / "mdn_cupy" / "cpu").glob("*.py"))
    trees = [ast.walk(ast.parse(path.read_text("utf-8"))) for path in modules]
    there = {node.name for tree in trees for node in tree if hasattr(node, "name")}
    assert named <= there | {path.stem for path in modules}
    assert sorted(written) == sorted(set(written))
    kernels = {
        name
        for path in modules
        if path.stem in ("forward", "backward", "windows")
        for name in re.findall(r"@jit\ndef (\w+)", path.read_text("utf-8"))
    }
    assert len(kernels) == 5  # as the page says
    assert kernels <= named
