"""The viewer stands on what napari, vispy and Qt have made public."""

import ast
from pathlib import Path

import mdn_viewer
import pytest

FOLDER = Path(mdn_viewer.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
LIBRARIES = {"napari", "vispy", "qtpy", "superqt", "npe2", "app_model", "magicgui"}
ALLOWED = {
    "os._exit",  # documented in spite of its name
}

TUPLES = {
    "_asdict",
    "_fields",
    "_make",
    "_replace",
}  # public in every namedtuple


def private(name):
    return name.startswith("_") and not name.endswith("__") and name not in TUPLES


def imported(tree):
    """The dotted names of everything that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def foreign(source):
    """What a module takes from a library though it is private there.

    A private attribute is a module's own if it is one of `self` or `cls`, or if the module itself
    sets or defines a name like it; any other is somebody else's.
    """
    tree = ast.parse(source)
    for name in imported(tree):
        library, *rest = name.split(".")
        if library in LIBRARIES and any(map(private, rest)):
            yield name
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
    own |= {
        node.attr
        for node in attributes
        if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in {"self", "cls"}
    }
    for node in attributes:
        mine = node.attr in own or ast.unparse(node.value) in {"self", "cls"}
        if private(node.attr) and not mine:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_private_is_used(path):
    assert {*foreign(path.read_text())} <= ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "from napari._qt.qt_viewer import QtViewer",
        "import napari._app_model",
        "from vispy.scene import _node",
        "viewer.window._qt_window.show()",
        "self._viewer.window._qt_viewer",
        "canvas.native._backend",
        "get()._dims",
    ],
)
def test_what_is_private_is_found(line):
    assert len(list(foreign(line))) == 1


def test_own_names_are_not_taken_for_others():
    assert len(SOURCES) > 50
    source = "class A:\n    def f(self):\n        self._x = 1\n    def g(self, a):\n        a._x"
    assert list(foreign(source)) == []
