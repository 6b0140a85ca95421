"""Files that are dragged onto the maps, by the X server's own drag and drop."""

import subprocess

import pytest
from imageio.v3 import imwrite
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.session_file import SavedSession, write_session
from mdn_viewer.widget import widget_of
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDrag
from qtpy.QtWidgets import QLabel
from viewer_support import dock, drop, names, two_parts, wrong

import mdn_cupy as mdn


class Source(QLabel):
    """A small window, such as a file manager's, whose files can be dragged away."""

    def __init__(self, *paths):
        super().__init__("files")
        self.paths, self.taken = paths, None
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint)
        self.setGeometry(1300, 880, 80, 30)
        self.show()

    def mousePressEvent(self, event):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in self.paths])
        drag = QDrag(self)
        drag.setMimeData(data)
        self.taken = drag.exec(Qt.DropAction.CopyAction)


def drag_and_drop(qtbot, source, target):
    """Drag from the middle of a window to that of another, and let go."""
    begin, end = (w.mapToGlobal(w.rect().center()) for w in (source, target))
    script = ["mousemove", str(begin.x()), str(begin.y()), "sleep", "0.2", "mousedown", "1"]
    for step in range(1, 11):
        at = begin + (end - begin) * step / 10
        script += ["sleep", "0.1", "mousemove", str(at.x()), str(at.y())]
    script += ["sleep", "0.3", "mouseup", "1"]
    process = subprocess.Popen(["xdotool", *script])
    qtbot.waitUntil(lambda: process.poll() is not None, timeout=30000)
    assert process.returncode == 0
    qtbot.waitUntil(lambda: source.taken is not None, timeout=30000)


def test_a_file_is_dragged_onto_the_maps(make_napari_viewer, qtbot, tmp_path):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    viewer.window._qt_window.move(QPoint(0, 0))
    widget = dock(viewer)
    mdn.save_fields(tmp_path / "dragged.mdn", two_parts())
    source = Source(tmp_path / "dragged.mdn")
    qtbot.addWidget(source)
    qtbot.waitExposed(source)
    drag_and_drop(qtbot, source, widget.canvas.native)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=30000)
    widget.wait()
    assert source.taken == Qt.DropAction.CopyAction
    assert widget.model.origin.paths == (str(tmp_path / "dragged.mdn"),)
    assert widget.model.maps["noisy_or"].peak.row == 10


@pytest.fixture
def mixed(tmp_path):
    """A session, its fields, other fields, and a picture."""
    mdn.save_fields(tmp_path / "own.mdn", two_parts())
    mdn.save_fields(tmp_path / "other.mdn", two_parts(sigma=3.0))
    imwrite(tmp_path / "picture.png", two_parts().image)
    saved = SavedSession(Origin((str(tmp_path / "own.mdn"),)), part=1, sigma=5.0, pixel=[3, 4])
    write_session(tmp_path / "asked.mdn-session", saved)
    (tmp_path / "broken.mdn-session").write_text("no session")
    return tmp_path


OWN = ["asked image", "asked confidence", "asked offsets"]


def assert_asks(widget):
    """The session is as it was saved."""
    widget.wait()
    session = widget.model.session
    assert (session.part, session.sigma, widget.model.pixel) == (1, 5.0, (3, 4))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", ["other.mdn", "picture.png"])
def test_a_session_is_dropped_on_the_maps_with_another_file(
    make_napari_viewer, mixed, other, order
):
    widget = dock(make_napari_viewer())
    drop(widget, *[mixed / "asked.mdn-session", mixed / other][::order])
    assert_asks(widget)
    stem = other.partition(".")[0]
    assert {*OWN} < {*names(widget._viewer)}
    assert any(name.startswith(stem) for name in names(widget._viewer))


def test_what_cannot_be_opened_is_said_until_something_can(make_napari_viewer, mixed):
    widget = dock(make_napari_viewer())
    drop(widget, mixed / "own.mdn")
    (mixed / "notes.xyz").write_text("no picture")
    drop(widget, mixed / "notes.xyz")
    assert "notes.xyz" in wrong(widget)
    drop(widget, mixed / "picture.png")
    assert "picture" in names(widget._viewer)
    assert not wrong(widget)


@pytest.mark.parametrize("order", [1, -1])
def test_a_session_is_opened_by_napari_with_another_file(make_napari_viewer, mixed, order):
    viewer = make_napari_viewer()
    files = [mixed / "asked.mdn-session", mixed / "picture.png"]
    viewer.open(files[::order], plugin=None)  # as napari opens what is dropped
    assert {*names(viewer)} == {*OWN, "picture"}
    widget = widget_of(viewer)
    assert_asks(widget)
    viewer.open([mixed / "broken.mdn-session", mixed / "other.mdn"], plugin=None)
    assert "other confidence" in names(viewer)
    assert "broken.mdn-session: it is not JSON" in notification_manager.records[-1].message


def test_a_session_and_a_picture_are_dragged_onto_naparis_window(make_napari_viewer, qtbot, mixed):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    viewer.window._qt_window.move(QPoint(0, 0))
    source = Source(mixed / "asked.mdn-session", mixed / "picture.png")
    qtbot.addWidget(source)
    qtbot.waitExposed(source)
    drag_and_drop(qtbot, source, viewer.window._qt_window.centralWidget())
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=30000)
    assert_asks(widget_of(viewer))
